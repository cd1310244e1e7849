"""What slices and the gate before transported rates say about this data, in sentences."""

from collections.abc import Iterator, Sequence

from nsgauge.eval.drift import Gate
from nsgauge.eval.report.phrases import count, percent, points, some, words_of
from nsgauge.eval.report.slicing import SliceRow
from nsgauge.eval.report.transport import Transport

TRAITS = {
    "vllm": "VLLM",
    "benchmark": "benchmark",
    "response_characters": "characters of the response",
    "opens_with_refusal": "opens like a refusal (English phrases)",
    "language": "language of the prompt",
    "image_state": "what stood in the image slot",
}
SLICES = (
    "In percent. Difference: mean probability less share of positives by the reference; grey: "
    "its 95% interval, rows of an item together. ECCE: range of the running sum of errors, sorted "
    "by probability, in its standard deviations; about 1.6 by chance. The p-values allow for all "
    "slices at once (Benjamini and Hochberg). Detectable: what such a slice would show in four "
    "cases of five."
)
GATE = (
    "How well a discriminant on scores, length and refusal tells a group's rows from the checked "
    "ones (AUROC, 0.5 where it can't), and the largest gap between their scores' distributions. "
    "The checked groups, each against the others, are the yardstick: a group fails where it is "
    "surely stranger than all of them, and passes where it surely isn't."
)
_MOST_NAMED = 4


def slice_sentences(slices: Sequence[SliceRow]) -> Iterator[str]:
    """How many slices fail, and which."""
    tested = [row for row in slices if row.calibration.p_value is not None]
    if not tested:
        return
    failing = sorted(
        (row for row in tested if row.differs),
        key=lambda row: -abs(row.calibration.difference.value),
    )
    if not failing:
        yield (
            f"Of {some(len(tested), 'slice')} none is visibly off; what the smaller ones could "
            "hide is in the last column."
        )
        return
    named = "; ".join(_named(row) for row in failing[:_MOST_NAMED])
    more = len(failing) - _MOST_NAMED
    tail = f"; and {some(more, 'other')}" if more > 0 else ""
    yield f"Probabilities are off on {len(failing)} of {some(len(tested), 'slice')}: {named}{tail}."


def gate_sentences(transport: Transport | None) -> Iterator[str]:
    """What the gate lets through."""
    if transport is None:
        return
    by_gate = {gate: [g for g in transport.groups if g.gate is gate] for gate in Gate}
    yield (
        f"Groups without a judged row: {count(len(transport.groups))}. Of these "
        f"{count(len(by_gate[Gate.PASS]))} look like the checked ones, "
        f"{count(len(by_gate[Gate.FAIL]))} are stranger than any, and "
        f"{count(len(by_gate[Gate.INCONCLUSIVE]))} can't be told."
    )
    if by_gate[Gate.FAIL]:
        yield (
            "The rates of those that fail are not shown: on rows this strange nothing says how far "
            "off the classifier is. Judge a random draw of 50 items or more there."
        )
    biases = [abs(bias) for checked in transport.yardsticks for bias in checked.bias.values()]
    if biases:
        yield (
            f"On the {some(len(transport.yardsticks), 'checked group')} the classifier's own rates "
            f"were off by up to {percent(max(biases))} points."
        )


def _named(row: SliceRow) -> str:
    trait = TRAITS[row.trait]
    gap = points(row.calibration.difference.value)
    return f"{words_of(row.axis)}, {trait} {row.value} ({gap} points)"
