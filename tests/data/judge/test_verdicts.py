import json
from dataclasses import replace
from math import log

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsgauge.data.judge.cache import Asked, opened
from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.reply import Reply, Token
from nsgauge.data.judge.verdicts import (
    check_judge_is_free,
    merge_verdicts,
    verdict_of,
    verdicts_on,
)
from nsgauge.data.tables import SourceNote, read_verdicts, verdicts_of, write_data
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import Triple, Verdict, VerdictState

TRIPLES = [Triple(triple_id=f"t{n}", prompt="p", response=f"r{n}") for n in range(4)]
HUMAN = Verdict(triple_id="t1", judge="human", safety=Safety.UNSAFE)


def write(out, verdicts=(HUMAN,)):
    write_data(
        out,
        triples=TRIPLES,
        verdicts=verdicts,
        rejects=(),
        source=SourceNote(importer="test"),
        overwrite=True,
    )
    return out


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data")


def stored(data):
    return verdicts_of(read_verdicts(data))


def verdict(number, vote=0, judge="j", **changes):
    fields = {"safety": Safety.SAFE, "prompt_hash": "h", **changes}
    return Verdict(triple_id=f"t{number}", judge=judge, vote=vote, **fields)


def failed(number, vote=0, judge="j"):
    return verdict(number, vote, judge, safety=None, state=VerdictState.FAILED, reason="500")


@pytest.fixture
def cases(data):
    recipe = {"model": "m", "judge": "j", "votes": 2, "picture": {"show": "none"}}
    return cases_of(data, recipe=JudgeRecipe.from_mapping(recipe, source="test"))


def reply_to(question, **changes):
    answer = {
        "case": question.code,
        "understood": "",
        "grounding": "grounded",
        "safety": "unsafe",
        "hallucinated": False,
        "reason": "r",
        **changes,
    }
    return Reply(content=json.dumps(answer), finish_reason="stop")


def test_a_verdict_says_who_when_and_what(cases):
    question = replace(cases.questions[2], inclusion_probability=0.25)
    found = verdict_of(reply_to(question), question=question, vote=1, cases=cases)
    assert found == Verdict(
        triple_id="t2",
        judge="j",
        vote=1,
        safety=Safety.UNSAFE,
        grounding=Grounding.GROUNDED,
        hallucinated=False,
        reason="r",
        prompt_hash=cases.prompt.prompt_hash,
        inclusion_probability=0.25,
    )


def test_log_probabilities_become_the_judges_own_probability(cases):
    question = cases.questions[0]
    content = reply_to(question).content
    head, word, tail = content.partition('"safety": "unsafe')
    tokens = [
        Token(f'{head}"safety": "', {}),
        Token("unsafe", {"unsafe": log(0.6), "safe": log(0.2)}),
        Token(tail, {}),
    ]
    assert word
    reply = Reply(content=content, finish_reason="stop", tokens=tokens)
    found = verdict_of(reply, question=question, vote=0, cases=cases)
    assert found.unsafe_probability == pytest.approx(0.75)
    assert found.not_grounded_probability is None


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(content=None, refusal="no", finish_reason="stop"), VerdictState.REFUSED),
        (Reply(content=None, finish_reason="content_filter"), VerdictState.FILTERED),
        (Reply(content='{"safety": "', finish_reason="length"), VerdictState.TRUNCATED),
        (
            Reply(
                content='{"safety": "safe"}',
                finish_reason="stop",
                tokens=[Token('{"safety": "', {}), Token("safe", {"safe": 0.0}), Token('"}', {})],
            ),
            VerdictState.UNPARSABLE,
        ),
    ],
)
def test_a_state_is_no_label(cases, reply, state):
    found = verdict_of(reply, question=cases.questions[0], vote=0, cases=cases)
    assert found.state is state
    labels = (found.safety, found.grounding, found.hallucinated, found.category)
    assert labels == (None,) * 4
    assert (found.unsafe_probability, found.not_grounded_probability) == (None, None)


def test_an_answer_to_one_case_is_no_answer_to_another(cases):
    one, two = cases.questions[:2]
    found = verdict_of(reply_to(one), question=two, vote=0, cases=cases)
    assert found.state is VerdictState.UNPARSABLE


def test_answers_and_failures_become_verdicts_and_what_was_not_asked_does_not(
    cases, tmp_path, data
):
    first, second, third, _ = cases.questions
    with opened(tmp_path / "answers.sqlite") as cache:
        for question, vote in ((first, 0), (first, 1), (second, 1)):
            asked = Asked(
                key=question.key, vote=vote, judge="j", prompt_hash="h", image_digest=None
            )
            cache.add(asked, reply=reply_to(question))
        failures = {(second.key, 0): "500: \ud800 oh", (first.key, 0): "500", ("x", 0): "?"}
        found = verdicts_on(cases, cache=cache, failures=failures)
    assert [(v.triple_id, v.vote, str(v.state)) for v in found] == [
        ("t0", 0, "answered"),
        ("t0", 1, "answered"),
        ("t1", 0, "failed"),
        ("t1", 1, "answered"),
    ]
    assert third.triple_id not in {v.triple_id for v in found}
    merge_verdicts(data, verdicts=found)
    assert [v.reason for v in stored(data) if v.state is VerdictState.FAILED] == ["500: \ufffd oh"]


def test_a_reason_with_half_a_character_can_be_stored(cases, data):
    question = cases.questions[0]
    reply = reply_to(question, reason="so \ud83d it \U0001f600 is")
    assert reply.content is not None
    assert "\\ud83d" in reply.content
    found = verdict_of(reply, question=question, vote=0, cases=cases)
    merge_verdicts(data, verdicts=[found])
    assert found in stored(data)
    assert found.reason == "so \ufffd it \U0001f600 is"


def test_a_judges_verdicts_come_after_those_that_were_there_in_the_triples_order(data):
    merge_verdicts(data, verdicts=[verdict(3), verdict(0, 1), verdict(0), verdict(2, 0, "k")])
    assert [(v.judge, v.triple_id, v.vote) for v in stored(data)] == [
        ("human", "t1", 0),
        ("j", "t0", 0),
        ("j", "t0", 1),
        ("j", "t3", 0),
        ("k", "t2", 0),
    ]
    assert stored(data)[0] == HUMAN


def test_a_new_answer_replaces_and_a_failure_does_not(data):
    merge_verdicts(data, verdicts=[verdict(0), failed(1)])
    merge_verdicts(data, verdicts=[failed(0), verdict(1)])
    assert [v for v in stored(data) if v.judge == "j"] == [verdict(0), verdict(1)]
    merge_verdicts(data, verdicts=[verdict(0, safety=Safety.UNSAFE)])
    assert verdict(0, safety=Safety.UNSAFE) in stored(data)
    assert verdict(0) not in stored(data)


def test_a_refusal_replaces_a_failure_and_stays_before_one(data):
    refused = verdict(0, safety=None, state=VerdictState.REFUSED)
    merge_verdicts(data, verdicts=[failed(0)])
    merge_verdicts(data, verdicts=[refused])
    merge_verdicts(data, verdicts=[failed(0)])
    assert [v for v in stored(data) if v.judge == "j"] == [refused]


def test_an_unknown_triple_is_refused_and_the_table_stays(data):
    before = (data / "verdicts.parquet").read_bytes()
    with pytest.raises(DataError, match="no triple 't9'"):
        merge_verdicts(data, verdicts=[verdict(0), verdict(9)])
    assert (data / "verdicts.parquet").read_bytes() == before


def test_nothing_said_leaves_no_table(tmp_path):
    data = write(tmp_path / "bare", verdicts=())
    merge_verdicts(data, verdicts=[])
    assert not (data / "verdicts.parquet").exists()


CHOICES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from(["safe", "unsafe", "failed"])),
    max_size=12,
    unique_by=lambda choice: choice[:2],
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CHOICES, st.lists(st.integers(0, 12), max_size=3))
def test_however_often_a_run_is_stopped_the_table_is_the_same(tmp_path, choices, stops):
    verdicts = [
        failed(number, vote) if word == "failed" else verdict(number, vote, safety=Safety(word))
        for number, vote, word in choices
    ]
    whole, parts = write(tmp_path / "whole"), write(tmp_path / "parts")
    merge_verdicts(whole, verdicts=verdicts)
    # A run that goes on says again what is in the file of answers.
    for stop in (*sorted(stops), len(verdicts), len(verdicts)):
        merge_verdicts(parts, verdicts=verdicts[:stop])
    merge_verdicts(parts, verdicts=[failed(v.triple_id[1:], v.vote) for v in verdicts])
    assert (whole / "verdicts.parquet").read_bytes() == (parts / "verdicts.parquet").read_bytes()
    assert stored(whole)[0] == HUMAN


@pytest.mark.parametrize(
    ("there", "free"),
    [
        ([], True),
        ([verdict(0, judge="other")], True),
        ([verdict(0, prompt_hash="MINE")], True),
        ([verdict(0)], False),
        ([verdict(0, prompt_hash=None)], False),
        ([verdict(0, prompt_hash="MINE"), verdict(1)], False),
    ],
)
def test_one_name_means_one_set_of_instructions(tmp_path, cases, there, free):
    mine = cases.prompt.prompt_hash
    rows = [replace(v, prompt_hash=mine) if v.prompt_hash == "MINE" else v for v in there]
    data = write(tmp_path / "other", verdicts=rows)
    if free:
        check_judge_is_free(data, cases=cases)
    else:
        with pytest.raises(DataError, match=r"'j' by another prompt.*judge="):
            check_judge_is_free(data, cases=cases)
