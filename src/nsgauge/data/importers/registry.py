"""The formats by name, and the one way to import from them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Importer, ImportOptions
from nsgauge.data.importers.formats.deepsafe.importer import import_deepsafe, recognises_deepsafe
from nsgauge.data.importers.formats.harness.lm_eval import import_lm_eval, recognises_lm_eval
from nsgauge.data.importers.formats.harness.lmms_eval import import_lmms_eval, recognises_lmms_eval
from nsgauge.data.importers.formats.inspect_ai.importer import (
    import_inspect_ai,
    recognises_inspect_ai,
)
from nsgauge.data.importers.formats.msts.importer import import_msts, recognises_msts
from nsgauge.data.importers.formats.siuo.importer import import_siuo, recognises_siuo
from nsgauge.data.importers.formats.table import holds_table, import_table, recognises_table
from nsgauge.data.importers.formats.vlmevalkit.importer import (
    import_vlmevalkit,
    recognises_vlmevalkit,
)
from nsgauge.data.importers.formats.vlsbench.importer import import_vlsbench, recognises_vlsbench
from nsgauge.data.importers.reasoning import stripped
from nsgauge.data.tables import DataSummary, SourceNote, write_data
from nsgauge.errors import DataError, SettingsError

AUTO = "auto"
"""In place of a format's name: find out."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format that can be imported.

    Attributes:
        importer: Reads it.
        recognises: Whether a file or folder is of it, by its names and first rows; it raises
            DataError only on what it has opened and can't read.
        summary: What it is, in a few words.
        options: Fields of `ImportOptions` that it reads, beside those that are for all.
    """

    importer: Importer
    recognises: Callable[[Path], bool]
    summary: str
    options: frozenset[str]


_COLUMNS = frozenset({"mapping", "labels"})
_NAMES = frozenset({"benchmark", "vllm", "judge"})
_PICTURES = frozenset({"image_root"})
_USUAL = _COLUMNS | _NAMES | _PICTURES
_FOR_ALL = frozenset({"strip_reasoning", "overwrite"})
_OPTIONS = {"mapping": "--map", "labels": "--label", "languages": "--language"}
"""Of the fields that the command calls otherwise."""


FORMATS: dict[str, Format] = {
    "deepsafe": Format(
        import_deepsafe,
        recognises_deepsafe,
        "DeepSafe (uni_eval) run of VLSBench or SIUO",
        options=_USUAL,
    ),
    "inspect": Format(
        import_inspect_ai,
        recognises_inspect_ai,
        "inspect_ai logs: .json or .eval, or a folder",
        options=_USUAL,
    ),
    "lm-eval": Format(
        import_lm_eval,
        recognises_lm_eval,
        "lm-eval samples: a file or a folder",
        options=_USUAL | {"filter"},
    ),
    "lmms-eval": Format(
        import_lmms_eval,
        recognises_lmms_eval,
        "lmms-eval samples: a file or a folder",
        options=_USUAL | {"dataset"},
    ),
    "msts": Format(
        import_msts,
        recognises_msts,
        "MSTS repository: responses, labels, verdicts",
        options=_PICTURES | {"languages", "strict"},
    ),
    "siuo": Format(
        import_siuo,
        recognises_siuo,
        "SIUO responses and verdicts: a file, or a folder of items",
        options=_USUAL,
    ),
    "table": Format(
        import_table,
        recognises_table,
        "CSV, TSV, JSONL, JSON, xlsx or Parquet, any columns: a file, or a folder of them",
        options=_USUAL,
    ),
    "vlmevalkit": Format(
        import_vlmevalkit,
        recognises_vlmevalkit,
        "VLMEvalKit results: xlsx, tsv, json, or a folder",
        options=_USUAL,
    ),
    "vlsbench": Format(
        import_vlsbench,
        recognises_vlsbench,
        "VLSBench run, judged or not; --dataset its data.json",
        options=_USUAL | {"dataset"},
    ),
}


def import_source(importer: str, source: Path, *, out: Path, options: ImportOptions) -> DataSummary:
    """Read `source` and write the data folder `out`, all of it or nothing.

    Args:
        importer: A key of `FORMATS`, or `AUTO`.
        source: A file or folder of that format.
        out: The new data folder.
        options: What the user said about the source.

    Raises:
        SettingsError: no such importer, or options that it can't follow or doesn't know.
        DataError: `source` is missing or malformed, or of no known format, or `out` is taken.
    """
    if importer not in {AUTO, *FORMATS}:
        raise SettingsError(f"no format {importer!r}; known: {', '.join((AUTO, *sorted(FORMATS)))}")
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    name = recognised(source, mapped=bool(options.mapping)) if importer == AUTO else importer
    _refuse_unread(options, name=name)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as staging:
        images = ImageStore(Path(staging))
        imported = FORMATS[name].importer(source, options=options, images=images)
        triples = stripped(imported.triples) if options.strip_reasoning else imported.triples
        return write_data(
            out,
            triples=triples,
            verdicts=imported.verdicts,
            rejects=imported.rejects,
            source=SourceNote(
                importer=name,
                options=options.model_dump(
                    mode="json", exclude={"image_root", "dataset", "overwrite"}
                ),
                files=imported.files,
                notes=imported.notes,
                image_root=images.root,
            ),
            overwrite=options.overwrite,
        )


def recognised(source: Path, *, mapped: bool = False) -> str:
    """The name of the one format that `source` is of; a table only where it is nothing else.

    Args:
        source: A file or folder.
        mapped: Whether the user says which column is what: then any table will do.

    Raises:
        DataError: it is of none, or could be of several, or can't be read.
    """
    found = [
        name for name, known in FORMATS.items() if name != "table" and known.recognises(source)
    ]
    if not found and (recognises_table(source) or (mapped and holds_table(source))):
        return "table"
    if len(found) != 1:
        names = f"could be {' or '.join(found)}" if found else "of no format known by its look"
        hint = " (of a table, --map says which column is what)" if holds_table(source) else ""
        raise DataError(f"{source}: {names}; name one of {', '.join(sorted(FORMATS))}{hint}")
    return found[0]


def _refuse_unread(options: ImportOptions, *, name: str) -> None:
    """An option that is given and read by nobody was meant to do something."""
    known = _FOR_ALL | FORMATS[name].options
    unread = sorted(_given(options) - known)
    if unread:
        said = ", ".join(_OPTIONS.get(field, f"--{field.replace('_', '-')}") for field in unread)
        raise SettingsError(f"the format {name} has no use for {said}: leave that out")


def _given(options: ImportOptions) -> set[str]:
    """The fields that aren't as they are by default."""
    plain = ImportOptions().model_dump(mode="json")
    said = options.model_dump(mode="json")
    return {field for field, value in said.items() if value != plain[field]}
