"""Triples and data folders for the doctor."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nsgauge.data.tables import SourceNote, write_data
from nsgauge.records import TRIPLES_SCHEMA, Triple, Verdict

MakeTriple = Callable[..., Triple]


@pytest.fixture
def triple() -> MakeTriple:
    """A triple by its number; two of them make an item."""

    def make(number: int, **changes: Any) -> Triple:
        fields = {
            "prompt": f"prompt of i{number // 2}",
            "response": f"one two {number}",
            "item_id": f"i{number // 2}",
            "vllm": ("north", "south")[number % 2],
            "benchmark": "b",
            **changes,
        }
        return Triple(triple_id=f"t{number}", **fields)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A data folder of these triples and verdicts."""

    def folder(
        triples: Iterable[Triple],
        *,
        verdicts: Iterable[Verdict] = (),
        image_root: Path | None = None,
    ) -> Path:
        source = SourceNote(importer="test", image_root=image_root)
        out = Path(tmp_path / "data")
        write_data(out, triples=triples, verdicts=verdicts, rejects=[], source=source)
        return out

    return folder


@pytest.fixture
def table() -> Callable[[list[Triple]], pa.Table]:
    """The triples with TRIPLES_SCHEMA."""

    def columns(triples: list[Triple]) -> pa.Table:
        names = TRIPLES_SCHEMA.names
        return pa.table(
            {name: [getattr(row, name) for row in triples] for name in names},
            schema=TRIPLES_SCHEMA,
        )

    return columns
