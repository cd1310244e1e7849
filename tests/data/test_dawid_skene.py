"""Dawid and Skene's model, against their own table and against worlds with a known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.data.dawid_skene import fit_dawid_skene
from nsgauge.errors import DataError

# Dawid and Skene 1979, table 1: a word a patient; observer 1 three times, then observers 2 to 5.
PATIENTS = """
1111111*12 1112111 1121121 1122122 1211111*2 1212111 1222111 2212222 2212232 2221322 2222221*2
2222222*3 2222223 2223121 2223212 2223222*2 2223232 2223322 2223343 2322222*2 2322223 2323233
3333233 3333432 3333433 3334334 4334343 4444444
"""


def anaesthetists():
    words = [word.partition("*") for word in PATIENTS.split()]
    patients = [digits for digits, _, times in words for _ in range(int(times or 1))]
    votes = np.zeros((len(patients), 5, 4))
    for patient, digits in enumerate(patients):
        for observer, digit in zip((0, 0, 0, 1, 2, 3, 4), digits, strict=True):
            votes[patient, observer, int(digit) - 1] += 1
    return votes


def simulated(seed, *, items=400, asked=0.8):
    """A truth of three classes, five judges from good to poor, each asked on most items."""
    draw = np.random.default_rng(seed)
    right = np.array([0.95, 0.9, 0.6, 0.5, 0.45])
    confusion = np.stack(
        [np.full((3, 3), (1 - r) / 2) + np.eye(3) * (1.5 * r - 0.5) for r in right]
    )
    # The poor judges agree in one error, which misleads a majority.
    confusion[2:, 1] = [0.6, 0.35, 0.05]
    truth = draw.choice(3, size=items, p=[0.5, 0.3, 0.2])
    votes = np.zeros((items, 5, 3))
    for item in range(items):
        for judge in np.flatnonzero(draw.random(5) < asked):
            votes[item, judge, draw.choice(3, p=confusion[judge, truth[item]])] = 1
    kept = votes.any(axis=(1, 2))
    return truth[kept], votes[kept], confusion


def confusion_by(shares, votes):
    expected = np.einsum("ik,ijs->jks", shares, votes)
    return expected / expected.sum(axis=2, keepdims=True)


def test_the_table_of_1979_gives_the_published_fit():
    votes = anaesthetists()
    assert votes.shape == (45, 5, 4)
    fit = fit_dawid_skene(votes, tolerance=1e-12)
    assert fit.marginals == pytest.approx([0.3996, 0.4220, 0.1118, 0.0667], abs=5e-5)
    assert fit.log_likelihood == pytest.approx(-192.8908812, abs=1e-6)
    # Observer 1 on classes 1 and 2.
    assert fit.confusion[0, 0] == pytest.approx([0.89, 0.11, 0, 0], abs=0.005)
    assert fit.confusion[0, 1] == pytest.approx([0.07, 0.88, 0.05, 0], abs=0.005)
    np.testing.assert_allclose(fit.posteriors.sum(axis=1), 1)
    np.testing.assert_allclose(fit.confusion.sum(axis=2), 1)


@pytest.mark.parametrize("seed", range(5))
def test_known_confusions_are_recovered_better_than_by_the_majority(seed):
    truth, votes, confusion = simulated(seed)
    fit = fit_dawid_skene(votes)
    said = votes.sum(axis=1)
    majority = (said == said.max(axis=1, keepdims=True)).astype(float)
    majority /= majority.sum(axis=1, keepdims=True)

    def right(shares):
        return shares[np.arange(len(truth)), truth].mean()

    def error(found):
        return np.abs(found - confusion).mean()

    assert right(fit.posteriors) > right(majority) + 0.05
    assert error(fit.confusion) < 0.6 * error(confusion_by(majority, votes))
    assert error(fit.confusion) < 0.05


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_judges_items_and_classes_is_irrelevant(seed):
    draw = np.random.default_rng(seed)
    votes = simulated(seed, items=80)[1]
    items, judges, classes = (draw.permutation(size) for size in votes.shape)
    one = fit_dawid_skene(votes)
    other = fit_dawid_skene(votes[items][:, judges][:, :, classes])
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(other.posteriors, one.posteriors[items][:, classes], atol=1e-3)
    moved = one.confusion[judges][:, classes][:, :, classes]
    np.testing.assert_allclose(other.confusion, moved, atol=1e-3)


def test_more_rounds_never_make_the_votes_less_likely():
    votes = simulated(3)[1]
    loose, tight = (fit_dawid_skene(votes, tolerance=t) for t in (1e-3, 1e-10))
    assert loose.iterations < tight.iterations
    assert loose.log_likelihood < tight.log_likelihood


def test_a_judge_of_half_the_question_counts_through_what_its_words_mean():
    # Four classes; judges 0 to 2 name them, judge 3 says only "even" or "odd", and is right.
    draw = np.random.default_rng(0)
    truth = draw.integers(4, size=600)
    votes = np.zeros((600, 4, 6))
    for judge in range(3):
        said = np.where(draw.random(600) < 0.6, truth, draw.integers(4, size=600))
        votes[np.arange(600), judge, said] = 1
    votes[np.arange(600), 3, 4 + truth % 2] = 1
    meanings = np.vstack([np.eye(4), [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]])
    with_it = fit_dawid_skene(votes, meanings=meanings)
    without = fit_dawid_skene(votes[:, :3, :4])
    parity = with_it.posteriors[:, ::2].sum(axis=1)
    assert np.where(truth % 2 == 0, parity, 1 - parity).mean() > 0.97
    right = [fit.posteriors[np.arange(600), truth].mean() for fit in (with_it, without)]
    assert right[0] > right[1] + 0.05


def test_a_class_that_a_judge_never_saw_has_no_made_up_row():
    votes = np.zeros((9, 4, 2))
    votes[:6, :3, 0] = votes[6:, :3, 1] = 1
    votes[:6, 3, 0] = 1
    fit = fit_dawid_skene(votes)
    assert np.isnan(fit.confusion[3, 1]).all()
    assert fit.confusion[3, 0].tolist() == [1, 0]
    assert np.isfinite(fit.posteriors).all()


def test_two_judges_are_refused_however_often_they_vote():
    votes = np.ones((10, 4, 2))
    votes[:, 2:] = 0
    with pytest.raises(DataError, match=r"3 judges answered, found none \(2 judges"):
        fit_dawid_skene(votes)
    # Three judges, but never three on one item.
    votes = np.ones((9, 3, 2))
    for item in range(9):
        votes[item, item % 3] = 0
    with pytest.raises(DataError, match=r"found none \(3 judges"):
        fit_dawid_skene(votes)


def test_wrong_votes_are_named():
    with pytest.raises(ValueError, match="none may be negative"):
        fit_dawid_skene(-np.ones((2, 3, 2)))
    votes = np.ones((3, 3, 2))
    votes[1] = 0
    with pytest.raises(ValueError, match=r"1 items have no vote \(first: 1\)"):
        fit_dawid_skene(votes)


def test_a_fit_that_does_not_settle_is_no_result():
    with pytest.raises(DataError, match="did not settle in 2 rounds"):
        fit_dawid_skene(simulated(1)[1], most_iterations=2)
