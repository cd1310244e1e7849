"""Fitting the linear probe, against scikit-learn's own pipeline on the same features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nsgauge.errors import DataError
from nsgauge.models.probe import ProbeSettings, probe_features
from nsgauge.models.row_windows import TextRole
from nsgauge.train.probe import fit_probe

SETTINGS = ProbeSettings(c=0.05)


def draw(*, rows=150, features=12, classes=4, seed=0):
    """Features of different size and place that lean on the class, and the class."""
    generator = np.random.default_rng(seed)
    label = generator.integers(classes, size=rows)
    centres = np.random.default_rng(9).normal(size=(classes, features))
    places, sizes = generator.normal(0, 5, features), generator.uniform(0.1, 9, features)
    found = (centres[label] + generator.normal(size=(rows, features))) * sizes + places
    return found.astype(np.float32), label


def told(probe, features):
    return probe(torch.from_numpy(features)).double().softmax(dim=1).numpy()


@pytest.mark.parametrize("classes", [2, 4])
def test_predictions_are_those_of_scikit_learns_pipeline(classes):
    features, label = draw(classes=classes)
    probe = fit_probe(features, shares=np.eye(classes)[label], settings=SETTINGS)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=SETTINGS.c, max_iter=2000))
    wanted = pipeline.fit(features.astype(np.float64), label).predict_proba(features)
    np.testing.assert_allclose(told(probe, features), wanted, atol=2e-3)
    assert (told(probe, features).argmax(axis=1) == label).mean() > 0.8


def test_a_constant_feature_has_no_weight():
    features, label = draw()
    wide = np.concatenate([features, np.full((150, 2), 3.0, dtype=np.float32)], axis=1)
    shares = np.eye(4)[label]
    probe, plain = (fit_probe(each, shares=shares, settings=SETTINGS) for each in (wide, features))
    assert not probe.weight[12:].any()
    np.testing.assert_allclose(told(probe, wide), told(plain, features), atol=1e-6)


def test_a_feature_that_tells_items_has_no_weight():
    # Of 150 rows 10 have a picture, of 2 things: another picture must not decide by itself.
    features, label = draw()
    seen = np.zeros((150, 3), dtype=np.float32)
    seen[:5], seen[5:10] = (5, 1, 0), (4, 2, 1)
    wide = np.concatenate([features, seen], axis=1)
    shares = np.eye(4)[label]
    probe = fit_probe(wide, shares=shares, settings=SETTINGS)
    assert not probe.weight[12:].any()
    next_picture = np.concatenate([features, np.full_like(seen, 9.0)], axis=1)
    np.testing.assert_allclose(told(probe, next_picture), told(probe, wide), atol=1e-6)


def test_a_class_that_nobody_named_is_ruled_out():
    features, label = draw(classes=3)
    probe = fit_probe(features, shares=np.eye(5)[label], settings=SETTINGS)
    assert told(probe, features)[:, 3:].max() < 1e-9


def test_rows_of_one_class_teach_nothing():
    features, _ = draw()
    with pytest.raises(DataError, match="a probe needs two"):
        fit_probe(features, shares=np.eye(4)[np.zeros(150, dtype=int)], settings=SETTINGS)


def test_features_by_hand():
    image = torch.tensor([[[1.0, 2.0], [9.0, 9.0]], [[3.0, 4.0], [9.0, 9.0]]])
    text = torch.tensor([[[1.0], [3.0], [8.0]], [[5.0], [7.0], [7.0]]])
    prompt, response = int(TextRole.PROMPT), int(TextRole.RESPONSE)
    found = probe_features(
        image,
        image_present=torch.tensor([True, False]),
        text=text,
        roles=torch.tensor([[response, response, prompt], [prompt, -1, -1]]),
    )
    wanted = torch.zeros(2, 2 + len(TextRole))
    wanted[0, :2] = torch.tensor([1.0, 2.0])
    places = {role: 2 + number for number, role in enumerate(TextRole)}
    wanted[0, places[TextRole.RESPONSE]] = 2.0
    wanted[0, places[TextRole.PROMPT]] = 8.0
    wanted[1, places[TextRole.PROMPT]] = 5.0
    assert torch.equal(found, wanted)


def test_a_dead_channel_has_no_weight():
    # Of many values, but of a size where rounding is all there is; squared it is zero.
    features, label = draw()
    generator = np.random.default_rng(3)
    dead = generator.normal(size=(150, 2)) * (1e-32, 1e-9)
    wide = np.concatenate([features, dead.astype(np.float32)], axis=1)
    shares = np.eye(4)[label]
    probe, plain = (fit_probe(each, shares=shares, settings=SETTINGS) for each in (wide, features))
    assert not probe.weight[12:].any()
    np.testing.assert_allclose(told(probe, wide), told(plain, features), atol=1e-6)


def test_rows_that_nothing_tells_apart_get_the_share_of_each_class():
    features = np.repeat(np.arange(4.0)[:, None], 3, axis=1)[np.arange(100) % 4]
    shares = np.eye(4)[[0] * 60 + [1] * 30 + [3] * 10]
    probe = fit_probe(features, shares=shares, settings=ProbeSettings())
    told = probe(torch.from_numpy(features).float()).softmax(dim=-1)
    np.testing.assert_allclose(told[0], [0.6, 0.3, 0, 0.1], atol=1e-5)
