"""The padded form of the towers and pools gives what the packed form gives, for every kind."""

import pytest
import torch

from nsgauge.checkpoints.export_graphs import Decision, PaddedTower, WindowVectors
from nsgauge.models.inputs import assemble
from nsgauge.models.pooling import ReadTokens
from nsgauge.models.row_windows import RowText
from nsgauge.models.towers.packing import Packed

KINDS = ["bert", "mpnet", "clip", "siglip", "llama"]


def _padded(packed: Packed) -> dict[str, torch.Tensor]:
    """Windows shortest first, filled up with a token that must not matter."""
    longest = max(packed.lengths)
    shape = (len(packed.lengths), longest)
    ids, segments = torch.full(shape, 7), torch.ones(shape, dtype=torch.int64)
    start = 0
    for row, length in enumerate(packed.lengths):
        ids[row, :length] = packed.ids[start : start + length]
        segments[row, :length] = packed.segments[start : start + length]
        start += length
    segments[torch.arange(longest) >= torch.tensor(packed.lengths)[:, None]] = 0
    return {"ids": ids, "segments": segments, "lengths": torch.tensor(packed.lengths)}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def _packed(texts: list[RowText]) -> Packed:
    packed = assemble(texts, image_slots=[-1] * len(texts)).packed
    assert packed is not None
    return packed


@pytest.fixture
def texts():
    """A bundle's rows, in windows of many lengths."""

    def read(bundle):
        prompts = ["w1 w2 w3", "", "w4 " * 40, "w5"]
        responses = ["w6", "w7 w8 " * 20, "w9 w10 w11 w12", ""]
        return bundle.reader.read(prompts, responses=responses, captions=[None, "w13", None, None])

    return read


def test_pooled_windows_dont_depend_on_padding(make_bundle, texts, kind):
    bundle = make_bundle(kind)
    tower = bundle.network.text_tower
    packed = _packed(list(texts(bundle)))
    with torch.inference_mode():
        wanted = torch.empty_like(tower(packed))
        wanted[:] = tower(packed)[packed.restore.argsort()]
        found = PaddedTower(tower, pooled=True)(**_padded(packed))
    assert torch.allclose(found, wanted, atol=1e-5)
    assert wanted.std() > 0.05


def test_tokens_are_the_packed_ones(make_bundle, texts, kind):
    bundle = make_bundle(kind, committee=True)
    packed = _packed(list(texts(bundle)))
    with torch.inference_mode():
        wanted = bundle.network.text_tower.tokens(packed)
        padded = _padded(packed)
        found = PaddedTower(bundle.network.text_tower, pooled=False)(**padded)
    held = torch.arange(found.shape[1]) < padded["lengths"][:, None]
    assert torch.allclose(found[held], wanted, atol=1e-5)


def test_each_members_pool_reads_the_same_tokens(make_bundle, texts, kind):
    bundle = make_bundle(kind, committee=True)
    network = bundle.network
    packed = _packed(list(texts(bundle)))
    with torch.inference_mode():
        tokens = network.text_tower.tokens(packed)
        read = ReadTokens.of(tokens, packed=packed, noise=network.token_noise)
        pools = [member.get_submodule("pool") for member in network.members]
        wanted = torch.stack([pool(read) for pool in pools], dim=1)[packed.restore.argsort()]
        found = WindowVectors(network)(**_padded(packed))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_decision_is_the_networks(make_bundle, texts, kind):
    bundle = make_bundle(kind)
    network = bundle.network
    side = bundle.towers.image_side_px
    pixels = torch.randint(256, (2, 3, side, side), dtype=torch.uint8)
    inputs = assemble(texts(bundle), image_slots=[1, -1, 0, 1], pixels=pixels)
    with torch.inference_mode():
        wanted = network(inputs)
        windows = network.text_tower(inputs.packed)
        found = Decision(network)(
            network.image_tower(pixels)[inputs.image_slots.clamp(min=0)],
            inputs.image_slots >= 0,
            windows[inputs.slots.clamp(min=0)].unsqueeze(2),
            inputs.roles,
            inputs.ordinals,
        )
    assert torch.allclose(found, wanted, atol=1e-5)
