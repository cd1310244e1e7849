"""The record of who judged a data folder: DATA/judging/<judge>.json, a run after the other."""

import hashlib
import json
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsgauge.data.folders import JUDGING_FOLDER, file_digest, new_file
from nsgauge.data.judge.cases import Cases
from nsgauge.errors import DataError

if TYPE_CHECKING:
    from nsgauge.data.judge.runner import JudgeRun

FORMAT = "nsgauge-judging/1"


def record_path(data: Path, *, judge: str) -> Path:
    """Where a judge's record lies; names that read alike as file names don't share one."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", judge).strip("-.")[:60]
    digest = hashlib.sha256(judge.encode()).hexdigest()[:8]
    return data / JUDGING_FOLDER / f"{readable or 'judge'}-{digest}.json"


def record_run(
    data: Path,
    *,
    run: "JudgeRun",
    cases: Cases,
    begun: datetime,
    plan: Path | None,
) -> None:
    """Add a run to the judge's record, with the whole of its recipe and instructions.

    Raises:
        DataError: the record that is there can't be read.
    """
    path = record_path(data, judge=run.judge)
    entry = {
        "begun": begun.isoformat(timespec="seconds"),
        "recipe": cases.recipe.model_dump(mode="json"),
        "answering": cases.recipe.answering,
        "plan": None if plan is None else {"file": plan.name, "sha256": file_digest(plan)},
        "result": asdict(run),
    }
    record = {
        "format": FORMAT,
        "judge": run.judge,
        "prompt": {"hash": cases.prompt.prompt_hash, **cases.prompt.model_dump(mode="json")},
        "runs": [*_earlier(path), entry],
    }
    with new_file(path, overwrite=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def answered_as(data: Path, *, cases: Cases) -> bool:
    """Whether the judge's earlier runs here, if there were any, were of the same kind.

    Raises:
        DataError: the record that is there can't be read.
    """
    earlier = _earlier(record_path(data, judge=cases.judge))
    return all(run.get("answering") == cases.recipe.answering for run in earlier)


def _earlier(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["runs"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: no record of a judge; move it away") from error
