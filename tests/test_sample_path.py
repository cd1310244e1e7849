"""The whole path on the sample world: train, score, report, and what must come out.

A shorter training than the demo's: both stages, the second cut to one epoch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsgauge.cli.demo import RECIPE, TRUTH, control_auroc, unseen_auroc
from nsgauge.data.folders import VERDICTS_FILE
from nsgauge.data.sample.world import write_sample
from nsgauge.data.tables import read_verdicts
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.writing import report_from_folders
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.train.fit import train
from nsgauge.train.recipe import load_recipe

AXES = ("unsafe", "not_grounded")


@dataclass(frozen=True)
class Made:
    """The folders of one run and its report."""

    folder: Path
    report: Report


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample(folder)
    return folder


def run_path(data: Path, *, folder: Path, overrides: tuple[str, ...]) -> Made:
    train(load_recipe(RECIPE, overrides=overrides), data=data, out=folder / "bundle")
    score_folder(
        folder / "bundle",
        data=data,
        out=folder / "scores",
        settings=ScoringSettings(),
        resources=Resources(),
    )
    report = report_from_folders(data, scores=folder / "scores", out=folder / "report")
    return Made(folder, report)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    return run_path(
        data,
        folder=tmp_path_factory.mktemp("path"),
        overrides=("optimisation.adapted.epochs=1",),
    )


@pytest.mark.parametrize("axis", AXES)
def test_unseen_items_are_told_apart(made, axis):
    auroc = unseen_auroc(made.report, judge=TRUTH, axis=axis)
    assert auroc is not None
    assert auroc >= 0.95


def test_without_its_picture_grounding_can_not_be_told(made):
    for run in ("shuffled_images", "blank_images", "response_only", "prompt_response"):
        auroc = control_auroc(made.report, run=run, axis="not_grounded")
        assert auroc is not None
        assert auroc < 0.65, run


def test_the_report_is_whole_and_asks_the_network_for_nothing(made):
    page = (made.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "Does the picture count?" in page
    for reach in ("<script src", "<link ", "@import", "url(http"):
        assert reach not in page
    tables = {path.name for path in (made.folder / "report" / "tables").iterdir()}
    assert {"headline.csv", "agreement.csv", "picture_controls.csv"} <= tables


def test_shuffled_labels_teach_nothing(data, tmp_path):
    shuffled = tmp_path / "data"
    write_sample(shuffled)
    verdicts = read_verdicts(data)
    teacher = np.array([judge == "sample-judge" for judge in verdicts["judge"].to_pylist()])
    ids = np.array(verdicts["triple_id"].to_pylist(), dtype=object)
    distinct = np.unique(ids[teacher].astype(str))
    other = np.random.default_rng(0).permutation(distinct)
    exchanged = dict(zip(distinct, other, strict=True))
    ids[teacher] = [exchanged[triple_id] for triple_id in ids[teacher]]
    place = verdicts.schema.get_field_index("triple_id")
    table = verdicts.set_column(
        place, verdicts.schema.field(place), pa.array(ids.tolist(), pa.string())
    )
    pq.write_table(table, shuffled / VERDICTS_FILE)
    made = run_path(
        shuffled,
        folder=tmp_path,
        overrides=("optimisation.adapted.epochs=0", "optimisation.frozen.epochs=12"),
    )
    for axis in AXES:
        auroc = unseen_auroc(made.report, judge=TRUTH, axis=axis)
        assert auroc is not None
        assert auroc < 0.75
