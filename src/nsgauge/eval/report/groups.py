"""The groups that a report breaks its rows into: VLLM x benchmark, and the pools."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nsgauge.eval.report.inputs import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of the rows.

    Attributes:
        benchmark: None where the group spans all benchmarks.
        vllm: None where the group spans all VLLMs.
        at: Positions of its rows, ascending.
    """

    benchmark: str | None
    vllm: str | None
    at: Int[np.ndarray, " members"]


def report_groups(rows: Rows) -> tuple[Group, ...]:
    """Each benchmark's VLLMs and their pool, then the same over all benchmarks if there are more.

    A pool that would only repeat a single member is left out.
    """
    groups: list[Group] = []
    for code, benchmark in enumerate(rows.benchmarks):
        groups += _by_vllm(rows, at=np.flatnonzero(rows.benchmark == code), benchmark=benchmark)
    if len(rows.benchmarks) > 1:
        groups += _by_vllm(rows, at=np.arange(rows.item.size), benchmark=None)
    return tuple(groups)


def everything(rows: Rows) -> Group:
    """All rows as one group."""
    return Group(benchmark=None, vllm=None, at=np.arange(rows.item.size))


def _by_vllm(rows: Rows, *, at: Int[np.ndarray, " members"], benchmark: str | None) -> list[Group]:
    order = np.argsort(rows.vllm[at], kind="stable")
    codes, starts = np.unique(rows.vllm[at][order], return_index=True)
    parts = np.split(at[order], starts[1:])
    groups = [
        Group(benchmark=benchmark, vllm=rows.vllms[int(code)], at=part)
        for code, part in zip(codes, parts, strict=True)
    ]
    if len(groups) > 1:
        groups.append(Group(benchmark=benchmark, vllm=None, at=at))
    return groups
