"""The judge's answers in one SQLite file: bought once, kept for good.

Replies are kept as they came and read anew each time, so a better reader needs no new answers.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from nsgauge.data.judge.reply import Reply, Token
from nsgauge.errors import JudgeError

_FORMAT = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL,
    vote INTEGER NOT NULL,
    judge TEXT NOT NULL,
    prompt_hash TEXT NOT NULL,
    image_digest TEXT,
    reply TEXT NOT NULL,
    answered_at TEXT NOT NULL,
    PRIMARY KEY (key, vote)
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose answer it is, and to what.

    Attributes:
        key: Of the question.
        vote: 0, 1, ... where it was asked more than once.
        judge: The judge's name.
        prompt_hash: Of its instructions.
        image_digest: Of the picture that it saw; None where there was none.
    """

    key: str
    vote: int
    judge: str
    prompt_hash: str
    image_digest: str | None


class AnswerCache:
    """The answers in one file; use `opened` to get one.

    Args:
        connection: Of a file that has the table.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, asked: Asked, *, reply: Reply) -> None:
        """Keep an answer; it is on disk when this returns. An earlier one stays in place.

        Raises:
            JudgeError: it can't be kept: the disk is full, or the file was taken away.
        """
        row = (
            *(asked.key, asked.vote, asked.judge, asked.prompt_hash, asked.image_digest),
            *(json.dumps(asdict(reply)), datetime.now(UTC).isoformat(timespec="seconds")),
        )
        try:
            with self._connection:
                insert = "INSERT OR IGNORE INTO answers VALUES (?,?,?,?,?,?,?)"
                self._connection.execute(insert, row)
        except sqlite3.Error as error:
            raise JudgeError(f"an answer can't be kept ({error}): make room and go on") from error

    def reply(self, key: str, *, vote: int) -> Reply | None:
        """The answer to a question; None where it was never answered."""
        query = "SELECT reply FROM answers WHERE key = ? AND vote = ?"
        row = self._connection.execute(query, (key, vote)).fetchone()
        return None if row is None else _reply(row[0])

    def has(self, key: str, *, vote: int) -> bool:
        """Whether there is an answer."""
        query = "SELECT 1 FROM answers WHERE key = ? AND vote = ?"
        return self._connection.execute(query, (key, vote)).fetchone() is not None


@contextmanager
def opened(path: Path) -> Iterator[AnswerCache]:
    """The answers in a file, which is made if it isn't there.

    Raises:
        JudgeError: it isn't such a file, or is of another format.
    """
    _make_folder(path)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            _prepare(connection)
            yield AnswerCache(connection)
    except sqlite3.DatabaseError as error:
        raise JudgeError(f"{path}: no usable file of answers ({error}); name another") from error


@contextmanager
def only_run(path: Path, *, judge: str) -> Iterator[None]:
    """Hold a judge in a file of answers: two runs at once would buy the same answers twice.

    Raises:
        JudgeError: another run holds it.
    """
    _make_folder(path)
    # A file for each judge, so that different judges run side by side.
    place = hashlib.sha256(judge.encode()).hexdigest()[:12]
    with path.with_name(f"{path.name}.{place}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JudgeError(f"{path}: another run is asking {judge!r}; wait for it") from error
        yield


def default_answers() -> Path:
    """Where answers are kept: `$XDG_DATA_HOME/nsgauge/answers.sqlite`, else `~/.local/share`.

    Not among the caches, which people empty: these were paid for.
    """
    base = os.environ.get("XDG_DATA_HOME")
    folder = Path(base) if base else Path.home() / ".local" / "share"
    return folder / "nsgauge" / "answers.sqlite"


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JudgeError(f"{path}: its folder can't be made ({error}); name another") from error


def _prepare(connection: sqlite3.Connection) -> None:
    # WAL so that a reader never blocks the run; FULL so that a power cut costs nothing either.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _FORMAT):
        raise sqlite3.DatabaseError(f"format {found}, wanted {_FORMAT}")
    with connection:
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")


def _reply(text: str) -> Reply:
    values = json.loads(text)
    tokens = values.pop("tokens")
    return Reply(**values, tokens=tokens and [Token(**token) for token in tokens])
