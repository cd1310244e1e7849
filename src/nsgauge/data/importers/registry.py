"""The importers by name, and the one way to run them."""

import tempfile
from pathlib import Path

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Importer, ImportOptions
from nsgauge.data.importers.msts import import_msts
from nsgauge.data.importers.table import import_table
from nsgauge.data.tables import DataSummary, SourceNote, write_data
from nsgauge.errors import DataError, SettingsError

IMPORTERS: dict[str, Importer] = {"msts": import_msts, "table": import_table}


def import_source(importer: str, source: Path, *, out: Path, options: ImportOptions) -> DataSummary:
    """Read `source` and write the data folder `out`, all of it or nothing.

    Args:
        importer: A key of `IMPORTERS`.
        source: A file or folder of that format.
        out: The new data folder.
        options: What the user said about the source.

    Raises:
        SettingsError: no such importer, or options that it can't follow.
        DataError: `source` is missing or malformed, or `out` is taken.
    """
    if importer not in IMPORTERS:
        raise SettingsError(f"no importer {importer!r}; known: {', '.join(sorted(IMPORTERS))}")
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as staging:
        images = ImageStore(Path(staging))
        imported = IMPORTERS[importer](source, options=options, images=images)
        return write_data(
            out,
            triples=imported.triples,
            verdicts=imported.verdicts,
            rejects=imported.rejects,
            source=SourceNote(
                importer=importer,
                options=options.model_dump(mode="json", exclude={"image_root", "overwrite"}),
                files=imported.files,
                notes=imported.notes,
                image_root=images.root,
            ),
            overwrite=options.overwrite,
        )
