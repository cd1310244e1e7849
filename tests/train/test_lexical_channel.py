"""Fitting the lexical channel, against scikit-learn's own pipeline on the same token ids."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from nsgauge.errors import DataError
from nsgauge.models.lexical import LexicalSettings, response_grams
from nsgauge.models.row_windows import RowText
from nsgauge.train.lexical import fit_lexical

SETTINGS = LexicalSettings()


def grams_of(responses):
    texts = [
        RowText(windows=(), roles=(), ordinals=(), truncated=False, response_ids=(ids,))
        for ids in responses
    ]
    return response_grams(texts, settings=SETTINGS)


def draw(*, rows=120, classes=4, seed=0):
    """Responses whose words lean on their class, and votes of five on the class."""
    generator = np.random.default_rng(seed)
    habits = generator.dirichlet(np.full(300, 0.3), size=classes)
    label = generator.integers(classes, size=rows)
    responses = [
        tuple(generator.choice(300, size=generator.integers(0, 40), p=habits[number]).tolist())
        for number in label
    ]
    opinion = 0.1 + 2.0 * np.eye(classes)[label]
    votes = [generator.multinomial(5, row) for row in opinion / opinion.sum(axis=1, keepdims=True)]
    return responses, np.array(votes) / 5


def fitted(responses, *, shares, settings=SETTINGS):
    return fit_lexical(grams_of(responses), shares=shares, settings=settings)


def told(channel, responses):
    return channel(grams_of(responses)).double().softmax(dim=1).numpy()


def names(ids):
    """N-grams by name: no hashing."""
    return [str(token) for token in ids] + [f"{a} {b}" for a, b in pairwise(ids)]


def pipeline_says(responses, *, shares, asked, rows_with):
    """The second opinion: one row a vote, told by scikit-learn's vectorizer and transformer."""
    reader = make_pipeline(
        CountVectorizer(analyzer=names, min_df=rows_with), TfidfTransformer(sublinear_tf=True)
    )
    features = reader.fit_transform(responses).toarray()
    votes = np.rint(shares * 5).astype(int)
    rows = [row for row, counts in enumerate(votes) for _ in range(counts.sum())]
    labels = [number for counts in votes for number in np.repeat(range(len(counts)), counts)]
    # Five votes a row, so each of them weighs a fifth of a row.
    regression = LogisticRegression(C=SETTINGS.c / 5, max_iter=2000)
    regression.fit(features[rows], labels)
    return regression.predict_proba(reader.transform(asked).toarray())


@pytest.mark.parametrize("classes", [2, 4])
def test_predictions_are_those_of_scikit_learns_pipeline(classes):
    responses, shares = draw(classes=classes)
    asked, _ = draw(classes=classes, seed=1)
    distinct = {name for ids in responses + asked for name in names(ids)}
    assert len(grams_of(responses + asked).keys.unique()) == len(distinct)
    found = told(fitted(responses, shares=shares), asked)
    wanted = pipeline_says(responses, shares=shares, asked=asked, rows_with=2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_with_little_room_the_ngrams_of_most_rows_are_known():
    responses, shares = draw()
    asked, _ = draw(seed=1)
    rows_with = Counter(name for ids in responses for name in set(names(ids)))
    room = sum(count >= 6 for count in rows_with.values())
    assert 20 < room < len(rows_with) / 10
    channel = fitted(responses, shares=shares, settings=LexicalSettings(grams=room))
    wanted = pipeline_says(responses, shares=shares, asked=asked, rows_with=6)
    np.testing.assert_allclose(told(channel, asked), wanted, atol=1e-5)


def test_the_order_of_rows_is_irrelevant():
    responses, shares = draw()
    order = np.random.default_rng(2).permutation(len(responses))
    channel = fitted(responses, shares=shares)
    shuffled = fitted([responses[row] for row in order], shares=shares[order])
    np.testing.assert_allclose(told(channel, responses), told(shuffled, responses), atol=1e-5)


def test_the_same_rows_give_the_same_channel_to_the_bit():
    responses, shares = draw()
    first, second = (fitted(responses, shares=shares) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))


def test_two_copies_with_two_labels_are_two_copies_with_half_of_each():
    responses, shares = draw()
    label, other = shares.argmax(axis=1), shares.argsort(axis=1)[:, -2]
    apart = np.concatenate([np.eye(4)[label], np.eye(4)[other]])
    halves = np.tile((np.eye(4)[label] + np.eye(4)[other]) / 2, (2, 1))
    first, second = (
        told(fitted(responses * 2, shares=each), responses) for each in (apart, halves)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_an_ngram_of_a_single_row_is_ignored():
    responses, shares = draw()
    channel = fitted([*responses, (777, 777)], shares=np.concatenate([shares, shares[:1]]))
    lone = channel(grams_of([(777, 777)]))
    assert torch.equal(lone[0], channel.bias)


def test_a_class_that_no_row_names_is_very_unlikely_but_finite():
    responses, shares = draw(classes=3)
    wider = np.insert(shares, 1, 0.0, axis=1)
    found = told(fitted(responses, shares=wider), responses)
    np.testing.assert_allclose(
        found[:, [0, 2, 3]], told(fitted(responses, shares=shares), responses), atol=1e-6
    )
    assert (found[:, 1] > 0).all()
    assert (found[:, 1] < 1e-8).all()


def test_one_class_is_refused_in_words():
    responses, shares = draw()
    alone = np.zeros_like(shares)
    alone[:, 2] = 1
    with pytest.raises(DataError, match=r"all 120 rows .* one class \(number 2 of 4\)"):
        fitted(responses, shares=alone)


def test_rows_that_share_no_ngram_are_refused_in_words():
    with pytest.raises(DataError, match="no n-gram is in 2 of the 2 responses"):
        fitted([(1, 2), (3, 4)], shares=np.eye(2))


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (np.eye(2)[:1], "1 rows of shares for the features of 2"),
        (np.full((2, 2), 0.4), "sum to one"),
        (np.array([[1.5, -0.5], [0.0, 1.0]]), "lie in"),
    ],
)
def test_shares_that_are_no_distributions_are_refused(faulty, words):
    with pytest.raises(ValueError, match=words):
        fitted([(1, 2), (1, 4)], shares=faulty)
