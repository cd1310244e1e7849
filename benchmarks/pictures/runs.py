"""One run: a world is drawn, a method learns from it and says what it thinks of the unseen rows."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.lexical import words_features
from benchmarks.pictures.alignment import distances
from benchmarks.pictures.captions import MATCHER
from benchmarks.pictures.rows import AXES, CELLS, Rows, load_rows, measured
from benchmarks.pictures.world import (
    LEARNED,
    TEACHER,
    TRUTH,
    WorldSettings,
    write_worlds,
)
from nsgauge.eval.controls import CONTROL_RUNS, Scope
from nsgauge.eval.report.writing import report_from_folders
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.train.fit import train
from nsgauge.train.recipe import Recipe, load_recipe

RECIPE = Path(__file__).with_name("pictures-pocket.yaml")
Row = dict[str, float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is done.

    Attributes:
        method: A key of `METHODS`.
        captions: Captioned rows for each drawing of other things.
        seed: Of the world, the split and the training.
        overrides: Of the recipe.
    """

    method: str
    captions: int
    seed: int
    overrides: tuple[str, ...] = ()

    def recipe(self) -> Recipe:
        """The recipe with this run's seed, split and teachers."""
        teachers = [TEACHER, MATCHER] if self.captions else [TEACHER]
        return load_recipe(
            str(RECIPE),
            overrides=(
                *self.overrides,
                f"seed={self.seed}",
                f"split.salt=pictures-{self.seed}",
                f"teacher.judges=[{', '.join(teachers)}]",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a method gets: the data folders, the rows to speak of by folder, and the recipe."""

    folder: Path
    rows: Mapping[str, Rows]
    recipe: Recipe
    vectors: dict[str, Tensor]


def perform(run: Run, *, source: Path, vectors: dict[str, Tensor]) -> list[Row]:
    """Do it in a folder that is thrown away; a row of the table for each cell.

    Args:
        run: What to do.
        source: As `source.fetch` writes it.
        vectors: What the image tower made of pictures in earlier runs, by digest; gets the new.
    """
    recipe = run.recipe()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = WorldSettings(seed=run.seed, captions=run.captions)
        write_worlds(folder, source=source, settings=settings)
        rows = {name: load_rows(folder / name) for name in CELLS}
        begun = time.monotonic()
        found = METHODS[run.method](Task(folder=folder, rows=rows, recipe=recipe, vectors=vectors))
        seconds = round(time.monotonic() - begun, 1)
    head: Row = {"method": run.method, "captions": run.captions, "seed": run.seed}
    return [head | {"cell": CELLS[name]} | found[name] | {"seconds": seconds} for name in CELLS]


def words(task: Task) -> dict[str, Row]:
    """TF-IDF and logistic regression on prompt and response, taught by the rule itself."""
    known = load_rows(task.folder / LEARNED)
    features = words_features()
    learned = features.fit_transform(known.texts)
    told: dict[str, dict[str, Float[np.ndarray, " rows"]]] = {name: {} for name in task.rows}
    for axis in AXES:
        regression = LogisticRegression(C=4.0, max_iter=2000, class_weight="balanced")
        regression.fit(learned, known.positive[axis])
        for name, rows in task.rows.items():
            told[name][axis] = regression.predict_proba(features.transform(rows.texts))[:, 1]
    return {name: measured(rows, told=told[name]) for name, rows in task.rows.items()}


def alignment(task: Task) -> dict[str, Row]:
    """The contrastive alignment of the frozen towers alone; it tells nothing of safety."""
    told = distances(task.folder, rows=task.rows, recipe=task.recipe, known=task.vectors)
    return {name: measured(rows, told=told[name]) for name, rows in task.rows.items()}


def classifier(task: Task) -> dict[str, Row]:
    """A training of the package by the recipe, scored and reported as users do it."""
    train(task.recipe, data=task.folder / LEARNED, out=task.folder / "bundle")
    return {name: _reported(task.folder, name=name) for name in task.rows}


def _reported(folder: Path, *, name: str) -> Row:
    """Both axes against the rule: as scored, and with the picture taken away."""
    scores = folder / f"{name}-scores"
    score_folder(
        folder / "bundle",
        data=folder / name,
        out=scores,
        settings=ScoringSettings(),
        resources=Resources(cache=folder / "vectors"),
    )
    report = report_from_folders(
        folder / name, scores=scores, out=folder / f"{name}-report", reference=TRUTH
    )
    row: Row = {}
    for axis in AXES:
        agreement = report.comparison.find(axis, judge=TRUTH)
        if agreement is None or agreement.auroc is None or agreement.auprc is None:
            continue
        row |= {
            "rows": agreement.rows,
            f"{axis}_positives": agreement.positives,
            f"{axis}_auroc": agreement.auroc,
            f"{axis}_auprc": agreement.auprc,
        }
        if report.controls is None:
            continue
        for control in CONTROL_RUNS:
            found = report.controls.find(axis, run=control, scope=Scope.ALL)
            if found is not None and found.auroc is not None:
                row[f"{axis}_auroc_{control}"] = found.auroc
    return row


METHODS: dict[str, Callable[[Task], dict[str, Row]]] = {
    "words": words,
    "alignment": alignment,
    "classifier": classifier,
}
"""By name: the words alone, aligned towers without a classifier, and the classifier."""
