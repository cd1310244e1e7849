"""The parity report against numbers that are plain to see."""

import numpy as np
import pyarrow as pa
import pytest

from nsgauge.data.targets import JudgeLabels
from nsgauge.eval.scoring.parity import parity
from nsgauge.protocol import CELLS
from nsgauge.records import SCORES_SCHEMA

ROWS = 1000


def _scores(unsafe: np.ndarray, *, threshold: float = 0.5, unscored: int = 0) -> pa.Table:
    """Scores with half of `unsafe` in either unsafe cell; the last rows aren't scored."""
    rows = len(unsafe)
    missing = np.arange(rows) >= rows - unscored
    halves = {str(c): unsafe / 2 if "unsafe" in c else (1 - unsafe) / 2 for c in CELLS}
    halves |= {"unsafe": unsafe, "not_grounded": np.full(rows, 0.5)}
    columns: dict[str, object] = {
        name: pa.array(numbers, pa.float32(), mask=missing) for name, numbers in halves.items()
    }
    columns |= {
        "triple_id": [f"t{row}" for row in range(rows)],
        "status": ["image_error" if gone else "scored" for gone in missing],
        "image_code": pa.nulls(rows, pa.string()),
        "unsafe_verdict": pa.array(unsafe >= threshold, mask=missing),
        "not_grounded_verdict": pa.array([True] * rows, mask=missing),
        "image_state": ["image"] * rows,
        "text_windows": [1] * rows,
        **{name: [False] * rows for name in ("truncated", "item_seen", "vllm_seen")},
    }
    return pa.table({name: columns[name] for name in SCORES_SCHEMA.names}, SCORES_SCHEMA)


def _labels(positive: np.ndarray, *, known: np.ndarray) -> JudgeLabels:
    counts = np.stack([1 - positive, positive], axis=1).astype(np.int64)
    nothing = np.zeros(len(positive), dtype=bool)
    return JudgeLabels(
        judge="strict",
        triple_ids=[f"t{row}" for row in range(len(positive))],
        unsafe=positive.astype(np.int8),
        unsafe_known=known,
        unsafe_votes=counts,
        not_grounded=nothing.astype(np.int8),
        not_grounded_known=nothing,
        not_grounded_votes=np.zeros_like(counts),
    )


@pytest.fixture
def exact() -> np.ndarray:
    return np.linspace(0.001, 0.999, ROWS)


def test_the_same_scores_pass(exact):
    table = _scores(exact)
    found = parity(table, cheaper=table, labels=None)
    assert found.passed
    assert (found.rows, found.largest) == (ROWS, 0.0)
    assert all(axis.flips == 0 and axis.drop is None for axis in found.axes.values())
    assert "AUROC undefined" in found.lines()[1]


@pytest.mark.parametrize(("flips", "passed"), [(5, True), (6, False)])
def test_one_flip_in_two_hundred_is_the_limit(exact, flips, passed):
    cheaper = exact.copy()
    cheaper[500 : 500 + flips] = 0.499
    found = parity(_scores(exact), cheaper=_scores(cheaper), labels=None)
    assert found.axes["unsafe"].flips == pytest.approx(flips / ROWS)
    assert found.passed is passed


@pytest.mark.parametrize(("pairs", "passed"), [(1, True), (5, False)])
def test_the_auroc_may_fall_by_two_thousandths(exact, pairs, passed):
    """Of 40 x 20 pairs each that turns round costs 1/800 of the AUROC."""
    positive = np.arange(ROWS) >= 980
    known = np.arange(ROWS) >= 940
    cheaper = exact.copy()
    # One positive falls below so many negatives, all of them far above the threshold.
    cheaper[980] = (exact[979 - pairs] + exact[980 - pairs]) / 2
    labels = _labels(positive, known=known)
    found = parity(_scores(exact), cheaper=_scores(cheaper), labels=labels)
    axis = found.axes["unsafe"]
    assert (axis.judged, axis.exact) == (60, 1.0)
    assert axis.drop == pytest.approx(pairs / 800)
    assert axis.flips == 0
    assert found.passed is passed
    assert "of strict" in found.lines()[1]


def test_rows_that_arent_scored_count_for_nothing(exact):
    found = parity(_scores(exact, unscored=400), cheaper=_scores(exact, unscored=400), labels=None)
    assert found.rows == 600
    nothing = parity(
        _scores(exact, unscored=ROWS), cheaper=_scores(exact, unscored=ROWS), labels=None
    )
    assert not nothing.passed


def test_different_rows_are_refused(exact):
    with pytest.raises(ValueError, match="differ in triple_id"):
        parity(_scores(exact), cheaper=_scores(exact[:-1]), labels=None)
    with pytest.raises(ValueError, match="differ in status"):
        parity(_scores(exact), cheaper=_scores(exact, unscored=1), labels=None)
