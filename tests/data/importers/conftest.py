import json
import zipfile
from operator import attrgetter
from pathlib import Path

import pytest
from openpyxl import Workbook

from nsgauge.data.export import export_rows
from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.registry import import_source
from nsgauge.data.tables import read_triples, read_verdicts, triples_of, verdicts_of


class Outcome:
    """What an import wrote."""

    def __init__(self, out, summary):
        self.out = out
        self.summary = summary
        self.triples = triples_of(read_triples(out))
        self.verdicts = verdicts_of(read_verdicts(out))
        lines = (out / "rejects.jsonl").read_text().splitlines()
        self.rejects = [json.loads(line) for line in lines]

    def said(self, judge):
        """By triple, the judge's value on each axis."""
        return {v.triple_id: (v.safety, v.grounding) for v in self.verdicts if v.judge == judge}


@pytest.fixture(scope="session")
def run_import(tmp_path_factory):
    """Import a source into a fresh folder: `run_import("table", source, mapping=[...])`."""

    def run(importer: str, source: Path, **options: object) -> Outcome:
        out = tmp_path_factory.mktemp("out") / "data"
        settings = ImportOptions.from_mapping(options, source="test")
        return Outcome(out, import_source(importer, source, out=out, options=settings))

    return run


@pytest.fixture
def round_trips(run_import, tmp_path):
    """Assert that an outcome, exported to the generic table and imported again, is the same."""

    def check(outcome: Outcome) -> None:
        for suffix in (".jsonl", ".parquet"):
            rows = tmp_path / f"round-trip{suffix}"
            export_rows(outcome.out, out=rows, overwrite=True)
            again = run_import("auto", rows, image_root=outcome.out)
            assert again.triples == outcome.triples
            key = attrgetter("triple_id", "judge", "vote")
            assert sorted(again.verdicts, key=key) == sorted(outcome.verdicts, key=key)
            assert again.rejects == []

    return check


@pytest.fixture
def jsonl(tmp_path):
    """Write rows as the lines of a file."""

    def write(rows: list[dict[str, object]], name: str = "a.jsonl") -> Path:
        path: Path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture(params=[zipfile.ZIP_DEFLATED, 93], ids=["deflate", "zstd"])
def zip_method(request):
    """How the members of a ZIP file are packed."""
    if request.param == 93:
        pytest.importorskip("zipfile_zstd")
    return request.param


@pytest.fixture
def xlsx(tmp_path):
    """Write rows as those of a workbook, under a header of all their columns."""

    def write(rows: list[dict[str, object]], name: str | Path = "a.xlsx") -> Path:
        path: Path = tmp_path / name
        book = Workbook()
        columns = list(dict.fromkeys(column for row in rows for column in row))
        book.active.append(columns)
        for row in rows:
            book.active.append([row.get(column) for column in columns])
        book.save(path)
        return path

    return write
