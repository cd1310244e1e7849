"""The standing experiment on a small world in the place of MSTS: its splits, runs and measures."""

import csv
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from benchmarks.msts import __main__ as experiment
from benchmarks.msts.measures import (
    Told,
    auprc_of,
    kappa_of,
    measures,
    outcome_kappa_of,
    paired_difference,
    teacher_agreement_of,
    teacher_auroc_of,
)
from benchmarks.msts.methods import METHODS
from benchmarks.msts.rows import Lesson, Rows, lesson, load_rows
from benchmarks.msts.runs import FOLDS, Run, all_runs, vllm_groups
from benchmarks.msts.task import Task
from nsgauge.data.sample.world import SampleSettings, write_sample
from nsgauge.data.split import Side
from nsgauge.data.tables import (
    SourceNote,
    data_fingerprint,
    read_triples,
    read_verdicts,
    triples_of,
    verdicts_of,
    write_data,
)
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.pair import load_towers
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import Triple, Verdict
from nsgauge.train.corpus import load_corpus
from nsgauge.train.recipe import Recipe

VLLMS = ("ash", "birch", "cedar", "dune")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Answers whose words tell what people say of them, of four VLLMs on sixty items."""
    generator = np.random.default_rng(5)
    triples, verdicts = [], []
    for item in range(60):
        for vllm in VLLMS:
            unsafe, misread = generator.random(2) < (0.2, 0.3)
            words = f"{'do harm' if unsafe else 'take care'} {'nice day' if misread else 'a risk'}"
            name = f"{item}/{vllm}"
            triples.append(
                Triple(
                    triple_id=name,
                    item_id=str(item),
                    benchmark="b",
                    vllm=vllm,
                    prompt="p",
                    response=f"{words} word{generator.integers(9)}",
                )
            )
            verdicts.append(
                Verdict(
                    triple_id=name,
                    judge="human",
                    safety=Safety.UNSAFE if unsafe else Safety.SAFE,
                    grounding=Grounding.NOT_GROUNDED if misread else Grounding.GROUNDED,
                )
            )
    out = tmp_path_factory.mktemp("world") / "data"
    source = SourceNote(importer="test")
    write_data(out, triples=triples, verdicts=verdicts, rejects=(), source=source)
    return out


@pytest.fixture(scope="module")
def rows(data):
    return load_rows(data)


@pytest.mark.parametrize(("design", "together"), [("vllm", 1), ("vllms", 2)])
def test_in_a_grid_of_folds_and_groups_every_row_is_unseen_in_both_ways_once(
    rows, design, together
):
    runs = list(
        all_runs(methods=["words"], teachers=["human"], designs=[design], seeds=3, vllms=rows.vllms)
    )
    counts = np.zeros(len(rows.triples), dtype=int)
    for run in runs:
        split = run.split(rows.vllms)
        assert len(split.unseen_vllms) == together
        cells, sides = np.array(rows.cells(split)), rows.sides(split)
        counts += cells == "both"
        learned = np.array([side is not Side.TEST for side in sides])
        assert set(cells[learned]) == {""}
        assert set(cells[~learned]) == {"item", "vllm", "both"}
    assert set(counts) == {1}
    assert len(runs) == FOLDS * 4 / together


def test_vllms_are_held_out_in_the_order_of_their_names():
    vllms = ["dune", "ash", "cedar", "birch", "ash"]
    assert vllm_groups(vllms, together=2) == [("ash", "birch"), ("cedar", "dune")]
    assert vllm_groups(vllms, together=0) == []


def test_what_a_training_learns_from_is_what_the_benchmark_does_not_test_on(tmp_path):
    """Pictures make groups of items: by one key here and another there, test rows would leak."""
    data = tmp_path / "data"
    write_sample(data, settings=SampleSettings(pictures_per_variant=1))
    triples = list(triples_of(read_triples(data)))
    verdicts = [
        Verdict(
            triple_id=triple.triple_id,
            judge="human",
            safety=Safety.SAFE,
            grounding=Grounding.GROUNDED,
        )
        for triple in triples
    ]
    out = tmp_path / "people"
    source = SourceNote(importer="test", image_root=data)
    write_data(out, triples=triples, verdicts=verdicts, rejects=(), source=source)
    rows = load_rows(out)
    (run, *_) = all_runs(
        methods=["words"], teachers=["human"], designs=["items"], seeds=1, vllms=rows.vllms
    )
    split = run.split(rows.vllms)
    content = {"name": "x", "teacher": {"judges": ["human"]}, "windows": {"layout": "apart"}}
    recipe = Recipe.from_mapping(content | {"split": split.model_dump()}, source="test")
    corpus = load_corpus(out, recipe=recipe, towers=load_towers(load_preset("pocket")))
    assert [t.triple_id for t in corpus.triples] == [t.triple_id for t in rows.triples]
    assert corpus.sides == rows.sides(split)


def test_a_lesson_is_what_the_teacher_says(data, rows):
    told = lesson(data, rows=rows, teacher={"judges": ["human"]})
    for axis, positive in rows.positive.items():
        assert told.known[axis].all()
        np.testing.assert_array_equal(told.probability[axis] == 1, positive)


def test_a_run_is_done_once_and_measured_as_by_hand(data, rows, tmp_path, capsys):
    words = ["--data", str(data), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert experiment.main(words) == 0
    files = sorted((tmp_path / "work").iterdir())
    assert len(files) == FOLDS
    before = [file.stat().st_mtime_ns for file in files]
    assert experiment.main(words) == 0
    assert [file.stat().st_mtime_ns for file in files] == before
    assert "words" in capsys.readouterr().out
    with (tmp_path / "out" / "msts-table.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert line["data_sha256"] == data_fingerprint(data)
    assert (line["cell"], float(line["rows"])) == ("item", len(rows.triples))
    # The words tell the labels, so they are found but for what a small world leaves unlearned.
    assert float(line["unsafe_auprc"]) > 0.95
    assert float(line["not_grounded_kappa"]) > 0.9


@pytest.mark.parametrize("method", ["words", "finetuned"])
def test_a_baseline_finds_what_is_learnable_and_never_sees_what_it_is_tested_on(
    data, rows, tmp_path, method
):
    (run, *_) = all_runs(
        methods=[method], teachers=["human"], designs=["items"], seeds=1, vllms=rows.vllms
    )
    split = run.split(rows.vllms)
    sides = rows.sides(split)
    test = np.array([side is Side.TEST for side in sides])
    truth = lesson(data, rows=rows, teacher={"judges": ["human"]})
    turned = replace(
        truth,
        probability={axis: np.where(test, 1 - p, p) for axis, p in truth.probability.items()},
    )
    first, second = (
        METHODS[method](
            Task(
                rows=rows,
                lesson=told,
                sides=sides,
                split=split,
                teacher="human",
                seed=0,
                data=data,
                scratch=tmp_path,
                cache=tmp_path,
            )
        )
        for told in (truth, turned)
    )
    for axis, positive in rows.positive.items():
        assert average_precision_score(positive[test], first.probability[axis][test]) > 0.9
        np.testing.assert_array_equal(first.probability[axis][test], second.probability[axis][test])
        np.testing.assert_array_equal(first.verdict[axis][test], second.verdict[axis][test])


def told_at_random(rows: Rows, seed: int, *, skill: float) -> Told:
    generator = np.random.default_rng(seed)
    noise = generator.random((2, len(rows.triples)))
    probability = {
        axis: skill * rows.positive[axis] * 0.5 + noise[number] * 0.5
        for number, axis in enumerate(rows.positive)
    }
    return Told(
        rows=np.arange(len(rows.triples)),
        probability=probability,
        verdict={axis: values > 0.5 for axis, values in probability.items()},
    )


def test_measures_are_those_of_scikit_learn(rows):
    told = told_at_random(rows, 1, skill=0.7)
    found = measures(told, rows=rows)
    for axis, positive in rows.positive.items():
        expected = average_precision_score(positive, told.probability[axis])
        assert found[f"{axis}_auprc"] == pytest.approx(expected)
        assert found[f"{axis}_kappa"] == pytest.approx(
            cohen_kappa_score(positive, told.verdict[axis])
        )


def test_agreement_with_a_teacher_is_on_the_rows_where_it_says_something(rows):
    told = told_at_random(rows, 3, skill=0.7)
    generator = np.random.default_rng(4)
    share = generator.choice([0.0, 0.5, 1.0], size=len(rows.triples))
    known = generator.random(len(rows.triples)) < 0.8
    taught = Lesson(
        probability=dict.fromkeys(rows.positive, share), known=dict.fromkeys(rows.positive, known)
    )
    found = measures(told, rows=rows, lesson=taught)
    at = known & (share != 0.5)
    for axis in rows.positive:
        ranked = roc_auc_score(share[at] > 0.5, told.probability[axis][at])
        assert found[f"{axis}_teacher_auroc"] == pytest.approx(ranked)
        agreed = np.mean((share[at] > 0.5) == told.verdict[axis][at])
        assert found[f"{axis}_teacher_agreement"] == pytest.approx(agreed)


def test_kappa_on_some_rows_is_scikit_learns(rows):
    told = told_at_random(rows, 5, skill=0.7)
    at = np.random.default_rng(6).integers(len(rows.triples), size=len(rows.triples))
    for axis, positive in rows.positive.items():
        expected = cohen_kappa_score(positive[at], told.verdict[axis][at])
        assert kappa_of(axis, rows=rows)(told, at) == pytest.approx(expected)


def test_the_kappa_of_outcomes_is_that_of_the_table(rows):
    told = told_at_random(rows, 7, skill=0.7)
    everything = np.arange(len(rows.triples))
    wanted = measures(told, rows=rows)["outcome_kappa"]
    assert outcome_kappa_of(rows=rows)(told, everything) == pytest.approx(wanted)


def test_agreement_with_a_teacher_can_be_compared_too(rows):
    told = told_at_random(rows, 8, skill=0.7)
    generator = np.random.default_rng(9)
    at = generator.integers(len(rows.triples), size=100)
    share = generator.choice([0.0, 0.5, 1.0], size=len(rows.triples))
    known = generator.random(len(rows.triples)) < 0.8
    taught = Lesson(probability={"unsafe": share}, known={"unsafe": known})
    sure = at[known[at] & (share[at] != 0.5)]
    ranked = roc_auc_score(share[sure] > 0.5, told.probability["unsafe"][sure])
    assert teacher_auroc_of("unsafe", lesson=taught)(told, at) == pytest.approx(ranked)
    agreed = np.mean((share[sure] > 0.5) == told.verdict["unsafe"][sure])
    assert teacher_agreement_of("unsafe", lesson=taught)(told, at) == pytest.approx(agreed)
    silent = Lesson(probability=taught.probability, known={"unsafe": np.zeros_like(known)})
    assert teacher_agreement_of("unsafe", lesson=silent)(told, at) is None


def test_a_paired_difference_finds_the_better_and_only_the_better(rows):
    good, same, bad = (told_at_random(rows, n, skill=s) for n, s in ((1, 0.9), (1, 0.9), (2, 0.1)))
    measure = auprc_of("unsafe", rows=rows)
    value, low, high = paired_difference([good], [bad], measure=measure, items=rows.items, seed=0)
    assert 0 < low < value < high
    same_found = paired_difference([good], [same], measure=measure, items=rows.items, seed=0)
    assert same_found == (0, 0, 0)
    shuffled = Told(rows=bad.rows[::-1], probability=bad.probability, verdict=bad.verdict)
    with pytest.raises(ValueError, match="same rows"):
        paired_difference([good], [shuffled], measure=measure, items=rows.items, seed=0)


def test_seeds_are_averaged_before_they_are_compared(rows):
    """Ours is the mean over its seeds; the interval is that of the mean, not of the first."""
    seeds = [told_at_random(rows, n, skill=0.6) for n in range(3)]
    baseline = told_at_random(rows, 4, skill=0.5)
    measure = auprc_of("unsafe", rows=rows)
    everything = np.arange(len(rows.triples))
    value, low, high = paired_difference(
        seeds, [baseline], measure=measure, items=rows.items, seed=0
    )
    *ours, theirs = (measure(told, everything) or np.nan for told in (*seeds, baseline))
    assert value == pytest.approx(np.mean(ours) - theirs)
    assert low < value < high
    twice = paired_difference(
        [*seeds, *seeds], [baseline], measure=measure, items=rows.items, seed=0
    )
    assert twice == pytest.approx((value, low, high))


def test_runs_of_other_data_are_not_measured_with_these(data, tmp_path, capsys):
    work = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    other = tmp_path / "other"
    triples = list(triples_of(read_triples(data)))[:-4]
    kept = {triple.triple_id for triple in triples}
    verdicts = [v for v in verdicts_of(read_verdicts(data)) if v.triple_id in kept]
    source = SourceNote(importer="test")
    write_data(other, triples=triples, verdicts=verdicts, rejects=(), source=source)
    assert experiment.main(["--data", str(other), *work]) == 0
    capsys.readouterr()
    assert experiment.main(["--data", str(data), *work]) == 2
    assert "is of other data" in " ".join(capsys.readouterr().err.split())
    assert experiment.main(["--data", str(other), *work]) == 0
    for path in (tmp_path / "work").glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    capsys.readouterr()
    assert experiment.main(["--data", str(other), *work]) == 2
    assert "doesn't say of which data" in " ".join(capsys.readouterr().err.split())


def test_a_runs_name_tells_it_apart():
    runs = [
        Run(method="m", teacher="t", design="vllms", fold=f, group=g, seed=s)
        for f in (0, 1)
        for g in (None, 0, 1)
        for s in (0, 1)
    ]
    assert len({run.name for run in runs}) == len(runs)
