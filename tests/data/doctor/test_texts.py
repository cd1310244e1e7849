import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from nsgauge.data.doctor.texts import (
    MAX_WINDOWS,
    PROMPT_TOKENS,
    QUANTILES,
    ROWS_READ,
    TextReader,
    text_lengths,
)
from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.records import Triple

LENGTHS = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 700)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({"w": 0}, "w"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return TextTokenizer(words, clean=str, start=2, end=3)


def reader(context, *, characters=CHARACTERS_READ):
    return TextReader(
        preset="words",
        context=context,
        characters=characters,
        count_tokens=lambda texts: [len(text.split()) for text in texts],
    )


def answers(lengths):
    return [
        Triple(triple_id=f"t{n}", prompt="w " * prompt, response="w " * response)
        for n, (prompt, response) in enumerate(lengths)
    ]


def test_the_limits_are_those_that_a_window_policy_starts_with():
    policy = WindowPolicy()
    assert (policy.prompt_tokens, policy.max_windows) == (PROMPT_TOKENS, MAX_WINDOWS)
    assert policy.window_tokens is None


@pytest.mark.parametrize("context", [256, 77, 68, 66, 12])
@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS)
def test_windows_are_counted_as_the_classifier_reads_them(lengths, context, tokenizer):
    measured = reader(context)
    prompts, responses = zip(*(("w " * p, "w " * r) for p, r in lengths), strict=True)
    for layout in ("joint", "apart"):
        options = {"layout": layout}
        capped = WindowPolicy.from_mapping(options, source="test")
        if layout == "joint" and context - PROMPT_TOKENS - 3 < 1:
            with pytest.raises(ValueError, match="leave no room"):
                RowReader(tokenizer, context=context, policy=capped)
            continue
        whole = WindowPolicy.from_mapping({**options, "max_windows": 64}, source="test")
        given_rows = {"responses": list(responses), "captions": [None] * len(lengths)}
        rows = RowReader(tokenizer, context=context, policy=capped).read(
            list(prompts), **given_rows
        )
        full = RowReader(tokenizer, context=context, policy=whole).read(list(prompts), **given_rows)
        for one, row, uncapped in zip(lengths, rows, full, strict=True):
            found = _lengths_of([one], reader=measured)
            assert found.cut[layout] == int(row.truncated)
            if not uncapped.truncated:
                assert set(found.windows[layout].values()) == {len(uncapped.windows)}


def _lengths_of(lengths, *, reader):
    rows = answers(lengths)
    columns = {"prompt": [t.prompt for t in rows], "response": [t.response for t in rows]}
    found = text_lengths(pa.table(columns), reader=reader)
    assert found is not None
    return found


def test_quantiles_by_hand():
    found = _lengths_of([(n, 2 * n) for n in range(101)], reader=reader(256))
    assert found.prompt_tokens == dict(zip(QUANTILES, (0, 50, 90, 99, 100), strict=True))
    assert found.response_tokens == dict(zip(QUANTILES, (0, 100, 180, 198, 200), strict=True))
    assert (found.rows, found.preset, found.context) == (101, "words", 256)


def test_a_context_without_room_beside_the_prompt_has_no_joint_layout():
    found = _lengths_of([(1, 1)], reader=reader(PROMPT_TOKENS + 3))
    assert set(found.windows) == set(found.cut) == {"apart"}
    found = _lengths_of([(1, 1)], reader=reader(PROMPT_TOKENS + 4))
    assert set(found.windows) == set(found.cut) == {"joint", "apart"}


def test_a_text_past_the_readers_limit_is_read_in_part():
    found = _lengths_of([(1, 5), (1, 6), (6, 1)], reader=reader(256, characters=10))
    assert found.cut == {"joint": 2, "apart": 2}


def test_a_text_that_is_there_often_is_counted_once():
    counted = []

    def count(texts):
        counted.extend(texts)
        return [len(text) for text in texts]

    once = TextReader(preset="letters", context=256, characters=99, count_tokens=count)
    table = pa.table({"prompt": ["p"] * 3, "response": ["aa", "b", "aa"]})
    found = text_lengths(table, reader=once)
    assert found is not None
    assert sorted(counted) == ["aa", "b", "p"]
    assert found.response_tokens[0.5] == 2


def test_a_large_folder_is_sampled_and_always_alike():
    rows = 2 * ROWS_READ
    # Every second response is longer: a sample of every second row would be blind to it.
    table = pa.table({"prompt": ["w"] * rows, "response": ["w", "w w w"] * (rows // 2)})
    found = text_lengths(table, reader=reader(256))
    assert found is not None
    assert found.rows == ROWS_READ
    assert {q: found.response_tokens[q] for q in (0.0, 1.0)} == {0.0: 1, 1.0: 3}
    assert text_lengths(table, reader=reader(256)) == found
