"""The sample world: what the classifier learns, and that it learns nothing from shuffled labels.

For each seed the recipe `sample-pocket` is trained twice, on the teacher's verdicts and on the same
verdicts dealt out to other triples; both are measured on unseen items against the rule that made
the world, as scored and with the pictures taken away.

    python benchmarks/sample.py --seeds 7 8 9 --out benchmarks/results/sample.csv

About four minutes a training on two CPU cores. A row that is in the file is not made again.
"""

import argparse
import csv
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nsgauge.data.folders import VERDICTS_FILE
from nsgauge.data.sample.world import write_sample
from nsgauge.data.tables import read_verdicts
from nsgauge.eval.controls import CONTROL_RUNS, ImageControls, Scope
from nsgauge.eval.report.writing import report_from_folders
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.train.fit import train
from nsgauge.train.recipe import load_recipe

RECIPE = "sample-pocket"
TRUTH = "rule"
TEACHER = "sample-judge"
AXES = ("unsafe", "not_grounded")
LABELS = ("true", "shuffled")


def deal_out(data: Path, *, judge: str, generator: np.random.Generator) -> None:
    """Give every triple that the judge saw all the judge's verdicts on another, in place."""
    verdicts = read_verdicts(data)
    mine = np.array([name == judge for name in verdicts["judge"].to_pylist()])
    ids = verdicts["triple_id"].to_pylist()
    seen = sorted({triple_id for triple_id, is_mine in zip(ids, mine, strict=True) if is_mine})
    dealt = dict(zip(seen, (seen[i] for i in generator.permutation(len(seen))), strict=True))
    moved = [dealt[t] if is_mine else t for t, is_mine in zip(ids, mine, strict=True)]
    place = verdicts.schema.get_field_index("triple_id")
    column = pa.array(moved, pa.string())
    pq.write_table(
        verdicts.set_column(place, verdicts.schema.field(place), column), data / VERDICTS_FILE
    )


def measure(*, seed: int, labels: str, overrides: tuple[str, ...] = ()) -> dict[str, object]:
    """Train, score and report once, in a folder that is thrown away; one row of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = folder / "data"
        write_sample(data)
        if labels == "shuffled":
            deal_out(data, judge=TEACHER, generator=np.random.default_rng(seed))
        recipe = load_recipe(RECIPE, overrides=(f"seed={seed}", *overrides))
        trained = train(recipe, data=data, out=folder / "bundle")
        score_folder(
            folder / "bundle",
            data=data,
            out=folder / "scores",
            settings=ScoringSettings(),
            resources=Resources(),
        )
        report = report_from_folders(
            data, scores=folder / "scores", out=folder / "report", reference=TRUTH
        )
    row: dict[str, object] = {"seed": seed, "labels": labels}
    for axis in AXES:
        agreement = report.comparison.find(axis, judge=TRUTH)
        row[f"{axis}_auroc"] = None if agreement is None else agreement.auroc
        for run in CONTROL_RUNS:
            row[f"{axis}_auroc_{run}"] = _control(report.controls, axis=axis, run=run)
    return row | {"train_seconds": trained.manifest.training.seconds}


def _control(controls: ImageControls | None, *, axis: str, run: str) -> float | None:
    result = None if controls is None else controls.find(axis, run=run, scope=Scope.ALL)
    return None if result is None else result.auroc


def main() -> None:
    """Add the rows that are missing to the table."""
    parser = argparse.ArgumentParser(description="The sample world, with true and dealt labels.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    arguments = parser.parse_args()
    out: Path = arguments.out
    rows: list[dict[str, object]] = []
    if out.exists():
        with out.open(encoding="utf-8", newline="") as file:
            rows.extend(csv.DictReader(file))
    done = {(str(row["seed"]), str(row["labels"])) for row in rows}
    note = {
        "date": datetime.now(UTC).date().isoformat(),
        "nsgauge": version("nsgauge"),
        "torch": version("torch"),
        "command": shlex.join(["python", *sys.argv]),
    }
    for labels in LABELS:
        for seed in arguments.seeds:
            if (str(seed), labels) in done:
                continue
            measured = measure(seed=seed, labels=labels)
            rows.append({key: _shown(value) for key, value in measured.items()} | note)
            _write(out, rows=rows)
            print({key: _shown(value) for key, value in measured.items()}, flush=True)


def _shown(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _write(out: Path, *, rows: list[dict[str, object]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part.replace(out)


if __name__ == "__main__":
    main()
