"""The door to Ray: the shards of a scoring run on the actors of a cluster, one engine each.

Row ranges go out and tables of scores come back; triples and pictures are read where they are
scored, so every machine must see the data folder, the bundle and the cache under the same paths.
"""

import importlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pydantic import Field

from nsgauge.checkpoints.export_merged import load_saved
from nsgauge.data.folders import TRIPLES_FILE, file_digest
from nsgauge.data.parquet import checked, opened_parquet
from nsgauge.errors import NsgaugeError, ScoringError, installing
from nsgauge.eval.scoring.claim import claimed, new_manifest
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.runner import Progress, Resources, engine_of, score_folder
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import ScoreManifest, write_manifest, write_shard
from nsgauge.records import TRIPLES_SCHEMA, ResponseState
from nsgauge.settings import Settings

RANGES_PER_ACTOR = 2
"""Handed out at once: one is scored while the next waits, and only so many results are held."""
RESTARTS = 3


class Cluster(Settings):
    """Where the actors run, and how many.

    Attributes:
        address: Of a cluster (`auto`, `ray://HOST:10001`); None starts one on this machine, or
            takes the one that the process is connected to.
        actors: Engines; None takes as many as the cluster has room for.
        cpus: Cores of each, which is also its number of threads.
        gpus: GPUs of each; 0 scores on the CPU.
    """

    address: str | None = None
    actors: int | None = Field(None, ge=1)
    cpus: int = Field(1, ge=1)
    gpus: float = Field(0, ge=0, le=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayResources(Resources):
    """As `Resources`, of which the actors use cache, towers and device; and the cluster."""

    cluster: Cluster = field(default_factory=Cluster)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Consecutive rows of triples.parquet."""

    first: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorTask:
    """What an actor is made with.

    Attributes:
        bundle: Folder of the classifier.
        data: Data folder.
        cache: Folder of image vectors, or None.
        tower_directory: As `load_saved` takes it.
        device: Of torch; None takes CUDA where the actor has a GPU.
        settings: Of the run.
        threads: Of torch.
        triples_digest: SHA-256 of triples.parquet as the driver sees it.
    """

    bundle: Path
    data: Path
    cache: Path | None
    tower_directory: Path | None
    device: str | None
    settings: ScoringSettings
    threads: int
    triples_digest: str


class RangeScorer:
    """One engine that scores ranges of rows; what an actor is."""

    def __init__(self, task: ActorTask) -> None:
        self._task = task
        # Made when first asked for: an error then comes back as itself.
        self._engine: Engine | None = None

    def score(self, rows: RowRange) -> pa.Table:
        """Scores of a range, with SCORES_SCHEMA.

        Raises:
            ScoringError: the data folder isn't the driver's.
            BundleError: the bundle can't be loaded.
            DataError: the rows can't be read.
        """
        engine = self._engine = self._engine or self._made()
        scores = engine.score_table(read_range(self._task.data, rows=rows))
        engine.flush()
        return scores

    def _made(self) -> Engine:
        task = self._task
        torch.set_num_threads(task.threads)
        path = task.data / TRIPLES_FILE
        if not path.is_file() or file_digest(path) != task.triples_digest:
            raise ScoringError(
                f"{path}: missing on a machine of the cluster, or another file there: every "
                "machine must see the data folder under the same path"
            )
        bundle = load_saved(task.bundle, tower_directory=task.tower_directory)
        resources = Resources(cache=task.cache, device=task.device)
        return engine_of(bundle, data=task.data, settings=task.settings, resources=resources)


def read_range(data: Path, *, rows: RowRange) -> pa.Table:
    """Some triples of a data folder, with TRIPLES_SCHEMA; no other row groups are read.

    Raises:
        DataError: as `nsgauge.data.tables.iter_triples`.
    """
    path = data / TRIPLES_FILE
    last = rows.first + rows.rows
    with opened_parquet(path) as file:
        groups, start, skipped = [], 0, 0
        for index in range(file.num_row_groups):
            stop = start + file.metadata.row_group(index).num_rows
            if start < last and stop > rows.first:
                groups.append(index)
            elif stop <= rows.first:
                skipped = stop
            start = stop
        table = file.read_row_groups(groups).slice(rows.first - skipped, rows.rows)
    words = {"response_state": ResponseState}
    return checked(table, schema=TRIPLES_SCHEMA, words=words, where=str(path))


def score_folder_on_ray(
    bundle: Path,
    *,
    data: Path,
    out: Path,
    settings: ScoringSettings,
    resources: RayResources,
    overwrite: bool = False,
) -> ScoreManifest:
    """As `score_folder`, with the shards scored by a cluster's actors.

    The score folder is the same: a run begun here may be finished by the local engine, and the
    other way round. This process alone writes it, in order. The control runs are local.

    Raises:
        ScoringError: Ray isn't installed, an actor was lost for good, or as `score_folder`.
        BundleError: as `score_folder`.
        DataError: as `score_folder`.
    """
    loaded = load_saved(bundle, tower_directory=resources.tower_directory)
    fresh = new_manifest(loaded, data=data, settings=settings)
    task = _task(bundle, data=data, settings=settings, resources=resources)
    with claimed(out, fresh=fresh, overwrite=overwrite) as found:
        ranges = remaining_ranges(found, rows=settings.rows_per_shard)
        if ranges:
            with scored_ranges(ranges, task=task, cluster=resources.cluster) as tables:
                _write(tables, out=out, manifest=found, progress=resources.progress)
    return score_folder(loaded, data=data, out=out, settings=settings, resources=resources)


def _task(
    bundle: Path, *, data: Path, settings: ScoringSettings, resources: RayResources
) -> ActorTask:
    cluster = resources.cluster
    return ActorTask(
        bundle=bundle.resolve(),
        data=data.resolve(),
        cache=None if resources.cache is None else resources.cache.resolve(),
        tower_directory=resources.tower_directory,
        device=resources.device if cluster.gpus else resources.device or "cpu",
        settings=settings,
        threads=cluster.cpus,
        triples_digest=file_digest(data / TRIPLES_FILE),
    )


def _write(
    tables: Iterable[pa.Table], *, out: Path, manifest: ScoreManifest, progress: Progress
) -> None:
    """Write shards as they come, each with a manifest that has it."""
    for table in tables:
        name = f"scores-{len(manifest.shards):05d}.parquet"
        shard = write_shard(out, name=name, table=table)
        manifest = manifest.with_shard(shard, table=table)
        write_manifest(out, manifest=manifest)
        progress("scoring", sum(each.rows for each in manifest.shards), manifest.rows)


def remaining_ranges(manifest: ScoreManifest, *, rows: int) -> list[RowRange]:
    """The shards that aren't written yet, as ranges of at most `rows`."""
    done = sum(shard.rows for shard in manifest.shards)
    return [
        RowRange(first=first, rows=min(rows, manifest.rows - first))
        for first in range(done, manifest.rows, rows)
    ]


@contextmanager
def scored_ranges(
    ranges: Sequence[RowRange], *, task: ActorTask, cluster: Cluster
) -> Iterator[Iterator[pa.Table]]:
    """Actors for as long as the block runs; yields the ranges' scores, in order.

    Raises:
        ScoringError: Ray isn't installed, the cluster can't be reached or has no room.
    """
    ray = _ray()
    joined = ray.is_initialized()
    if not joined:
        _connect(ray, address=cluster.address)
    try:
        count = min(cluster.actors or _room(ray, cluster=cluster), len(ranges))
        remote = ray.remote(max_restarts=RESTARTS, max_task_retries=RESTARTS)(RangeScorer)
        options = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
        actors = [remote.options(**options).remote(task) for _ in range(count)]
        yield _in_order(ranges, actors=actors, ray=ray)
        for actor in actors:
            ray.kill(actor)
    finally:
        if not joined:
            ray.shutdown()


def _in_order(ranges: Sequence[RowRange], *, actors: Sequence[Any], ray: Any) -> Iterator[pa.Table]:
    """Hand ranges out in turn, so many at a time, and give the scores back in their order.

    Ranges are alike in size, so taking turns keeps the actors busy and bounds what is held.
    """
    waiting: deque[Any] = deque()
    ahead = RANGES_PER_ACTOR * len(actors)
    for index, rows in enumerate(ranges):
        if len(waiting) == ahead:
            yield _fetched(waiting.popleft(), ray=ray)
        waiting.append(actors[index % len(actors)].score.remote(rows))
    while waiting:
        yield _fetched(waiting.popleft(), ray=ray)


def _fetched(reference: Any, *, ray: Any) -> pa.Table:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, NsgaugeError):
            raise error.cause from error
        raise
    except ray.exceptions.RayActorError as error:
        raise ScoringError(
            f"an actor was lost {RESTARTS} times ({' '.join(str(error).split())[:300]}): what is "
            "written stays; start again, with fewer actors a machine if memory ran out"
        ) from error


def _room(ray: Any, *, cluster: Cluster) -> int:
    """How many actors the cluster has room for."""
    held = ray.cluster_resources()
    by_cores = int(held.get("CPU", 0) // cluster.cpus)
    room = min(by_cores, int(held.get("GPU", 0) // cluster.gpus)) if cluster.gpus else by_cores
    if not room:
        raise ScoringError(
            f"the cluster has {held.get('CPU', 0):g} cores and {held.get('GPU', 0):g} GPUs, an "
            f"actor wants {cluster.cpus} and {cluster.gpus:g}: ask for less"
        )
    return room


def _connect(ray: Any, *, address: str | None) -> None:
    try:
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ScoringError(
            f"Ray at {address or 'this machine'}: {' '.join(str(error).split())[:300]}"
        ) from error


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ScoringError(f"Ray isn't installed: {installing('ray')}") from error
