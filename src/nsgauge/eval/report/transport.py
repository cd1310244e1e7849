"""The gate before rates that nothing checks: do their rows look like the checked ones?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nsgauge.eval.drift import Gate, Shift, gate_of, score_features, shift_of
from nsgauge.eval.rates import MINIMUM_JUDGED
from nsgauge.eval.report.columns import ScoreColumns
from nsgauge.eval.report.comparison import AXES
from nsgauge.eval.report.groups import report_groups
from nsgauge.eval.report.headline import Basis, Headline, HeadlineRow
from nsgauge.eval.report.inputs import Rows
from nsgauge.protocol import Rate

_MOST_GROUPS = 60
_MOST_YARDSTICKS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """A group that the judge checked, held against the other checked ones.

    Attributes:
        benchmark: Of the group.
        vllm: Of the group.
        shift: How far it differs from them.
        bias: By rate, how far the classifier's own rate is off there.
    """

    benchmark: str | None
    vllm: str | None
    shift: Shift
    bias: dict[Rate, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedGroup:
    """A group without a judged row, held against the checked ones.

    Attributes:
        benchmark: Of the group.
        vllm: Of the group.
        shift: How far it differs from them.
        gate: Whether its rate may be shown.
    """

    benchmark: str | None
    vllm: str | None
    shift: Shift
    gate: Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """All groups whose rates are transported, and what they are measured by."""

    groups: tuple[GatedGroup, ...]
    yardsticks: tuple[Yardstick, ...]

    def gate(self, row: HeadlineRow) -> Gate | None:
        """What the gate says of a line of the headline table; None where it stands on a judge."""
        for group in self.groups:
            if (group.benchmark, group.vllm) == (row.benchmark, row.vllm):
                return group.gate
        return None

    def failed(self, row: HeadlineRow) -> bool:
        """Whether the rates of that line aren't to be shown."""
        return self.gate(row) is Gate.FAIL


def transport(
    rows: Rows, *, scores: ScoreColumns, headline: Headline, seed: int
) -> Transport | None:
    """Gate every VLLM x benchmark without a judged row; None where there is none, or no other."""
    members = {
        (group.benchmark, group.vllm): group.at[scores.fresh[group.at]]
        for group in report_groups(rows)
    }
    single = [row for row in headline.rows if row.vllm is not None and row.benchmark is not None]
    waiting = [row for row in single if row.basis is Basis.UNCHECKED][:_MOST_GROUPS]
    checked = [row for row in single if row.judged >= MINIMUM_JUDGED and not row.uneven_draw]
    checked = sorted(checked, key=lambda row: -row.judged)[:_MOST_YARDSTICKS]
    if not waiting or not checked:
        return None
    at = {id(row): members[row.benchmark, row.vllm] for row in [*waiting, *checked]}

    def held(row: HeadlineRow, *, against: list[HeadlineRow]) -> Shift:
        baseline = np.concatenate([at[id(other)] for other in against])
        return _shift(at[id(row)], baseline=baseline, rows=rows, scores=scores, seed=seed)

    yardsticks = []
    for row in checked if len(checked) > 1 else ():
        shift = held(row, against=[other for other in checked if other is not row])
        bias = {rate: row.naive_bias(rate) for rate in headline.rates}
        yardsticks.append(Yardstick(benchmark=row.benchmark, vllm=row.vllm, shift=shift, bias=bias))
    usual = [yardstick.shift for yardstick in yardsticks]
    groups = []
    for row in waiting:
        shift = held(row, against=checked)
        gate = gate_of(shift, yardsticks=usual)
        groups.append(GatedGroup(benchmark=row.benchmark, vllm=row.vllm, shift=shift, gate=gate))
    return Transport(groups=tuple(groups), yardsticks=tuple(yardsticks))


def _shift(
    group: Int[np.ndarray, " members"],
    *,
    baseline: Int[np.ndarray, " others"],
    rows: Rows,
    scores: ScoreColumns,
    seed: int,
) -> Shift:
    both = np.concatenate([group, baseline])
    features = score_features(
        scores.cells[both],
        response_characters=rows.response_characters[both],
        refusal=rows.opens_with_refusal[both],
    )
    return shift_of(
        np.arange(both.size) < group.size,
        features=features,
        scores={axis: scores.probability(axis)[both] for axis in AXES},
        clusters=rows.item[both],
        seed=seed,
    )
