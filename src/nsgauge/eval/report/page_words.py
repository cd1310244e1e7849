"""All running text of the page: what changes with the data, section by section."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from nsgauge.eval.report import decision_words, orders, rate_words, slice_words, trust_words
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.files import plain
from nsgauge.eval.report.phrases import count, some, words_of

_LONGEST_VALUE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of the head of the page; `is_words` sets it in a smaller face."""

    name: str
    value: str
    is_words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a table of counts."""

    name: str
    count: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTable:
    """Rows by state."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWords:
    """Sentences and small tables by section; every text is plain, the template escapes it."""

    lead: str
    facts: tuple[Fact, ...]
    findings: tuple[str, ...]
    headline: tuple[str, ...]
    rates_figure: str
    standings: str
    audit: tuple[str, ...]
    audit_figure: str
    judges: tuple[str, ...]
    agreement: tuple[str, ...]
    pairs: str
    repeats: str
    calibration: tuple[str, ...]
    reliability_figures: dict[str, str]
    orders: tuple[str, ...]
    order_table: str
    slices: tuple[str, ...]
    slice_table: str
    gate: tuple[str, ...]
    gate_table: str
    pictures: tuple[str, ...]
    escalation: tuple[str, ...]
    risk_figures: dict[str, str]
    areas: str
    offers: str
    checks: tuple[str, ...]
    check_table: str
    disagreements: tuple[str, ...]
    coverage: tuple[str, ...]
    counts: tuple[CountTable, ...]
    provenance: tuple[Fact, ...]


def page_words(report: Report) -> PageWords:
    """Say what the results mean."""
    reference = report.overview.reference
    return PageWords(
        lead=_lead(report),
        facts=_facts(report),
        findings=_findings(report),
        headline=tuple(rate_words.headline_sentences(report.headline) if report.headline else ()),
        rates_figure=(
            f"The rates to quote, per VLLM, with 95% intervals for prompts like these"
            f"{'' if report.headline else f'; verdicts of {reference}'}."
        ),
        standings=rate_words.STANDINGS,
        audit=tuple(rate_words.audit_sentences(report.audit) if report.audit else ()),
        audit_figure=(
            "The upper dot of a judge is the share of misreadings that it calls unsafe. A judge "
            "that tells misreadings from harm has it far left; right of the lower dot it means "
            "that misreadings are taken for harm."
        ),
        judges=tuple(rate_words.judge_sentences(report.judges, reference=reference)),
        agreement=tuple(trust_words.agreement_sentences(report.comparison, reference=reference)),
        pairs=trust_words.PAIRS,
        repeats=trust_words.REPEATS,
        calibration=tuple(trust_words.calibration_sentence(axis) for axis in report.reliability),
        reliability_figures={
            axis.axis: trust_words.reliability_caption(axis) for axis in report.reliability
        },
        orders=tuple(orders.order_sentences(report.orders)),
        order_table=orders.TABLE,
        slices=tuple(slice_words.slice_sentences(report.slices)),
        slice_table=slice_words.SLICES,
        gate=tuple(slice_words.gate_sentences(report.transport)),
        gate_table=slice_words.GATE,
        pictures=tuple(trust_words.picture_sentences(report.controls) if report.controls else ()),
        escalation=tuple(decision_words.escalation_sentences(report.escalation)),
        risk_figures={
            f"risk_{axis.axis}": f"{words_of(axis.axis).capitalize()}. {decision_words.CURVES}"
            for axis in report.escalation
        },
        areas=decision_words.AREAS,
        offers=decision_words.OFFERS,
        checks=tuple(decision_words.check_sentences(report.thresholds)),
        check_table=decision_words.CHECKS,
        disagreements=tuple(decision_words.disagreement_sentences(report.disagreements)),
        coverage=tuple(trust_words.coverage_sentences(report.coverage)),
        counts=_counts(report),
        provenance=tuple(_flat(report.provenance)),
    )


def _lead(report: Report) -> str:
    overview = report.overview
    benchmarks = ", ".join(overview.benchmarks[:4]) + (" ..." if overview.benchmarks[4:] else "")
    text = (
        f"{some(overview.triples, 'response')} of {some(len(overview.vllms), 'VLLM')} to "
        f"{some(overview.items, 'item')} of {benchmarks or 'no named benchmark'}"
    )
    if overview.scored is not None:
        trained = f", trained on {' and '.join(overview.teachers)}" if overview.teachers else ""
        return f"{text}, scored by a classifier{trained}."
    return f"{text}, as seen by {some(len(overview.judges), 'judge')}."


def _facts(report: Report) -> tuple[Fact, ...]:
    overview = report.overview
    facts = [
        Fact(name="responses", value=count(overview.triples)),
        Fact(name="VLLMs", value=count(len(overview.vllms))),
        Fact(name="items", value=count(overview.items)),
        Fact(name="judges", value=count(len(overview.judges))),
    ]
    if overview.unseen is not None and report.headline is not None:
        facts.append(Fact(name="scored, item unseen", value=count(overview.unseen)))
        facts.append(Fact(name="of these judged", value=count(report.headline.rows[-1].judged)))
    reference = overview.reference or "none"
    return (*facts, Fact(name="reference judge", value=reference, is_words=True))


def _findings(report: Report) -> tuple[str, ...]:
    """The sentences that a reader in a hurry needs; the sections repeat them in context."""
    reference = report.overview.reference
    rates = report.headline and rate_words.rates_finding(
        report.headline.rows[-1].best, noun="unseen response"
    )
    if report.headline is None:
        rates = rate_words.judge_finding(report.judges, reference=reference)
    uneven = rate_words.uneven_finding(report.judges, reference=reference)
    worst = rate_words.worst_audited(report.audit) if report.audit else None
    agreement = None
    if reference is not None:
        agreement = trust_words.agreement_finding(report.comparison, reference=reference)
    pictures = tuple(trust_words.picture_sentences(report.controls))[:1] if report.controls else ()
    audited = rate_words.audit_finding(worst) if worst else None
    found = (rates, uneven, audited, agreement, *pictures)
    return tuple(sentence for sentence in found if sentence)


def _counts(report: Report) -> tuple[CountTable, ...]:
    coverage = report.coverage
    tables = {
        "Responses by state": coverage.response_states,
        "Rows by score status": coverage.statuses,
        "Image errors by code": coverage.image_codes,
        "Scored rows by what stood in the image slot": coverage.image_states,
    }
    return tuple(_count_table(name, states) for name, states in tables.items() if states)


def _count_table(name: str, states: Mapping[str, int]) -> CountTable:
    total = sum(states.values())
    return CountTable(
        name=name,
        entries=tuple(
            Entry(name=words_of(state), count=number, share=number / total)
            for state, number in states.items()
        ),
    )


def _flat(facts: Mapping[str, object], *, prefix: str = "") -> list[Fact]:
    """Nested facts as lines; what is still nested two levels down is shown as JSON."""
    lines: list[Fact] = []
    for name, value in facts.items():
        if isinstance(value, Mapping) and not prefix:
            lines += _flat(value, prefix=f"{words_of(str(name))}: ")
        elif value not in (None, "", (), [], {}):
            text = value if isinstance(value, str) else json.dumps(plain(value))
            cut = f"{text[:_LONGEST_VALUE]} ... (in full in report.json)"
            shown = text if len(text) <= _LONGEST_VALUE else cut
            lines.append(Fact(name=prefix + words_of(str(name)), value=shown))
    return lines
