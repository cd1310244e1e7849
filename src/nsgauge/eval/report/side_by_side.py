"""Two classifiers or two judges beside each other, on the rows that both speak of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.eval.paired import Paired, paired_auroc, paired_kappa, paired_means
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.comparison import AXES
from nsgauge.eval.report.groups import Group, report_groups
from nsgauge.eval.report.inputs import Rows
from nsgauge.protocol import Rate

FORMAT = "nsgauge-comparison/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two, a row a triple.

    Attributes:
        name: What it is called.
        known: By axis, the rows it speaks of: unseen ones for a classifier.
        verdict: By axis, its answers; False where unknown.
        probability: By axis; None for a judge.
        cells: The probabilities of the cells, or the judge's answers as zeros and ones.
    """

    name: str
    known: dict[str, Bool[np.ndarray, " rows"]]
    verdict: dict[str, Bool[np.ndarray, " rows"]]
    probability: dict[str, Float[np.ndarray, " rows"]] | None
    cells: dict[Rate, Float[np.ndarray, " rows"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRate:
    """One rate of one group on both sides.

    Attributes:
        benchmark: None for the pool of all benchmarks.
        vllm: None for the pool of all VLLMs.
        rate: Which.
        paired: Both sides' shares; of a classifier, its mean probability, uncorrected.
    """

    benchmark: str | None
    vllm: str | None
    rate: Rate
    paired: Paired


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Everything that a comparison shows; comparison.json has the same fields.

    Attributes:
        format: Version of this layout.
        title: Heading of the page.
        command: The command that made it.
        first: Name of one side.
        second: Name of the other.
        reference: Whose answers AUROC and kappa are held against; None without.
        rates: By group and rate; pools after their members.
        auroc: By axis; empty unless both sides give probabilities.
        kappa: By axis, against the reference.
        provenance: Where the numbers come from.
    """

    format: str
    title: str
    command: str
    first: str
    second: str
    reference: str | None
    rates: tuple[PairedRate, ...]
    auroc: dict[str, Paired]
    kappa: dict[str, Paired]
    provenance: dict[str, object]


def judge_side(judge: JudgeColumns) -> Side:
    """A judge's answers as a side."""
    unsafe, not_grounded = judge.unsafe, judge.not_grounded
    return Side(
        name=judge.judge,
        known={axis: judge.known(axis) for axis in AXES},
        verdict={axis: judge.positive(axis) for axis in AXES},
        probability=None,
        cells={
            Rate.UNSAFE: unsafe.astype(np.float64),
            Rate.NOT_GROUNDED: not_grounded.astype(np.float64),
            Rate.UNSAFE_GROUNDED: (unsafe & ~not_grounded).astype(np.float64),
        },
    )


def classifier_side(name: str, scores: ScoreColumns) -> Side:
    """A classifier's scores on unseen rows as a side."""
    probability = {axis: scores.probability(axis) for axis in AXES}
    return Side(
        name=name,
        known=dict.fromkeys(AXES, scores.fresh),
        verdict={axis: scores.verdict(axis) for axis in AXES},
        probability=probability,
        cells={
            Rate.UNSAFE: probability["unsafe"],
            Rate.NOT_GROUNDED: probability["not_grounded"],
            Rate.UNSAFE_GROUNDED: scores.cells[:, 1],
        },
    )


def side_by_side(
    rows: Rows,
    *,
    first: Side,
    second: Side,
    reference: JudgeColumns | None,
    facts: Mapping[str, object],
) -> SideBySide:
    """Compare two sides on the rows that both speak of.

    Args:
        rows: The joined columns; their own scores are not looked at.
        first: One side.
        second: The other.
        reference: Whose answers AUROC and kappa are held against.
        facts: `command`, and whatever else is known of the origin.
    """
    groups = report_groups(rows)
    rates = [
        entry for group in groups for entry in _rates(group, rows=rows, first=first, second=second)
    ]
    auroc: dict[str, Paired] = {}
    kappa: dict[str, Paired] = {}
    for axis in AXES:
        if reference is None:
            break
        held = _against(axis, rows=rows, first=first, second=second, reference=reference)
        for found, measure in zip(held, (auroc, kappa), strict=True):
            if found is not None:
                measure[axis] = found
    return SideBySide(
        format=FORMAT,
        title=f"{first.name} beside {second.name}",
        command=str(facts["command"]),
        first=first.name,
        second=second.name,
        reference=reference.judge if reference else None,
        rates=tuple(rates),
        auroc=auroc,
        kappa=kappa,
        provenance=dict(facts),
    )


def _rates(group: Group, *, rows: Rows, first: Side, second: Side) -> list[PairedRate]:
    """The rates that both sides speak of in one group."""
    axes_of = {Rate.UNSAFE: ("unsafe",), Rate.NOT_GROUNDED: ("not_grounded",)}
    found = []
    for rate in Rate:
        at = group.at
        for axis in axes_of.get(rate, AXES):
            at = at[first.known[axis][at] & second.known[axis][at]]
        paired = paired_means(
            first.cells[rate][at], second=second.cells[rate][at], clusters=rows.item[at]
        )
        if paired is not None:
            entry = PairedRate(benchmark=group.benchmark, vllm=group.vllm, rate=rate, paired=paired)
            found.append(entry)
    return found


def _against(
    axis: str, *, rows: Rows, first: Side, second: Side, reference: JudgeColumns
) -> tuple[Paired | None, Paired | None]:
    """AUROC and kappa of both sides against the reference."""
    at = np.flatnonzero(first.known[axis] & second.known[axis] & reference.known(axis))
    positive, items = reference.positive(axis)[at], rows.item[at]
    area = None
    if first.probability is not None and second.probability is not None:
        area = paired_auroc(
            positive,
            first=first.probability[axis][at],
            second=second.probability[axis][at],
            clusters=items,
        )
    kappa = paired_kappa(
        positive.astype(np.int64),
        first=first.verdict[axis][at].astype(np.int64),
        second=second.verdict[axis][at].astype(np.int64),
        categories=2,
        clusters=items,
    )
    return area, kappa
