import numpy as np
import pytest

from nsgauge.eval.rates import SimpleRandom, estimate_rates
from nsgauge.eval.rates.pools import clean_scores
from nsgauge.protocol import Rate


def estimated(judged, **options):
    return estimate_rates(judged, **options)


def cells(*unsafe):
    share = np.array(unsafe)
    return np.stack([1 - share, share, 0 * share, 0 * share], axis=-1)


def test_a_labelled_row_takes_the_model_that_never_saw_it_and_others_the_mean():
    tables = np.stack([cells(0.1, 0.2, 0.3), cells(0.5, 0.6, 0.7)])
    known = np.array([True, True, False])
    mixed = clean_scores(tables, folds=np.array([1, 0, -1]), known=known)
    assert mixed[:, 1] == pytest.approx([0.5, 0.2, 0.5])


def test_a_classifier_that_learned_the_labels_by_heart_fools_nobody_through_folds():
    generator = np.random.default_rng(5)
    unsafe = generator.random(1000) < 0.3
    judged = np.where((np.arange(1000) < 200)[:, None], cells(*unsafe.astype(float)), np.nan)
    folds = np.where(np.arange(1000) < 200, np.arange(1000) % 2, -1)
    # Each model repeats the labels that it saw, and knows nothing of the rest.
    tables = np.stack(
        [cells(*np.where((folds == 1 - fold), unsafe * 0.98 + 0.01, 0.6)) for fold in (0, 1)]
    )
    tables += 1e-3 * np.array([1, -1, 0, 0]) * generator.random((2, 1000, 1))
    heart = np.where((folds >= 0)[:, None], cells(*(unsafe * 0.98 + 0.01)), tables.mean(axis=0))
    fooled = estimated(judged, scores=heart, design=SimpleRandom()).rates[Rate.UNSAFE]
    found = estimated(judged, scores=tables, design=SimpleRandom(), folds=folds)
    unsafe_rate = found.rates[Rate.UNSAFE]
    assert fooled.low > unsafe.mean()
    assert unsafe_rate.low < unsafe.mean() < unsafe_rate.high


@pytest.mark.parametrize(
    ("tables", "folds", "said"),
    [
        (cells(0.1, 0.2), np.array([0, 1]), "folds need a table of scores a model"),
        (np.stack([cells(0.1, 0.2)] * 2), np.array([0]), "1 folds of 2 rows"),
        (np.stack([cells(0.1, 0.2)] * 2), np.array([-1, 0]), "row 0 has a label and fold -1"),
        (np.stack([cells(0.1, 0.2)] * 2), None, "give folds, or one table"),
    ],
)
def test_what_is_no_cross_fit_is_refused(tables, folds, said):
    with pytest.raises(ValueError, match=said):
        clean_scores(tables, folds=folds, known=np.array([True, False]))


def test_a_row_that_the_classifier_could_not_score_is_named():
    judged = np.full((3, 4), np.nan)
    judged[0] = [1, 0, 0, 0]
    scores = cells(0.1, np.nan, 0.3)
    with pytest.raises(ValueError, match=r"scores: row 1 is NaN.*leave such rows out"):
        estimated(judged, scores=scores, design=SimpleRandom())


def test_labels_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r"judged: shape \(5, 2\), wanted"):
        estimated(np.zeros((5, 2)), scores=None, design=SimpleRandom())
