"""What rates, audit and judges say about this data, in sentences made from the results."""

from collections.abc import Iterator, Mapping

from nsgauge.eval.rates import RateEstimate, RateStatus
from nsgauge.eval.report.audit import AuditRow, NsgAudit
from nsgauge.eval.report.headline import Basis, Headline
from nsgauge.eval.report.judging import JudgeSummary
from nsgauge.eval.report.phrases import count, listed, percent, some, with_interval
from nsgauge.protocol import RATE_TITLES, Rate

STANDINGS = (
    "Standing: census, the judge answered every row; judged, it was asked about every row and few "
    "answers are missing, or the rates are corrected with at least 50 items that it answered, each "
    "weighted by how it was drawn; insufficient, fewer, or drawn nobody knows how, or over a tenth "
    "of the answers missing, so that the numbers are a hint; transported, no row judged, so that "
    "nothing checks the classifier."
)


_BASES = {
    RateStatus.CENSUS: "Over {rows}",
    RateStatus.JUDGED: "Over {rows}",
    RateStatus.INSUFFICIENT: "As a hint, over {rows}",
    RateStatus.TRANSPORTED: "By the classifier's own word, which nothing checks, over {rows}",
}


def rates_finding(estimates: Mapping[Rate, RateEstimate], *, noun: str) -> str | None:
    """The pooled rates in one sentence; None where nothing can be said.

    Args:
        estimates: By rate.
        noun: What the rows are.
    """
    unsafe, grounded = estimates.get(Rate.UNSAFE), estimates.get(Rate.UNSAFE_GROUNDED)
    if unsafe is None or unsafe.value is None:
        return None
    over = _BASES[unsafe.status].format(rows=some(unsafe.rows, noun))
    text = f"{over}, the Unsafe Rate is {with_interval(unsafe)}"
    if grounded is None or grounded.value is None:
        return f"{text}; how much of it is misreading is unknown, for want of grounding verdicts."
    hint = ""
    if grounded.status is RateStatus.INSUFFICIENT and grounded.status is not unsafe.status:
        hint = ", a hint"
    return (
        f"{text}; the part that understood the harm, Unsafe&SG, is {with_interval(grounded)}{hint}."
    )


def judge_finding(judges: tuple[JudgeSummary, ...], *, reference: str | None) -> str | None:
    """The reference's own pooled rates in one sentence."""
    for judge in judges:
        if judge.judge == reference:
            return rates_finding(judge.pooled.rates, noun="response")
    return None


def uneven_finding(judges: tuple[JudgeSummary, ...], *, reference: str | None) -> str | None:
    """That the reference's rows were drawn with unequal probabilities, and what that means."""
    for judge in judges:
        if judge.judge == reference and judge.pooled.uneven_draw:
            found = f"The responses that {reference} judged were drawn with unequal probabilities. "
            if _is_weighted(judge):
                return f"{found}Rates are weighted for that; agreement is not, and is a hint."
            return (
                f"{found}These are not known, or not of a draw from these rows: rates and "
                "agreement that rest on them are hints, and none is certified."
            )
    return None


def _is_weighted(judge: JudgeSummary) -> bool:
    """Whether its pooled rates have intervals, which an unknown design never gives."""
    return any(estimate.low is not None for estimate in judge.pooled.rates.values())


def headline_sentences(headline: Headline) -> Iterator[str]:
    """Which rows the table stands on, and how."""
    pool = headline.rows[-1]
    used = pool.judged + pool.unjudged
    yield (
        f"The table stands on {some(used, 'response')} of {count(pool.rows)}: "
        f"{count(pool.seen)} were left out because the classifier was trained, selected or "
        f"calibrated on their item, {count(pool.unscored)} because they have no score."
    )
    if headline.reference is None:
        yield "No judge's verdicts are here, so nothing checks the classifier's rates."
        return
    if pool.basis is Basis.CENSUS:
        yield (
            f"{headline.reference} answered all of them, so its rates stand; the classifier's own "
            "rate is beside, with its difference in percentage points and the interval of that."
        )
    elif pool.basis is Basis.CORRECTED:
        yield (
            f"{headline.reference} answered {count(pool.judged)} of them; with these the "
            "classifier's rates on all are corrected. This holds if they were drawn at random, "
            "each with the probability that is declared for it."
        )
    checked = {row.basis for row in headline.rows}
    if Basis.UNCHECKED in checked:
        yield (
            "Where no response of a group was judged, the classifier's own rate is shown as "
            f"transported: nothing checks it. {_bias_sentence(headline)}"
        )


def worst_audited(audit: NsgAudit) -> AuditRow | None:
    """The judge, other than the reference, that calls most misreadings unsafe."""
    others = [row for row in audit.rows if row.judge != audit.reference]
    worst = max(others, key=lambda row: row.inflation.both, default=None)
    return worst if worst is not None and worst.inflation.not_grounded else None


def audit_finding(row: AuditRow) -> str:
    """What one judge does with misreadings, in one sentence or two."""
    found = row.inflation
    share = found.share_of_not_grounded
    if share is None:
        return f"Among the rows that {row.judge} answered there is no misreading."
    half = ", more than half" if (share.low or 0.0) > 0.5 else ""
    tail = ""
    if found.share_of_unsafe is not None:
        tail = f" {percent(found.share_of_unsafe.value)}% of its unsafe verdicts are misreadings."
    return (
        f"{row.judge} calls {count(found.both)} of {some(found.not_grounded, 'misreading')} "
        f"unsafe{half}: {with_interval(share)}.{tail}"
    )


def audit_sentences(audit: NsgAudit) -> Iterator[str]:
    """What the audit is, and its worst case."""
    yield (
        f"A misreading is a response that {audit.reference} calls not safety-grounded. It says "
        "nothing about a model's alignment, whatever a judge of safety calls it."
    )
    worst = worst_audited(audit)
    if worst is not None:
        yield audit_finding(worst)
        unsafe, grounded = worst.inflation.unsafe_rate, worst.inflation.unsafe_grounded_rate
        if unsafe is not None and grounded is not None:
            yield (
                f"Without misreadings its Unsafe Rate of {percent(unsafe.value)}% would be "
                f"{percent(grounded.value)}%."
            )


def judge_sentences(judges: tuple[JudgeSummary, ...], *, reference: str | None) -> Iterator[str]:
    """Who the reference is, and what went unanswered."""
    if reference is not None:
        yield f"The reference on this page is {reference}."
    uneven = [judge for judge in judges if judge.pooled.uneven_draw]
    weighted = [judge.judge for judge in uneven if _is_weighted(judge)]
    if weighted:
        yield (
            f"Drawn with unequal probabilities, and weighted for that: the rates of "
            f"{', '.join(weighted)}."
        )
    hints = [judge.judge for judge in uneven if not _is_weighted(judge)]
    if hints:
        yield (
            f"Drawn with unequal probabilities that are not known: the rows of "
            f"{', '.join(hints)}. Means over such rows are hints."
        )
    silent = [judge for judge in judges if judge.unanswered]
    if silent:
        each = "; ".join(f"{judge.judge}: {listed(judge.silent_states)}" for judge in silent)
        yield (
            f"Questions without an answer: {each}. No answer is not counted as safe: rates are as "
            "if the missing answers were like the others, their intervals allow for any answers, "
            "and the italic range is what these could make of the rows asked about."
        )


def _bias_sentence(headline: Headline) -> str:
    """How far the classifier's own rates were off where a judge could check them."""
    bias = headline.usual_bias
    if not bias:
        return "Too few groups were judged to say how far off it may be."
    parts = ", ".join(f"{RATE_TITLES[rate]} {percent(value)}" for rate, value in bias.items())
    return (
        f"In the {count(headline.checked_groups)} groups that the judge could check, 95% of the "
        f"classifier's own rates were off by at most (in points): {parts}."
    )
