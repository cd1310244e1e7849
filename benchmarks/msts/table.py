"""The table: means over folds and seeds, and differences to a baseline, paired by item."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.msts.kept import Kept
from benchmarks.msts.measures import (
    Measure,
    Told,
    auprc_of,
    kappa_of,
    measures,
    outcome_kappa_of,
    paired_difference,
    teacher_agreement_of,
    teacher_auroc_of,
    together,
)
from benchmarks.msts.rows import AXES, Lesson, Rows


def summary(
    kept: Kept, *, rows: Rows, lessons: dict[str, Lesson], against: str
) -> list[dict[str, object]]:
    """Per method, teacher, design and cell: all folds of a seed together, then the mean over seeds.

    Args:
        kept: Every run's opinions by cell.
        rows: All rows.
        lessons: What each teacher says, people excepted.
        against: The method that the others are compared with, on the same rows.
    """
    of_seed: dict[tuple[str, str, str, str], dict[int, list[Told]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for (run, cell), told in kept.items():
        of_seed[run.method, run.teacher, run.design, cell][run.seed].append(told)
    pooled = {
        key: {seed: together(folds) for seed, folds in seeds.items()}
        for key, seeds in of_seed.items()
    }
    lines = []
    for (method, teacher, design, cell), seeds in pooled.items():
        found = [measures(told, rows=rows, lesson=lessons.get(teacher)) for told in seeds.values()]
        line: dict[str, object] = {
            "method": method,
            "teacher": teacher,
            "design": design,
            "cell": cell,
            "seeds": len(seeds),
        }
        for name in found[0]:
            values = np.array([each[name] for each in found], dtype=np.float64)
            line[name] = float(values.mean())
            if len(seeds) > 1:
                line[f"{name}_sd"] = float(values.std(ddof=1))
        baseline = pooled.get((against, teacher, design, cell))
        if method != against and baseline is not None:
            line |= _differences(
                list(seeds.values()),
                list(baseline.values()),
                rows=rows,
                lesson=lessons.get(teacher),
                name=against,
            )
        lines.append(line)
    return lines


def _differences(
    ours: Sequence[Told],
    theirs: Sequence[Told],
    *,
    rows: Rows,
    lesson: Lesson | None,
    name: str,
) -> dict[str, object]:
    """What is measured less the baseline's on the same rows, means over the seeds of each."""
    compared: dict[str, Measure] = {}
    for axis in ours[0].probability:
        compared |= {
            f"{axis}_auprc": auprc_of(axis, rows=rows),
            f"{axis}_kappa": kappa_of(axis, rows=rows),
        }
        if lesson is not None:
            compared |= {
                f"{axis}_teacher_auroc": teacher_auroc_of(axis, lesson=lesson),
                f"{axis}_teacher_agreement": teacher_agreement_of(axis, lesson=lesson),
            }
    if len(ours[0].probability) == len(AXES):
        compared["outcome_kappa"] = outcome_kappa_of(rows=rows)
    line: dict[str, object] = {}
    for what, measure in compared.items():
        value, low, high = paired_difference(
            ours, theirs, measure=measure, items=rows.items, seed=0
        )
        column = f"{what}_less_{name}"
        line |= {column: value, f"{column}_low": low, f"{column}_high": high}
    return line
