"""What an importer is given and what it gives back."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import Field

from nsgauge.data.images import ImageStore
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError
from nsgauge.records import Triple, Verdict
from nsgauge.settings import Settings

REJECTS_LIMIT = 10_000
"""An import with more rejects than this stops: the mapping is wrong, not the rows."""
REJECTS_SHARE_LIMIT = 0.5
"""Likewise for a larger share of the rows."""


class ImportOptions(Settings):
    """What a user may say about a source; each importer reads what concerns it."""

    mapping: Sequence[str] = ()
    """`column=field` pairs, before those that the format brings (not msts); a table without any
    takes the columns that are named like a field."""
    labels: Sequence[str] = ()
    """`column:value=label` triples (not msts): what a value of a label column means."""
    image_root: Path | None = None
    """The folder of the pictures (table: by default the source's; msts: further photos)."""
    benchmark: str = ""
    """Name of the benchmark where the source gives none."""
    vllm: str = ""
    """Name of the VLLM that answered, where the source gives none."""
    judge: str = ""
    """Name of the judge, where the source has verdicts but doesn't say whose."""
    dataset: Path | None = None
    """The benchmark's own file, for a source that leaves out what it asked or showed."""
    filter: str = ""
    """Which of several filtered responses to take (lm-eval)."""
    strip_reasoning: bool = False
    """Take what a response says after its reasoning (`<think>` and the like); extras keep all."""
    languages: Sequence[str] = Field(("english",), min_length=1)
    """Which response files to read besides the English one; `all` for every one (msts)."""
    strict: bool = False
    """Leave grounding unknown where the label doesn't settle it (msts)."""
    overwrite: bool = False
    """Replace an earlier data folder of the same name."""


class RejectLog:
    """The rejects of one import, which stops when there are too many."""

    def __init__(self) -> None:
        self._rejects: list[Reject] = []

    def __iter__(self) -> Iterator[Reject]:
        """The rejects in the order they came."""
        return iter(self._rejects)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rejects)

    def add(self, reject: Reject) -> None:
        """Keep one.

        Raises:
            DataError: there are more than `REJECTS_LIMIT`.
        """
        self._rejects.append(reject)
        if len(self._rejects) > REJECTS_LIMIT:
            raise DataError(f"more than {REJECTS_LIMIT} rejects; {self._explained()}")

    def check_share(self, rows: int) -> None:
        """Refuse an import that lost more of its `rows` than `REJECTS_SHARE_LIMIT`.

        Raises:
            DataError: it did.
        """
        if len(self._rejects) > REJECTS_SHARE_LIMIT * rows:
            raise DataError(f"{len(self._rejects)} of {rows} rows rejected; {self._explained()}")

    def _explained(self) -> str:
        reasons = Counter(reject.reason for reject in self._rejects).most_common()
        listed = ", ".join(f"{reason} ({count})" for reason, count in reasons)
        first = self._rejects[0]
        hint = (
            "; --image-root is the folder of the pictures"
            if "image_missing" in dict(reasons)
            else ""
        )
        return f"{listed}; the first at {first.where}: {first.detail}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an importer found; `verdicts`, `rejects` and `notes` are full once `triples` is read.

    Attributes:
        triples: Read once, from first to last.
        verdicts: Of those triples.
        rejects: Rows that are no triple.
        files: SHA-256 of every source file, by name.
        notes: Sentences on what the data lacks or what was changed.
    """

    triples: Iterable[Triple]
    verdicts: list[Verdict]
    rejects: RejectLog
    files: dict[str, str]
    notes: list[str] = field(default_factory=list)


@runtime_checkable
class Importer(Protocol):
    """Reads one format."""

    def __call__(self, source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
        """Start an import.

        Args:
            source: A file or folder, as the format wants.
            options: What the user said.
            images: Takes every picture that a triple names.

        Raises:
            DataError: `source` isn't of this format.
        """
        ...
