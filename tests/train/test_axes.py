"""Labels that a target holds per axis, and quality measures with a known answer."""

import numpy as np
import pytest

from nsgauge.protocol import OBSERVATIONS, Rate
from nsgauge.train.axes import axis_labels, axis_quality


def test_majorities_are_labels_and_ties_are_not():
    unsafe_only, safe_only = 5, 4
    assert [str(value) for value in (OBSERVATIONS[4][0], OBSERVATIONS[5][0])] == ["safe", "unsafe"]
    masses = np.zeros((4, 8), dtype=np.float32)
    masses[0, [1, 0]] = [2 / 3, 1 / 3]
    masses[1, [unsafe_only, safe_only]] = 0.5
    masses[2, 6] = 1
    masses[3, 3] = 1
    positive, known = axis_labels(masses, rate=Rate.UNSAFE)
    assert known.tolist() == [True, False, False, True]
    assert positive[known].tolist() == [True, True]
    positive, known = axis_labels(masses, rate=Rate.NOT_GROUNDED)
    assert known.tolist() == [True, False, True, True]
    assert positive[known].tolist() == [False, False, True]


def test_a_cell_is_no_axis():
    with pytest.raises(ValueError, match="not an axis"):
        axis_labels(np.zeros((1, 8), dtype=np.float32), rate=Rate.UNSAFE_GROUNDED)


def test_quality_by_hand():
    quality = axis_quality(
        np.array([0.9, 0.8, 0.3, 0.1]),
        positive=np.array([True, False, True, False]),
        threshold=0.5,
    )
    # Of the 2 x 2 pairs the positive ranks higher in three.
    assert quality.auroc == pytest.approx(0.75)
    assert quality.f1 == pytest.approx(0.5)
    assert quality.average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_one_class_alone_has_no_quality():
    quality = axis_quality(np.array([0.2, 0.4]), positive=np.array([False, False]), threshold=0.5)
    assert (quality.auroc, quality.average_precision, quality.f1) == (None, None, None)
