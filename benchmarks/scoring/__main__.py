"""python -m benchmarks.scoring cpu|gpu|memory|kills|ray: see the modules of these names.

Figures are kept in benchmarks/results when all rows are measured as given below.
"""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.scoring.rounds import Row

MEMORY_ROWS = [100_000, 1_000_000]
KILLS = 200
RAY_ROWS = 100_000


def main() -> None:
    """Run one of the benchmarks and print its rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring")
    kinds = parser.add_subparsers(dest="kind", required=True)
    cpu = kinds.add_parser("cpu", help="C1 to C10, on one thread")
    cpu.add_argument("--only", nargs="*", default=[], help="ids of rows; nothing is written then")
    gpu = kinds.add_parser("gpu", help="G0 to G9, where there is CUDA")
    gpu.add_argument("--rehearse", action="store_true", help="go through it tiny, on a CPU")
    memory = kinds.add_parser("memory", help="C11: peak memory by rows")
    memory.add_argument("--rows", type=int, nargs=2, default=MEMORY_ROWS)
    kills = kinds.add_parser("kills", help="C12: killed at random moments")
    kills.add_argument("--kills", type=int, default=KILLS)
    kills.add_argument("--seed", type=int, default=0)
    ray = kinds.add_parser("ray", help="Ray against the local engine, row by row")
    ray.add_argument("--rows", type=int, default=RAY_ROWS)
    chosen = parser.parse_args()
    # Before torch and the tokenizers are imported, which read it once.
    if chosen.kind != "gpu":
        os.environ.update(OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1")
    run(chosen)


def run(chosen: argparse.Namespace) -> None:
    """The benchmark asked for."""
    from benchmarks.scoring.rounds import shown, write  # noqa: PLC0415 - after the environment

    if chosen.kind == "cpu":
        rows = cpu_rows(chosen.only)
    elif chosen.kind == "gpu":
        rows = gpu_rows(chosen)
    else:
        rows, whole = MEASURED[chosen.kind](chosen)
        if whole:
            notes = {"seed": chosen.seed} if "seed" in chosen else {}
            write(rows, name=f"scoring-{chosen.kind}.json", command=chosen.kind, notes=notes)
    for entry in rows:
        print(shown(entry))


def memory_rows(chosen: argparse.Namespace) -> "tuple[list[Row], bool]":
    """The row, and whether it's of the whole size."""
    from benchmarks.scoring.memory import measured  # noqa: PLC0415

    return [measured(chosen.rows)], chosen.rows == MEMORY_ROWS


def kills_rows(chosen: argparse.Namespace) -> "tuple[list[Row], bool]":
    """Likewise."""
    from benchmarks.scoring.kills import survived  # noqa: PLC0415

    return [survived(chosen.kills, seed=chosen.seed)], chosen.kills >= KILLS


def ray_rows(chosen: argparse.Namespace) -> "tuple[list[Row], bool]":
    """Likewise."""
    from benchmarks.scoring.ray import agreed  # noqa: PLC0415

    return [agreed(chosen.rows)], chosen.rows >= RAY_ROWS


def gpu_rows(chosen: argparse.Namespace) -> "list[Row]":
    """The GPU's rows, which are kept unless they were only rehearsed."""
    from benchmarks.scoring.gpu import measured  # noqa: PLC0415
    from benchmarks.scoring.place import GPU, REHEARSAL  # noqa: PLC0415
    from benchmarks.scoring.rounds import write  # noqa: PLC0415

    rows, ceilings = measured(REHEARSAL if chosen.rehearse else GPU)
    if not chosen.rehearse:
        write(rows, name="scoring-gpu.json", command="gpu", notes=ceilings)
    return rows


MEASURED = {"memory": memory_rows, "kills": kills_rows, "ray": ray_rows}


def cpu_rows(only: list[str]) -> "list[Row]":
    """The CPU's rows; kept after each kind of them, for the whole takes a while."""
    from benchmarks.scoring.cpu import rows_of  # noqa: PLC0415
    from benchmarks.scoring.rounds import write  # noqa: PLC0415

    rows: list[Row] = []
    notes = {"clock": "process time, one thread", "towers": "true shape, random weights"}
    for rows in rows_of(only):
        if not only:
            write(rows, name="scoring-cpu.json", command="cpu", notes=notes)
    return rows


if __name__ == "__main__":
    main()
