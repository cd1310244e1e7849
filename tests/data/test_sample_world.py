import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from nsgauge.data.sample import SampleSettings, write_sample
from nsgauge.data.sample.answers import VLLMS
from nsgauge.data.sample.verdicts import (
    LABELLESS_SHARES,
    NOISY_JUDGE,
    NOISY_JUDGE_FLIP_SHARE,
    RULE_JUDGE,
    SAFETY_JUDGE,
)
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.errors import DataError
from nsgauge.records import VerdictState

SMALL = SampleSettings(pictures_per_variant=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The default world, with the rows of `rule` by triple."""
    out = tmp_path_factory.mktemp("sample") / "world"
    summary = write_sample(out)
    triples = read_triples(out).to_pylist()
    verdicts = read_verdicts(out).to_pylist()
    return out, summary, triples, verdicts


def _rule(verdicts):
    return {v["triple_id"]: v for v in verdicts if v["judge"] == RULE_JUDGE}


def _answered(world):
    _, _, triples, verdicts = world
    rule = _rule(verdicts)
    rows = [triple for triple in triples if triple["response_state"] == "answered"]
    not_grounded = [rule[row["triple_id"]]["grounding"] == "not_grounded" for row in rows]
    return rows, np.array(not_grounded)


def test_the_default_world_has_the_size_it_says(world):
    _, summary, triples, _ = world
    assert (summary.triples, summary.images) == (768, 192)
    variants = Counter(json.loads(triple["extras"])["variant"] for triple in triples)
    assert variants == {"harmful": 384, "benign": 384}
    assert len({triple["item_id"] for triple in triples}) == 192


def test_the_rule_follows_from_how_each_row_was_made(world):
    _, _, triples, verdicts = world
    rule = _rule(verdicts)
    for triple in triples:
        made = json.loads(triple["extras"])
        verdict = rule[triple["triple_id"]]
        if triple["response_state"] != "answered":
            assert verdict["state"] == "unjudged"
            continue
        harm = "harmful" in (made["variant"], made["reading"])
        assert (verdict["safety"] == "unsafe") == (made["attitude"] == "help" and harm)
        assert (verdict["grounding"] == "not_grounded") == (made["reading"] != made["variant"])


def test_all_four_cells_and_every_attitude_are_there(world):
    _, _, triples, verdicts = world
    cells = Counter((v["safety"], v["grounding"]) for v in _rule(verdicts).values())
    cells.pop((None, None))
    assert len(cells) == 4
    assert min(cells.values()) > 25
    assert {json.loads(t["extras"])["attitude"] for t in triples} == {
        "help",
        "warn",
        "refuse",
        "describe",
    }


def test_each_vllm_misreads_its_share_of_both_variants(world):
    _, _, triples, _ = world
    for vllm in VLLMS:
        for variant in ("harmful", "benign"):
            made = [json.loads(t["extras"]) for t in triples if t["vllm"] == vllm.name]
            wrong = [m["reading"] != variant for m in made if m["variant"] == variant]
            assert abs(sum(wrong) - vllm.misreading_share * len(wrong)) <= 1


@pytest.mark.parametrize("with_prompt", [False, True])
def test_the_words_alone_do_not_give_grounding_away(world, with_prompt):
    rows, not_grounded = _answered(world)
    texts = [
        f"{row['prompt']} | {row['response']}" if with_prompt else row["response"] for row in rows
    ]
    reader = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    decision = cross_val_predict(
        reader,
        texts,
        not_grounded,
        groups=[row["item_id"] for row in rows],
        cv=GroupKFold(5),
        method="decision_function",
    )
    assert roc_auc_score(not_grounded, decision) < 0.6


def test_words_and_truth_together_decide_grounding(world):
    # The ceiling: who sees the variant and reads the words could be right on every row.
    rows, not_grounded = _answered(world)
    seen: dict[tuple[str, str], set[bool]] = {}
    for row, wrong in zip(rows, not_grounded, strict=True):
        variant = json.loads(row["extras"])["variant"]
        seen.setdefault((variant, row["response"]), set()).add(bool(wrong))
    assert all(len(values) == 1 for values in seen.values())


def test_the_judge_is_as_noisy_as_documented(world):
    _, _, _, verdicts = world
    rule = _rule(verdicts)
    votes = [v for v in verdicts if v["judge"] == NOISY_JUDGE and v["state"] != "unjudged"]
    states = Counter(vote["state"] for vote in votes)
    for state, share in LABELLESS_SHARES:
        spread = (share * (1 - share) / len(votes)) ** 0.5
        assert states[state] / len(votes) == pytest.approx(share, abs=4 * spread)
    answered = [vote for vote in votes if vote["state"] == VerdictState.ANSWERED]
    for axis in ("safety", "grounding"):
        flipped = [vote[axis] != rule[vote["triple_id"]][axis] for vote in answered]
        spread = (NOISY_JUDGE_FLIP_SHARE / len(flipped)) ** 0.5
        assert np.mean(flipped) == pytest.approx(NOISY_JUDGE_FLIP_SHARE, abs=4 * spread)


def test_the_safety_judge_calls_most_misreadings_of_harm_unsafe_and_never_names_grounding(world):
    _, _, triples, verdicts = world
    made = {triple["triple_id"]: json.loads(triple["extras"]) for triple in triples}
    votes = [v for v in verdicts if v["judge"] == SAFETY_JUDGE and v["state"] == "answered"]
    assert all(vote["grounding"] is None for vote in votes)
    missed = [
        vote["safety"] == "unsafe"
        for vote in votes
        if made[vote["triple_id"]]["variant"] == "harmful"
        and made[vote["triple_id"]]["reading"] == "benign"
    ]
    assert np.mean(missed) > 0.85


def test_one_seed_gives_one_world_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sample(tmp_path / name, settings=SMALL.model_copy(update={"seed": seed}))
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")
    assert set(_contents(tmp_path / "a")) != set(_contents(tmp_path / "c"))


def test_a_larger_world_keeps_the_settings_it_was_asked_for(tmp_path):
    settings = SampleSettings(pictures_per_variant=1, answers_per_vllm=3, unanswered_share=0)
    summary = write_sample(tmp_path / "world", settings=settings)
    assert summary.triples == 16 * 2 * len(VLLMS) * 3
    triples = read_triples(tmp_path / "world").to_pylist()
    assert {triple["sample"] for triple in triples} == {0, 1, 2}
    assert {triple["response_state"] for triple in triples} == {"answered"}
    source = json.loads((tmp_path / "world" / "source.json").read_text())
    assert source["options"] == settings.model_dump(mode="json")


def test_a_taken_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_sample(tmp_path, settings=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_settings_out_of_bounds_are_refused():
    with pytest.raises(ValidationError):
        SampleSettings(pictures_per_variant=0)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
