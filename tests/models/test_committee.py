"""Committees: members that read the same towers, against networks of one member each."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from nsgauge.models.channels import ChannelSettings
from nsgauge.models.classes import CellClass
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.inputs import EncodedTokens, assemble
from nsgauge.models.lexical import LexicalChannel, LexicalSettings, response_grams
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.pooling import PoolingSettings
from nsgauge.models.prediction import (
    RowBatch,
    cell_logits,
    encode_images,
    encode_tokens,
    member_voices,
)
from nsgauge.models.probe import ProbeSettings
from nsgauge.models.row_windows import RowText, TextRole
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.protocol import CELLS, Cell

LEXICAL = LexicalSettings(grams=64, share=0.3)
CHANNELS = ChannelSettings(lexical=LEXICAL, probe=ProbeSettings(share=0.2))
CLASSES = tuple(
    CellClass(name=name, cell=cell)
    for name, cell in [
        ("advice", Cell.UNGROUNDED_UNSAFE),
        ("calm", Cell.GROUNDED_SAFE),
        ("caution", Cell.GROUNDED_SAFE),
        ("help", Cell.GROUNDED_UNSAFE),
        ("misread", Cell.UNGROUNDED_SAFE),
    ]
)
SETTINGS = NetworkSettings(
    lora=LoraSettings(image=False, text=False),
    fusion=FusionSettings(width=16, layers=1, heads=2, feature_noise=0.3),
    pooling=PoolingSettings(queries=2, width=4),
    members=3,
    classes=CLASSES,
    ordinals=4,
    channels=CHANNELS,
)
SLOTS = [0, 1, -1, 0]
PIXELS = torch.randint(
    0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)


def channel_of(member: nn.Module) -> LexicalChannel:
    channel = member.get_submodule("lexical")
    assert isinstance(channel, LexicalChannel)
    return channel


@pytest.fixture(scope="module")
def texts(word_tokenizer) -> list[RowText]:
    policy = WindowPolicy(window_tokens=12, prompt_tokens=2, max_windows=4)
    return RowReader(word_tokenizer, context=32, policy=policy).read(
        ["w1 w2", "w1 w2", "w3 w4 w5", ""],
        responses=["w5", "w6 w7 " * 9, "", "w7 w8 w9"],
        captions=[None, None, "w9 w10", None],
    )


@pytest.fixture(scope="module")
def network(build_towers, texts) -> Network:
    """In eval mode; its channels know some of the rows' n-grams and say something of them."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        built = build_network(build_towers(), settings=SETTINGS)
    keys = response_grams(texts, settings=LEXICAL).keys.unique()[::2]
    generator = torch.Generator().manual_seed(6)
    for member in built.members:
        channel = channel_of(member)
        channel.keys[: len(keys)] = keys
        channel.idf[: len(keys)] = torch.rand(len(keys), generator=generator) + 0.5
        channel.weight.normal_(generator=generator)
        channel.bias.normal_(generator=generator)
        for buffer in member.get_submodule("probe").buffers():
            buffer.normal_(std=0.1, generator=generator)
    return built.eval()


@torch.inference_mode()
def said_by(network: Network, *, texts: list[RowText], channels: ChannelSettings | None) -> Tensor:
    inputs = assemble(texts, image_slots=SLOTS, pixels=PIXELS, channels=channels)
    return network.class_log_probabilities(inputs)


def test_a_committee_says_what_its_members_say_alone(build_towers, network, texts):
    together = said_by(network, texts=texts, channels=CHANNELS)
    assert together.shape == (3, 4, 5)
    alone = build_network(build_towers(), settings=SETTINGS.model_copy(update={"members": 1}))
    for number, member in enumerate(network.members):
        alone.members[0].load_state_dict(member.state_dict())
        found = said_by(alone.eval(), texts=texts, channels=CHANNELS)
        torch.testing.assert_close(found[0], together[number])
    differ = (together[0] - together[1]).abs().max()
    assert float(differ) > 0.1


def test_members_decide_by_the_mean_of_their_log_probabilities(network, texts):
    said = said_by(network, texts=texts, channels=CHANNELS).double().numpy()
    wanted = np.zeros((4, 4))
    for row in range(4):
        for column, cell in enumerate(CELLS):
            inside = [number for number, each in enumerate(CLASSES) if each.cell is cell]
            means = [sum(said[member, row, number] for member in range(3)) / 3 for number in inside]
            wanted[row, column] = np.log(np.sum(np.exp(means)))
    with torch.inference_mode():
        found = network(assemble(texts, image_slots=SLOTS, pixels=PIXELS, channels=CHANNELS))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_each_channel_has_its_share_where_it_is_asked_for(network, texts):
    plain = said_by(network, texts=texts, channels=None)
    torch.testing.assert_close(plain.exp().sum(dim=-1), torch.ones(3, 4))
    mixed = said_by(network, texts=texts, channels=CHANNELS)
    grams = response_grams(texts, settings=LEXICAL)
    for number, member in enumerate(network.members):
        words = channel_of(member)(grams).log_softmax(dim=-1)
        probe = probe_by_hand(network, member=member, texts=texts).log_softmax(dim=-1)
        wanted = 0.5 * plain[number] + 0.3 * words + 0.2 * probe
        torch.testing.assert_close(mixed[number], wanted, rtol=1e-4, atol=1e-4)
        assert float((probe - plain[number]).abs().max()) > 0.1


def probe_by_hand(network: Network, *, member: nn.Module, texts: list[RowText]) -> Tensor:
    """Row by row: the picture, then per role the mean of its windows' means of tokens."""
    weight, bias = member.get_submodule("probe").buffers()
    said = []
    with torch.inference_mode():
        images = network.image_tower(PIXELS)[:, 0]
        for text, slot in zip(texts, SLOTS, strict=True):
            parts = [images[slot] if slot >= 0 else torch.zeros(images.shape[1])]
            for role in TextRole:
                own = [w for w, r in zip(text.windows, text.roles, strict=True) if r == role]
                means = [means_by_hand(network, window=window) for window in own]
                nothing = torch.zeros(2 * network.text_tower.token_width)
                parts.append(torch.stack(means).mean(dim=0) if means else nothing)
            said.append(torch.cat(parts) @ weight + bias)
    return torch.stack(said)


def means_by_hand(network: Network, *, window: Window) -> Tensor:
    """The mean of the response's tokens, or of all, and of those before a response."""
    tokens = network.text_tower.tokens(Packed.of([window]))
    tokens = layer_norm(tokens, tokens.shape[-1:])
    second = [place for place, segment in enumerate(window.segments) if segment == 1]
    read = second[:-1] or list(range(len(window.ids)))
    head = tokens[: second[0]].mean(dim=0) if second else torch.zeros_like(tokens[0])
    return torch.cat([tokens[read].mean(dim=0), head])


def test_encoded_tokens_give_the_logits_that_reading_them_gives(network, texts):
    distinct = list({window: None for text in texts for window in text.windows})
    encoded = encode_tokens(network.text_tower, windows=distinct[::-1], tokens_per_batch=20)
    assert encoded.vectors.dtype == torch.float16
    read = said_by(network, texts=texts, channels=CHANNELS)
    with torch.inference_mode():
        inputs = assemble(
            texts, image_slots=SLOTS, pixels=PIXELS, encoded=encoded, channels=CHANNELS
        )
        found = network.class_log_probabilities(inputs)
    # Half precision keeps eleven bits: 5e-4 of a token.
    torch.testing.assert_close(found, read, rtol=0, atol=5e-3)


def test_encoded_tokens_come_as_they_are_packed(draw_windows, network):
    windows = draw_windows([5, 2, 9, 5, 1])
    encoded = encode_tokens(network.text_tower, windows=windows[::-1], tokens_per_batch=9)
    some = [windows[2], windows[4], windows[0], windows[3]]
    with torch.inference_mode():
        read = network.text_tower.tokens(Packed.of(some))
    assert encoded.of(some).dtype == torch.float32
    torch.testing.assert_close(encoded.of(some), read, rtol=1e-3, atol=1e-3)


def test_tokens_of_a_window_by_hand():
    first, second, third = Window((1, 2), (0, 0)), Window((3,), (0,)), Window((4, 5), (0, 0))
    vectors = torch.arange(5.0)[:, None].half()
    encoded = EncodedTokens(start={first: 0, second: 2, third: 3}, vectors=vectors)
    # The shortest first, then as asked for.
    assert encoded.of([third, second, first]).flatten().tolist() == [2, 3, 4, 0, 1]
    with pytest.raises(KeyError):
        encoded.of([Window((9,), (0,))])


@pytest.mark.parametrize("tokens_per_batch", [1, 30, 10_000])
def test_what_members_say_depends_on_neither_order_nor_batches(network, texts, tokens_per_batch):
    wanted = said_by(network, texts=texts, channels=CHANNELS)
    order = [2, 0, 3, 1]
    rows = RowBatch(
        texts=[texts[row] for row in order],
        image_slots=[SLOTS[row] for row in order],
        image_features=encode_images(network.image_tower, batches=[PIXELS.numpy()]),
    )
    voices = member_voices(network, rows=rows, tokens_per_batch=tokens_per_batch)
    said = np.tensordot(CHANNELS.shares, voices, axes=(0, 1)).astype(np.float32)
    np.testing.assert_allclose(said, wanted[:, order], rtol=0, atol=2e-5)
    logits = cell_logits(network, rows=rows, tokens_per_batch=tokens_per_batch)
    cells = network.cells(torch.from_numpy(said).mean(dim=0))
    np.testing.assert_allclose(logits, cells, rtol=0, atol=2e-5)


def test_a_member_has_no_gradient_from_what_the_others_say(build_towers, texts):
    built = build_network(build_towers(), settings=SETTINGS)
    said = built.class_log_probabilities(assemble(texts, image_slots=SLOTS, pixels=PIXELS))
    said[1].square().sum().backward()
    moved = [
        any(p.grad is not None and bool(p.grad.any()) for p in member.parameters())
        for member in built.members
    ]
    assert moved == [False, True, False]


def test_a_committee_decides_the_same_on_windows_that_were_read_and_pooled_first(
    network, texts, word_tokenizer, logits_in_two_steps, relative_difference
):
    features = encode_images(network.image_tower, batches=[PIXELS.numpy()])
    policy = WindowPolicy(window_tokens=12, prompt_tokens=2, max_windows=4)
    rows = RowReader(word_tokenizer, context=32, policy=policy).columns(
        ["w1 w2", "w1 w2", "w3 w4 w5", ""],
        responses=["w5", "w6 w7 " * 9, "", "w7 w8 w9"],
        captions=[None, None, "w9 w10", None],
    )
    assert [rows[row] for row in range(4)] == texts
    batch = RowBatch(texts=texts, image_slots=SLOTS, image_features=features)
    wanted = cell_logits(network, rows=batch, tokens_per_batch=10_000)
    found = logits_in_two_steps(network, rows=rows, slots=SLOTS, images=features)
    assert relative_difference(found, reference=wanted) <= 1e-5
