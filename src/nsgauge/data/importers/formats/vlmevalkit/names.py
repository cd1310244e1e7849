"""What the name of a VLMEvalKit file tells: VLLM, benchmark and judge, where it is unambiguous."""

from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.errors import DataError

_DATASETS = ("SIUO_GEN", "SIUO_MCQ", "SIUO", "MSSBench", "MMSafetyBench")
_JUDGED_MARK = "_detailed"
_FOLDERS_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultName:
    """What a result file holds.

    Attributes:
        vllm: Name of the VLLM.
        benchmark: Name of the benchmark.
        judge: Name of the judge; empty where the name has none.
    """

    vllm: str
    benchmark: str
    judge: str = ""


def result_name(path: Path, *, options: ImportOptions) -> ResultName:
    """What the name `<Model>_<Dataset>[_<judge>_detailed]` tells; the options take precedence.

    All three parts may have underscores: a data set that is known here (or given) divides the
    name, else a folder above that is named for the VLLM, else the only underscore.

    Raises:
        DataError: the VLLM or the benchmark can be told neither by the name nor by the options.
    """
    stem = path.stem.removesuffix(_JUDGED_MARK)
    found = _by_dataset(stem, given=options.benchmark) or _by_folder(path, stem=stem)
    if found is None and stem.count("_") == 1:
        found = tuple(stem.split("_"))
    vllm, benchmark, judge = (*(found or ()), "", "", "")[:3]
    name = ResultName(
        vllm=options.vllm or vllm,
        benchmark=options.benchmark or benchmark,
        judge=options.judge or judge,
    )
    missing = [key for key in ("vllm", "benchmark") if not getattr(name, key)]
    if missing:
        told = "its name doesn't tell where <Model> ends and <Dataset> begins"
        raise DataError(f"{path}: {told}: give {' and '.join(missing)}")
    return name


def _by_dataset(stem: str, *, given: str) -> tuple[str, ...] | None:
    for dataset in (given, *_DATASETS):
        before, found, after = f"{stem}_".rpartition(f"_{dataset}_")
        if dataset and found and before:
            return before, dataset, after.removesuffix("_")
    return None


def _by_folder(path: Path, *, stem: str) -> tuple[str, ...] | None:
    """By a folder of the VLLM's name; what follows is the benchmark if it is one word."""
    for folder in path.resolve().parents[:_FOLDERS_UP]:
        rest = stem.removeprefix(f"{folder.name}_")
        if folder.name and rest != stem:
            return (folder.name, rest) if "_" not in rest else (folder.name, "")
    return None
