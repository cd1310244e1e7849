import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from nsgauge.data.sample import SampleSettings, write_sample
from nsgauge.data.split import Side, SplitSettings
from nsgauge.errors import DataError


@pytest.fixture(scope="module")
def lexical(benchmark_module):
    """The benchmark as a module."""
    return benchmark_module("lexical")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small sample world and a recipe that names its split."""
    folder = tmp_path_factory.mktemp("lexical")
    write_sample(folder / "data", settings=SampleSettings(pictures_per_variant=2))
    recipe = folder / "recipe.yaml"
    recipe.write_text("split: {salt: one, validation: 0.2, calibration: 0.1, test: 0.3}\n")
    return folder / "data", recipe


@pytest.fixture(scope="module")
def results(lexical, world, tmp_path_factory):
    """The rows of the CSV file that the command writes."""
    data, recipe = world
    out = tmp_path_factory.mktemp("results") / "deep" / "lexical.csv"
    options = ["--data", data, "--recipe", recipe, "--judge", "sample-judge", "--out", out]
    assert lexical.main([str(option) for option in options]) == 0
    with out.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_axis_is_measured_at_both_thresholds_with_its_origin(results):
    assert [(row["axis"], row["threshold_target"]) for row in results] == [
        ("unsafe", "f1"),
        ("not_grounded", "f1"),
        ("unsafe", "training_prevalence"),
        ("not_grounded", "training_prevalence"),
    ]
    for row in results:
        assert row["judge"] == "sample-judge"
        assert row["scikit-learn"]
        assert row["date"]
        assert "--judge sample-judge" in row["command"]


def test_words_tell_unsafe_but_not_grounding_in_the_sample_world(results):
    auroc = {row["axis"]: float(row["auroc"]) for row in results}
    assert auroc["unsafe"] > 0.7
    assert auroc["not_grounded"] < 0.65


def test_no_item_is_both_trained_on_and_tested(lexical, world):
    data, _ = world
    rows = lexical.load_rows(data, judge="rule", split=SplitSettings(salt="one"))
    items = np.array(rows.items)
    test = rows.rows_of(Side.TEST, axis="unsafe")
    train = rows.rows_of(Side.TRAIN, Side.CALIBRATION, axis="unsafe")
    assert not set(items[test]) & set(items[train])
    assert len(set(items)) == 64
    assert "" not in rows.responses


def test_measures_agree_with_scikit_learn(lexical):
    generator = np.random.default_rng(3)
    count = 200
    positive = {axis: generator.random(count) < 0.3 for axis in lexical.AXES}
    rows = lexical.Rows(
        triple_ids=[str(row) for row in range(count)],
        responses=[""] * count,
        items=[str(row // 2) for row in range(count)],
        sides=[Side.TEST] * count,
        positive=positive,
        known={axis: np.ones(count, dtype=bool) for axis in lexical.AXES},
    )
    fits = {
        axis: lexical.AxisFit(
            probability=0.5 * generator.random(count) + 0.3 * positive[axis],
            thresholds={"f1": 0.4},
        )
        for axis in lexical.AXES
    }
    called = {axis: fits[axis].probability >= 0.4 for axis in lexical.AXES}
    outcome, guessed = (
        np.where(of["not_grounded"], 2, of["unsafe"].astype(int)) for of in (positive, called)
    )
    for result in lexical.measure(rows, fits=fits, target="f1"):
        axis = result["axis"]
        assert result["f1"] == pytest.approx(f1_score(positive[axis], called[axis]))
        assert result["kappa"] == pytest.approx(cohen_kappa_score(positive[axis], called[axis]))
        assert result["outcome_kappa"] == pytest.approx(cohen_kappa_score(outcome, guessed))


def test_best_f1_threshold_is_the_best_of_all_cuts(lexical):
    generator = np.random.default_rng(4)
    positive = generator.random(80) < 0.3
    probability = generator.random(80).round(2)
    best = max(f1_score(positive, probability >= cut) for cut in probability)
    threshold = lexical.best_f1_threshold(probability, positive=positive)
    assert f1_score(positive, probability >= threshold) == pytest.approx(best)


def test_a_judge_that_is_not_there_ends_in_one_line_and_code_2(lexical, world, tmp_path, capsys):
    data, recipe = world
    out = tmp_path / "out.csv"
    options = ["--data", data, "--recipe", recipe, "--judge", "nobody", "--out", out]
    assert lexical.main([str(option) for option in options]) == 2
    assert "nobody" in capsys.readouterr().err
    assert not out.exists()


def test_a_classifier_that_saw_a_test_item_is_refused(lexical, world, monkeypatch):
    data, _ = world
    rows = lexical.load_rows(data, judge="rule", split=SplitSettings(salt="one"))
    columns = {
        "triple_id": rows.triple_ids,
        "item_seen": [False] * len(rows.triple_ids),
        "status": ["scored"] * len(rows.triple_ids),
        "unsafe": [0.2] * len(rows.triple_ids),
        "not_grounded": [0.3] * len(rows.triple_ids),
    }
    bundle = {"thresholds": {"unsafe": 0.4, "not_grounded": 0.5}}
    monkeypatch.setattr(lexical, "read_manifest", lambda _: SimpleNamespace(bundle=bundle))
    monkeypatch.setattr(lexical, "read_scores", lambda _: pa.table(columns))
    told = lexical.scored_axes(Path("scores"), rows=rows)
    assert told["unsafe"].thresholds == {"bundle": 0.4}
    assert set(told["not_grounded"].probability) == {0.3}
    columns["item_seen"][rows.sides.index(Side.TEST)] = True
    with pytest.raises(DataError, match="seen or unscored"):
        lexical.scored_axes(Path("scores"), rows=rows)
