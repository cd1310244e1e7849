"""Shares of classes by hand, and each member's channel against one fitted on its rows alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from nsgauge.data.split import Side
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.classes import CELL_CLASSES, CellClass
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lexical import LexicalChannel, LexicalSettings, response_grams
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.row_windows import RowText
from nsgauge.protocol import CELLS, OBSERVATIONS, Grounding, Safety
from nsgauge.records import Triple
from nsgauge.train import channels as channels_module
from nsgauge.train.channels import class_shares, fit_channels, open_classes, weigh_channels
from nsgauge.train.corpus import Corpus
from nsgauge.train.lexical import fit_lexical
from nsgauge.train.shares import fit_shares

# Two in grounded_safe, one in each other cell.
CLASSES = tuple(
    CellClass(name=name, cell=cell)
    for name, cell in zip("abcde", [CELLS[0], CELLS[3], CELLS[0], CELLS[1], CELLS[2]], strict=True)
)
UNSAFE = OBSERVATIONS.index((Safety.UNSAFE, None))
SAFE = OBSERVATIONS.index((Safety.SAFE, None))
GROUNDED = OBSERVATIONS.index((None, Grounding.GROUNDED))
SETTINGS = LexicalSettings(grams=512)
CHANNELS = ChannelSettings(lexical=SETTINGS)


def corpus_of(masses, *, shares, sides=None, parts=None, responses=None, classes=CLASSES) -> Corpus:
    rows = len(masses)
    ids = responses or [(1, 2)] * rows
    return Corpus(
        triples=[Triple(prompt="", response="") for _ in range(rows)],
        texts=[
            RowText(windows=(), roles=(), ordinals=(), truncated=False, response_ids=(own,))
            for own in ids
        ],
        masses=np.array(masses, dtype=np.float32),
        classes=classes,
        shares=np.array(shares, dtype=np.float32),
        parts=np.array([-1] * rows if parts is None else parts),
        image_digests=[None] * rows,
        pictures=[None] * rows,
        images={},
        sides=sides or [Side.TRAIN] * rows,
        left_out={},
        making={},
    )


def said(*observations: int) -> np.ndarray:
    return np.eye(len(OBSERVATIONS))[list(observations)]


def shares_of(corpus, *, but: int | None = None) -> np.ndarray:
    """As counted on the training side, less one part."""
    train = np.array([side is Side.TRAIN for side in corpus.sides])
    return class_shares(corpus, taught=train & (corpus.parts != but))


def test_named_rows_stay_and_the_others_are_spread_as_often_as_classes_are_named():
    shares = [
        [1, 0, 0, 0, 0],
        [0.5, 0, 0.5, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0.5, 0, 0.5, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    observed = said(0, 0, 3, 3, 2, UNSAFE, SAFE, GROUNDED, 0)
    found = shares_of(corpus_of(observed, shares=shares))
    np.testing.assert_allclose(found[:5], np.array(shares[:5]))
    # Named in all: a 1.5, b 1.5, c .5, d .5, e 1.
    wanted = [
        [0, 1.5 / 2, 0, 0.5 / 2, 0],
        [1.5 / 3, 0, 0.5 / 3, 0, 1 / 3],
        [1.5 / 2.5, 0, 0.5 / 2.5, 0.5 / 2.5, 0],
        [1.5 / 2, 0, 0.5 / 2, 0, 0],
    ]
    np.testing.assert_allclose(found[5:], np.array(wanted), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_what_the_test_side_names_counts_for_nothing():
    shares = [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    sides = [Side.TRAIN, Side.TRAIN, Side.TEST, Side.TRAIN]
    found = shares_of(corpus_of(said(0, 0, 0, 0), shares=shares, sides=sides))
    np.testing.assert_allclose(found[3], [0.5, 0, 0.5, 0, 0], atol=1e-5)


def test_a_split_vote_is_spread_vote_by_vote():
    shares = [[3 / 4, 0, 1 / 4, 0, 0], [0, 1, 0, 0, 0], [0] * 5]
    masses = [*said(0, 3), 0.5 * said(0)[0] + 0.5 * said(UNSAFE)[0]]
    found = shares_of(corpus_of(masses, shares=shares))
    np.testing.assert_allclose(found[2], [3 / 8, 1 / 2, 1 / 8, 0, 0], atol=1e-5)


def test_without_categories_cells_are_shares_and_axes_are_spread_over_cells():
    observed = said(0, 1, 1, 3, UNSAFE, SAFE)
    found = shares_of(corpus_of(observed, shares=np.zeros((6, 4)), classes=CELL_CLASSES))
    np.testing.assert_allclose(found[:4], np.eye(4)[[0, 1, 1, 3]])
    np.testing.assert_allclose(found[4], [0, 2 / 3, 0, 1 / 3], atol=1e-5)
    np.testing.assert_allclose(found[5], [1, 0, 0, 0], atol=1e-5)


def test_the_part_held_out_says_nothing_of_the_others():
    masses, last = said(0, 0, 0), [0.0] * 5
    found = []
    for first in ([1.0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0]):
        shares = [first, [0, 0, 1.0, 0, 0], last]
        corpus = corpus_of(masses, shares=shares, parts=[0, 1, 1])
        found.append(shares_of(corpus, but=0)[2])
    np.testing.assert_array_equal(*found)


def test_where_nothing_is_named_an_axis_is_spread_evenly():
    found = shares_of(corpus_of(said(UNSAFE, UNSAFE), shares=np.zeros((2, 5))))
    np.testing.assert_allclose(found, [[0, 0.5, 0, 0.5, 0]] * 2)


@pytest.fixture(scope="module")
def learned() -> Corpus:
    """Responses whose words lean on their class; every row is named."""
    generator = np.random.default_rng(0)
    habits = generator.dirichlet(np.full(40, 0.3), size=5)
    label = generator.integers(5, size=90)
    cell = [CELLS.index(CLASSES[number].cell) for number in label]
    return corpus_of(
        said(*cell),
        shares=np.eye(5)[label],
        sides=[Side.TEST if row % 10 == 0 else Side.TRAIN for row in range(90)],
        parts=[-1 if row % 10 == 0 else row % 3 for row in range(90)],
        responses=[tuple(generator.choice(40, size=12, p=habits[n]).tolist()) for n in label],
    )


def channels_of(corpus: Corpus, *, towers) -> list[LexicalChannel]:
    network = build_network(
        copy.deepcopy(towers),
        settings=NetworkSettings(
            lora=LoraSettings(image=False, text=False),
            fusion=FusionSettings(width=16, layers=1, heads=2),
            members=3,
            classes=corpus.classes,
            ordinals=1,
            channels=CHANNELS,
        ),
    )
    fit_channels(network, corpus=corpus, vectors=None, settings=CHANNELS)
    channels = [member.get_submodule("lexical") for member in network.members]
    return [channel for channel in channels if isinstance(channel, LexicalChannel)]


def test_each_members_channel_is_fitted_on_the_rows_that_teach_it(learned, towers):
    channels = channels_of(learned, towers=towers)
    assert len(channels) == 3
    asked = response_grams(learned.texts, settings=SETTINGS)
    for number, channel in enumerate(channels):
        rows = [row for row in range(90) if row % 10 and row % 3 != number]
        own = response_grams([learned.texts[row] for row in rows], settings=SETTINGS)
        alone = fit_lexical(own, shares=learned.shares[rows].astype(np.float64), settings=SETTINGS)
        torch.testing.assert_close(channel(asked), alone(asked))


def test_without_a_committee_validation_chooses_the_shares(towers, monkeypatch):
    generator = np.random.default_rng(1)
    label = generator.integers(5, size=400)
    corpus = corpus_of(
        said(*(CELLS.index(CLASSES[number].cell) for number in label)),
        shares=np.eye(5)[label],
        sides=[
            [Side.TRAIN, Side.VALIDATION, Side.CALIBRATION, Side.TEST][r % 4] for r in range(400)
        ],
    )
    channels = CHANNELS.model_copy(update={"fit_shares": True})
    settings = NetworkSettings(
        lora=LoraSettings(image=False, text=False),
        fusion=FusionSettings(width=16, layers=1, heads=2),
        classes=corpus.classes,
        ordinals=1,
        channels=channels,
    )
    network = build_network(copy.deepcopy(towers), settings=settings)
    validation = list(range(1, 400, 4))
    heard = generator.normal(size=(2, 100, 5))
    heard[0] += np.eye(5)[label[validation]]
    voices = log_softmax(heard, axis=2)

    def read(_network, **asked):
        assert list(asked["rows"]) == validation
        return voices

    monkeypatch.setattr(channels_module, "held_out_voices", read)
    weigh_channels(network, corpus=corpus, vectors=None)
    wanted = fit_shares(
        voices,
        named=np.eye(5)[label[validation]],
        masses=corpus.masses[validation],
        is_open=open_classes(corpus),
        given=channels.shares,
    )
    found = network.settings.channels.shares
    assert found == pytest.approx(wanted)
    assert found != pytest.approx(channels.shares)
    assert [member.shares for member in network.members] == [found]


def test_a_parts_own_labels_dont_reach_the_channel_that_decides_on_it(learned, towers):
    part = learned.parts == 1
    shares = learned.shares.copy()
    shares[part] = np.roll(shares[part], 1, axis=1)
    changed = channels_of(dataclasses.replace(learned, shares=shares), towers=towers)
    same = [
        torch.equal(before.weight, after.weight)
        for before, after in zip(channels_of(learned, towers=towers), changed, strict=True)
    ]
    assert same == [False, True, False]
