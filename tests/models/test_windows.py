import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nsgauge.models.row_windows import RowText, TextRole
from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
from nsgauge.models.windows import RowReader, WindowPolicy

START, END, PAD = 90, 91, 93
CONTEXT = 32

WORDS = st.lists(st.integers(0, 89), max_size=200)
POLICIES = st.builds(
    WindowPolicy,
    layout=st.sampled_from(["joint", "apart"]),
    window_tokens=st.one_of(st.none(), st.integers(8, CONTEXT)),
    prompt_tokens=st.integers(1, 4),
    max_windows=st.integers(1, 64),
)


def text_of(words: list[int]) -> str:
    return " ".join(f"w{word}" for word in words)


def read(tokenizer: TextTokenizer, *, policy: WindowPolicy, **texts: str | None) -> RowText:
    reader = RowReader(tokenizer, context=CONTEXT, policy=policy)
    return reader.read(
        [texts["prompt"] or ""], responses=[texts["response"] or ""], captions=[texts["caption"]]
    )[0]


def tokens_of(row: RowText, *, role: TextRole) -> list[int]:
    """What the windows of a role hold, in order, without start, end and a joint window's prompt."""
    found: list[int] = []
    for window, kind in zip(row.windows, row.roles, strict=True):
        if kind is role:
            segment = 1 if role is TextRole.JOINT else 0
            pairs = zip(window.ids, window.segments, strict=True)
            found += [i for i, s in pairs if s == segment and i not in (START, END)]
    return found


@settings(deadline=None, max_examples=200)
@given(WORDS, WORDS, st.one_of(st.none(), WORDS), POLICIES)
def test_every_token_is_read_once_and_no_window_is_too_long(
    word_tokenizer, prompt, response, caption, policy
):
    row = read(
        word_tokenizer,
        policy=policy,
        prompt=text_of(prompt),
        response=text_of(response),
        caption=None if caption is None else text_of(caption),
    )
    limit = policy.window_tokens or CONTEXT
    for window in row.windows:
        assert len(window.ids) == len(window.segments) <= limit
        assert window.ids[0] == START
        assert window.ids[-1] == END
    joint = policy.layout == "joint"
    role = TextRole.JOINT if joint else TextRole.RESPONSE
    head = prompt[: policy.prompt_tokens] if joint else []
    wanted = {role: response, TextRole.PROMPT: prompt[len(head) :], TextRole.CAPTION: caption or []}
    for kind, words in wanted.items():
        found = tokens_of(row, role=kind)
        assert found == words[: len(found)]
        assert row.truncated or found == words
    assert row.truncated or (TextRole.CAPTION in row.roles) == (caption is not None)
    if joint:
        for window, kind in zip(row.windows, row.roles, strict=True):
            if kind is TextRole.JOINT:
                assert window.ids[: len(head) + 2] == (START, *head, END)
    assert row.response_windows == row.roles.count(role)


@settings(deadline=None)
@given(WORDS, WORDS, POLICIES)
def test_a_cap_that_cuts_marks_the_row(word_tokenizer, prompt, response, policy):
    texts = {"prompt": text_of(prompt), "response": text_of(response), "caption": None}
    capped = read(word_tokenizer, policy=policy, **texts)
    whole = read(word_tokenizer, policy=policy.model_copy(update={"max_windows": 64}), **texts)
    assert not whole.truncated
    counts = [whole.roles.count(role) for role in TextRole]
    assert capped.truncated == (max(counts) > policy.max_windows)
    for role, count in zip(TextRole, counts, strict=True):
        assert capped.roles.count(role) == min(count, policy.max_windows)
        ordinals = [o for o, r in zip(capped.ordinals, capped.roles, strict=True) if r is role]
        assert ordinals == list(range(len(ordinals)))


def test_joint_windows_by_hand(word_tokenizer):
    policy = WindowPolicy(layout="joint", window_tokens=8, prompt_tokens=2)
    row = read(
        word_tokenizer, policy=policy, prompt="w1 w2 w3", response="w4 w5 w6 w7", caption="w8"
    )
    # 8 less two of the prompt and three control tokens leaves 3 for the response: 4 = 2 + 2.
    assert [window.ids for window in row.windows] == [
        (90, 3, 91),
        (90, 1, 2, 91, 4, 5, 91),
        (90, 1, 2, 91, 6, 7, 91),
        (90, 8, 91),
    ]
    assert row.windows[1].segments == (0, 0, 0, 0, 1, 1, 1)
    assert row.roles == (TextRole.PROMPT, TextRole.JOINT, TextRole.JOINT, TextRole.CAPTION)
    assert row.ordinals == (0, 0, 1, 0)
    assert row.response_windows == 2


def test_empty_texts_are_read_as_empty_windows_and_a_missing_caption_as_none(word_tokenizer):
    policy = WindowPolicy(layout="apart")
    row = read(word_tokenizer, policy=policy, prompt="", response="", caption=None)
    assert [window.ids for window in row.windows] == [(90, 91), (90, 91)]
    assert row.roles == (TextRole.PROMPT, TextRole.RESPONSE)


@pytest.mark.parametrize("long", ["prompt", "response", "caption"])
def test_text_past_what_the_tokenizer_reads_marks_the_row(word_tokenizer, long):
    texts = {"prompt": "w1", "response": "w2", "caption": "w3"}
    # One word and spaces: a single window, so that no cap is at work.
    texts[long] = "w4" + " " * CHARACTERS_READ + "w5"
    row = read(word_tokenizer, policy=WindowPolicy(layout="apart"), **texts)
    assert len(row.windows) == 3
    assert row.truncated


def test_rows_are_read_independently(word_tokenizer):
    reader = RowReader(word_tokenizer, context=CONTEXT, policy=WindowPolicy(prompt_tokens=4))
    prompts, responses, captions = ["w1", "w2 w3"], ["w4 " * 99, ""], ["w5", None]
    together = reader.read(prompts, responses=responses, captions=captions)
    alone = [
        reader.read([p], responses=[r], captions=[c])[0]
        for p, r, c in zip(prompts, responses, captions, strict=True)
    ]
    assert together == alone


@settings(deadline=None, max_examples=100)
@given(WORDS, WORDS, POLICIES)
def test_padded_windows_fill_the_context_and_hold_the_whole_text(
    padding_tokenizer, prompt, response, policy
):
    whole = policy.model_copy(update={"max_windows": 64})
    texts = {"prompt": text_of(prompt), "response": text_of(response), "caption": None}
    row = read(padding_tokenizer, policy=whole, **texts)
    kept = TextRole.JOINT if policy.layout == "joint" else TextRole.RESPONSE
    found = [token for token in tokens_of(row, role=kept) if token != PAD]
    assert row.truncated or found == response
    for window in row.windows:
        assert len(window.ids) == len(window.segments) == CONTEXT
        assert START not in window.ids
        filled = len(window.ids) - window.ids[::-1].index(END)
        assert filled <= (policy.window_tokens or CONTEXT)
        assert window.ids[filled:] == (PAD,) * (CONTEXT - filled)
        assert not any(window.segments[filled:])


def test_a_window_without_a_start_holds_one_token_more(padding_tokenizer, word_tokenizer):
    texts = {"prompt": "", "response": "w1 " * (CONTEXT - 1), "caption": None}
    policy = WindowPolicy(layout="apart")
    assert len(read(padding_tokenizer, policy=policy, **texts).windows) == 2
    assert len(read(word_tokenizer, policy=policy, **texts).windows) == 3


def test_a_window_longer_than_the_context_is_refused(word_tokenizer):
    with pytest.raises(ValueError, match="window_tokens is 33, the text tower reads 32"):
        RowReader(word_tokenizer, context=32, policy=WindowPolicy(window_tokens=33))


@pytest.mark.parametrize(("prompt_tokens", "fits"), [(28, True), (29, False), (64, False)])
def test_a_prompt_that_leaves_the_response_no_room_is_refused(word_tokenizer, prompt_tokens, fits):
    policy = WindowPolicy(layout="joint", prompt_tokens=prompt_tokens)
    if fits:
        RowReader(word_tokenizer, context=32, policy=policy)
        return
    with pytest.raises(ValueError, match="leave no room"):
        RowReader(word_tokenizer, context=32, policy=policy)


def test_apart_needs_no_room_for_the_prompt(word_tokenizer):
    policy = WindowPolicy(layout="apart", prompt_tokens=64)
    assert RowReader(word_tokenizer, context=32, policy=policy).read(
        ["w1 " * 60], responses=["w2"], captions=[None]
    )


@pytest.mark.parametrize(
    "fault", [{"window_tokens": 7}, {"max_windows": 0}, {"prompt_tokens": 0}, {"layout": "both"}]
)
def test_policies_out_of_bounds_are_refused(fault):
    with pytest.raises(ValidationError):
        WindowPolicy.model_validate(fault)


def test_a_captions_beginning_stands_before_the_prompt_by_hand(word_tokenizer):
    policy = WindowPolicy(layout="joint", window_tokens=12, prompt_tokens=2, caption_tokens=2)
    texts = {"prompt": "w1 w2 w3", "response": "w4 w5 w6 w7 w11 w12", "caption": "w8 w9 w10"}
    row = read(word_tokenizer, policy=policy, **texts)
    # 12 less two of the caption, two of the prompt and three control tokens leaves 5: 6 = 3 + 3.
    assert [window.ids for window in row.windows] == [
        (90, 3, 91),
        (90, 8, 9, 1, 2, 91, 4, 5, 6, 91),
        (90, 8, 9, 1, 2, 91, 7, 11, 12, 91),
        (90, 10, 91),
    ]
    assert row.windows[1].segments == (0,) * 6 + (1,) * 4
    assert row.roles == (TextRole.PROMPT, TextRole.JOINT, TextRole.JOINT, TextRole.CAPTION)
    assert row.response_ids == ((4, 5, 6), (7, 11, 12))


def test_a_caption_that_fits_before_the_prompt_has_no_window_of_its_own(word_tokenizer):
    texts = {"prompt": "w1", "response": "w2", "caption": "w8 w9"}
    policy = WindowPolicy(layout="joint", prompt_tokens=4, caption_tokens=2)
    row = read(word_tokenizer, policy=policy, **texts)
    assert [window.ids for window in row.windows] == [(90, 8, 9, 1, 91, 2, 91)]
    without = read(word_tokenizer, policy=policy, **{**texts, "caption": None})
    assert [window.ids for window in without.windows] == [(90, 1, 91, 2, 91)]
    apart = read(word_tokenizer, policy=policy.model_copy(update={"layout": "apart"}), **texts)
    assert [window.ids for window in apart.windows] == [(90, 1, 91), (90, 2, 91), (90, 8, 9, 91)]


@settings(deadline=None)
@given(WORDS, WORDS, st.one_of(st.none(), WORDS), POLICIES, st.integers(0, 6))
def test_a_caption_is_read_once_before_the_prompt_or_after_the_response(
    word_tokenizer, prompt, response, caption, policy, caption_tokens
):
    update = {"layout": "joint", "window_tokens": 16, "caption_tokens": caption_tokens}
    row = read(
        word_tokenizer,
        policy=policy.model_copy(update={**update, "max_windows": 64}),
        prompt=text_of(prompt),
        response=text_of(response),
        caption=None if caption is None else text_of(caption),
    )
    shown, rest = (caption or [])[:caption_tokens], (caption or [])[caption_tokens:]
    head = (START, *shown, *prompt[: policy.prompt_tokens], END)
    joint = [w for w, role in zip(row.windows, row.roles, strict=True) if role is TextRole.JOINT]
    assert all(window.ids[: len(head)] == head for window in joint)
    assert tokens_of(row, role=TextRole.CAPTION) == rest
    assert tokens_of(row, role=TextRole.JOINT) == response
    assert all(len(window.ids) <= 16 for window in row.windows)
    assert not row.truncated


@pytest.fixture(scope="module", params=["plain", "paired", "padded"])
def any_tokenizer(request, word_tokenizer, padding_tokenizer):
    """With nothing or an end more between two texts, and with padding."""
    tokenizer = copy.copy(padding_tokenizer if request.param == "padded" else word_tokenizer)
    tokenizer.between = (END,) if request.param == "paired" else ()
    return tokenizer


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS, POLICIES, st.integers(0, 2))
def test_response_ids_are_the_responses_own_in_every_layout(
    any_tokenizer, prompt, response, policy, caption_tokens
):
    policy = policy.model_copy(update={"window_tokens": 16, "caption_tokens": caption_tokens})
    texts = {"prompt": text_of(prompt), "response": text_of(response), "caption": "w1 w2 w3"}
    row = read(any_tokenizer, policy=policy, **texts)
    (wanted,) = any_tokenizer.ids([text_of(response)])
    found = tuple(token for stretch in row.response_ids for token in stretch)
    assert found == wanted[: len(found)]
    assert row.truncated or found == wanted
    # Capped or not, they are what the windows hold.
    assert len(row.response_ids) == row.response_windows
    role = TextRole.JOINT if policy.layout == "joint" else TextRole.RESPONSE
    assert tuple(token for token in tokens_of(row, role=role) if token != PAD) == found


def test_a_capped_response_has_the_ids_of_the_windows_kept(word_tokenizer):
    policy = WindowPolicy(layout="apart", window_tokens=8, max_windows=2)
    texts = {"prompt": "w1", "response": text_of(list(range(20))), "caption": None}
    row = read(word_tokenizer, policy=policy, **texts)
    # A window has room for six of the twenty: two hold the first twelve.
    assert row.response_ids == (tuple(range(6)), tuple(range(6, 12)))
    assert row.truncated


@pytest.mark.parametrize(("caption_tokens", "fits"), [(18, True), (19, False)])
def test_a_caption_that_leaves_the_response_no_room_is_refused(
    word_tokenizer, caption_tokens, fits
):
    policy = WindowPolicy(prompt_tokens=10, caption_tokens=caption_tokens)
    if fits:
        RowReader(word_tokenizer, context=32, policy=policy)
        return
    with pytest.raises(ValueError, match="prompt_tokens and caption_tokens, 29 together"):
        RowReader(word_tokenizer, context=32, policy=policy)
