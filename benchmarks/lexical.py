"""The lexical baseline: what the words of a response alone give away, without the picture.

TF-IDF (words 1-2, characters 3-5) and a balanced logistic regression on the response, one per
axis, trained on the training and calibration sides of a recipe's split, with thresholds from the
validation side, measured on the test side. A classifier that doesn't beat it hasn't looked.

    nsgauge import msts SOURCE --out DATA
    python benchmarks/lexical.py --data DATA --recipe src/nsgauge/train/recipes/msts-pocket.yaml \
        --judge human --out lexical.csv

With `--scores SCORES`, a classifier that was trained on the same split stands beside it, measured
on the same rows. About 15 s on one CPU core for 3,040 English rows of MSTS.
"""

import argparse
import csv
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union

from nsgauge.data.images import image_digest, read_image
from nsgauge.data.split import Side, SplitSettings, assign_sides, group_keys, item_key
from nsgauge.data.tables import data_fingerprint, read_triples, read_verdicts, triples_of
from nsgauge.data.targets import labels_of
from nsgauge.errors import DataError, ImageError, NsgaugeError
from nsgauge.eval.agreement import axis_agreement, outcome_agreement
from nsgauge.eval.scoring.shards import read_manifest, read_scores
from nsgauge.protocol import CELLS, Cell
from nsgauge.records import ResponseState, Triple
from nsgauge.settings import read_yaml_mapping

AXES = ("unsafe", "not_grounded")
TARGETS = ("f1", "training_prevalence")
"""How a threshold is chosen on validation: the best F1, or as many positives as in training."""

_TRAINED_ON = (Side.TRAIN, Side.CALIBRATION)
_LIBRARIES = ("nsgauge", "numpy", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The answered rows of a data folder that the judge labelled on at least one axis.

    Attributes:
        triple_ids: Names of the rows.
        responses: The texts, which is all that the baseline reads.
        items: Keys of the items, for intervals.
        sides: Which side of the split each row is on.
        positive: Per axis, the judge's label; False where unknown.
        known: Per axis, whether the judge has one.
    """

    triple_ids: list[str]
    responses: list[str]
    items: list[str]
    sides: list[Side]
    positive: dict[str, Bool[np.ndarray, " rows"]]
    known: dict[str, Bool[np.ndarray, " rows"]]

    def rows_of(self, *sides: Side, axis: str) -> Int[np.ndarray, " some"]:
        """Row numbers on these sides with a label on the axis."""
        here = np.array([side in sides for side in self.sides])
        return np.flatnonzero(here & self.known[axis])


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisFit:
    """One axis, told by the baseline or by a classifier.

    Attributes:
        probability: Of the positive class, for every row; in [0, 1], not calibrated.
        thresholds: By target.
    """

    probability: Float[np.ndarray, " rows"]
    thresholds: dict[str, float]


def load_rows(data: Path, *, judge: str, split: SplitSettings) -> Rows:
    """The rows that a classifier with this split would learn from and be measured on.

    Raises:
        DataError: a table is missing or malformed, the judge has no verdict, or no row is usable.
    """
    labels = labels_of(read_verdicts(data), judge=judge)
    place = {triple_id: number for number, triple_id in enumerate(labels.triple_ids)}
    digests: dict[str, str | None] = {}
    triples = [t for t in triples_of(read_triples(data)) if _is_usable(t, data, digests)]
    keys = [item_key(triple.benchmark, triple.item_id) for triple in triples]
    images = [None if t.image is None else digests[t.image] for t in triples]
    sides = assign_sides(group_keys(keys, image_digests=images), settings=split)
    judged = [row for row, triple in enumerate(triples) if triple.triple_id in place]
    if not judged:
        raise DataError(f"{data}: {judge!r} judged none of {len(triples)} usable rows")
    order = np.array([place[triples[row].triple_id] for row in judged])
    return Rows(
        triple_ids=[triples[row].triple_id for row in judged],
        responses=[triples[row].response for row in judged],
        items=[keys[row] for row in judged],
        sides=[sides[row] for row in judged],
        positive={
            "unsafe": labels.unsafe[order] == 1,
            "not_grounded": labels.not_grounded[order] == 1,
        },
        known={
            "unsafe": labels.unsafe_known[order],
            "not_grounded": labels.not_grounded_known[order],
        },
    )


def fit_axis(rows: Rows, *, axis: str) -> AxisFit:
    """Train one axis, choose its thresholds, and give every row's probability.

    Raises:
        DataError: the rows to train on or to choose thresholds on hold one class only.
    """
    positive = rows.positive[axis]
    train = rows.rows_of(*_TRAINED_ON, axis=axis)
    validation = rows.rows_of(Side.VALIDATION, axis=axis)
    for name, part in (("train", train), ("validation", validation)):
        if len(np.unique(positive[part])) < 2:
            raise DataError(f"{axis}: {len(part)} {name} rows hold one class only; label more")
    regression = LogisticRegression(class_weight="balanced", C=4.0, max_iter=2000)
    reader = make_pipeline(words_features(), regression)
    reader.fit([rows.responses[row] for row in train], positive[train])
    probability = reader.predict_proba(rows.responses)[:, 1]
    chosen = probability[validation]
    thresholds = {
        "f1": best_f1_threshold(chosen, positive=positive[validation]),
        "training_prevalence": float(np.quantile(chosen, 1 - positive[train].mean())),
    }
    return AxisFit(probability=probability, thresholds=thresholds)


def scored_axes(scores: Path, *, rows: Rows) -> dict[str, AxisFit]:
    """Both axes as a classifier scored them, with the thresholds of its bundle.

    Raises:
        ScoringError: the score folder isn't whole.
        DataError: a row of the test side has no score, or the classifier was made with its item.
    """
    table = read_scores(scores)
    place = {triple_id: row for row, triple_id in enumerate(table["triple_id"].to_pylist())}
    seen, status = table["item_seen"].to_pylist(), table["status"].to_pylist()
    order = [place[triple_id] for triple_id in rows.triple_ids]
    for row, side in zip(order, rows.sides, strict=True):
        if side is Side.TEST and (seen[row] or status[row] != "scored"):
            raise DataError(f"{scores}: test rows are seen or unscored: use the split's own bundle")
    thresholds = read_manifest(scores).bundle["thresholds"]
    return {
        axis: AxisFit(
            probability=np.array(table[axis].to_pylist(), dtype=np.float64)[order],
            thresholds={"bundle": thresholds[axis]},
        )
        for axis in AXES
    }


def best_f1_threshold(
    probability: Float[np.ndarray, " rows"], *, positive: Bool[np.ndarray, " rows"]
) -> float:
    """The threshold t for which `probability >= t` has the largest F1."""
    precision, recall, thresholds = precision_recall_curve(positive, probability)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def measure(rows: Rows, *, fits: dict[str, AxisFit], target: str) -> list[dict[str, object]]:
    """One result per axis on the test side, with the thresholds of one target."""
    called = {axis: fit.probability >= fit.thresholds[target] for axis, fit in fits.items()}
    unsafe, not_grounded = (rows.rows_of(Side.TEST, axis=axis) for axis in AXES)
    both = np.intersect1d(unsafe, not_grounded)
    items = np.array(rows.items)
    outcomes = outcome_agreement(
        cells_named(rows.positive)[both],
        predicted_cells=cells_named(called)[both],
        clusters=items[both],
    )
    results: list[dict[str, object]] = []
    for axis, fit in fits.items():
        test = rows.rows_of(Side.TEST, axis=axis)
        found = axis_agreement(
            rows.positive[axis][test],
            predicted=called[axis][test],
            probability=fit.probability[test],
            clusters=items[test],
        )
        results.append(
            {
                "axis": axis,
                "threshold_target": target,
                "threshold": fit.thresholds[target],
                "train_rows": len(rows.rows_of(*_TRAINED_ON, axis=axis)),
                "test_rows": found.rows,
                "test_items": len(np.unique(items[test])),
                "positives": found.positives,
                "predicted_positives": found.predicted_positives,
                "auroc": found.auroc,
                "auroc_low": found.auroc_low,
                "auroc_high": found.auroc_high,
                "auprc": found.auprc,
                "f1": found.f1,
                "kappa": found.kappa,
                "kappa_low": found.kappa_low,
                "kappa_high": found.kappa_high,
                "outcome_kappa": outcomes.kappa,
                "outcome_kappa_low": outcomes.kappa_low,
                "outcome_kappa_high": outcomes.kappa_high,
                "outcome_macro_f1": outcomes.macro_f1,
            }
        )
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if it went through, 2 if the user can mend what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        classifier = None
        content = read_yaml_mapping(options.recipe).get("split", {})
        split = SplitSettings.from_mapping(content, source=f"{options.recipe}: split")
        rows = load_rows(options.data, judge=options.judge, split=split)
        fits = {axis: fit_axis(rows, axis=axis) for axis in AXES}
        if options.scores is not None:
            classifier = scored_axes(options.scores, rows=rows)
        fingerprint = data_fingerprint(options.data)
    except NsgaugeError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    results = [
        {"by": "words", **result}
        for target in TARGETS
        for result in measure(rows, fits=fits, target=target)
    ]
    if classifier is not None:
        name = read_manifest(options.scores).bundle["name"]
        told = measure(rows, fits=classifier, target="bundle")
        results += [{"by": name, **result} for result in told]
    origin = {
        "judge": options.judge,
        "recipe": options.recipe.name,
        "split_salt": split.salt,
        "data_sha256": fingerprint,
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
        "command": shlex.join(["python", *sys.argv] if arguments is None else arguments),
    }
    _write(options.out, [{**result, **origin} for result in results])
    _show(results)
    return 0


def _is_usable(triple: Triple, data: Path, digests: dict[str, str | None]) -> bool:
    """Whether the classifier would take the row: answered, and its picture readable if any."""
    if triple.response_state is not ResponseState.ANSWERED:
        return False
    if triple.image is None:
        return True
    if triple.image not in digests:
        try:
            digests[triple.image] = image_digest(read_image(data, triple.image))
        except ImageError:
            digests[triple.image] = None
    return digests[triple.image] is not None


def words_features() -> FeatureUnion:
    """TF-IDF of words and of parts of words."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=3, max_features=200_000
    )
    return make_union(words, characters)


def cells_named(positive: dict[str, Bool[np.ndarray, " rows"]]) -> Int[np.ndarray, " rows"]:
    """The index in `CELLS` that the yes/no answers on both axes name."""
    names = (
        (Cell.GROUNDED_SAFE, Cell.UNGROUNDED_SAFE),
        (Cell.GROUNDED_UNSAFE, Cell.UNGROUNDED_UNSAFE),
    )
    numbers = np.array([[CELLS.index(cell) for cell in pair] for pair in names])
    return np.asarray(numbers[positive["unsafe"].astype(int), positive["not_grounded"].astype(int)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The lexical baseline of both axes.")
    parser.add_argument("--data", type=Path, required=True, help="a data folder")
    parser.add_argument("--recipe", type=Path, required=True, help="YAML with the key `split`")
    parser.add_argument("--judge", required=True, help="whose labels to learn")
    parser.add_argument("--scores", type=Path, help="a score folder to set beside the baseline")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    return parser


def _write(path: Path, results: Sequence[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(results[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: round(v, 4) if isinstance(v, float) else v for name, v in result.items()}
            for result in results
        )
    part.replace(path)


_SHOWN = {
    "by": "told by",
    "axis": "axis",
    "threshold_target": "threshold for",
    "threshold": "at",
    "test_rows": "n",
    "positives": "positives",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "kappa": "kappa",
    "outcome_kappa": "3-outcome kappa",
}


def _show(results: Sequence[dict[str, object]]) -> None:
    table = Table(*_SHOWN.values(), title="Lexical baseline, test side", box=box.SIMPLE)
    for result in results:
        values = [result[name] for name in _SHOWN]
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values))
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
