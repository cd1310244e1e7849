"""What risk, coverage and thresholds say about this data, in sentences."""

from collections.abc import Iterator, Sequence

from nsgauge.eval.report.comparison import Slice
from nsgauge.eval.report.decisions import (
    FAILURE,
    AxisEscalation,
    Offer,
    ThresholdCheck,
    Void,
)
from nsgauge.eval.report.disagreements import Case, DisagreementKind, Disagreements
from nsgauge.eval.report.phrases import count, percent, some, words_of
from nsgauge.eval.threshold_check import LEVEL, MARGIN, Promise, Standing

CURVES = (
    "Share of wrong verdicts among those kept, as the least confident are handed to the judge, "
    "from right to left. Confidence is the probability, in the classifier's own "
    "word, that its verdict is right. Dashed: a confidence that knows nothing. Dots: guaranteed "
    "thresholds."
)

AREAS = (
    "Against the reference on unseen items. AURC: mean error rate over all shares that could be "
    "kept. E-AURC: the part of it that a perfect order of the same verdicts would save. Grey: 95% "
    "interval, items drawn again; none where fewer than five items hold an error."
)

OFFERS = (
    f"Learn-then-Test on unseen items of known VLLMs: in all but {percent(FAILURE)}% of such "
    "searches, the error rate against the reference stays within the limit on rows like these. "
    "Rows of one item count as the number of separate rows that would say as much."
)

CHECKS = (
    "At the bundle's thresholds, on unseen items, in percent; grey: 95% interval, rows of an item "
    "together. Difference: share called positive less the reference's, in points. The p-value is "
    "of the tested share being as wanted, adjusted by Holm over all lines."
)


def escalation_sentences(axes: Sequence[AxisEscalation]) -> Iterator[str]:
    """Which answers can be left to the classifier, and where nothing can be promised."""
    for axis in axes:
        if axis.void is Void.UNEVEN_DRAW:
            yield (
                f"For {words_of(axis.axis)} nothing is guaranteed: {axis.judge}'s rows were drawn "
                "with unequal probabilities."
            )
        elif axis.offers:
            yield _best_offer(axis)
    known = {axis.axis for axis in axes if axis.slice is Slice.SEEN_VLLM}
    strange = [axis for axis in axes if axis.void is Void.UNSEEN_VLLMS]
    if strange:
        basis = (
            "what the thresholds gave there is in the table, and promises nothing"
            if known
            else "and no other VLLM was judged on unseen items"
        )
        yield (
            "The guarantee is void for VLLMs that the classifier never saw, which answered "
            f"{some(max(axis.curve.rows for axis in strange), 'judged row')}: {basis}."
        )
    elif axes:
        yield "The guarantee is void for VLLMs that the classifier never saw; there are none here."


def _best_offer(axis: AxisEscalation) -> str:
    """The strictest limit that some verdicts meet."""
    name = words_of(axis.axis)
    for offer in axis.offers:
        found = offer.guarantee
        if found.kept:
            limit = f"{100 * found.risk_limit:g}%"
            return (
                f"For {name}, {percent(found.kept / found.rows)}% of the verdicts can be left to "
                f"the classifier with at most {limit} of them wrong; "
                f"{percent(found.escalated / found.rows)}% go to the judge{_waiting(offer)}."
            )
    limit = f"{100 * max(offer.guarantee.risk_limit for offer in axis.offers):g}%"
    return (
        f"For {name}, no share of the verdicts can be shown to hold an error rate of {limit} on "
        f"{some(axis.curve.rows, 'judged row')}: leave them to the judge."
    )


def _waiting(offer: Offer) -> str:
    if not offer.waiting:
        return ""
    return f" ({count(offer.to_judge)} of {some(offer.waiting, 'row')} that wait for an answer)"


def check_sentences(checks: Sequence[ThresholdCheck]) -> Iterator[str]:
    """What was tested, and for whom it fails."""
    promises = {check.axis: (check.promise, check.wanted) for check in checks}
    for axis, (promise, wanted) in promises.items():
        yield (
            f"The threshold of {words_of(axis)} holds for a VLLM if {_promised(promise, wanted)}; "
            f"it doesn't if chance can't explain the gap (adjusted p below {LEVEL:g})."
        )
    failed = [check for check in checks if check.standing is Standing.FAILS]
    if failed:
        named = ", ".join(f"{check.vllm} ({words_of(check.axis)})" for check in failed)
        yield f"It doesn't hold for {named}: count on corrected rates there, not on verdicts."
    held = sum(check.standing is Standing.HOLDS for check in checks)
    open_ = sum(check.standing is Standing.TOO_FEW for check in checks)
    yield f"It holds in {count(held)} of {some(len(checks), 'line')}; {count(open_)} can't be told."
    if any(check.uneven_draw for check in checks):
        yield "Lines whose rows were drawn with unequal probabilities are not tested."


def _promised(promise: Promise, wanted: float) -> str:
    margin = f"{100 * MARGIN:g} points"
    if promise is Promise.RATE:
        return (
            f"its share of positive verdicts is surely within {margin} of the reference's (of its "
            "errors, which may cancel, that says nothing: see Agreement)"
        )
    return (
        f"its {promise.value} is surely no more than {margin} below the {percent(wanted)}% that "
        "the threshold was chosen for"
    )


def disagreement_sentences(found: Disagreements | None) -> Iterator[str]:
    """By what rule the cases were chosen."""
    if found is None:
        return
    yield (
        "Of each kind of disagreement on unseen items, half of the cases shown are those in which "
        "the classifier was surest, and half are drawn at random from the rest; no two of a kind "
        "share an item. In percent: the classifier's four cells. Either side may be wrong: a case "
        "is for reading, and no rate can be taken from a handful."
    )


def kind_title(kind: DisagreementKind, judge: str) -> str:
    """Who says what of these rows."""
    axis = words_of(kind.axis)
    if kind.called:
        return f"The classifier says {axis}, {judge} doesn't"
    return f"{judge} says {axis}, the classifier doesn't"


def said(case: Case) -> str:
    """The reference's answers to one case."""
    answers = ((case.not_grounded, "not grounded", "grounded"), (case.unsafe, "unsafe", "safe"))
    return ", ".join(yes if answer else no for answer, yes, no in answers if answer is not None)
