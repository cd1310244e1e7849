"""The sample world: what the classifier learns of it, and how far that carries.

For each seed the recipe `sample-pocket` is trained and measured against the rule that made the
world. Three designs:

pictures   learned from the teacher's verdicts, measured on unseen pictures, as scored and with the
           picture exchanged or taken away
kinds      likewise in four folds: each fold keeps one kind of thing of every family from training,
           validation and calibration; measured on those kinds, on unseen pictures of the others,
           and on all sixteen kinds, each by the fold that never saw it
shuffled   as `pictures`, with the same verdicts dealt out to other triples: nothing is learned

    python benchmarks/sample.py --seeds 7 8 9 --out benchmarks/results/sample.csv

About two minutes a training on one CPU core; `kinds` takes four of them for a seed. A row that is
in the file is not made again, and a training whose scores are in `--work` is not repeated.
"""

import argparse
import csv
import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nsgauge.checkpoints.bundle import read_manifest
from nsgauge.data.folders import VERDICTS_FILE, new_file
from nsgauge.data.sample.kinds import KINDS, Family
from nsgauge.data.sample.verdicts import NOISY_JUDGE, RULE_JUDGE
from nsgauge.data.sample.world import write_sample
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.data.targets import labels_of
from nsgauge.eval.controls import AS_SCORED, AXES, CONTROL_RUNS, Scope, image_controls
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_controls, read_scores
from nsgauge.train.fit import train
from nsgauge.train.recipe import load_recipe

RECIPE = "sample-pocket"
DESIGNS = ("pictures", "kinds", "shuffled")
FOLDS = range(4)
ALL_FOLDS = "all"
KEY = ("design", "seed", "fold", "cell")
Line = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training: its design, its seed and, of design `kinds`, its fold."""

    design: str
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Tells it from every other run."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{self.design}-seed{self.seed}{fold}"

    @property
    def left_out(self) -> frozenset[str]:
        """Names of the kinds that it never sees: one of each family, or none."""
        if self.fold is None:
            return frozenset()
        of_family = ([k.name for k in KINDS if k.family is family] for family in Family)
        return frozenset(names[self.fold] for names in of_family)

    @property
    def cells(self) -> tuple[str, ...]:
        """What is measured: unseen pictures of known kinds, and unseen kinds."""
        return ("pictures",) if self.fold is None else ("pictures", "kinds")


def runs_of(design: str, *, seed: int) -> list[Run]:
    """The trainings of a design for one seed."""
    folds = FOLDS if design == "kinds" else (None,)
    return [Run(design=design, seed=seed, fold=fold) for fold in folds]


def perform(run: Run, *, work: Path, overrides: tuple[str, ...] = ()) -> None:
    """Train and score, all in the folder `run.name` of `work`; what is done there stays."""
    folder = work / run.name
    data, bundle = folder / "data", folder / "bundle"
    recipe = load_recipe(RECIPE, overrides=(f"seed={run.seed}", *overrides))
    if bundle.exists() and read_manifest(bundle).training.recipe != recipe.model_dump(mode="json"):
        shutil.rmtree(folder)
    write_sample(data, overwrite=True)
    if run.design == "shuffled":
        deal_out(data, judge=NOISY_JUDGE, generator=np.random.default_rng(run.seed))
    withhold(data, kinds=run.left_out, judge=NOISY_JUDGE)
    if not bundle.exists():
        train(recipe, data=data, out=bundle)
        shutil.rmtree(folder / "bundle.run")
    # A control run costs as much as the scores, and what the picture counts is told by `pictures`.
    alone = run.design != "pictures"
    settings = ScoringSettings(controls_rows=0) if alone else ScoringSettings()
    out = folder / "scores"
    score_folder(bundle, data=data, out=out, settings=settings, resources=Resources())


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


def withhold(data: Path, *, kinds: frozenset[str], judge: str) -> None:
    """Remove the judge's verdicts on answers that show or name one of these kinds, in place.

    Without a verdict of its teacher a row is no part of a training. An answer names another kind
    than its picture's where it hallucinates.
    """
    table = read_triples(data).select(["triple_id", "response", "extras"]).to_pydict()
    names = [name for kind in KINDS if kind.name in kinds for name in _names(kind.names.values())]
    shut = [
        triple_id
        for triple_id, response, extras in zip(*table.values(), strict=True)
        if json.loads(extras)["kind"] in kinds or any(name in response for name in names)
    ]
    verdicts = read_verdicts(data)
    of_shut = pc.is_in(verdicts["triple_id"], value_set=pa.array(shut, pa.string()))
    lesson = pc.and_(pc.equal(verdicts["judge"], judge), of_shut)
    pq.write_table(verdicts.filter(pc.invert(lesson)), data / VERDICTS_FILE)


def _names(variants: Iterable[tuple[str, ...]]) -> list[str]:
    return [name for names in variants for name in names]


def measure(runs: Sequence[Run], *, cell: str, work: Path) -> Line:
    """AUROCs against the rule on one cell of the runs, whose rows don't overlap."""
    data = work / runs[0].name / "data"
    tables: dict[str, list[pa.Table]] = {AS_SCORED: []} | {name: [] for name in CONTROL_RUNS}
    for run in runs:
        ids = _ids_of(data, kinds=run.left_out, inside=cell == "kinds")
        scores = work / run.name / "scores"
        for name, table in {AS_SCORED: read_scores(scores), **read_controls(scores)}.items():
            tables[name].append(table.filter(pc.is_in(table["triple_id"], value_set=ids)))
    whole = {name: pa.concat_tables(parts) for name, parts in tables.items() if parts}
    controls = image_controls(
        whole.pop(AS_SCORED),
        controls=whole,
        labels=labels_of(read_verdicts(data), judge=RULE_JUDGE),
        triples=read_triples(data),
    )
    line: Line = {"cell": cell, "rows": controls.rows}
    for axis in AXES:
        for name in (AS_SCORED, *CONTROL_RUNS):
            found = controls.find(axis, run=name, scope=Scope.ALL)
            column = f"{axis}_auroc" if name == AS_SCORED else f"{axis}_auroc_{name}"
            line[column] = None if found is None else found.auroc
    manifests = [read_manifest(work / run.name / "bundle") for run in runs]
    return line | {"train_seconds": sum(manifest.training.seconds for manifest in manifests)}


def _ids_of(data: Path, *, kinds: frozenset[str], inside: bool) -> pa.Array:
    """Ids of the triples whose picture shows one of these kinds, or none of them."""
    table = read_triples(data).select(["triple_id", "extras"]).to_pydict()
    pairs = zip(*table.values(), strict=True)
    return pa.array([t for t, extras in pairs if (json.loads(extras)["kind"] in kinds) is inside])


def main() -> None:
    """Add the rows that are missing to the table."""
    parser = argparse.ArgumentParser(description="The sample world: pictures, kinds, no lesson.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--work", type=Path, default=Path("runs/sample"), help="keeps the runs")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    arguments = parser.parse_args()
    lines = _read(arguments.out)
    for design in arguments.designs:
        for seed in arguments.seeds:
            runs = runs_of(design, seed=seed)
            for run in runs:
                for cell in run.cells:
                    fold = "" if run.fold is None else str(run.fold)
                    _add(lines, runs=[run], fold=fold, cell=cell, arguments=arguments)
            if design == "kinds":
                _add(lines, runs=runs, fold=ALL_FOLDS, cell="kinds", arguments=arguments)


def _add(
    lines: list[Line], *, runs: Sequence[Run], fold: str, cell: str, arguments: argparse.Namespace
) -> None:
    """Make one row, unless it is there, and write the table."""
    key: Line = {"design": runs[0].design, "seed": str(runs[0].seed), "fold": fold, "cell": cell}
    if any(all(line[name] == key[name] for name in KEY) for line in lines):
        return
    for run in runs:
        perform(run, work=arguments.work)
    measured = {k: _shown(v) for k, v in measure(runs, cell=cell, work=arguments.work).items()}
    print(key | measured, flush=True)
    note = {
        "date": datetime.now(UTC).date().isoformat(),
        "nsgauge": version("nsgauge"),
        "torch": version("torch"),
        "command": shlex.join(["python", *sys.argv]),
    }
    lines.append(key | measured | note)
    with new_file(arguments.out, overwrite=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _read(table: Path) -> list[Line]:
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        return [dict(line) for line in csv.DictReader(file)]


def _shown(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
