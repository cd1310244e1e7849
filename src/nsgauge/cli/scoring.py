"""`nsgauge score`: what a classifier says of every row."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nsgauge.cli import console
from nsgauge.cli.options import DataOption, OverwriteOption
from nsgauge.errors import SettingsError

if TYPE_CHECKING:
    from nsgauge.checkpoints.bundle import Bundle
    from nsgauge.eval.scoring.runner import Resources
    from nsgauge.eval.scoring.settings import ScoringSettings
    from nsgauge.eval.scoring.shards import ScoreManifest
    from nsgauge.eval.scoring.watch import Watch


class EngineName(StrEnum):
    """What `--engine` takes."""

    LOCAL = "local"
    RAY = "ray"


def score(
    bundle: Annotated[Path, typer.Argument(help="A classifier, of `train` or `export`.")],
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The score folder.")],
    controls_rows: Annotated[
        int, typer.Option(help="Most rows to score again without their picture; 0 for none.")
    ] = 2000,
    rows_per_shard: Annotated[int, typer.Option(help="Rows in a file of scores.")] = 8192,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of vectors kept between runs; default: in the user's cache."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Of torch; default: CUDA, else CPU.")] = None,
    towers: Annotated[
        Path | None, typer.Option(help="Folder of a hub preset's weights, without a hub.")
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Of the towers: auto (bf16 on CUDA, else fp32), fp32, bf16, or int8: on a CPU, "
            "once rows of the data have shown that it changes next to nothing."
        ),
    ] = "auto",
    compile_: Annotated[
        bool,
        typer.Option("--compile", help="Compile the towers (CUDA, bf16): a minute, once."),
    ] = False,
    estimate: Annotated[
        bool, typer.Option(help="Score a few rows, say what all will take, write nothing.")
    ] = False,
    engine: Annotated[
        EngineName, typer.Option(help="`ray`: on the actors of a cluster, or on several GPUs.")
    ] = EngineName.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; default: one is started here.")
    ] = None,
    actors: Annotated[int | None, typer.Option(help="Engines of a cluster; default: all.")] = None,
    cpus_per_actor: Annotated[int | None, typer.Option(help="Cores of each; default: 1.")] = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option(help="GPUs of each; default: 0, the CPU.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score every triple of a data folder; a run that was stopped goes on where it was."""
    from nsgauge.eval.scoring.placement import device_of, refuse_uncompilable
    from nsgauge.eval.scoring.runner import Resources
    from nsgauge.eval.scoring.settings import ScoringSettings
    from nsgauge.models.towers.packaged import cache_folder

    asked = {
        "address": ray_address,
        "actors": actors,
        "cpus": cpus_per_actor,
        "gpus": gpus_per_actor,
    }
    cluster = {name: value for name, value in asked.items() if value is not None}
    _check_engine(engine, cluster=cluster, estimate=estimate)
    settings = ScoringSettings.from_mapping(
        {
            "rows_per_shard": rows_per_shard,
            "controls_rows": controls_rows,
            "precision": precision,
            "compiled": compile_,
        },
        source="options",
    )
    resources = Resources(
        cache=None if estimate else cache or cache_folder("vectors"),
        tower_directory=towers,
        device="cpu" if precision == "int8" and device is None else device,
    )
    if compile_ and engine is EngineName.LOCAL:
        # Before anything is claimed, or overwritten.
        on_cuda = device_of(resources.device).type == "cuda"
        refuse_uncompilable(on_cuda=on_cuda, precision=settings.precision)
    run = _Run(bundle=bundle, data=data, settings=settings, resources=resources)
    if engine is EngineName.RAY:
        manifest = run.on_ray(cluster, out=out, overwrite=overwrite)
    elif estimate:
        run.say_estimate()
        return
    else:
        manifest = run.here(out=out, overwrite=overwrite)
    console.show_scores(manifest, out=out)
    if resources.watch.rows:
        console.say(resources.watch.words())
    elif engine is EngineName.LOCAL and manifest.rows:
        console.say(
            "nothing was left to score, and no picture was looked at again: --overwrite does both"
        )


def _check_engine(engine: EngineName, *, cluster: Mapping[str, object], estimate: bool) -> None:
    """An option for the other engine was meant to do something."""
    if engine is EngineName.LOCAL and cluster:
        raise SettingsError(
            "--ray-address, --actors, --cpus-per-actor and --gpus-per-actor are of --engine ray: "
            "add that, or leave them out"
        )
    if engine is EngineName.RAY and estimate:
        raise SettingsError(
            "--estimate times one engine here: leave --engine ray and its options out, and divide "
            "by the number of actors"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What was asked for, but where."""

    bundle: Path
    data: Path
    settings: "ScoringSettings"
    resources: "Resources"

    def here(self, *, out: Path, overwrite: bool) -> "ScoreManifest":
        from nsgauge.eval.scoring.runner import score_folder

        loaded = self._loaded()
        with _progress_bar(self.resources.watch) as progress:
            return score_folder(
                loaded,
                data=self.data,
                out=out,
                settings=self.settings,
                resources=replace(self.resources, progress=progress),
                overwrite=overwrite,
            )

    def on_ray(
        self, cluster: Mapping[str, object], *, out: Path, overwrite: bool
    ) -> "ScoreManifest":
        from nsgauge.eval.scoring.ray_engine import Cluster, RayResources, score_folder_on_ray

        if self.settings.precision == "int8":
            raise SettingsError("--precision int8 is for --engine local: leave one of them out")
        with _progress_bar(self.resources.watch) as progress:
            return score_folder_on_ray(
                self.bundle,
                data=self.data,
                out=out,
                settings=self.settings,
                resources=RayResources(
                    cache=self.resources.cache,
                    tower_directory=self.resources.tower_directory,
                    device=self.resources.device,
                    progress=progress,
                    watch=self.resources.watch,
                    cluster=Cluster.from_mapping(dict(cluster), source="options"),
                ),
                overwrite=overwrite,
            )

    def say_estimate(self) -> None:
        from nsgauge.eval.scoring.estimate import estimate
        from nsgauge.eval.scoring.runner import engine_of

        engine = engine_of(
            self._loaded(), data=self.data, settings=self.settings, resources=self.resources
        )
        for line in estimate(engine, data=self.data).lines():
            console.say(line)

    def _loaded(self) -> "Bundle":
        from nsgauge.checkpoints.export_merged import load_saved

        loaded = load_saved(self.bundle, tower_directory=self.resources.tower_directory)
        if self.settings.precision != "int8":
            return loaded
        from nsgauge.eval.scoring.quantised import gated_int8

        found = gated_int8(loaded, data=self.data)
        for line in found.lines():
            console.say(line)
        return found.bundle


@contextmanager
def _progress_bar(watch: "Watch") -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr that also says where the time goes; yields what to call with progress."""
    stderr = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # In a log, the bar would be an empty line before whatever error follows.
    quiet = not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total, note="")
            bar.update(tasks[doing], completed=done, total=total, note=watch.words())

        yield advance
