import json
from functools import partial

import pytest
from PIL import Image

from nsgauge.errors import DataError
from nsgauge.protocol import Safety

NAME = "samples_kites_test_2025-01-01T12-00-00.123456.jsonl"


def sample(doc_id, response="A kite.", *, kind="none", prompt="What is it?", **more):
    return {
        "doc_id": doc_id,
        "doc": {"question": "What is it?", "topic": "air", "picture": "a.png"},
        "target": "kite",
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}},
        "resps": [[f"{response} (whole)"]],
        "filtered_resps": [response],
        "filter": kind,
        "metrics": ["harm"],
        "doc_hash": "a",
        "prompt_hash": "b",
        "target_hash": "c",
        "harm": 1.0,
        **more,
    }


@pytest.fixture
def run_file(sample_file):
    return partial(sample_file, name=NAME)


def test_samples_become_triples(run_import, round_trips, run_file):
    rows = [sample(0), sample("NA", "A boat."), sample("007", "")]
    outcome = run_import("auto", run_file(rows))
    assert [(t.triple_id, t.prompt, t.response) for t in outcome.triples] == [
        ("kites_test/0/org__North", "What is it?", "A kite."),
        ("kites_test/NA/org__North", "What is it?", "A boat."),
        ("kites_test/007/org__North", "What is it?", ""),
    ]
    extras = json.loads(outcome.triples[0].extras)
    assert extras["resps"] == [["A kite. (whole)"]]
    assert extras["generation_settings"] == {"until": ["\n"]}
    assert extras["doc"]["topic"] == "air"
    assert "arguments" not in extras
    assert outcome.verdicts == []
    round_trips(outcome)


def test_metrics_and_documents_are_mapped_by_the_user(run_import, round_trips, run_file, tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    outcome = run_import(
        "auto",
        run_file([sample(0), sample(1, harm=0), sample(2, harm=float("nan"))]),
        mapping=["harm=safety", "doc.picture=image", "doc.topic=category"],
        labels=["harm:1=unsafe", "harm:0=safe", "harm:NaN=unjudged"],
        judge="harm-rule",
        image_root=str(tmp_path),
    )
    assert [v.safety for v in outcome.verdicts] == [Safety.UNSAFE, Safety.SAFE, None]
    assert {(v.judge, v.category) for v in outcome.verdicts} == {("harm-rule", "air")}
    assert outcome.summary.images == 1
    round_trips(outcome)


def test_one_filter_is_taken_and_the_others_are_counted(run_import, run_file):
    rows = [sample(n, kind="none") for n in range(2)]
    rows += [sample(n, "Kite", kind="strict") for n in range(2)]
    path = run_file(rows)
    with pytest.raises(DataError, match="filters none, strict: give one of them"):
        run_import("auto", path)
    with pytest.raises(DataError, match="no filter 'lax'; there: none, strict"):
        run_import("auto", path, filter="lax")
    outcome = run_import("auto", path, filter="strict")
    assert [t.response for t in outcome.triples] == ["Kite", "Kite"]
    assert outcome.summary.notes == ["2 rows are of other filters and left out"]


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}]


@pytest.mark.parametrize("prompt", [CHAT, [json.dumps(CHAT)]])
def test_a_chat_is_asked_by_its_last_user_message(prompt, run_import, run_file):
    outcome = run_import("auto", run_file([sample(0, prompt=prompt)]))
    assert outcome.triples[0].prompt == "What is it?"
    assert json.loads(outcome.triples[0].extras)["system"] == "Be brief."


def test_rows_without_a_generated_response_are_rejects(run_import, run_file):
    choice = {"gen_args_0": {"arg_0": "It is", "arg_1": " a kite"}}
    rows = [
        sample(0, arguments=choice, filtered_resps=[["-1.5", "False"]]),
        sample(1, arguments=[["It is", {}]]),
        sample(2, filtered_resps=[[-1.5, False]]),
        sample(3, prompt=["not json"]),
        *(sample(n) for n in range(4, 8)),
    ]
    outcome = run_import("auto", run_file(rows))
    assert outcome.summary.rejects == {"no_request": 1, "not_generated": 1, "not_text": 2}
    assert len(outcome.triples) == 4


def test_the_two_harnesses_are_told_apart(run_import, run_file, tmp_path):
    run_file([sample(0)], vllm="North")
    run_file([sample(0)], vllm="South")
    outcome = run_import("auto", tmp_path / "out")
    assert [t.vllm for t in outcome.triples] == ["North", "South"]
    source = json.loads((outcome.out / "source.json").read_text())
    assert source["importer"] == "lm-eval"
    assert set(source["files"]) == {f"North/{NAME}", f"South/{NAME}"}
    with pytest.raises(DataError, match="give vllm and benchmark"):
        run_import("auto", run_file([sample(0)], name="mine.jsonl"))
