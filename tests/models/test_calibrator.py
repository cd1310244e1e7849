import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from nsgauge.models.calibrator import Calibrator


def test_identity_is_the_softmax_known_by_hand():
    # The exponentials are 1, 2, 3 and 4.
    logits = np.log(np.array([[1.0, 2.0, 3.0, 4.0]], dtype=np.float32))
    found = Calibrator().probabilities(logits)
    np.testing.assert_allclose(found, [[0.1, 0.2, 0.3, 0.4]], atol=1e-7)


def test_scale_sharpens_by_a_power():
    logits = np.log(np.array([[1.0, 2.0, 3.0, 4.0]]))
    found = Calibrator(method="temperature", scale=2.0).probabilities(logits)
    np.testing.assert_allclose(found, [[1 / 30, 4 / 30, 9 / 30, 16 / 30]])


def test_shift_multiplies_the_odds():
    calibrator = Calibrator(method="bias_corrected", shift=(0.0, math.log(3), 0.0, math.log(2)))
    found = calibrator.probabilities(np.zeros((1, 4)))
    np.testing.assert_allclose(found, [[1 / 7, 3 / 7, 1 / 7, 2 / 7]])


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 9), st.just(4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.floats(1e-3, 1e3),
)
def test_rows_sum_to_one_however_large_the_logits(logits, scale):
    found = Calibrator(method="temperature", scale=scale).probabilities(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert np.all((found >= 0) & (found <= 1))


@pytest.mark.parametrize(
    "fault",
    [
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": math.nan},
        {"scale": math.inf},
        {"shift": (0.0, math.nan, 0.0, 0.0)},
        {"shift": (0.0, 0.0, -math.inf, 0.0)},
        {"shift": (0.0, 0.0)},
        {"method": "platt"},
    ],
)
def test_numbers_that_cant_give_probabilities_are_refused(fault):
    with pytest.raises(ValidationError):
        Calibrator.model_validate(fault)
