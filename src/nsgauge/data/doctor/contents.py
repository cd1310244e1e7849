"""What an examination finds: facts in numbers, and findings in words."""

from dataclasses import dataclass
from enum import StrEnum

from nsgauge.data.doctor.copies import Copies
from nsgauge.data.doctor.judges import JudgeFacts
from nsgauge.data.doctor.texts import TextLengths


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
        judges: By judge, how it was asked and where its votes tie.
        images: Triples by image: `present`, `absent` (none named) or `missing` (no such file).
        response_states: Triples by response state.
        response_words: Length of the answered responses in words at `QUANTILES`; empty if none.
        texts: Lengths in tokens and windows; None without a tokenizer or an answered response.
        duplicate_responses: Share of the answered responses that repeat an earlier text.
        copies: What occurs more than once, and on which sides of the default split.
        findings: Errors first.
    """

    triples: int
    items: int
    vllms: dict[str, int]
    benchmarks: dict[str, int]
    verdicts: dict[str, dict[str, int]]
    judges: dict[str, JudgeFacts]
    images: dict[str, int]
    response_states: dict[str, int]
    response_words: dict[float, int]
    texts: TextLengths | None
    duplicate_responses: float
    copies: Copies
    findings: list[Finding]
