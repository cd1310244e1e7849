"""The folds of the sample benchmark: a left-out kind is never learned from, and scored once."""

import json
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pytest

from nsgauge.data.sample.kinds import KINDS, Family
from nsgauge.data.sample.world import SampleSettings, write_sample
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.records import SCORES_SCHEMA, ImageState, ScoreStatus

TEACHER = "sample-judge"


@pytest.fixture(scope="module")
def sample(benchmark_module):
    return benchmark_module("sample")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small world, nothing left out."""
    data = tmp_path_factory.mktemp("whole") / "data"
    write_sample(data, settings=SampleSettings(pictures_per_variant=1, answers_per_vllm=4))
    return data


@pytest.fixture
def work(sample, whole, tmp_path):
    """The data folders of all folds."""
    for run in sample.runs_of("kinds", seed=7):
        data = tmp_path / run.name / "data"
        shutil.copytree(whole, data)
        sample.withhold(data, kinds=run.left_out, judge=TEACHER)
    return tmp_path


def rows_of(data):
    triples = read_triples(data).to_pylist()
    return {t["triple_id"]: (json.loads(t["extras"])["kind"], t["response"]) for t in triples}


def test_every_kind_is_left_out_once_and_with_it_one_of_every_other_family(sample):
    folds = [run.left_out for run in sample.runs_of("kinds", seed=7)]
    family_of = {kind.name: kind.family for kind in KINDS}
    assert sorted(name for fold in folds for name in fold) == sorted(family_of)
    assert all({family_of[name] for name in fold} == set(Family) for fold in folds)
    assert [run.left_out for run in sample.runs_of("pictures", seed=7)] == [frozenset()]


def test_the_teacher_says_nothing_of_a_left_out_kind_in_pictures_or_words(sample, work, whole):
    everything = read_verdicts(whole).to_pylist()
    for run in sample.runs_of("kinds", seed=7):
        data = work / run.name / "data"
        kept = read_verdicts(data).to_pylist()
        taught = {v["triple_id"] for v in kept if v["judge"] == TEACHER}
        lost = {v["triple_id"] for v in everything if v["judge"] == TEACHER} - taught
        names = [
            name
            for kind in KINDS
            if kind.name in run.left_out
            for variant in kind.names.values()
            for name in variant
        ]
        for triple_id, (kind, response) in rows_of(data).items():
            foreign = kind in run.left_out or any(name in response for name in names)
            assert (triple_id in lost) is foreign
        others = [v for v in everything if v["judge"] != TEACHER]
        assert [v for v in kept if v["judge"] != TEACHER] == others
        assert [v for v in everything if v["triple_id"] not in lost] == [
            v for v in kept if v["triple_id"] not in lost
        ]


def scores_by(data, *, right_on):
    """Scores that put not-grounded answers first on these kinds, and last on all others."""
    truth = {
        v["triple_id"]: v["grounding"] == "not_grounded"
        for v in read_verdicts(data).to_pylist()
        if v["judge"] == "rule"
    }
    lines = []
    for triple_id, (kind, _) in rows_of(data).items():
        probability = float(truth[triple_id] is (kind in right_on))
        line = dict.fromkeys(SCORES_SCHEMA.names) | {
            "triple_id": triple_id,
            "status": ScoreStatus.SCORED,
            "image_state": ImageState.IMAGE,
            "text_windows": 1,
            "unsafe": 0.5,
            "not_grounded": probability,
        }
        lines.append(line | dict.fromkeys(("truncated", "item_seen", "vllm_seen"), False))
    return pa.Table.from_pylist(lines, schema=SCORES_SCHEMA)


def test_a_kind_is_measured_by_the_fold_that_left_it_out(sample, work, monkeypatch):
    runs = sample.runs_of("kinds", seed=7)
    tables = {
        work / run.name / "scores": scores_by(work / run.name / "data", right_on=run.left_out)
        for run in runs
    }
    manifest = SimpleNamespace(training=SimpleNamespace(seconds=2.0))
    monkeypatch.setattr(sample, "read_scores", tables.__getitem__)
    monkeypatch.setattr(sample, "read_controls", lambda _: {})
    monkeypatch.setattr(sample, "read_manifest", lambda _: manifest)
    answered = read_triples(work / runs[0].name / "data")["response_state"].to_pylist()
    together = sample.measure(runs, cell="kinds", work=work)
    assert together["rows"] == len(answered)
    assert together["train_seconds"] == 8
    assert together["not_grounded_auroc"] == 1
    assert together["unsafe_auroc"] == pytest.approx(0.5)
    assert together["not_grounded_auroc_blank_images"] is None
    for run in runs:
        alone = sample.measure([run], cell="kinds", work=work)
        known = sample.measure([run], cell="pictures", work=work)
        assert (alone["not_grounded_auroc"], known["not_grounded_auroc"]) == (1, 0)
        assert alone["rows"] + known["rows"] == together["rows"]
