"""`nsgauge import`: data folders from files."""

from pathlib import Path
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.options import OverwriteOption


def _list_importers(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge.data.importers.registry import FORMATS

        console.show_choices({name: FORMATS[name].summary for name in sorted(FORMATS)})
        raise typer.Exit
    return wanted


def import_(
    importer: Annotated[
        str, typer.Argument(metavar="FORMAT", help="A name that --list gives, or `auto`.")
    ],
    source: Annotated[Path, typer.Argument(help="File or folder of that format.")],
    *,
    out: Annotated[Path, typer.Option(help="The new data folder.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Which column is which field."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN:VALUE=LABEL", help="What a label value means."),
    ] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="The benchmark's own file, for sources that need it.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Its name, where the source has none.")] = "",
    vllm: Annotated[str, typer.Option(help="The VLLM's name, where the source has none.")] = "",
    judge: Annotated[str, typer.Option(help="The judge's name, where the source has none.")] = "",
    filter_: Annotated[
        str, typer.Option("--filter", help="lm-eval: which filtered responses to take.")
    ] = "",
    strip_reasoning: Annotated[
        bool, typer.Option("--strip-reasoning", help="Take the answer after <think> and the like.")
    ] = False,
    language: Annotated[
        list[str] | None, typer.Option(help="msts: further response files, or `all`.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="msts: leave grounding open where labels do.")
    ] = False,
    overwrite: OverwriteOption = False,
    _list: Annotated[
        bool,
        typer.Option("--list", help="Name the formats.", is_eager=True, callback=_list_importers),
    ] = False,
) -> None:
    """Make a data folder: triples.parquet, verdicts.parquet, rejects.jsonl, images/."""
    from nsgauge.data.importers.contract import ImportOptions
    from nsgauge.data.importers.registry import import_source

    options = ImportOptions(
        mapping=mapping or (),
        labels=label or (),
        image_root=image_root,
        dataset=dataset,
        benchmark=benchmark,
        vllm=vllm,
        judge=judge,
        filter=filter_,
        strip_reasoning=strip_reasoning,
        languages=language or ("english",),
        strict=strict,
        overwrite=overwrite,
    )
    console.show_import(import_source(importer, source, out=out, options=options), out=out)
