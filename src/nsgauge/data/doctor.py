"""A look at a data folder before any work: what is in there, what will go wrong, what to do."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.data.images import image_path
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.data.targets import judge_counts
from nsgauge.errors import ImageError
from nsgauge.protocol import CELLS, Grounding, Safety, cell_of
from nsgauge.records import ResponseState, VerdictState

ENOUGH_TRIPLES = 50
"""Fewer judged triples of one VLLM certify no rate."""
ENOUGH_ITEMS = 30
"""Fewer items leave a side of the split with a handful."""
QUANTILES = (0.0, 0.5, 0.9, 0.99, 1.0)
"""Of the response length."""

MANY_DUPLICATES = 0.2
"""Share of repeated responses that is worth a note."""
MANY_UNANSWERED = 0.1
"""Share of a judge's verdicts without an answer that is worth a warning."""
RARE_CELL = 20
"""A cell with fewer verdicts of a judge is worth a warning."""

_AXIS_WORDS = {
    "safety": {*map(str, Safety), *map(str, CELLS)},
    "grounding": {*map(str, Grounding), *map(str, CELLS)},
}
_UNANSWERED = {str(state) for state in VerdictState if state is not VerdictState.ANSWERED}


class Severity(StrEnum):
    """Whether a finding stops the work, bends its result or is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        severity: How much it matters.
        text: What was found and what to do.
    """

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a data folder holds.

    Attributes:
        triples: Rows.
        items: Distinct (benchmark, item_id).
        vllms: Triples of each VLLM, by name.
        benchmarks: Triples of each benchmark, by name.
        verdicts: By judge, how many verdicts said what: a cell, `safe`, `unsafe`, `grounded` or
            `not_grounded` alone, or the state of a verdict without a label.
        images: Triples by image: `present`, `absent` (none named) or `missing` (no such file).
        response_states: Triples by response state.
        response_words: Length of the answered responses in words at `QUANTILES`; empty if none.
        duplicate_responses: Share of the answered responses that repeat an earlier text.
        findings: Errors first.
    """

    triples: int
    items: int
    vllms: dict[str, int]
    benchmarks: dict[str, int]
    verdicts: dict[str, dict[str, int]]
    images: dict[str, int]
    response_states: dict[str, int]
    response_words: dict[float, int]
    duplicate_responses: float
    findings: list[Finding]


def examine(data: Path) -> Diagnosis:
    """Read a data folder and say what is in it.

    Raises:
        DataError: the tables can't be read at all.
    """
    triples, verdicts = read_triples(data), read_verdicts(data)
    answered = triples.filter(pc.equal(triples["response_state"], str(ResponseState.ANSWERED)))
    responses = answered["response"]
    diagnosis = Diagnosis(
        triples=triples.num_rows,
        items=triples.group_by(["benchmark", "item_id"]).aggregate([]).num_rows,
        vllms=_counts(triples["vllm"]),
        benchmarks=_counts(triples["benchmark"]),
        verdicts={judge: _said(verdicts, judge=judge) for judge in judge_counts(verdicts)},
        images=_image_states(triples["image"], data=data),
        response_states=_counts(triples["response_state"]),
        response_words=_words(responses),
        duplicate_responses=1 - _share(pc.count_distinct(responses).as_py(), of=len(responses)),
        findings=[],
    )
    found = [*_on_triples(diagnosis), *_on_verdicts(diagnosis), *_on_vllms(triples, verdicts)]
    order = list(Severity)
    diagnosis.findings.extend(sorted(found, key=lambda finding: order.index(finding.severity)))
    return diagnosis


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def _share(part: int, *, of: int) -> float:
    """`part` of `of`; all of it where there is nothing, so that nothing stands out."""
    return part / of if of else 1.0


def _said(verdicts: pa.Table, *, judge: str) -> dict[str, int]:
    """By what was said, or by why nothing was, how many of the judge's verdicts."""
    rows = verdicts.filter(pc.equal(verdicts["judge"], judge))
    keys = ["state", "safety", "grounding"]
    counts: Counter[str] = Counter()
    for group in rows.group_by(keys).aggregate([([], "count_all")]).to_pylist():
        counts[_saying(*(group[key] for key in keys))] += group["count_all"]
    return dict(sorted(counts.items()))


def _saying(state: str, safety: str | None, grounding: str | None) -> str:
    if safety and grounding:
        return str(cell_of(Safety(safety), grounding=Grounding(grounding)))
    return safety or grounding or state


def _image_states(column: pa.ChunkedArray, *, data: Path) -> dict[str, int]:
    counts = {"present": 0, "absent": 0, "missing": 0}
    for name, count in _counts(pc.fill_null(column, "")).items():
        counts[_image_state(name, data=data)] += count
    return counts


def _image_state(name: str, *, data: Path) -> str:
    if not name:
        return "absent"
    try:
        return "present" if image_path(data, name).is_file() else "missing"
    except ImageError:
        return "missing"


def _words(responses: pa.ChunkedArray) -> dict[float, int]:
    if not len(responses):
        return {}
    words = [len(text.split()) for text in responses.to_pylist()]
    return {q: round(float(np.quantile(words, q))) for q in QUANTILES}


def _on_triples(found: Diagnosis) -> Iterator[Finding]:
    if not found.triples:
        yield Finding(Severity.ERROR, "no triples: look into rejects.jsonl and import again")
        return
    if found.images["missing"]:
        text = f"{found.images['missing']} triples name a picture that isn't in the folder"
        yield Finding(Severity.ERROR, f"{text}: import again, with the pictures beside the source")
    if not found.images["present"]:
        text = "no triple has a picture: what is learnt or scored is the text alone"
        yield Finding(Severity.WARNING, f"{text}; give image_root on import")
    elif found.images["absent"]:
        text = f"{found.images['absent']} triples have no picture: they are scored by text alone"
        yield Finding(Severity.NOTE, f"{text}; report them apart")
    if found.items < ENOUGH_ITEMS:
        text = f"{found.items} items: a side of the split may get none; at least {ENOUGH_ITEMS}"
        yield Finding(Severity.WARNING, f"{text} make sense")
    if found.items == found.triples and len(found.vllms) > 1:
        text = "every triple is an item of its own though several VLLMs answered"
        yield Finding(Severity.WARNING, f"{text}: map item_id, or the split will leak")
    yield from _on_answers(found)


def _on_answers(found: Diagnosis) -> Iterator[Finding]:
    for state, count in found.response_states.items():
        if state != ResponseState.ANSWERED:
            text = f"{count} responses are {state}: they are neither learnt from nor scored"
            yield Finding(Severity.NOTE, text)
    if found.duplicate_responses > MANY_DUPLICATES:
        text = f"{found.duplicate_responses:.0%} of the responses repeat an earlier one"
        yield Finding(Severity.NOTE, f"{text}: they count as rows, and rates weigh them so")
    if "" in found.vllms:
        text = f"{found.vllms['']} triples have no VLLM name: map vllm to tell VLLMs apart"
        yield Finding(Severity.WARNING, text)


def _on_verdicts(found: Diagnosis) -> Iterator[Finding]:
    if not found.verdicts:
        text = "no verdicts: this can be scored, but nothing can be learnt from it or checked on it"
        yield Finding(Severity.WARNING, text)
    for judge, said in found.verdicts.items():
        for axis, words in _AXIS_WORDS.items():
            if not words & set(said):
                text = f"judge {judge!r} has no {axis} label: that axis stays unknown"
                yield Finding(Severity.WARNING, text)
        unanswered = sum(count for name, count in said.items() if name in _UNANSWERED)
        if unanswered > MANY_UNANSWERED * sum(said.values()):
            text = f"judge {judge!r} left {unanswered} of {sum(said.values())} without an answer"
            yield Finding(Severity.WARNING, f"{text}: what is left may not stand for all")
        # A judge of one axis has no cells to be rare.
        rare = {cell: said.get(cell, 0) for cell in CELLS if said.get(cell, 0) < RARE_CELL}
        if rare and set(said) & set(CELLS):
            listed = ", ".join(f"{cell} ({count})" for cell, count in rare.items())
            text = f"judge {judge!r} has fewer than {RARE_CELL} verdicts of {listed}"
            yield Finding(Severity.WARNING, f"{text}: too few to learn or to measure")


def _on_vllms(triples: pa.Table, verdicts: pa.Table) -> Iterator[Finding]:
    """Say which VLLMs each judge has hardly judged."""
    answered = verdicts.filter(pc.equal(verdicts["state"], str(VerdictState.ANSWERED)))
    judged = answered.select(["triple_id", "judge"]).group_by(["triple_id", "judge"]).aggregate([])
    joined = judged.join(triples.select(["triple_id", "vllm"]), "triple_id", join_type="inner")
    counts = joined.group_by(["judge", "vllm"]).aggregate([([], "count_all")]).to_pylist()
    judged_of = {(row["judge"], row["vllm"]): row["count_all"] for row in counts}
    for judge in judge_counts(verdicts):
        of_vllms = {name: judged_of.get((judge, name), 0) for name in _counts(triples["vllm"])}
        few = {name: count for name, count in of_vllms.items() if count < ENOUGH_TRIPLES}
        if few:
            listed = ", ".join(f"{name or '(no name)'} ({count})" for name, count in few.items())
            text = f"judge {judge!r} has fewer than {ENOUGH_TRIPLES} judged triples for {listed}"
            yield Finding(Severity.WARNING, f"{text}: too few to certify a rate")
