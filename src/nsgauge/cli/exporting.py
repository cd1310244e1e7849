"""`nsgauge export`: a data or score folder as one table, or a classifier in another form."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.options import OverwriteOption


class ExportForm(StrEnum):
    """What `--to` takes."""

    TABLE = "table"
    MERGED = "merged"
    ONNX = "onnx"


def export(
    source: Annotated[
        Path, typer.Argument(help="Data folder or score folder, or a classifier to merge.")
    ],
    *,
    to: Annotated[
        ExportForm,
        typer.Option(
            help="`table`: a data folder's triples and verdicts, or scores, as rows. `merged`: a "
            "classifier with its towers inside. `onnx`: graphs that score without torch."
        ),
    ] = ExportForm.TABLE,
    out: Annotated[
        Path,
        typer.Option(help="The new folder; of a table, .jsonl or .parquet, of scores also .csv."),
    ],
    towers: Annotated[
        Path | None, typer.Option(help="Folder of a hub preset's weights, without a hub.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a data or score folder as one table, or a classifier for use elsewhere."""
    if to is ExportForm.TABLE:
        console.say(f"{out}: {_export_table(source, out=out, overwrite=overwrite):,} rows")
        return
    _export_classifier(source, to=to, out=out, towers=towers, overwrite=overwrite)


def _export_table(source: Path, *, out: Path, overwrite: bool) -> int:
    from nsgauge.data.export import export_rows
    from nsgauge.data.folders import TRIPLES_FILE
    from nsgauge.eval.scoring.export import export_scores
    from nsgauge.eval.scoring.shards import is_ours

    if source.is_dir() and not (source / TRIPLES_FILE).exists() and is_ours(source):
        return export_scores(source, out=out, overwrite=overwrite)
    return export_rows(source, out=out, overwrite=overwrite)


def _export_classifier(
    source: Path, *, to: ExportForm, out: Path, towers: Path | None, overwrite: bool
) -> None:
    from nsgauge.checkpoints.export_merged import MERGED_FOLDER, export_merged, load_saved
    from nsgauge.data.folders import check_free

    if to is ExportForm.MERGED:
        # Loading takes seconds, so a place that is taken is said at once.
        check_free(out, overwrite=overwrite, kind=MERGED_FOLDER)
        export_merged(load_saved(source, tower_directory=towers), out=out, overwrite=overwrite)
        console.say(f"{out}: {_megabytes(out)}; takes a bundle's place, and needs no other file")
        return
    from nsgauge.checkpoints.export_onnx import ONNX_FOLDER, export_onnx

    check_free(out, overwrite=overwrite, kind=ONNX_FOLDER)
    export_onnx(load_saved(source, tower_directory=towers), out=out, overwrite=overwrite)
    console.say(f"{out}: {_megabytes(out)}; try: python {out / 'example.py'} PROMPT RESPONSE")


def _megabytes(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.0f} MB"
