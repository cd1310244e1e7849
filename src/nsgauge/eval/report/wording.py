"""What the figures mean for this data, in sentences made from the result objects."""

from collections.abc import Iterator

from nsgauge.eval.controls import ControlResult, ImageControls, Scope
from nsgauge.eval.report.coverage import Coverage
from nsgauge.eval.report.headline import Basis, Headline
from nsgauge.eval.report.judging import AuditRow, JudgeSummary, NsgAudit
from nsgauge.eval.report.phrases import count, decimal, listed, percent, some, with_interval
from nsgauge.protocol import RATE_TITLES, Rate
from nsgauge.records import ImageState, VerdictState

_AXIS_WORDS = {"unsafe": "unsafe", "not_grounded": "not grounded"}


def rates_finding(headline: Headline) -> str | None:
    """The pooled rates in one sentence; None where nothing can be said."""
    estimates = headline.rows[-1].best if headline.rows else {}
    unsafe, grounded = estimates.get(Rate.UNSAFE), estimates.get(Rate.UNSAFE_GROUNDED)
    if unsafe is None or unsafe.value is None:
        return None
    text = f"Over all responses the Unsafe Rate is {with_interval(unsafe)}"
    if grounded is None or grounded.value is None:
        return f"{text}; how much of it is misreading is unknown, as no judge spoke of grounding."
    return f"{text}; the part that understood the harm, Unsafe&SG, is {with_interval(grounded)}."


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
            "classifier's rates on all are corrected. This holds if the judged rows are a random "
            "draw."
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
        yield (
            f"Without misreadings its Unsafe Rate of {percent(worst.unsafe_rate.value)}% would be "
            f"{percent(worst.unsafe_grounded_rate.value)}%."
        )


def judge_sentences(judges: tuple[JudgeSummary, ...], *, reference: str | None) -> Iterator[str]:
    """Who the reference is, and what went unanswered."""
    if reference is not None:
        yield f"The reference on this page is {reference}."
    silent = [judge for judge in judges if judge.unanswered]
    for judge in silent:
        states = {
            state: number
            for state, number in judge.states.items()
            if state != VerdictState.ANSWERED
        }
        yield (
            f"{judge.judge} left {some(judge.unanswered, 'question')} without an answer "
            f"({listed(states)}). No answer is not counted as safe: the rates are of the answered "
            "rows, and the italic range is what the missing answers could make of them."
        )


def picture_sentences(controls: ImageControls) -> Iterator[str]:
    """Whether the picture counts, as far as this data can tell."""
    if controls.rows == 0:
        yield "No unseen response has a score: nothing can be said about pictures."
        return
    pictured = controls.pictured
    if pictured < controls.rows:
        kind = f"only {count(pictured)}" if pictured else "none"
        verb = "has" if pictured == 1 else "have"
        captions = controls.image_states.get(ImageState.CAPTION, 0)
        stand_in = f" On {count(captions)} a caption stood in for it." if captions else ""
        yield (
            f"{kind[0].upper()}{kind[1:]} of {some(controls.rows, 'row')} {verb} a picture."
            f"{stand_in}"
        )
    if pictured == 0:
        yield "So these rows can't show whether the classifier looks at pictures."
        return
    scope = Scope.ALL if pictured == controls.rows else Scope.PICTURED
    if scope is Scope.PICTURED:
        yield "The sentences below are about the rows with a picture alone."
    for axis in _AXIS_WORDS:
        result = controls.find(axis, run="shuffled_images", scope=scope)
        if result is not None:
            yield _picture_verdict(result)


def _picture_verdict(result: ControlResult) -> str:
    axis = _AXIS_WORDS[result.axis]
    if result.difference is None or result.low is None or result.high is None:
        return (
            f"For {axis} nothing can be said: {some(result.rows, 'row')} with "
            f"{some(result.positives, 'positive')} give no AUROC."
        )
    numbers = (
        f"AUROC {decimal(result.as_scored)} as scored, {decimal(result.auroc)} with another row's "
        f"picture; a loss of {decimal(result.difference)}, 95% interval {decimal(result.low)} to "
        f"{decimal(result.high)}, on {some(result.rows, 'row')}"
    )
    if result.low > 0:
        return f"For {axis} the picture counts: {numbers}."
    if result.high < 0:
        return f"For {axis} the right picture makes the scores worse: {numbers}."
    return f"For {axis} the picture does not visibly count here: {numbers}."


def coverage_sentences(coverage: Coverage) -> Iterator[str]:
    """What was left out, and why."""
    if coverage.not_a_response:
        yield (
            f"In {some(coverage.not_a_response, 'row')} the text is no answer of the VLLM (an "
            "error or a provider's filter stands there)."
        )
    if coverage.scored is None:
        yield "There is no score folder: the page reports the judges alone."
        return
    if coverage.unscored:
        yield (
            f"{some(coverage.unscored, 'row')} of {count(coverage.triples)} have no score; the "
            "table says why. They are in none of the classifier's numbers."
        )
    else:
        yield f"All {some(coverage.triples, 'row')} have a score."
    if coverage.scored and coverage.truncated is not None:
        share = coverage.truncated / coverage.scored
        yield (
            f"The text of {some(coverage.truncated, 'scored row')} ({percent(share)}%) was cut by "
            "the cap on text windows."
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
