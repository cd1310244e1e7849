from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics
from statsmodels.stats.inter_rater import cohens_kappa
from torchmetrics.functional import classification

from nsgauge.eval.agreement import (
    OUTCOMES,
    axis_agreement,
    outcome_agreement,
)
from nsgauge.protocol import CELLS


@st.composite
def answers(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference, prediction and a probability with many ties."""
    rows = draw(st.integers(1, 80))
    bits = st.lists(st.booleans(), min_size=rows, max_size=rows)
    tenths = st.lists(st.integers(0, 10), min_size=rows, max_size=rows)
    return np.array(draw(bits)), np.array(draw(bits)), np.array(draw(tenths)) / 10


@settings(deadline=None)
@given(answers())
def test_the_measures_are_scikit_learns_where_they_are_defined(drawn):
    reference, predicted, probability = drawn
    found = axis_agreement(reference, predicted=predicted, probability=probability)
    assert np.array(found.confusion).tolist() == (
        metrics.confusion_matrix(reference, predicted, labels=[False, True]).tolist()
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(reference, predicted))
    both_classes = reference.any() and not reference.all()
    varied = both_classes and predicted.any() and not predicted.all()
    if reference.any() or predicted.any():
        assert found.f1 == pytest.approx(metrics.f1_score(reference, predicted))
    else:
        assert found.f1 is None
    if both_classes:
        balanced = metrics.balanced_accuracy_score(reference, predicted)
        assert found.balanced_accuracy == pytest.approx(balanced)
        assert found.kappa == pytest.approx(metrics.cohen_kappa_score(reference, predicted))
        assert found.auroc == pytest.approx(metrics.roc_auc_score(reference, probability))
        precision = metrics.average_precision_score(reference, probability)
        assert found.auprc == pytest.approx(precision)
    else:
        assert (found.balanced_accuracy, found.auroc) == (None, None)
    if varied:
        assert found.mcc == pytest.approx(metrics.matthews_corrcoef(reference, predicted))
    else:
        assert found.mcc is None
    assert (found.precision is None) == (not predicted.any())
    assert (found.recall is None) == (not reference.any())


def test_the_measures_are_those_of_torchmetrics_to_six_digits():
    draw = np.random.default_rng(8)
    probability = draw.beta(0.7, 2.0, size=900).astype(np.float32).astype(np.float64)
    reference = draw.random(900) < probability**1.2
    found = axis_agreement(reference, predicted=probability > 0.5, probability=probability)
    given = torch.tensor(probability, dtype=torch.float32), torch.tensor(reference.astype(int))
    theirs: dict[str, Any] = {
        "accuracy": classification.binary_accuracy,
        "precision": classification.binary_precision,
        "recall": classification.binary_recall,
        "f1": classification.binary_f1_score,
        "kappa": classification.binary_cohen_kappa,
        "mcc": classification.binary_matthews_corrcoef,
        "auroc": classification.binary_auroc,
        "auprc": classification.binary_average_precision,
    }
    for name, measure in theirs.items():
        assert getattr(found, name) == pytest.approx(float(measure(*given)), abs=1e-6), name


def test_kappas_spread_is_that_of_statsmodels():
    draw = np.random.default_rng(9)
    reference = draw.random(400) < 0.3
    predicted = np.where(draw.random(400) < 0.8, reference, ~reference)
    found = axis_agreement(reference, predicted=predicted)
    theirs = cohens_kappa(np.array(found.confusion))
    assert found.kappa == pytest.approx(theirs.kappa, abs=1e-12)
    assert found.kappa_high is not None
    assert found.kappa is not None
    spread = (found.kappa_high - found.kappa) / stats.t.ppf(0.975, df=399)
    assert spread == pytest.approx(theirs.std_kappa * (400 / 399) ** 0.5, rel=1e-6)


@settings(deadline=None)
@given(answers())
def test_every_interval_holds_its_value_and_has_a_width(drawn):
    reference, predicted, probability = drawn
    found = axis_agreement(reference, predicted=predicted, probability=probability)
    for value, low, high, least in (
        (found.kappa, found.kappa_low, found.kappa_high, -1),
        (found.ac1, found.ac1_low, found.ac1_high, -1),
        (found.auroc, found.auroc_low, found.auroc_high, 0),
    ):
        if value is not None and low is not None and high is not None:
            assert least <= low <= value <= high <= 1
            assert low < high


@given(answers(), st.randoms(use_true_random=False))
def test_order_and_names_of_the_items_are_irrelevant(drawn, random):
    order = random.sample(range(len(drawn[0])), len(drawn[0]))
    items = np.arange(len(order)) // 3
    straight = axis_agreement(drawn[0], predicted=drawn[1], probability=drawn[2], clusters=items)
    shuffled = axis_agreement(
        drawn[0][order],
        predicted=drawn[1][order],
        probability=drawn[2][order],
        clusters=np.char.mod("item-%d", items[order]),
    )
    for name in ("kappa_low", "ac1_high", "auroc_low", "auroc_high", "auprc"):
        ours, theirs = getattr(straight, name), getattr(shuffled, name)
        assert ours == theirs or ours == pytest.approx(theirs, abs=1e-9)


def test_ac1_stays_where_kappa_collapses():
    # Gwet's table: 125 subjects, 118 both positive, 5 and 2 apart, none both negative.
    reference = np.repeat([True, True, False], [118, 5, 2])
    predicted = np.repeat([True, False, True], [118, 5, 2])
    found = axis_agreement(reference, predicted=predicted)
    assert found.ac1 == pytest.approx(0.9408, abs=5e-5)
    assert found.kappa == pytest.approx(-0.0234, abs=5e-5)


def test_kappas_spread_is_that_of_fleiss_cohen_and_everitt():
    counts = np.array([[40, 9], [6, 20]])
    reference = np.repeat([False, False, True, True], counts.ravel())
    predicted = np.repeat([False, True, False, True], counts.ravel())
    found = axis_agreement(reference, predicted=predicted)
    shares = counts / 75
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    observed, chance = np.trace(shares), rows @ columns
    kappa = (observed - chance) / (1 - chance)
    diagonal = sum(
        shares[k, k] * ((1 - chance) - (rows[k] + columns[k]) * (1 - observed)) ** 2 for k in (0, 1)
    )
    off = (1 - observed) ** 2 * sum(
        shares[i, j] * (columns[i] + rows[j]) ** 2 for i, j in ((0, 1), (1, 0))
    )
    last = (observed * chance - 2 * chance + observed) ** 2
    variance = (diagonal + off - last) / (1 - chance) ** 4 / 74
    assert found.kappa == pytest.approx(kappa)
    assert found.kappa_low == pytest.approx(kappa - 1.992543 * np.sqrt(variance), abs=1e-6)


def test_kappas_spread_over_items_is_near_the_jackknifes():
    generator = np.random.default_rng(3)
    items = np.repeat(np.arange(60), 5)
    reference = generator.random(60)[items] < generator.random(300)
    predicted = np.where(generator.random(300) < 0.8, reference, ~reference)
    found = axis_agreement(reference, predicted=predicted, clusters=items)
    left_out = [
        metrics.cohen_kappa_score(reference[items != item], predicted[items != item])
        for item in range(60)
    ]
    jackknife = np.sqrt(59 * np.var(left_out))
    assert found.kappa_low is not None
    assert found.kappa_high is not None
    assert (found.kappa_high - found.kappa_low) / 2 / 2.000995 == pytest.approx(jackknife, rel=0.03)


def delong_slowly(positive: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """AUROC and its variance, by comparing every pair."""
    above, below = probability[positive], probability[~positive]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = wins.mean(axis=1).var(ddof=1) / len(above)
    return float(wins.mean()), float(variance + wins.mean(axis=0).var(ddof=1) / len(below))


def newcombe_slowly(area: float, sizes: tuple[int, int]) -> tuple[float, float]:
    """Newcombe's fifth interval, by trying every area."""
    tried = np.linspace(0, 1, 200_001)
    more = (sum(sizes) / 2 - 1) * ((1 - tried) / (2 - tried) + tried / (1 + tried))
    error = np.sqrt(tried * (1 - tried) * (1 + more) / (sizes[0] * sizes[1]))
    near = tried[np.abs(tried - area) <= 1.959963985 * error]
    return near.min(), near.max()


@settings(deadline=None)
@given(answers())
def test_delongs_interval_is_that_of_all_pairs(drawn):
    positive, predicted, probability = drawn
    if min(positive.sum(), (~positive).sum()) < 2:
        return
    area, variance = delong_slowly(positive, probability)
    found = axis_agreement(positive, predicted=predicted, probability=probability)
    assert found.auroc == pytest.approx(area)
    if variance > 1e-12 and 0 < area < 1:
        logit, spread = np.log(area / (1 - area)), np.sqrt(variance) / (area * (1 - area))
        low, high = 1 / (1 + np.exp(-(logit + 1.959963985 * spread * np.array([-1, 1]))))
        least, most = newcombe_slowly(area, (positive.sum(), (~positive).sum()))
        expected = (min(low, least), max(high, most))
        assert (found.auroc_low, found.auroc_high) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("rows", "share", "distance"), [(200, 0.02, 2), (183, 0.044, 2)])
def test_the_interval_of_an_auroc_holds_with_a_handful_of_positives(rows, share, distance):
    generator = np.random.default_rng(0)
    true = stats.norm.cdf(distance / 2**0.5)
    covered = []
    for _ in range(400):
        positive = generator.random(rows) < share
        if positive.sum() > 1:
            score = distance * positive + generator.normal(size=rows)
            found = axis_agreement(positive, predicted=positive, probability=stats.norm.cdf(score))
            covered.append(found.auroc_low <= true <= found.auroc_high)
    assert np.mean(covered) >= 0.95


def test_array_a_has_its_known_auroc():
    rows = np.arange(1000)
    probability = (rows + 0.5) / 1000
    curved = probability**2 / (probability**2 + (1 - probability) ** 2)
    positive = np.modf((rows + 1) * 0.6180339887498949)[0] < curved
    assert positive.sum() == 501
    found = axis_agreement(positive, predicted=probability > 0.5, probability=probability)
    assert found.auroc == pytest.approx(0.9271037084, abs=1e-10)


def test_delong_over_repeated_rows_is_delong_over_the_items():
    generator = np.random.default_rng(4)
    positive = generator.random(80) < 0.4
    probability = np.clip(0.3 * positive + 0.7 * generator.random(80), 0, 1)
    once = axis_agreement(positive, predicted=positive, probability=probability)
    thrice = axis_agreement(
        np.repeat(positive, 3),
        predicted=np.repeat(positive, 3),
        probability=np.repeat(probability, 3),
        clusters=np.repeat(np.arange(80), 3),
    )
    assert thrice.auroc == pytest.approx(once.auroc)
    # But for the rows of each class less one, which 240 rows have more of.
    assert thrice.auroc_low == pytest.approx(once.auroc_low, abs=0.003)
    assert thrice.auroc_high == pytest.approx(once.auroc_high, abs=0.003)


def test_a_perfect_order_of_few_rows_is_no_certainty():
    positive = np.array([False] * 40 + [True] * 6)
    found = axis_agreement(positive, predicted=positive, probability=positive / 1.0)
    assert (found.auroc, found.auroc_high, found.kappa) == (1, 1, 1)
    assert found.mcc == pytest.approx(1)
    assert found.auroc_low == pytest.approx(6 / (6 + 1.959964**2), abs=1e-6)
    assert found.kappa_low is not None
    assert found.kappa_low < 0.9


def test_what_is_undefined_is_none_and_never_zero():
    nothing = axis_agreement(np.empty(0, dtype=bool), predicted=np.empty(0, dtype=bool))
    assert nothing.rows == 0
    assert {nothing.accuracy, nothing.kappa, nothing.ac1, nothing.f1, nothing.mcc} == {None}
    safe = np.zeros(9, dtype=bool)
    quiet = axis_agreement(safe, predicted=safe)
    assert (quiet.accuracy, quiet.ac1) == (1, 1)
    assert {quiet.kappa, quiet.mcc, quiet.precision, quiet.recall, quiet.f1} == {None}


def test_logits_are_refused_not_guessed_at():
    answer = np.array([True, False])
    with pytest.raises(ValueError, match="logits"):
        axis_agreement(answer, predicted=answer, probability=np.array([3.2, -1.0]))
    with pytest.raises(ValueError, match="logits"):
        axis_agreement(answer, predicted=answer, probability=np.array([np.nan, 0.5]))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=80))
def test_outcomes_are_coarsened_cells(pairs):
    reference, predicted = np.array(pairs).T
    found = outcome_agreement(reference, predicted_cells=predicted)
    names = {"ungrounded_safe": "not_grounded", "ungrounded_unsafe": "not_grounded"}
    ours, theirs = (
        [names.get(CELLS[cell], str(CELLS[cell])) for cell in side]
        for side in (reference, predicted)
    )
    assert (
        np.array(found.cells).tolist()
        == metrics.confusion_matrix(reference, predicted, labels=range(4)).tolist()
    )
    expected = metrics.confusion_matrix(ours, theirs, labels=OUTCOMES)
    assert np.array(found.outcomes).tolist() == expected.tolist()
    assert found.accuracy == pytest.approx(metrics.accuracy_score(ours, theirs))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(ours, theirs, average="macro"))
    if len({*ours, *theirs}) > 1:
        assert found.kappa == pytest.approx(metrics.cohen_kappa_score(ours, theirs))
    else:
        assert found.kappa is None


def test_a_cell_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.3, got 0\.\.4"):
        outcome_agreement(np.array([0, 4]), predicted_cells=np.array([0, 1]))


def test_a_rater_that_never_varies_has_no_kappa_to_bound():
    positive = np.arange(100) < 5
    found = axis_agreement(positive, predicted=np.zeros(100, dtype=bool))
    assert found.kappa == pytest.approx(0)
    assert (found.kappa_low, found.kappa_high) == (None, None)
