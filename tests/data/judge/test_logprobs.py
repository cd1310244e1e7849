import json
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.judge.logprobs import positive_probability
from nsgauge.data.judge.prompt import JUDGE_PROMPTS, Axis, JudgePrompt
from nsgauge.data.judge.reply import Reply, Token

PROMPTS = {name: JUDGE_PROMPTS.load(name, settings=JudgePrompt) for name in JUDGE_PROMPTS.names()}
TWO = PROMPTS["two-questions"]


def sure(text):
    return Token(text, {text: 0.0})


def split(text, **alternatives):
    """A token with the probabilities of what could have stood there."""
    return Token(text, {key: log(value) for key, value in alternatives["of"].items()})


def reply_of(*tokens):
    content = "".join(token.text for token in tokens)
    return Reply(content=content, finish_reason="stop", tokens=list(tokens))


def unsafe(*tokens, prompt=TWO):
    return positive_probability(reply_of(*tokens), prompt=prompt, axis="safety", positive="unsafe")


HEAD = sure('{"case": "ABCDE", "understood": "so", "grounding": "grounded", "safety":')
TAIL = sure(', "hallucinated": false, "reason": "it is unsafe, not safe"}')


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        # The word is a token of its own.
        ([sure(' "'), split("safe", of={"safe": 0.6, "unsafe": 0.3}), sure('"')], 0.3 / 0.9),
        # The quotes belong to it.
        ([split(' "unsafe"', of={' "unsafe"': 0.8, ' "safe"': 0.2})], 0.8),
        ([sure(" "), split('"safe', of={'"safe': 0.75, '"uns': 0.25}), sure('"')], 0.25),
        # It comes in pieces, as may its rival.
        ([sure(' "'), split("uns", of={"uns": 0.5, "safe": 0.3, "s": 0.1}), sure('afe"')], 5 / 9),
        ([sure(' "'), split("un", of={"un": 0.2, "uns": 0.2, "S": 0.1}), sure('safe"')], 0.8),
        # Alternatives that begin neither word don't count.
        (
            [sure(' "'), split("safe", of={"safe": 0.1, "unsafe": 0.1, "?": 0.5, "": 0.2})],
            0.5,
        ),
        # Nor does one that begins with something else than the chosen token does.
        ([split(' "safe', of={' "safe': 0.4, ' "unsafe': 0.4, "unsafe": 0.1, "\n": 0.1})], 0.5),
        # A blank before the word, as some tokenizers have it.
        ([sure(' "'), split(" safe", of={" safe": 0.4, " unsafe": 0.1}), sure('"')], 0.2),
        # The token ends other things with it.
        ([sure(' "'), split('safe",', of={'safe",': 0.9, 'unsafe",': 0.1})], 0.1),
        ([sure(' "'), split("safe", of={"safe": 1.0})], 0.0),
    ],
)
def test_the_probability_is_that_of_the_word_as_it_was_chosen(tokens, wanted):
    assert unsafe(HEAD, *tokens, TAIL) == pytest.approx(wanted, abs=1e-12)


def test_each_axis_has_its_own_place():
    reply = reply_of(
        sure('{"grounding": "'),
        split("not", of={"not": 0.25, "grounded": 0.5, "ground": 0.25}),
        sure('_grounded", "safety": "'),
        split("unsafe", of={"unsafe": 0.9, "safe": 0.1}),
        sure('"}'),
    )
    axes: list[tuple[Axis, str, float]] = [
        ("grounding", "not_grounded", 0.25),
        ("safety", "unsafe", 0.9),
    ]
    for axis, positive, wanted in axes:
        found = positive_probability(reply, prompt=TWO, axis=axis, positive=positive)
        assert found == pytest.approx(wanted)
    assert positive_probability(
        reply, prompt=TWO, axis="grounding", positive="grounded"
    ) == pytest.approx(0.75)


def test_a_key_inside_the_judges_words_is_no_key():
    reason = json.dumps('the "safety": "safe" of it')
    found = unsafe(
        sure('{"safety": "'),
        split("unsafe", of={"unsafe": 0.7, "safe": 0.3}),
        sure(f'", "reason": {reason}}}'),
    )
    assert found == pytest.approx(0.7)


def test_the_last_of_several_answers_counts():
    draft = [sure('{"safety": "'), split("safe", of={"safe": 0.9, "unsafe": 0.1}), sure('"} ')]
    final = [sure('{"safety": "'), split("safe", of={"safe": 0.6, "unsafe": 0.4}), sure('"}')]
    assert unsafe(*draft, *final) == pytest.approx(0.4)


def test_several_words_may_stand_for_one_label():
    found = unsafe(
        sure('{"outcome": "'),
        split("ref", of={"ref": 0.2, "warn": 0.3, "miss": 0.5}),
        sure('used"}'),
        prompt=PROMPTS["vlsbench-safety"],
    )
    assert found == pytest.approx(0.5)


@pytest.mark.parametrize(
    "tokens",
    [
        [sure("")],
        [sure("safe")],
        [sure('{"safety"')],
        [sure('{"safety": ')],
        [sure('{"safety": "')],
        [sure('{"safety": true}')],
        [sure('{"safety": "'), split("perhaps", of={"perhaps": 1.0}), sure('"}')],
        [sure('{"safety": "'), Token("safe", {}), sure('"}')],
        [sure('{"safety": "'), Token("safe", {"safe": float("-inf")}), sure('"}')],
        [sure('{"safety": "'), Token("safe", {"safe": float("nan")}), sure('"}')],
    ],
)
def test_without_the_word_there_is_no_probability(tokens):
    assert unsafe(*tokens) is None


def test_without_log_probabilities_or_the_axis_there_is_none():
    bare = Reply(content='{"safety": "safe"}', finish_reason="stop")
    assert positive_probability(bare, prompt=TWO, axis="safety", positive="unsafe") is None
    reply = reply_of(sure('{"safe": "'), split("true", of={"true": 0.5, "false": 0.5}), sure('"}'))
    prompt = PROMPTS["siuo-safety"]
    assert positive_probability(reply, prompt=prompt, axis="grounding", positive="x") is None
    assert unsafe(*reply.tokens, prompt=prompt) == pytest.approx(0.5)


def brute(text, cuts, masses, *, key, words):
    """The same by counting: every alternative continued in every way that spells a word."""
    start = text.index(f'"{key}": "') + len(key) + 5
    begin = max(cut for cut in cuts if cut <= start)
    before = text[begin:start]
    sums = dict.fromkeys(words, 0.0)
    for alternative, mass in masses.items():
        spelt = {
            word
            for word in words
            if (before + word + '"').startswith(alternative) and len(alternative) > len(before)
        }
        if len(spelt) == 1:
            sums[spelt.pop()] += mass
    total = sum(sums.values())
    return sums, total


@given(st.data())
def test_it_is_what_counting_continuations_gives(data):
    words = {"safety": ["safe", "unsafe"], "grounding": ["grounded", "not_grounded"]}
    axis = data.draw(st.sampled_from(["safety", "grounding"]))
    positive = words[axis][1]
    content = {
        "case": "ABCDE",
        "understood": data.draw(st.sampled_from(["", "safe", '"safety": "unsafe"'])),
        "grounding": data.draw(st.sampled_from(words["grounding"])),
        "safety": data.draw(st.sampled_from(words["safety"])),
        "reason": "unsafe, not_grounded, it is",
    }
    text = json.dumps(content)
    start = text.index(f'"{axis}": "') + len(axis) + 5
    begin = start - data.draw(st.integers(0, 2))
    end = data.draw(st.integers(start + 1, start + len(content[axis]) + 1))
    chosen, before = text[begin:end], text[begin:start]
    rivals = {
        (before + word + '"')[: len(before) + length]
        for word in words[axis]
        for length in data.draw(st.lists(st.integers(1, 6), max_size=3))
    }
    others = data.draw(st.sets(st.sampled_from(["?", before + "maybe", before, "{", "x"])))
    drawn = {key: data.draw(st.floats(1e-6, 1)) for key in sorted({chosen, *rivals, *others})}
    token = Token(chosen, {key: log(mass) for key, mass in drawn.items()})
    reply = reply_of(sure(text[:begin]), token, sure(text[end:]))
    found = positive_probability(reply, prompt=TWO, axis=axis, positive=positive)
    sums, total = brute(text, [0, begin, end], drawn, key=axis, words=words[axis])
    assert found == pytest.approx(sums[positive] / total, rel=1e-9)
    assert exp(token.alternatives[chosen]) == pytest.approx(drawn[chosen])
