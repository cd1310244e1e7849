"""The int8 tower stays close to the tower it was made of; the gate lets through what does."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from nsgauge import Classifier
from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring import int8_tower
from nsgauge.eval.scoring import quantised as module
from nsgauge.eval.scoring.int8_tower import QuantisedTower, smoothed
from nsgauge.eval.scoring.quantised import gated_int8, quantised
from nsgauge.models.towers.packing import Packed, Window


@pytest.fixture(scope="module")
def int8(bundle, annotations_unchecked):
    """The bundle with its text tower in int8."""
    with annotations_unchecked():
        return quantised(bundle)


def _windows(lengths: list[int]) -> list[Window]:
    draw = np.random.default_rng(0)
    ids = [tuple(draw.integers(1000, 20000, size=length).tolist()) for length in lengths]
    return [Window(each, (0,) * len(each)) for each in ids]


def test_vectors_are_close_and_in_the_order_given(bundle, int8):
    packed = Packed.of(_windows([60, 3, 200, 17, 17, 120, 255, 8]))
    with torch.inference_mode():
        wanted = bundle.network.text_tower(packed)
        found = int8.network.text_tower(packed)
    assert found.shape == wanted.shape
    similar = torch.cosine_similarity(found, wanted)
    # Real weights, random tokens: .976 was seen, .99 at the median.
    assert float(similar.min()) > 0.95
    assert float(similar.median()) > 0.98
    assert not torch.equal(found, wanted)


def test_the_bundle_it_was_made_of_stays_as_it_is(bundle, int8):
    assert isinstance(int8.network.text_tower, QuantisedTower)
    assert not isinstance(bundle.network.text_tower, QuantisedTower)
    assert int8.network.members is bundle.network.members
    assert int8.network.image_tower is bundle.network.image_tower
    assert not any(tensor.is_meta for tensor in int8.network.parameters())


def test_a_classifier_scores_with_it(int8, bundle, world):
    triples = triples_of(read_triples(world))
    wanted = Classifier(bundle, device="cpu").score(triples, image_root=world)
    found = Classifier(int8, device="cpu").score(triples, image_root=world)
    assert found.status == wanted.status
    # This head is random and twenty times as steep as one that starts to be trained.
    assert np.nanmedian(np.abs(found.cells - wanted.cells)) < 0.1


def test_the_tower_gives_what_the_network_reads_and_nothing_else(int8):
    with pytest.raises(ValueError, match="pooled windows, not tokens"):
        int8.network.text_tower.tokens(Packed.of(_windows([4])))


@pytest.mark.parametrize(
    ("lengths", "chunks"),
    [
        ([5], [[5]]),
        ([1024, 2000], [[1024], [2000]]),
        ([256, 256, 256, 256, 256], [[256] * 4, [256]]),
        ([10, 500, 512], [[10, 500], [512]]),
        ([100, 100, 100, 110, 150], [[100, 100, 100, 110], [150]]),
    ],
)
def test_a_chunk_holds_its_windows_padded_to_the_longest(lengths, chunks):
    assert list(int8_tower._chunks(lengths)) == chunks


def test_the_gate_lets_the_same_scores_through(bundle, world, monkeypatch):
    monkeypatch.setattr(module, "quantised", lambda same, **_: same)
    gated = gated_int8(bundle, data=world, rows=12)
    assert gated.bundle is bundle
    assert gated.parity.passed
    assert 0 < gated.parity.rows <= 12
    assert gated.parity.judge == "sample-judge"


def test_the_gate_refuses_with_the_report_and_never_silently(bundle, world, monkeypatch):
    asked: list[bool] = []

    def worse(given, *, careful):
        asked.append(careful is not None)
        network = copy.deepcopy(given.network)
        with torch.no_grad():
            network.members[0].head[3].weight.neg_()
        return replace(given, network=network)

    monkeypatch.setattr(module, "quantised", worse)
    with pytest.raises(ScoringError, match=r"int8 refused: .* flipped .* score in fp32"):
        gated_int8(bundle, data=world)
    assert asked == [False, True]


def test_what_the_whole_in_int8_flips_is_scored_with_care(bundle, world, monkeypatch):
    def worse_if_whole(given, *, careful):
        if careful is not None:
            return given
        network = copy.deepcopy(given.network)
        with torch.no_grad():
            network.members[0].head[3].weight.neg_()
        return replace(given, network=network)

    monkeypatch.setattr(module, "quantised", worse_if_whole)
    gated = gated_int8(bundle, data=world)
    assert gated.bundle is bundle
    assert gated.lines()[0] == "int8, but for the products that end the MLPs"


@torch.inference_mode()
def test_care_brings_the_tower_closer(bundle, int8, annotations_unchecked):
    tower = bundle.network.text_tower
    sample = Packed.of(_windows([40, 90, 200]))
    even = smoothed(tower, windows=sample)
    packed = Packed.of(_windows([60, 3, 200, 17]))
    wanted = tower(packed)
    torch.testing.assert_close(even(packed), wanted, rtol=0, atol=1e-5)
    with annotations_unchecked():
        careful = QuantisedTower(tower, pooled=True, careful=sample)
    off, closer = (
        1 - torch.cosine_similarity(each(packed), wanted).mean()
        for each in (int8.network.text_tower, careful)
    )
    assert 0 < closer < 0.7 * off


@torch.inference_mode()
def test_smoothing_evens_what_a_linear_takes_and_what_it_multiplies_by():
    linear = torch.nn.Linear(3, 2)
    scale = torch.tensor([0.5, 1.0, 20.0])
    given = torch.randn(4, 3)
    found = int8_tower.SmoothedLinear(linear, scale=scale)
    torch.testing.assert_close(found(given), linear(given))
    torch.testing.assert_close(found.linear.weight, linear.weight * scale)


@pytest.mark.parametrize(
    ("flags", "found"),
    [("flags : fma avx2", False), ("flags : avx512_vnni", True), ("flags : avx_vnni", True)],
)
def test_eight_bits_of_weights_want_vnni(flags, found, tmp_path, monkeypatch):
    monkeypatch.setattr(int8_tower, "CPU_FLAGS", tmp_path / "cpuinfo")
    assert not int8_tower._has_vnni()
    (tmp_path / "cpuinfo").write_text(flags)
    assert int8_tower._has_vnni() is found
