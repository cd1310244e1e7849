"""The demo: the whole path on the built-in sample world, and what it shows."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nsgauge.cli import console
from nsgauge.data.sample.world import write_sample
from nsgauge.errors import SettingsError
from nsgauge.eval.controls import CONTROL_RUNS, Scope
from nsgauge.eval.report.contents import Report
from nsgauge.eval.report.writing import report_from_folders
from nsgauge.eval.scoring.runner import Resources, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.train.fit import train
from nsgauge.train.recipe import load_recipe

RECIPE = "sample-pocket"
TRUTH = "rule"
AXES = ("unsafe", "not_grounded")


def run_demo(out: Path, *, overwrite: bool) -> Report:
    """Draw the sample, train, score and report; everything lands under `out`.

    Raises:
        SettingsError: `out` holds something already.
    """
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise SettingsError(f"{out} exists already: choose another --out or pass --overwrite")
    started = time.monotonic()
    data, bundle, scores = out / "data", out / "bundle", out / "scores"
    console.say("1/4 drawing a world of pictures, prompts, answers and verdicts")
    console.show_import(write_sample(data, overwrite=overwrite), out=data)
    console.say(f"2/4 training recipe {RECIPE} (about three minutes on two cores)")
    recipe = load_recipe(RECIPE)
    console.show_training(train(recipe, data=data, out=bundle, overwrite=overwrite, progress=True))
    console.say("3/4 scoring, and scoring again without the pictures")
    with console.progress_bar() as progress:
        manifest = score_folder(
            bundle,
            data=data,
            out=scores,
            settings=ScoringSettings(),
            resources=Resources(cache=out / "image-vectors", progress=progress),
            overwrite=overwrite,
        )
    console.show_scores(manifest, out=scores)
    console.say("4/4 writing the report")
    title = "The sample world: safety and grounding"
    report = report_from_folders(data, scores=scores, out=out / "report", title=title)
    _show_quality(report)
    console.say(f"done in {time.monotonic() - started:.0f} s")
    console.say(f"open {out / 'report' / 'report.html'}")
    return report


def _show_quality(report: Report) -> None:
    reference = str(report.overview.reference)
    table = Table("AUROC on unseen items", *AXES, box=None)
    for judge in (TRUTH, reference):
        found = [report.comparison.find(axis, judge=judge) for axis in AXES]
        values = [None if agreement is None else agreement.auroc for agreement in found]
        table.add_row(f"as scored, against {judge}", *map(_number, values))
    if report.controls is not None:
        for run in CONTROL_RUNS:
            results = [report.controls.find(axis, run=run, scope=Scope.ALL) for axis in AXES]
            values = [None if result is None else result.auroc for result in results]
            table.add_row(f"{run}, against {reference}", *map(_number, values))
    Console(highlight=False).print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
