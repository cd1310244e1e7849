from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer

from nsgauge.models.lexical import (
    Grams,
    LexicalChannel,
    LexicalSettings,
    column_grams,
    response_grams,
    tfidf,
)
from nsgauge.models.windows import RowReader, WindowPolicy

CONTEXT = 32
GOLDEN = 0x9E3779B97F4A7C15
SMALL = LexicalSettings(grams=256)

LAYOUTS = ("joint", "apart")
WORDS = st.lists(st.integers(0, 89), max_size=100)


def mixed(key):
    """SplitMix64's finaliser on Python's unbounded integers."""
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    key = (key ^ (key >> 27)) * 0x94D049BB133111EB % 2**64
    return key ^ (key >> 31)


def key_of(ids):
    state = 0
    for token in ids:
        state = (state * GOLDEN + token + 1) % 2**64
    return mixed(state) >> 10


def mixed_by_torch(keys):
    """The same on signed integers, whose shifts drag the sign along."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
        keys = keys ^ ((keys >> shift) & (2 ** (64 - shift) - 1))
        keys = keys if factor is None else keys * (factor - 2**64)
    return keys


def counted(stretches, *, longest=2):
    """The grams of one row's stretches, one by one."""
    return Counter(
        key_of(ids[start : start + length])
        for ids in stretches
        for length in range(1, longest + 1)
        for start in range(len(ids) - length + 1)
    )


def by_row(grams):
    bounds = grams.offsets.tolist()
    return [
        Counter(
            dict(zip(grams.keys[begin:end].tolist(), grams.counts[begin:end].tolist(), strict=True))
        )
        for begin, end in pairwise(bounds)
    ]


def sentence(ids):
    return " ".join(f"w{number}" for number in ids)


def read(tokenizer, responses, *, prompt="w7 w8 w9", **policy):
    policy = {"prompt_tokens": 4, **policy}
    reader = RowReader(tokenizer, context=CONTEXT, policy=WindowPolicy(**policy))
    return reader.read(
        [prompt] * len(responses),
        responses=[sentence(ids) for ids in responses],
        captions=["w5 w6"] * len(responses),
    )


def random_grams(*, rows=20, seed=0, known=256):
    """Of as many n-grams, whose keys are their numbers."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 30, size=rows)
    lengths[3] = 0
    keys = [np.sort(generator.choice(known, size=n, replace=False)) for n in lengths]
    return Grams(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
        keys=torch.from_numpy(np.concatenate(keys)),
        counts=torch.from_numpy(generator.integers(1, 9, size=lengths.sum())),
    )


def random_channel(*, seed=0, classes=5):
    generator = torch.Generator().manual_seed(seed)
    channel = LexicalChannel(SMALL, classes=classes)
    channel.keys.copy_(torch.arange(256))
    for buffer in (channel.idf, channel.weight, channel.bias):
        buffer.copy_(torch.randn(buffer.shape, generator=generator))
    channel.idf.abs_()
    return channel


def test_the_hash_of_the_tests_is_splitmix64():
    assert mixed(GOLDEN) == 0xE220A8397B1DCDAF
    assert mixed(2 * GOLDEN % 2**64) == 0x6E789E6AA1B965F4


@pytest.mark.parametrize("layout", ["joint", "apart"])
def test_grams_are_counted_in_the_response_alone(word_tokenizer, layout):
    texts = read(word_tokenizer, [[1, 2, 1, 2], [], [0], [0, 0]], layout=layout)
    grams = response_grams(texts, settings=SMALL)
    wanted = [counted([ids]) for ids in ([1, 2, 1, 2], [], [0], [0, 0])]
    assert by_row(grams) == wanted
    assert by_row(grams)[0][key_of([1, 2])] == 2


@pytest.mark.parametrize("layout", ["joint", "apart"])
def test_grams_dont_cross_a_windows_edge(word_tokenizer, layout):
    ids = list(range(80))
    texts = read(word_tokenizer, [ids], layout=layout, window_tokens=20)
    room = 18 if layout == "apart" else 14
    parts = [part.tolist() for part in np.array_split(ids, -(-len(ids) // room))]
    assert texts[0].response_windows == len(parts)
    grams = response_grams(texts, settings=SMALL)
    assert by_row(grams) == [counted(parts)]


@pytest.mark.parametrize("layout", ["joint", "apart"])
def test_padding_is_no_response(word_tokenizer, padding_tokenizer, layout):
    responses = [[1, 2, 3], [], [4] * 20]
    plain, padded = (
        response_grams(read(tokenizer, responses, layout=layout), settings=SMALL)
        for tokenizer in (word_tokenizer, padding_tokenizer)
    )
    assert by_row(plain) == by_row(padded) == [counted([ids]) for ids in responses]


@given(responses=st.lists(WORDS, max_size=5), longest=st.integers(1, 4), prompt=WORDS)
@settings(deadline=None, max_examples=50)
def test_any_rows_are_counted_as_one_by_one(word_tokenizer, responses, longest, prompt):
    chosen = LexicalSettings(longest=longest)
    texts = read(
        word_tokenizer, responses, prompt=sentence(prompt), prompt_tokens=4, max_windows=64
    )
    grams = response_grams(texts, settings=chosen)
    room = CONTEXT - 3 - min(len(prompt), 4)
    wanted = []
    for ids in responses:
        parts = np.array_split(ids, max(1, -(-len(ids) // room)))
        stretches = [part.astype(int).tolist() for part in parts]
        wanted.append(counted(stretches, longest=longest))
    assert by_row(grams) == wanted
    for begin, end in pairwise(grams.offsets):
        assert (grams.keys[begin:end].diff() > 0).all()


def test_many_rows_are_counted_as_few(word_tokenizer):
    generator = np.random.default_rng(0)
    responses = [generator.integers(90, size=generator.integers(6)).tolist() for _ in range(1_030)]
    texts = read(word_tokenizer, responses)
    together = response_grams(texts, settings=SMALL)
    alone = [response_grams([t], settings=SMALL) for t in texts]
    assert by_row(together) == [by_row(grams)[0] for grams in alone]


@given(responses=st.lists(WORDS, max_size=8), data=st.data(), layout=st.sampled_from(LAYOUTS))
def test_rows_as_columns_have_the_same_grams_in_any_order(word_tokenizer, responses, data, layout):
    policy = WindowPolicy(layout=layout, window_tokens=16, prompt_tokens=4, max_windows=3)
    texts = [" ".join(f"w{number}" for number in ids) for ids in responses]
    columns = RowReader(word_tokenizer, context=CONTEXT, policy=policy).columns(
        ["w1 w2 " * 9] * len(texts), responses=texts, captions=["w3"] * len(texts)
    )
    chosen = np.array(
        data.draw(st.lists(st.integers(0, len(texts) - 1)) if texts else st.just([])), dtype=int
    )
    found = column_grams(columns, chosen=chosen, settings=SMALL)
    wanted = response_grams([columns[row] for row in chosen.tolist()], settings=SMALL)
    for name in ("offsets", "keys", "counts"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))


def test_torch_hashes_to_the_same_keys(word_tokenizer):
    ids = np.random.default_rng(1).integers(90, size=24).tolist()
    grams = response_grams(read(word_tokenizer, [ids], layout="apart"), settings=SMALL)
    single = torch.tensor(ids) + 1
    pairs = single[:-1] * (GOLDEN - 2**64) + single[1:]
    keys = (mixed_by_torch(torch.cat([single, pairs])) >> 10) & (2**54 - 1)
    assert by_row(grams) == [Counter(keys.tolist())]


def test_no_rows_have_no_grams():
    grams = response_grams([], settings=SMALL)
    assert grams.offsets.tolist() == [0]
    assert random_channel()(grams).shape == (0, 5)


def test_tfidf_is_that_of_scikit_learn():
    grams = random_grams()
    counts = csr_array(
        (grams.counts.numpy().astype(float), grams.keys.numpy(), grams.offsets.numpy()),
        shape=(20, 256),
    )
    reference = TfidfTransformer(sublinear_tf=True).fit(counts)
    found = tfidf(grams, idf=torch.from_numpy(reference.idf_)[grams.keys])
    np.testing.assert_allclose(found, reference.transform(counts).data, rtol=1e-12)


def test_a_row_of_unknown_grams_has_no_weights():
    grams = random_grams()
    assert (tfidf(grams, idf=torch.zeros(len(grams.keys))) == 0).all()


def test_the_channel_is_a_product_with_the_weights():
    grams, channel = random_grams(), random_channel()
    dense = torch.zeros(20, 256)
    for row, counts in enumerate(by_row(grams)):
        for bucket, count in counts.items():
            dense[row, bucket] = (1 + np.log(count)) * channel.idf[bucket]
    dense /= dense.norm(dim=1, keepdim=True).clamp(min=1e-30)
    torch.testing.assert_close(channel(grams), dense @ channel.weight + channel.bias)


def test_an_empty_response_gives_the_bias():
    channel = random_channel()
    assert torch.equal(channel(random_grams())[3], channel.bias)


def test_a_new_channel_says_nothing():
    assert (LexicalChannel(SMALL, classes=5)(random_grams()) == 0).all()


def test_unknown_grams_count_for_nothing():
    grams, channel = random_grams(known=1000), random_channel()
    known = grams.keys < 256
    lengths = torch.tensor([int(part.sum()) for part in known.tensor_split(grams.offsets[1:-1])])
    fewer = Grams(
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        keys=grams.keys[known],
        counts=grams.counts[known],
    )
    torch.testing.assert_close(channel(grams), channel(fewer))


def test_a_channel_has_nothing_for_gradient_steps():
    assert not list(random_channel().parameters())


def test_a_saved_channel_says_the_same(tmp_path):
    channel = random_channel()
    save_file(channel.state_dict(), tmp_path / "lexical.safetensors")
    again = LexicalChannel(SMALL, classes=5)
    again.load_state_dict(load_file(tmp_path / "lexical.safetensors"))
    assert torch.equal(again(random_grams()), channel(random_grams()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_says_what_the_cpu_says():
    device = torch.device("cuda")
    found = random_channel().to(device)(random_grams().to(device))
    torch.testing.assert_close(found.cpu(), random_channel()(random_grams()))


@pytest.mark.parametrize("faulty", [{"grams": 0}, {"longest": 0}, {"c": 0.0}, {"share": 1.0}])
def test_settings_out_of_bounds_are_refused(faulty):
    with pytest.raises(ValidationError, match=next(iter(faulty))):
        LexicalSettings(**faulty)
