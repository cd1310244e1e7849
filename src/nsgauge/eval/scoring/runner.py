"""One scoring run, from a data folder to a score folder; goes on where it was stopped."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.export_merged import load_saved
from nsgauge.data.tables import iter_triples, read_verdicts
from nsgauge.eval.scoring.claim import claimed, new_manifest
from nsgauge.eval.scoring.controls import NAMES, control_scores, drawn
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.placement import device_of
from nsgauge.eval.scoring.rows import Rows
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import (
    CONTROLS,
    ScoreManifest,
    read_shard,
    write_manifest,
    write_shard,
)
from nsgauge.eval.scoring.watch import Watch
from nsgauge.records import TRIPLES_SCHEMA, ScoreStatus, VerdictState

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how much of how much is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run uses, and its scores don't depend on.

    Attributes:
        cache: Folder of vectors that outlives the run; None for none.
        tower_directory: Where a hub preset's towers lie, if not where they were when training.
        device: Of torch; None takes CUDA where there is one.
        progress: Called after every shard and control run.
        watch: Told where the time goes.
    """

    cache: Path | None = None
    tower_directory: Path | None = None
    device: str | None = None
    progress: Progress = lambda _doing, _done, _total: None
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all steps of a run have in common."""

    engine: Engine
    data: Path
    out: Path
    settings: ScoringSettings
    resources: Resources


def score_folder(
    bundle: Path | Bundle,
    *,
    data: Path,
    out: Path,
    settings: ScoringSettings,
    resources: Resources,
    overwrite: bool = False,
) -> ScoreManifest:
    """Score every triple of a data folder.

    A run that was stopped, at any moment, is resumed when it is started again with the same
    bundle, data, settings and output, and ends with the same bytes on the same machine with the
    same number of threads.

    Args:
        bundle: Folder of a classifier in either form, or one that is loaded.
        data: Data folder.
        out: Score folder.
        settings: Of the run.
        resources: What the run may use.
        overwrite: Forget what is in `out`.

    Raises:
        BundleError: the bundle can't be loaded.
        DataError: the data folder can't be read.
        ScoringError: `out` holds another run's scores or other files, another process writes to
            it, it can't be written to, or the memory doesn't hold a single window.
    """
    loaded = bundle
    if isinstance(loaded, Path):
        loaded = load_saved(loaded, tower_directory=resources.tower_directory)
    fresh = new_manifest(loaded, data=data, settings=settings)
    with claimed(out, fresh=fresh, overwrite=overwrite) as found:
        if found.complete:
            resources.progress("scoring", found.rows, found.rows)
            return found
        engine = engine_of(loaded, data=data, settings=settings, resources=resources)
        run = _Run(engine=engine, data=data, out=out, settings=settings, resources=resources)
        manifest, candidates = _score_shards(run, manifest=found)
        manifest = _score_controls(run, manifest=manifest, candidates=candidates)
        engine.flush()
        manifest = manifest.model_copy(update={"complete": True})
        write_manifest(out, manifest=manifest)
        return manifest


def engine_of(
    bundle: Bundle, *, data: Path, settings: ScoringSettings, resources: Resources
) -> Engine:
    """The engine that scores a data folder; it compiles nothing where there is no CUDA."""
    towers = bundle.towers
    on_cuda = device_of(resources.device).type == "cuda"
    return Engine(
        bundle,
        pictures=Pictures(data, side=towers.image_side_px, resize=towers.resize),
        cache=resources.cache,
        device=resources.device,
        tokens_per_batch=settings.tokens_per_batch,
        precision=settings.precision,
        compiled=settings.compiled and on_cuda,
        watch=resources.watch,
    )


def _score_shards(run: _Run, *, manifest: ScoreManifest) -> tuple[ScoreManifest, pa.Table]:
    """Score what isn't scored yet; also gather the triples for the control runs.

    While a shard is computed, the one after it is read and the one before it is written.
    """
    candidates = _Candidates(run.data, settings=run.settings)
    writing: Future[ScoreManifest] | None = None
    with ThreadPoolExecutor(1) as writer:
        for index, (table, rows) in enumerate(_read_ahead(run, scored=len(manifest.shards))):
            if rows is None:
                scores = read_shard(run.out, shard=manifest.shards[index])
                _tell(run, manifest=manifest, shards=index + 1)
            else:
                scores = run.engine.score(rows)
                if writing is not None:
                    manifest = writing.result()
                    _tell(run, manifest=manifest, shards=index)
                writing = writer.submit(_commit, run, manifest, scores)
            candidates.add(table, scores=scores)
        if writing is not None:
            manifest = writing.result()
            _tell(run, manifest=manifest, shards=len(manifest.shards))
    return manifest, candidates.drawn


def _read_ahead(run: _Run, *, scored: int) -> Iterator[tuple[pa.Table, Rows | None]]:
    """Each shard's triples, and, of those that aren't scored yet, how they go in."""
    tables = enumerate(iter_triples(run.data, rows=run.settings.rows_per_shard))

    def following() -> tuple[pa.Table, Rows | None] | None:
        with run.resources.watch.during("reading"):
            index, table = next(tables, (0, None))
        if table is None:
            return None
        return table, None if index < scored else run.engine.look(table)

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(following)
        while (found := ahead.result()) is not None:
            ahead = reader.submit(following)
            yield found


def _commit(run: _Run, manifest: ScoreManifest, scores: pa.Table) -> ScoreManifest:
    """Write one shard, and that it is there."""
    with run.resources.watch.during("writing"):
        name = f"scores-{len(manifest.shards):05d}.parquet"
        shard = write_shard(run.out, name=name, table=scores)
        manifest = manifest.with_shard(shard, table=scores)
        write_manifest(run.out, manifest=manifest)
    run.resources.watch.scored(scores.num_rows)
    return manifest


def _tell(run: _Run, *, manifest: ScoreManifest, shards: int) -> None:
    done = sum(shard.rows for shard in manifest.shards[:shards])
    run.resources.progress("scoring", done, manifest.rows)


def _score_controls(run: _Run, *, manifest: ScoreManifest, candidates: pa.Table) -> ScoreManifest:
    if not candidates.num_rows:
        return manifest
    have = [shard.name for shard in manifest.controls]
    names = [f"{CONTROLS}/{name}.parquet" for name in NAMES]
    for done in range(len(have)):
        run.resources.progress("image controls", done + 1, len(names))
    if have == names:
        return manifest
    rows = run.engine.look(candidates)
    for name, table in control_scores(run.engine, rows=rows, seed=run.settings.seed):
        if f"{CONTROLS}/{name}.parquet" in have:
            continue
        shard = write_shard(run.out, name=f"{CONTROLS}/{name}.parquet", table=table)
        manifest = manifest.model_copy(update={"controls": (*manifest.controls, shard)})
        write_manifest(run.out, manifest=manifest)
        run.resources.progress("image controls", len(manifest.controls), len(names))
    return manifest


class _Candidates:
    """Triples for the control runs, drawn as shards go by: judged, scored and new to the bundle."""

    def __init__(self, data: Path, *, settings: ScoringSettings) -> None:
        self._settings = settings
        self._judged = _judged(data) if settings.controls_rows else pa.array([], pa.string())
        self.drawn: pa.Table = TRIPLES_SCHEMA.empty_table()

    def add(self, table: pa.Table, *, scores: pa.Table) -> None:
        """Take one shard's rows into the draw."""
        if not len(self._judged):
            return
        fit = pc.and_(
            pc.and_not(pc.equal(scores["status"], str(ScoreStatus.SCORED)), scores["item_seen"]),
            pc.is_in(table["triple_id"], value_set=self._judged),
        )
        both = pa.concat_tables([self.drawn, table.filter(fit)])
        settings = self._settings
        self.drawn = drawn(both, limit=settings.controls_rows, seed=settings.seed)


def _judged(data: Path) -> pa.Array:
    """Ids of the triples that some judge answered."""
    verdicts = read_verdicts(data)
    answered = verdicts.filter(pc.equal(verdicts["state"], str(VerdictState.ANSWERED)))
    return pc.unique(answered["triple_id"])
