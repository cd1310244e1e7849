"""What agreement, calibration, pictures and coverage say about this data, in sentences."""

from collections.abc import Iterator

from nsgauge.eval.controls import ControlResult, ImageControls, Scope
from nsgauge.eval.report.comparison import AXES, Comparison, Slice
from nsgauge.eval.report.contents import AxisReliability
from nsgauge.eval.report.coverage import Coverage
from nsgauge.eval.report.phrases import (
    count,
    decimal,
    percent,
    points,
    some,
    thousandths,
    words_of,
)
from nsgauge.records import ImageState

PAIRS = (
    "Each judge against the reference, then pairs that answered both axes. What two people reach "
    "is what a third may be expected to reach. Other pairs: tables/judge_pairs.csv."
)

REPEATS = (
    "Triples on which a judge voted twice or more, on one axis. Flip rate: share of the pairs of "
    "its votes on a triple that differ, in percent. Kappa and AC1: agreement between its votes "
    "beyond chance. Grey: 95% interval."
)


def agreement_finding(comparison: Comparison, *, reference: str) -> str | None:
    """The classifier's agreement with the reference beside that of the next best judge."""
    parts = []
    for entry in comparison.classifier:
        if (entry.judge, entry.slice) != (reference, Slice.ALL) or entry.agreement.kappa is None:
            continue
        other = _best_other(comparison, reference=reference, axis=entry.axis)
        beside = "" if other is None else f" (best other judge {decimal(other)})"
        parts.append(f"{words_of(entry.axis)} kappa {decimal(entry.agreement.kappa)}{beside}")
    if not parts:
        return None
    return f"The classifier against {reference} on unseen items: {', '.join(parts)}."


def agreement_sentences(comparison: Comparison, *, reference: str | None) -> Iterator[str]:
    """Which rows agreement stands on, and where it drops."""
    if comparison.left_out:
        yield (
            f"{some(comparison.left_out, 'scored response')} were left out here because the "
            "classifier was trained, selected or calibrated on their item."
        )
    finding = agreement_finding(comparison, reference=reference) if reference else None
    if finding is not None:
        yield finding
    for axis in AXES:
        found = {
            entry.slice: entry.agreement.auroc
            for entry in comparison.classifier
            if (entry.judge, entry.axis) == (reference, axis)
        }
        known, new = found.get(Slice.SEEN_VLLM), found.get(Slice.UNSEEN_VLLM)
        if known is not None and new is not None:
            yield (
                f"For {words_of(axis)}, AUROC is {decimal(known)} on VLLMs that it was trained on "
                f"and {decimal(new)} on VLLMs that it never saw."
            )


def _best_other(comparison: Comparison, *, reference: str, axis: str) -> float | None:
    """The highest kappa that another judge reaches against the reference."""
    kappas = [
        pair.axes[axis].kappa
        for pair in comparison.judges
        if pair.first == reference and axis in pair.axes
    ]
    return max((kappa for kappa in kappas if kappa is not None), default=None)


def calibration_sentence(axis: AxisReliability) -> str:
    """What the calibration of one axis means for a reader."""
    found = axis.reliability
    name = words_of(axis.axis)
    gap, low, high = found.mean_excess
    lean = "on average they neither lean high nor low"
    if low is not None and low > 0:
        lean = f"on average they are {points(gap)} points too high"
    elif high is not None and high < 0:
        lean = f"on average they are {points(gap)} points too low"
    error = found.smooth_ece
    if error.p_value < 0.05:
        verdict = (
            f"Probabilities of {name} do not hold as they stand: they are off by "
            f"{thousandths(error.value)} on average (smECE), where chance alone gives "
            f"{thousandths(error.null)}"
        )
    else:
        verdict = (
            f"Probabilities of {name} can't be told from calibrated ones on "
            f"{some(found.rows, 'row')}: smECE {thousandths(error.value)}, where chance alone "
            f"gives {thousandths(error.null)}"
        )
    return f"{verdict}; {lean}."


def reliability_caption(axis: AxisReliability) -> str:
    """How to read the diagram of one axis."""
    return (
        f"{words_of(axis.axis).capitalize()}, against {axis.judge}: the curve should stay in the "
        "grey band, where a calibrated score would lie nine times in ten. Beneath: how many rows "
        "have which probability."
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
    # Grounding first: it is the axis that nobody can tell without the picture.
    for axis in reversed(AXES):
        result = controls.find(axis, run="shuffled_images", scope=scope)
        if result is not None:
            yield _picture_verdict(result)


def _picture_verdict(result: ControlResult) -> str:
    axis = words_of(result.axis)
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
