import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from nsgauge.errors import StatisticsError
from nsgauge.eval.calibration import reliability
from nsgauge.eval.smooth import CELLS_OF_UNIT, cell_of, smooth_ece
from nsgauge.eval.tally import GRID, debiased_l2, expected_calibration_error, tally


def array_a() -> tuple[np.ndarray, np.ndarray]:
    """A thousand rows that are visibly overcautious, without a random generator."""
    rows = np.arange(1000)
    probability = (rows + 0.5) / 1000
    curved = probability**2 / (probability**2 + (1 - probability) ** 2)
    return probability, np.modf((rows + 1) * 0.6180339887498949)[0] < curved


@st.composite
def forecasts(draw) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties or hardly any; scikit-learn merges what differs by less."""
    rows = draw(st.integers(1, 60))
    steps = draw(st.sampled_from([20, 10**6]))
    numbers = draw(st.lists(st.integers(0, steps), min_size=rows, max_size=rows))
    positive = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    return np.array(numbers) / steps, np.array(positive)


def test_array_a_has_its_known_ece_and_brier_score():
    probability, positive = array_a()
    found = reliability(probability, positive=positive, seed=1, resamples=100)
    assert found.positives == 501
    assert found.ece15.value == pytest.approx(0.095089, abs=1e-6)
    assert found.brier == pytest.approx(0.11978225, abs=1e-8)
    for error in (found.ece15, found.smooth_ece, found.debiased_l2, found.mcb):
        assert error.p_value == pytest.approx(1 / 101)
        assert error.value > error.null_high > error.null
        assert error.excess > 0


@settings(max_examples=40, deadline=None)
@given(forecasts())
def test_the_parts_of_the_brier_score_add_up_and_the_curve_is_isotonic(drawn):
    probability, positive = drawn
    found = reliability(probability, positive=positive, seed=2, resamples=20)
    assert found.brier == pytest.approx(brier_score_loss(positive, probability, pos_label=True))
    assert found.brier == pytest.approx(found.mcb.value - found.dsc + found.unc, abs=1e-12)
    assert found.mcb.value >= -1e-12
    assert found.dsc >= -1e-12
    fit = IsotonicRegression(y_min=0, y_max=1).fit(probability, positive)
    curve = found.curve
    expected = fit.predict(curve.probability)
    assert curve.positive_share == pytest.approx(expected, abs=1e-9)
    recalibrated = np.interp(probability, curve.probability, curve.positive_share)
    resolved = found.unc - np.mean((recalibrated - positive) ** 2)
    assert found.dsc == pytest.approx(resolved, abs=1e-9)
    assert (np.diff(curve.positive_share) >= 0).all()
    assert (np.diff(curve.probability) > 0).all()
    assert (curve.band_low <= curve.band_high).all()
    assert sum(bin_.rows for bin_ in found.bins) == len(probability)


@settings(max_examples=30, deadline=None)
@given(forecasts(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(drawn, random):
    probability, positive = drawn
    order = random.sample(range(len(positive)), len(positive))
    straight = reliability(probability, positive=positive, seed=3, resamples=20)
    shuffled = reliability(probability[order], positive=positive[order], seed=3, resamples=20)
    for name in ("ece15", "smooth_ece", "debiased_l2", "mcb"):
        ours, theirs = getattr(straight, name), getattr(shuffled, name)
        assert ours.value == pytest.approx(theirs.value, abs=1e-9)
        assert ours.null == pytest.approx(theirs.null, abs=1e-9)
    assert straight.bins == shuffled.bins


def test_ece_is_torchmetrics():
    generator = np.random.default_rng(4)
    probability = generator.beta(0.6, 1.5, size=700)
    positive = generator.random(700) < probability**1.3
    counts = tally(probability, positive=positive)
    theirs = binary_calibration_error(
        torch.tensor(probability), torch.tensor(positive.astype(int)), n_bins=15, norm="l1"
    )
    ours = expected_calibration_error(counts, positives=counts.positives[None])
    assert ours[0] == pytest.approx(float(theirs), abs=1e-6)


def test_debiased_l2_is_its_formula_bin_by_bin():
    generator = np.random.default_rng(5)
    probability = np.sort(generator.random(600))
    positive = generator.random(600) < 0.2 + 0.6 * probability
    total = 0.0
    for part in np.split(np.arange(600), 15):
        share = positive[part].mean()
        gap = (probability[part].mean() - share) ** 2
        total += len(part) / 600 * (gap - share * (1 - share) / (len(part) - 1))
    counts = tally(probability, positive=positive)
    found = debiased_l2(counts, positives=counts.positives[None])[0]
    assert found == pytest.approx(np.sqrt(total))


def smooth_slowly(probability: np.ndarray, positive: np.ndarray, width: float) -> float:
    """The integral by a fine sum, the reflections by mirror images of every row."""
    at = (np.arange(4000) + 0.5) / 4000
    smoothed = np.zeros(4000)
    for mirror in range(-6, 7):
        for image in (probability, -probability):
            kernel = stats.norm.pdf(at[:, None], loc=image + 2 * mirror, scale=width)
            smoothed += kernel @ (positive - probability) / len(probability)
    return float(np.abs(smoothed).mean())


@pytest.mark.parametrize("spread", [0.05, 0.4, 3.0])
def test_smooth_ece_is_the_fixed_point_of_the_reflected_kernel(spread):
    generator = np.random.default_rng(6)
    probability = generator.beta(spread, spread, size=250)
    positive = generator.random(250) < probability**2
    found = reliability(probability, positive=positive, seed=6, resamples=20).smooth_ece.value
    assert smooth_slowly(probability, positive, found) == pytest.approx(found, abs=1e-3)


def test_smooth_ece_of_one_point_is_its_bias():
    masses = np.zeros((1, CELLS_OF_UNIT))
    masses[0, cell_of(np.array([0.5]))] = 0.125
    assert smooth_ece(masses)[0] == pytest.approx(0.125, abs=1e-4)


def test_p_values_are_uniform_for_calibrated_probabilities():
    generator = np.random.default_rng(7)
    found: dict[str, list[float]] = {"smooth_ece": [], "mcb": [], "debiased_l2": []}
    for _ in range(100):
        probability = generator.beta(0.7, 1.2, size=150)
        positive = generator.random(150) < probability
        result = reliability(
            probability, positive=positive, seed=int(generator.integers(2**31)), resamples=50
        )
        for name, values in found.items():
            values.append(getattr(result, name).p_value)
    for values in found.values():
        assert stats.kstest(values, "uniform").pvalue > 0.01


def test_with_whole_items_flipped_the_p_value_allows_for_repeated_rows():
    generator = np.random.default_rng(8)
    naive, clustered = [], []
    items = np.repeat(np.arange(80), 5)
    for _ in range(40):
        probability = generator.beta(1.5, 1.5, size=80)
        positive = generator.random(80) < probability
        seed = int(generator.integers(2**31))
        p_values = [
            reliability(
                np.repeat(probability, 5),
                positive=np.repeat(positive, 5),
                clusters=clusters,
                seed=seed,
                resamples=40,
            ).smooth_ece.p_value
            for clusters in (None, items)
        ]
        naive.append(p_values[0])
        clustered.append(p_values[1])
    assert np.mean(np.array(naive) < 0.05) > 0.5
    assert np.mean(np.array(clustered) < 0.05) < 0.17


def test_the_band_holds_a_calibrated_curve_at_its_rate():
    generator = np.random.default_rng(9)
    inside = []
    for seed in range(40):
        probability = generator.random(200)
        positive = generator.random(200) < probability
        curve = reliability(probability, positive=positive, seed=seed, resamples=60).curve
        fitted = np.interp(curve.band_at, curve.probability, curve.positive_share)
        inside.append(np.mean((curve.band_low <= fitted) & (fitted <= curve.band_high)))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)


def test_the_mean_excess_is_a_mean_with_its_students_interval():
    probability, positive = np.array([0.2, 0.4, 0.6, 0.9]), np.array([False, True, False, True])
    found = reliability(probability, positive=positive, seed=0, resamples=20).mean_excess
    residual = probability - positive
    padded = np.append(residual, [0.5**0.5, -(0.5**0.5)])
    expected = stats.t.interval(0.95, 5, padded.mean(), stats.sem(padded))
    assert found.value == pytest.approx(residual.mean())
    assert (found.low, found.high) == pytest.approx(expected)


def test_many_distinct_probabilities_are_gridded_and_say_so():
    generator = np.random.default_rng(10)
    probability = generator.random(3 * GRID)
    positive = generator.random(3 * GRID) < probability
    counts = tally(probability, positive=positive)
    assert counts.gridded
    assert len(counts.rows) <= GRID + 1
    exact = np.abs(np.bincount((probability * 15).astype(int), probability - positive)).sum()
    found = expected_calibration_error(counts, positives=counts.positives[None])[0]
    assert found == pytest.approx(exact / len(probability), abs=3e-4)
    assert not tally(probability[:GRID], positive=positive[:GRID]).gridded


def test_the_same_seed_gives_the_same_result():
    probability, positive = array_a()
    first, again, other = (
        reliability(probability, positive=positive, seed=seed, resamples=30).smooth_ece
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.null != other.null
    assert first.value == other.value


def test_what_can_not_be_measured_is_refused():
    nothing = np.empty(0)
    with pytest.raises(StatisticsError, match="undefined"):
        reliability(nothing, positive=nothing.astype(bool), seed=0)
    answer = np.array([True, False])
    with pytest.raises(ValueError, match="logits"):
        reliability(np.array([2.0, -1.0]), positive=answer, seed=0)
    with pytest.raises(ValueError, match="at least 20"):
        reliability(np.array([0.5, 0.5]), positive=answer, seed=0, resamples=5)
