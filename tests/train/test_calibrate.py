"""Calibration recovers what a simulation put in; thresholds equal a search over all cuts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_score, recall_score

from nsgauge.train.calibrate import ROWS_NEEDED, fit_calibrator, threshold_choice
from nsgauge.train.recipe import ThresholdTarget


def drawn(rows: int, *, scale: float, shift: np.ndarray, seed: int):
    """Logits, and labels drawn from softmax(scale * logits + shift)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, 4)).astype(np.float32)
    cells = softmax(scale * logits.astype(np.float64) + shift, axis=1)
    labels = np.array([generator.choice(4, p=row) for row in cells])
    return logits, np.eye(8)[labels]


def test_an_overconfident_network_is_cooled_to_the_true_temperature():
    logits, masses = drawn(6000, scale=0.4, shift=np.zeros(4), seed=0)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.scale == pytest.approx(0.4, abs=0.03)
    assert fit.losses["temperature"] < fit.losses["identity"]


def test_a_shifted_network_gets_its_shift_back():
    shift = np.array([1.0, -1.0, 0.5, -0.5])
    logits, masses = drawn(6000, scale=1.0, shift=shift, seed=1)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.method == "bias_corrected"
    found = np.array(fit.calibrator.shift)
    np.testing.assert_allclose(found - found.mean(), shift - shift.mean(), atol=0.12)


def test_a_calibrated_network_is_left_nearly_alone():
    logits, masses = drawn(4000, scale=1.0, shift=np.zeros(4), seed=2)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.scale == pytest.approx(1.0, abs=0.06)


def test_too_few_rows_calibrate_nothing():
    logits, masses = drawn(ROWS_NEEDED - 1, scale=0.2, shift=np.zeros(4), seed=3)
    fit = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    assert fit.calibrator.method == "identity"
    assert fit.losses == {}


def test_rows_of_one_item_count_once_where_the_method_is_chosen():
    """Each row twelve times, as one item's: dealt by row, any fit would be rewarded on copies."""
    logits, masses = drawn(60, scale=1.0, shift=np.zeros(4), seed=4)
    once = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(0))
    items = np.repeat(np.arange(60), 12)
    copies, same = np.repeat(logits, 12, axis=0), np.repeat(masses, 12, axis=0)
    together, apart = (
        fit_calibrator(
            copies, masses=same, generator=np.random.default_rng(0), clusters=clusters
        ).losses
        for clusters in (items, None)
    )
    assert together == pytest.approx(once.losses, abs=1e-4)
    assert apart["bias_corrected"] < once.losses["bias_corrected"] - 0.01


labelled = st.lists(
    st.tuples(st.integers(0, 20).map(lambda step: step / 20), st.booleans()),
    min_size=2,
    max_size=40,
)


def columns(rows):
    """Probabilities and labels, both classes among them."""
    positive = np.array([row[1] for row in rows])
    assume(positive.any() and not positive.all())
    return np.array([row[0] for row in rows]), positive


@given(rows=labelled)
def test_the_f1_threshold_has_the_greatest_f1_that_is_to_be_expected(rows):
    probability, positive = columns(rows)
    assume(probability.any())

    def expected(threshold: float) -> float:
        called = probability >= threshold
        return float(2 * probability[called].sum() / (called.sum() + probability.sum()))

    chosen = threshold_choice(probability, positive=positive, target=ThresholdTarget())
    best = max(map(expected, np.unique(probability)))
    assert expected(chosen.threshold) == pytest.approx(best)
    # Lipton et al. 2014: a call pays where it is likelier right than half of the best F1.
    assert probability[probability >= chosen.threshold].min() >= best / 2 - 1e-9
    assert probability.max(where=probability < chosen.threshold, initial=0.0) <= best / 2 + 1e-9
    assert chosen.reached


@given(rows=labelled)
def test_uncalibrated_probabilities_are_counted(rows):
    probability, positive = columns(rows)
    chosen = threshold_choice(
        probability, positive=positive, target=ThresholdTarget(), calibrated=False
    )
    best = max(f1_score(positive, probability >= cut) for cut in np.unique(probability))
    assert f1_score(positive, probability >= chosen.threshold) == pytest.approx(best)


def test_of_few_positives_the_expected_f1_chooses_better_than_the_counted_one():
    generator = np.random.default_rng(0)
    new = generator.beta(0.15, 2.5, 200_000)
    truth = generator.random(new.size) < new
    gained = []
    for _ in range(100):
        probability = np.sort(generator.beta(0.15, 2.5, 600))[::-1]
        positive = generator.random(600) < probability
        counts = 2 * np.cumsum(positive) / (np.arange(1, 601) + positive.sum())
        chosen = threshold_choice(probability, positive=positive, target=ThresholdTarget())
        cuts = (chosen.threshold, probability[np.argmax(counts)])
        ours, theirs = (f1_score(truth, new >= cut) for cut in cuts)
        gained.append(ours - theirs)
    assert np.mean(gained) > 4 * np.std(gained) / np.sqrt(len(gained))


@given(rows=labelled, wanted=st.sampled_from([0.5, 0.8, 1.0]))
def test_the_precision_threshold_is_the_lowest_that_reaches_it_or_the_most_precise(rows, wanted):
    probability, positive = columns(rows)
    target = ThresholdTarget(target="precision", precision=wanted)
    chosen = threshold_choice(probability, positive=positive, target=target)
    precisions = {
        cut: precision_score(positive, probability >= cut) for cut in np.unique(probability)
    }
    enough = min(wanted, max(precisions.values()))
    lowest = min(cut for cut, precision in precisions.items() if precision >= enough)
    assert ((probability >= chosen.threshold) == (probability >= lowest)).all()
    assert chosen.reached is (max(precisions.values()) >= wanted)
    assert chosen.wanted == wanted


@given(rows=labelled, wanted=st.sampled_from([0.5, 0.8, 1.0]))
def test_the_recall_threshold_is_the_highest_that_reaches_it(rows, wanted):
    probability, positive = columns(rows)
    target = ThresholdTarget(target="recall", recall=wanted)
    chosen = threshold_choice(probability, positive=positive, target=target)
    highest = max(
        cut
        for cut in np.unique(probability)
        if recall_score(positive, probability >= cut) >= wanted
    )
    assert ((probability >= chosen.threshold) == (probability >= highest)).all()
    assert chosen.reached


@given(rows=labelled)
def test_the_equal_rates_threshold_calls_as_many_as_the_teacher_as_nearly_as_ties_allow(rows):
    probability, positive = columns(rows)
    target = ThresholdTarget(target="equal_rates")
    chosen = threshold_choice(probability, positive=positive, target=target)
    off = abs(chosen.called - int(positive.sum()))
    cuts = np.unique(probability)
    assert off == min(abs(int((probability >= cut).sum()) - int(positive.sum())) for cut in cuts)
    assert chosen.reached is (off == 0)


@given(rows=labelled)
def test_no_threshold_agrees_with_the_teacher_on_more_rows_than_the_agreement_one(rows):
    probability, positive = columns(rows)
    assume(probability.max() < 1)
    chosen = threshold_choice(
        probability, positive=positive, target=ThresholdTarget(target="agreement")
    )
    cuts = [*np.unique(probability), 2.0]
    best = max(int(((probability >= cut) == positive).sum()) for cut in cuts)
    assert ((probability >= chosen.threshold) == positive).sum() == best


def chosen_for(target, probability, positive):
    return threshold_choice(probability, positive=positive, target=ThresholdTarget(target=target))


@given(rows=labelled, target=st.sampled_from(["f1", "equal_rates"]))
def test_what_a_threshold_gave_is_counted_on_its_own_verdicts(rows, target):
    probability, positive = columns(rows)
    chosen = chosen_for(target, probability, positive)
    called = probability >= chosen.threshold
    assert (chosen.rows, chosen.positives) == (len(rows), positive.sum())
    assert chosen.precision == pytest.approx(precision_score(positive, called))
    assert chosen.recall == pytest.approx(recall_score(positive, called))
    assert chosen.precision_low is None or chosen.precision_low <= chosen.precision
    assert chosen.recall_low is None or chosen.recall_low <= chosen.recall


def test_the_lower_bound_is_the_exact_one_sided_one():
    # Eight of the ten highest are positive, and all positives are among them.
    probability = np.linspace(1, 0, 40)
    positive = np.arange(40) < 10
    positive[[3, 6]] = False
    target = ThresholdTarget(target="recall", recall=1.0)
    chosen = threshold_choice(probability, positive=positive, target=target)
    assert (chosen.hits, chosen.called) == (8, 10)
    expected = binomtest(8, 10, alternative="greater").proportion_ci(0.95, method="exact")
    assert chosen.precision_low == pytest.approx(expected.low)
    assert chosen.recall_low == pytest.approx(0.05 ** (1 / 8))


def test_rows_of_one_item_count_once_in_the_lower_bound():
    probability, positive = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.05]), np.arange(6) < 4
    once = threshold_choice(probability, positive=positive, target=ThresholdTarget())
    thrice = threshold_choice(
        np.repeat(probability, 3),
        positive=np.repeat(positive, 3),
        target=ThresholdTarget(),
        clusters=np.repeat(np.arange(6), 3),
    )
    assert thrice.called == 3 * once.called
    assert thrice.precision_low == pytest.approx(once.precision_low)
    alone = threshold_choice(
        probability, positive=positive, target=ThresholdTarget(), clusters=np.zeros(6)
    )
    assert alone.precision_low is None


def test_nothing_lies_between_neighbouring_probabilities():
    low = 0.5
    high = float(np.nextafter(low, 1))
    probability, positive = np.array([high, low]), np.array([True, False])
    chosen = threshold_choice(
        probability, positive=positive, target=ThresholdTarget(target="equal_rates")
    )
    assert (chosen.called, chosen.hits) == (1, 1)


@pytest.mark.parametrize("positive", [np.ones(2, bool), np.zeros(2, bool), np.zeros(0, bool)])
def test_one_class_alone_leaves_the_threshold_at_one_half_and_says_so(positive):
    probability = np.array([0.1, 0.9])[: len(positive)]
    chosen = threshold_choice(probability, positive=positive, target=ThresholdTarget())
    assert (chosen.threshold, chosen.reached) == (0.5, False)


def test_many_rows_say_how_rare_a_rare_cell_is():
    """What label smoothing gave a cell of a fifth of a percent is taken back."""
    generator = np.random.default_rng(0)
    prior, distance = np.array([0.95, 0.03, 0.018, 0.002]), 1.5
    label = generator.choice(4, size=6000, p=prior)
    seen = generator.standard_normal((6000, 4)) + distance * np.eye(4)[label]
    said = distance * seen + np.log(prior)
    cells = np.exp(said - said.max(axis=1, keepdims=True))
    cells /= cells.sum(axis=1, keepdims=True)
    logits = np.log(0.9 * cells + 0.1 / 4)
    masses = np.eye(8)[label]
    found = fit_calibrator(logits, masses=masses, generator=np.random.default_rng(1))
    assert found.calibrator.method == "bias_corrected"
    told = found.calibrator.probabilities(logits).mean(axis=0)
    np.testing.assert_allclose(told, masses[:, :4].mean(axis=0), rtol=0.1)
