"""One scoring run, from a data folder to a score folder; goes on where it was stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.checkpoints.bundle import Bundle, load_bundle
from nsgauge.data.tables import (
    count_triples,
    data_fingerprint,
    iter_triples,
    read_verdicts,
    triples_of,
)
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.controls import control_runs, control_triples
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import (
    CONTROLS,
    MANIFEST,
    ScoreManifest,
    clear,
    is_ours,
    is_whole,
    read_manifest,
    read_shard,
    write_manifest,
    write_shard,
)
from nsgauge.records import ScoreStatus, Triple, VerdictState

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how much of how much is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run uses, and its scores don't depend on.

    Attributes:
        cache: Folder of image vectors that outlives the run; None for none.
        tower_directory: Where a hub preset's towers lie, if not where they were when training.
        device: Of torch; None takes CUDA where there is one.
        progress: Called after every shard and control run.
    """

    cache: Path | None = None
    tower_directory: Path | None = None
    device: str | None = None
    progress: Progress = lambda _doing, _done, _total: None


def score_folder(
    bundle: Path,
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
        bundle: Folder of a classifier.
        data: Data folder.
        out: Score folder.
        settings: Of the run.
        resources: What the run may use.
        overwrite: Forget what is in `out`.

    Raises:
        BundleError: the bundle can't be loaded.
        DataError: the data folder can't be read.
        ScoringError: `out` holds another run's scores, or other files.
    """
    loaded = load_bundle(bundle, tower_directory=resources.tower_directory)
    progress = resources.progress
    manifest = _claim(
        out, fresh=_new_manifest(loaded, data=data, settings=settings), overwrite=overwrite
    )
    if manifest.complete:
        progress("scoring", manifest.rows, manifest.rows)
        return manifest
    towers = loaded.towers
    engine = Engine(
        loaded,
        pictures=Pictures(data, side=towers.image_side_px, resize=towers.resize),
        cache=resources.cache,
        device=resources.device,
        tokens_per_batch=settings.tokens_per_batch,
    )
    manifest, candidates = _run_shards(
        engine, data=data, out=out, manifest=manifest, settings=settings, progress=progress
    )
    manifest = _run_controls(
        engine,
        triples=candidates,
        out=out,
        manifest=manifest,
        settings=settings,
        progress=progress,
    )
    manifest = manifest.model_copy(update={"complete": True})
    write_manifest(out, manifest=manifest)
    return manifest


def _run_shards(
    engine: Engine,
    *,
    data: Path,
    out: Path,
    manifest: ScoreManifest,
    settings: ScoringSettings,
    progress: Progress,
) -> tuple[ScoreManifest, list[Triple]]:
    """Score what isn't scored yet; also gather the triples for the control runs."""
    judged = _judged(data) if settings.controls_rows else frozenset()
    candidates: list[Triple] = []
    done = 0
    for index, table in enumerate(iter_triples(data, rows=settings.rows_per_shard)):
        triples = triples_of(table)
        if index < len(manifest.shards):
            scores = read_shard(out, shard=manifest.shards[index])
        else:
            scores = engine.score(engine.look(triples))
            shard = write_shard(out, name=f"scores-{index:05d}.parquet", table=scores)
            manifest = manifest.with_shard(shard, table=scores)
            write_manifest(out, manifest=manifest)
            engine.images.forget()
        candidates = control_triples(
            [*candidates, *_fit_for_control(triples, scores=scores, judged=judged)],
            limit=settings.controls_rows,
            seed=settings.seed,
        )
        done += len(triples)
        progress("scoring", done, manifest.rows)
    return manifest, candidates


def _run_controls(
    engine: Engine,
    *,
    triples: list[Triple],
    out: Path,
    manifest: ScoreManifest,
    settings: ScoringSettings,
    progress: Progress,
) -> ScoreManifest:
    if not triples:
        return manifest
    runs = control_runs(engine, rows=engine.look(triples), seed=settings.seed)
    for index, (name, run) in enumerate(runs.items()):
        if index >= len(manifest.controls):
            shard = write_shard(out, name=f"{CONTROLS}/{name}.parquet", table=run())
            manifest = manifest.model_copy(update={"controls": (*manifest.controls, shard)})
            write_manifest(out, manifest=manifest)
        progress("image controls", index + 1, len(runs))
    return manifest


def _fit_for_control(
    triples: list[Triple], *, scores: pa.Table, judged: frozenset[str]
) -> list[Triple]:
    """Judged, scored and new to the classifier."""
    scored = [status == ScoreStatus.SCORED for status in scores["status"].to_pylist()]
    seen = scores["item_seen"].to_pylist()
    return [
        triple
        for triple, can, old in zip(triples, scored, seen, strict=True)
        if can and not old and triple.triple_id in judged
    ]


def _claim(out: Path, *, fresh: ScoreManifest, overwrite: bool) -> ScoreManifest:
    """Make `out` this run's: begin it, or go on with it from its last whole file."""
    if out.exists() and not out.is_dir():
        raise ScoringError(f"{out}: is a file; name a folder for the scores")
    out.mkdir(parents=True, exist_ok=True)
    if not is_ours(out):
        raise ScoringError(f"{out}: not empty and no score folder; name another folder")
    if overwrite or not (out / MANIFEST).is_file():
        clear(out)
        write_manifest(out, manifest=fresh)
        return fresh
    found = read_manifest(out)
    if found.run != fresh.run:
        raise ScoringError(
            f"{out}: holds scores of another bundle, other data or other settings; name another "
            "folder or pass --overwrite"
        )
    return _trusted(found, out=out)


def _trusted(manifest: ScoreManifest, *, out: Path) -> ScoreManifest:
    """The manifest up to the first file that isn't whole any more."""
    whole = [shard for shard in manifest.shards if is_whole(out, shard=shard)]
    controls = [shard for shard in manifest.controls if is_whole(out, shard=shard)]
    if len(whole) == len(manifest.shards) and len(controls) == len(manifest.controls):
        return manifest
    kept: ScoreManifest = manifest.model_copy(
        update={
            "shards": (),
            "controls": (),
            "statuses": {},
            "image_states": {},
            "truncated": 0,
            "complete": False,
        }
    )
    for shard in manifest.shards:
        if shard not in whole:
            break
        kept = kept.with_shard(shard, table=read_shard(out, shard=shard))
    return kept


def _judged(data: Path) -> frozenset[str]:
    """Ids of the triples that some judge answered."""
    verdicts = read_verdicts(data)
    answered = verdicts.filter(pc.equal(verdicts["state"], str(VerdictState.ANSWERED)))
    return frozenset(pc.unique(answered["triple_id"]).to_pylist())


def _new_manifest(bundle: Bundle, *, data: Path, settings: ScoringSettings) -> ScoreManifest:
    fingerprint = data_fingerprint(data)
    stored = settings.model_dump(mode="json")
    key = f"{bundle.fingerprint}:{fingerprint}:{settings.model_dump_json()}"
    return ScoreManifest(
        run=sha256(key.encode()).hexdigest(),
        nsgauge_version=version("nsgauge"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=fingerprint,
        bundle=_provenance(bundle),
        settings=stored,
        rows=count_triples(data),
    )


def _provenance(bundle: Bundle) -> dict[str, Any]:
    """What a report says of the classifier."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "preset": manifest.preset.name,
        "judges": list(manifest.training.judges),
        "vllms": list(manifest.training.vllms),
        "thresholds": manifest.thresholds.model_dump(),
        "threshold_target": manifest.training.recipe.get("thresholds"),
        "calibrator": manifest.calibrator.method,
        "recipe": manifest.training.recipe,
        "bundle_fingerprint": bundle.fingerprint,
        "trained": manifest.training.created,
        "validation": manifest.training.validation,
    }
