"""The score folder as one run's own: begun, or gone on with, and closed to every other run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.consensus import Making
from nsgauge.data.tables import count_triples, data_fingerprint
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import (
    MANIFEST,
    ScoreManifest,
    clear,
    is_ours,
    is_whole,
    read_manifest,
    read_shard,
    write_manifest,
)


@contextmanager
def claimed(out: Path, *, fresh: ScoreManifest, overwrite: bool) -> Iterator[ScoreManifest]:
    """Make `out` this run's for the block: begin it, or go on with it from its last whole file.

    Args:
        out: The score folder; made where there is none.
        fresh: Manifest of a run that begins.
        overwrite: Forget what is in `out`.

    Raises:
        ScoringError: it holds another run's scores or other files, or another process writes to
            it now.
    """
    if out.exists() and not out.is_dir():
        raise ScoringError(f"{out}: is a file; name a folder for the scores")
    out.mkdir(parents=True, exist_ok=True)
    # The folder itself is locked: the lock ends with the process, however that ends.
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield _taken(out, fresh=fresh, overwrite=overwrite)
    except BlockingIOError as error:
        raise ScoringError(
            f"{out}: another process is scoring into it; wait for it or name another folder"
        ) from error
    finally:
        os.close(handle)


def new_manifest(bundle: Bundle, *, data: Path, settings: ScoringSettings) -> ScoreManifest:
    """The manifest of a run that begins.

    Raises:
        DataError: the data folder can't be read.
    """
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


def _taken(out: Path, *, fresh: ScoreManifest, overwrite: bool) -> ScoreManifest:
    if not is_ours(out):
        raise ScoringError(f"{out}: not empty and no score folder; name another folder")
    if overwrite or not (out / MANIFEST).is_file():
        clear(out)
        write_manifest(out, manifest=fresh)
        return fresh
    found = read_manifest(out)
    if found.run != fresh.run:
        if found.shards or found.controls:
            raise ScoringError(
                f"{out}: holds scores of {_other(found, fresh=fresh)}; name another folder or pass "
                "--overwrite"
            )
        # Begun, but nothing was scored.
        clear(out)
        write_manifest(out, manifest=fresh)
        return fresh
    return _trusted(found, out=out)


def _other(found: ScoreManifest, *, fresh: ScoreManifest) -> str:
    """What makes two runs differ, in words."""
    key = "bundle_fingerprint"
    settings = sorted(
        name for name, value in fresh.settings.items() if found.settings.get(name) != value
    )
    reasons = {
        "another bundle": found.bundle.get(key) != fresh.bundle.get(key),
        "other data": found.data_fingerprint != fresh.data_fingerprint,
        f"other settings ({', '.join(settings)})": bool(settings),
    }
    return " and ".join(words for words, differs in reasons.items() if differs) or "another run"


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


def _provenance(bundle: Bundle) -> dict[str, Any]:
    """What a report says of the classifier."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "preset": manifest.preset.name,
        "judges": list(manifest.training.judges),
        "unlearned": [
            axis
            for axis, making in manifest.training.target_making.items()
            if making == Making.UNSPOKEN
        ],
        "vllms": list(manifest.training.vllms),
        "thresholds": manifest.thresholds.model_dump(),
        "threshold_target": manifest.training.recipe.get("thresholds"),
        "calibrator": manifest.calibrator.method,
        "recipe": manifest.training.recipe,
        "bundle_fingerprint": bundle.fingerprint,
        "trained": manifest.training.created,
        "validation": manifest.training.validation,
    }
