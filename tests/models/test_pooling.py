"""Pools over tokens, against a loop over windows with torch's own attention."""

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from nsgauge.models.noise import FeatureNoise
from nsgauge.models.pooling import PoolingSettings, ReadTokens, TokenPool, read_tokens
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.windows import RowReader, WindowPolicy

TOKEN_WIDTH = 6
QUIET = FeatureNoise(0.0)
JOINT = Window((90, 1, 2, 91, 4, 5, 91), (0, 0, 0, 0, 1, 1, 1))
EMPTY_RESPONSE = Window((90, 1, 2, 91, 91), (0, 0, 0, 0, 1))
ALONE = Window((90, 3, 91), (0, 0, 0))
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def pool() -> TokenPool:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built = TokenPool(PoolingSettings(queries=3, width=5), token_width=TOKEN_WIDTH)
        torch.nn.init.normal_(built.queries.weight)
    return built.eval()


def drawn(windows: Sequence[Window], *, seed: int) -> list[Tensor]:
    """Tokens of each window."""
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(len(w.ids), TOKEN_WIDTH, generator=generator) + 1 for w in windows]


def pooled(pool: TokenPool, *, windows: Sequence[Window], tokens: Sequence[Tensor]) -> Tensor:
    order = sorted(range(len(windows)), key=lambda number: len(windows[number].ids))
    together = torch.cat([tokens[number] for number in order])
    with torch.inference_mode():
        vectors: Tensor = pool(ReadTokens.of(together, packed=Packed.of(windows), noise=QUIET))
    return vectors


def read_by_hand(window: Window) -> list[int]:
    """Places of the second text's words; of a window without any, all places."""
    second = [place for place, segment in enumerate(window.segments) if segment == 1]
    words = [place for place in second if place != len(window.ids) - 1]
    return words or list(range(len(window.ids)))


def by_loop(pool: TokenPool, *, window: Window, tokens: Tensor) -> Tensor:
    read = layer_norm(tokens, (TOKEN_WIDTH,))[read_by_hand(window)]
    values = linear(read, pool.values.weight, pool.values.bias)
    taken = [
        scaled_dot_product_attention(query[None], read, values, scale=1.0)[0]
        for query in pool.queries.weight
    ]
    second = [place for place, segment in enumerate(window.segments) if segment == 1]
    head = layer_norm(tokens, (TOKEN_WIDTH,))[: second[0] if second else 0]
    before = head.mean(dim=0) if len(head) else torch.zeros(TOKEN_WIDTH)
    return torch.cat([*taken, read.mean(dim=0), before])


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, seed=st.integers(0, 999))
def test_a_pool_is_a_loop_over_windows_in_the_order_given(pool, draw_windows, lengths, seed):
    windows = draw_windows(lengths, seed=seed)
    tokens = drawn(windows, seed=seed)
    with torch.inference_mode():
        wanted = [by_loop(pool, window=w, tokens=t) for w, t in zip(windows, tokens, strict=True)]
    found = pooled(pool, windows=windows, tokens=tokens)
    assert found.shape == (len(windows), pool.width)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(lengths=LENGTHS, seed=st.integers(0, 999))
def test_the_other_windows_of_a_pack_change_nothing(pool, draw_windows, lengths, seed):
    windows = draw_windows(lengths, seed=seed)
    tokens = drawn(windows, seed=seed)
    together = pooled(pool, windows=windows, tokens=tokens)
    for number, window in enumerate(windows):
        alone = pooled(pool, windows=[window], tokens=[tokens[number]])
        torch.testing.assert_close(together[[number]], alone, rtol=1e-4, atol=1e-5)


def test_which_tokens_are_read_by_hand():
    # The shortest lies first.
    read = read_tokens(Packed.of([JOINT, ALONE, EMPTY_RESPONSE]))
    joint = [False, False, False, False, True, True, False]
    assert read.tolist() == [True] * 3 + [True] * 5 + joint


@settings(deadline=None, max_examples=60)
@given(
    prompt=st.integers(0, 12),
    response=st.integers(0, 60),
    between=st.sampled_from([(), (91,)]),
)
def test_of_a_joint_window_exactly_the_responses_ids_are_read(
    word_tokenizer, prompt, response, between
):
    tokenizer = copy.copy(word_tokenizer)
    tokenizer.between = between
    policy = WindowPolicy(layout="joint", window_tokens=16, prompt_tokens=4)
    (row,) = RowReader(tokenizer, context=32, policy=policy).read(
        ["w1 " * prompt],
        responses=[" ".join(f"w{number}" for number in range(response))],
        captions=[None],
    )
    windows = [w for w, role in zip(row.windows, row.roles, strict=True) if role is TextRole.JOINT]
    for window, stretch in zip(windows, row.response_ids, strict=True):
        packed = Packed.of([window])
        assert packed.ids[read_tokens(packed)].tolist() == list(stretch or window.ids)


def split_off(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """What is taken from the tokens that are read, and the mean of those before."""
    return vectors[:, :-TOKEN_WIDTH], vectors[:, -TOKEN_WIDTH:]


def test_what_isnt_read_changes_nothing_and_what_is_read_does(pool):
    (tokens,) = drawn([JOINT], seed=0)
    before = pooled(pool, windows=[JOINT], tokens=[tokens])
    for place in range(len(JOINT.ids)):
        changed = tokens.clone()
        changed[place] = changed[place].flip(0)
        after = pooled(pool, windows=[JOINT], tokens=[changed])
        # The last numbers are the mean of what lies before the response.
        same = [
            torch.equal(new, old)
            for new, old in zip(split_off(after), split_off(before), strict=True)
        ]
        assert same == [place not in (4, 5), place > 3]


def test_gradients_reach_the_tokens_that_are_read_alone(pool):
    (tokens,) = drawn([JOINT], seed=1)
    tokens.requires_grad_()
    given_tokens = ReadTokens.of(tokens, packed=Packed.of([JOINT]), noise=QUIET)
    split_off(pool(given_tokens))[0].square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.abs().sum(dim=1).gt(0).tolist() == [False] * 4 + [True, True, False]


def test_training_adds_noise_of_the_deviation_asked_for():
    windows = [ALONE] * 2000
    tokens = torch.cat(drawn(windows, seed=2))
    noise = FeatureNoise(0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noisy = ReadTokens.of(tokens, packed=Packed.of(windows), noise=noise.train())
    quiet = ReadTokens.of(tokens, packed=Packed.of(windows), noise=noise.eval())
    torch.testing.assert_close(quiet.tokens, layer_norm(tokens, (TOKEN_WIDTH,)))
    # 36,000 draws: a standard error of .002.
    assert float((noisy.tokens - quiet.tokens).std()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("fault", [{"queries": -1}, {"queries": 65}, {"width": 0}])
def test_sizes_out_of_bounds_are_refused(fault):
    with pytest.raises(ValidationError):
        PoolingSettings.model_validate(fault)


@pytest.mark.parametrize(
    ("segments", "read"),
    [
        ((0, 0, 0, 1, 1, 1, 0, 0), (0, 0, 0, 1, 1, 0, 0, 0)),
        ((0, 0, 0, 1, 0, 0), (1, 1, 1, 1, 1, 1)),
    ],
)
def test_padding_after_a_response_is_not_read_nor_its_end(segments, read):
    window = Window(tuple(range(len(segments))), segments)
    assert read_tokens(Packed.of([window])).tolist() == [bool(each) for each in read]
