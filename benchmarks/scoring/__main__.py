"""python -m benchmarks.scoring cpu|gpu|memory|kills: see the modules of these names.

Figures are kept in benchmarks/results when all rows are measured as given below.
"""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.scoring.rounds import Row

MEMORY_ROWS = [100_000, 1_000_000]
KILLS = 200


def main() -> None:
    """Run one of the benchmarks and print its rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring")
    kinds = parser.add_subparsers(dest="kind", required=True)
    cpu = kinds.add_parser("cpu", help="C1 to C10, on one thread")
    cpu.add_argument("--only", nargs="*", default=[], help="ids of rows; nothing is written then")
    kinds.add_parser("gpu", help="G0 to G9, where there is CUDA")
    memory = kinds.add_parser("memory", help="C11: peak memory by rows")
    memory.add_argument("--rows", type=int, nargs=2, default=MEMORY_ROWS)
    kills = kinds.add_parser("kills", help="C12: killed at random moments")
    kills.add_argument("--kills", type=int, default=KILLS)
    kills.add_argument("--seed", type=int, default=0)
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
    elif chosen.kind == "memory":
        from benchmarks.scoring.memory import measured  # noqa: PLC0415

        rows = [measured(chosen.rows)]
        if chosen.rows == MEMORY_ROWS:
            write(rows, name="scoring-memory.json", command="memory", notes={})
    elif chosen.kind == "kills":
        from benchmarks.scoring.kills import survived  # noqa: PLC0415

        rows = [survived(chosen.kills, seed=chosen.seed)]
        if chosen.kills >= KILLS:
            write(rows, name="scoring-kills.json", command="kills", notes={"seed": chosen.seed})
    else:
        from benchmarks.scoring.gpu import rows_on_gpu  # noqa: PLC0415

        rows = rows_on_gpu()
        write(rows, name="scoring-gpu.json", command="gpu", notes={})
    for entry in rows:
        print(shown(entry))


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
