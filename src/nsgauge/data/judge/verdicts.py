"""From kept answers to verdicts, and the verdicts into the data folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.compute as pc

from nsgauge.data.judge.cache import AnswerCache
from nsgauge.data.judge.cases import Cases
from nsgauge.data.judge.logprobs import positive_probability
from nsgauge.data.judge.prompt import Axis
from nsgauge.data.judge.question import Question
from nsgauge.data.judge.record import answered_as
from nsgauge.data.judge.reply import Reply, read_reply
from nsgauge.data.tables import (
    read_triples,
    read_verdicts,
    replace_verdicts,
    verdicts_of,
)
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import Verdict, VerdictState

Failures = Mapping[tuple[str, int], str]
"""What went wrong with a question, by key and vote."""


def verdicts_on(cases: Cases, *, cache: AnswerCache, failures: Failures) -> list[Verdict]:
    """A verdict for every question and vote that was answered or given up, in their order."""
    found = []
    for question in cases.questions:
        for vote in range(cases.recipe.votes):
            reply = cache.reply(question.key, vote=vote)
            reason = failures.get((question.key, vote))
            if reply is not None:
                found.append(verdict_of(reply, question=question, vote=vote, cases=cases))
            elif reason is not None:
                found.append(_failed(question, vote=vote, cases=cases, reason=reason))
    return found


def verdict_of(reply: Reply, *, question: Question, vote: int, cases: Cases) -> Verdict:
    """The verdict that a reply is."""
    reading = read_reply(reply, prompt=cases.prompt, code=question.code)

    def probability(axis: Axis, *, positive: str, chosen: str | None) -> float | None:
        if chosen is None:
            return None
        return positive_probability(
            reply, prompt=cases.prompt, axis=axis, positive=positive, chosen=chosen
        )

    return Verdict(
        triple_id=question.triple_id,
        judge=cases.judge,
        vote=vote,
        state=reading.state,
        safety=reading.safety,
        grounding=reading.grounding,
        hallucinated=reading.hallucinated,
        category=reading.category,
        reason=_storable(reading.reason),
        prompt_hash=cases.prompt.prompt_hash,
        inclusion_probability=question.inclusion_probability,
        plan_round=question.plan_round,
        unsafe_probability=probability("safety", positive=Safety.UNSAFE, chosen=reading.safety),
        not_grounded_probability=probability(
            "grounding", positive=Grounding.NOT_GROUNDED, chosen=reading.grounding
        ),
    )


def _failed(question: Question, *, vote: int, cases: Cases, reason: str) -> Verdict:
    return Verdict(
        triple_id=question.triple_id,
        judge=cases.judge,
        vote=vote,
        state=VerdictState.FAILED,
        reason=_storable(reason),
        prompt_hash=cases.prompt.prompt_hash,
        inclusion_probability=question.inclusion_probability,
        plan_round=question.plan_round,
    )


def _storable(text: str | None) -> str | None:
    """The text with lone surrogates, which JSON may spell and no file can hold, as U+FFFD."""
    return text and text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_judge_is_free(data: Path, *, cases: Cases) -> None:
    """Refuse to mix judges under one name: another prompt, model, temperature or look at a picture.

    Raises:
        DataError: the folder has verdicts of that name that came about in another way.
    """
    verdicts = read_verdicts(data)
    mine = verdicts.filter(pc.equal(verdicts["judge"], cases.judge))
    asked = set(mine["prompt_hash"].to_pylist()) <= {cases.prompt.prompt_hash}
    if mine.num_rows and not (asked and answered_as(data, cases=cases)):
        raise DataError(
            f"{data}: has verdicts of {cases.judge!r} by another prompt, model, temperature or "
            "look at the picture; give this judge another name (judge=...)"
        )


def merge_verdicts(data: Path, *, verdicts: Sequence[Verdict]) -> None:
    """Put verdicts into a data folder, in the place of those with the same triple, judge and vote.

    A failed call doesn't take the place of anything: what an earlier run was told still holds.
    Judges stay in the order of their first appearance, each judge's verdicts in that of the
    triples, so that the table doesn't depend on how often a run was stopped.

    Raises:
        DataError: the folder can't be read or written, or a verdict is of an unknown triple.
    """
    if not verdicts:
        return
    merged: dict[tuple[str, str, int], Verdict] = {}
    for verdict in (*verdicts_of(read_verdicts(data)), *verdicts):
        key = (verdict.triple_id, verdict.judge, verdict.vote)
        if verdict.state is not VerdictState.FAILED or key not in merged:
            merged[key] = verdict
    ids = read_triples(data)["triple_id"].to_pylist()
    place = {triple_id: number for number, triple_id in enumerate(ids)}
    judges = list(dict.fromkeys(verdict.judge for verdict in merged.values()))
    order = {judge: number for number, judge in enumerate(judges)}
    strange = [verdict.triple_id for verdict in verdicts if verdict.triple_id not in place]
    if strange:
        raise DataError(f"{data}: has no triple {strange[0]!r}, which a verdict speaks of")
    rows = sorted(
        merged.values(), key=lambda row: (order[row.judge], place[row.triple_id], row.vote)
    )
    replace_verdicts(data, verdicts=rows)
