"""Paired differences: against scikit-learn and resampled items, and their coverage."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from nsgauge.eval.paired import Paired, paired_auroc, paired_kappa, paired_means


def world(draw, *, items=150, per_item=2, noise=(0.6, 1.0)):
    """A reference and two scores of different worth; rows of an item share its difficulty."""
    rows = items * per_item
    item = np.repeat(np.arange(items), per_item)
    depth = draw.normal(size=items)[item] + 0.7 * draw.normal(size=rows)
    positive = depth > 0.4
    shared = 0.5 * draw.normal(size=items)[item]
    scores = [depth + shared + scale * draw.normal(size=rows) for scale in noise]
    return positive, *(1 / (1 + np.exp(-score)) for score in scores), item


def resampled(measure, arrays, item, *, draws=150, seed=0):
    """The spread of a measure when items are drawn again."""
    draw, members = (
        np.random.default_rng(seed),
        [np.flatnonzero(item == i) for i in np.unique(item)],
    )
    found = []
    for _ in range(draws):
        at = np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))])
        found.append(measure(*(array[at] for array in arrays)))
    return np.std(found)


def sure(found: Paired | None) -> Any:
    """What is known to be defined."""
    assert found is not None
    return found


def half(paired):
    low, high = paired.difference.low, paired.difference.high
    return (high - low) / 2 / 1.976


def test_two_aurocs_are_those_of_scikit_learn_with_the_spread_of_resampled_items():
    positive, first, second, item = world(np.random.default_rng(1))
    found = sure(paired_auroc(positive, first=first, second=second, clusters=item))
    assert found.first == pytest.approx(roc_auc_score(positive, first), abs=1e-12)
    assert found.second == pytest.approx(roc_auc_score(positive, second), abs=1e-12)
    assert found.difference.value == pytest.approx(found.second - found.first)
    spread = resampled(
        lambda y, a, b: roc_auc_score(y, b) - roc_auc_score(y, a), (positive, first, second), item
    )
    assert half(found) == pytest.approx(spread, rel=0.2)
    assert (found.rows, found.items) == (300, 150)


def test_two_kappas_are_those_of_scikit_learn_with_the_spread_of_resampled_items():
    positive, first, second, item = world(np.random.default_rng(2))
    labels, ours, theirs = (side.astype(np.int64) for side in (positive, first > 0.5, second > 0.5))
    found = sure(paired_kappa(labels, first=ours, second=theirs, categories=2, clusters=item))
    assert found.first == pytest.approx(cohen_kappa_score(labels, ours), abs=1e-12)
    assert found.second == pytest.approx(cohen_kappa_score(labels, theirs), abs=1e-12)
    spread = resampled(
        lambda y, a, b: cohen_kappa_score(y, b) - cohen_kappa_score(y, a),
        (labels, ours, theirs),
        item,
        draws=150,
    )
    assert half(found) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_intervals_of_paired_rates_cover(share):
    draw, covered = np.random.default_rng(3), 0
    for _ in range(600):
        easy = np.repeat(draw.random(60), 2)
        first = (easy * 0.5 + 0.5 * draw.random(120) < share).astype(np.float64)
        second = (easy * 0.5 + 0.5 * draw.random(120) < share).astype(np.float64)
        found = sure(paired_means(first, second=second, clusters=np.repeat(np.arange(60), 2)))
        covered += found.difference.low <= 0 <= found.difference.high
    assert covered / 600 >= 0.93


def test_sides_that_always_agree_leave_room_for_doubt():
    same = np.resize([0.0, 1.0], 50)
    found = sure(paired_means(same, second=same))
    assert found.difference.value == 0
    assert found.difference.low < 0 < found.difference.high
    labels = same.astype(np.int64)
    kappa = sure(paired_kappa(labels, first=labels, second=labels, categories=2))
    assert kappa.difference == (0.0, None, None)


def test_swapping_the_sides_turns_the_difference():
    positive, first, second, item = world(np.random.default_rng(4))
    one = sure(paired_auroc(positive, first=first, second=second, clusters=item)).difference
    other = sure(paired_auroc(positive, first=second, second=first, clusters=item)).difference
    assert one == pytest.approx((-other.value, -other.high, -other.low))


def test_what_is_undefined_is_none():
    nothing = np.zeros(0)
    assert paired_means(nothing, second=nothing) is None
    ones = np.ones(4, dtype=bool)
    assert paired_auroc(ones, first=np.zeros(4), second=np.zeros(4)) is None
    zeros = np.zeros(4, dtype=np.int64)
    assert paired_kappa(zeros, first=zeros, second=zeros, categories=2) is None
