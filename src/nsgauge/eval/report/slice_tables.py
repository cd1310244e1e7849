"""Slices and the gate before transported rates as flat tables."""

from nsgauge.eval.drift import Shift
from nsgauge.eval.report.files import Cell, CsvTable
from nsgauge.eval.report.slicing import SliceRow
from nsgauge.eval.report.transport import Transport
from nsgauge.protocol import RATES

_MEASURES = (
    "rows", "items", "mean_probability", "positive_share", "difference", "difference_low",
    "difference_high", "p_value", "adjusted", "ecce", "ecce_p_value", "ecce_adjusted", "detectable",
)  # fmt: skip
_SHIFT = (
    "rows", "items", "domain_auroc", "domain_low", "domain_high", "distance_unsafe",
    "distance_not_grounded", "noise",
)  # fmt: skip


def slice_table(slices: tuple[SliceRow, ...]) -> CsvTable:
    """A line a slice and axis."""
    return CsvTable(
        header=("axis", "trait", "value", *_MEASURES),
        rows=tuple((row.axis, row.trait, row.value, *_measures(row)) for row in slices),
    )


def drift_table(transport: Transport | None) -> CsvTable:
    """A line a group without a judged row, then a line a checked one."""
    rows: list[tuple[Cell, ...]] = []
    if transport is not None:
        nothing = [None] * len(RATES)
        rows += [
            (group.benchmark, group.vllm, str(group.gate), *_shift(group.shift), *nothing)
            for group in transport.groups
        ]
        rows += [
            (mark.benchmark, mark.vllm, "checked", *_shift(mark.shift), *map(mark.bias.get, RATES))
            for mark in transport.yardsticks
        ]
    biases = tuple(f"bias_{rate}" for rate in RATES)
    return CsvTable(header=("benchmark", "vllm", "gate", *_SHIFT, *biases), rows=tuple(rows))


def _measures(row: SliceRow) -> tuple[Cell, ...]:
    found = row.calibration
    named = {f"difference{end}": value for end, value in zip(_ENDS, found.difference, strict=True)}
    return tuple(named[name] if name in named else getattr(found, name) for name in _MEASURES)


def _shift(shift: Shift) -> tuple[Cell, ...]:
    domain = shift.domain or (None, None, None)
    return (shift.rows, shift.items, *domain, *shift.distance.values(), shift.noise)


_ENDS = ("", "_low", "_high")
