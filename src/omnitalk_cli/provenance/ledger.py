"""The ledger: which run made which file, found again by the id that the marks carry.

One SQLite file beside the keys, readable by its owner only. It holds hashes and names, never
content. Several processes may write at the same time.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import SetupError
from omnitalk_cli.provenance.keys import ENVIRONMENT_VARIABLE, key_folder, private_folder

LEDGER_FILE = "ledger.sqlite3"

_FORMAT = 1  # PRAGMA user_version
_BUSY_SECONDS = 30.0
_DRAWS = 32
_LOW = 0xFFFF
_HASH = re.compile(r"[0-9a-f]{64}|")
_NAME_LENGTH = 255
_MARK_LENGTH = 100

# The index serves short clips, which carry only the low half of an id.
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS takes (
        id INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 4294967295),
        time TEXT NOT NULL,
        version TEXT NOT NULL,
        weights_hash TEXT NOT NULL,
        reference_hash TEXT NOT NULL,
        text_hash TEXT NOT NULL,
        output_name TEXT NOT NULL,
        output_hash TEXT NOT NULL,
        marks TEXT NOT NULL
    ) STRICT""",
    f"CREATE INDEX IF NOT EXISTS takes_low ON takes (id & {_LOW})",
    f"PRAGMA user_version = {_FORMAT}",
)
_INSERT = (
    "INSERT INTO takes VALUES (:id, :time, :version, :weights_hash, :reference_hash, :text_hash,"
    " :output_name, :output_hash, :marks)"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row: hashes are SHA-256 in hexadecimal or empty, ``time`` is UTC in ISO 8601.

    ``marks`` names the layers that the file was given, e.g. ``("visible", "video", "audio")``.
    """

    id: int
    time: str
    version: str
    weights_hash: str
    reference_hash: str
    text_hash: str
    output_name: str
    output_hash: str
    marks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"marks": list(self.marks)}


class Ledger:
    """The ledger in ``folder`` (default ``key_folder()``); nothing is touched before it is used.

    Every call opens and closes the file, so that processes do not hold each other up. All methods
    raise SetupError when the file is damaged, of another program, or cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (key_folder() if folder is None else folder) / LEDGER_FILE

    def record(
        self,
        *,
        version: str,
        output_name: str,
        weights_hash: str = "",
        reference_hash: str = "",
        text_hash: str = "",
        marks: tuple[str, ...] = (),
    ) -> int:
        """Enter a file that is about to be made; return its id, a fresh random 32-bit number.

        Ids whose low 16 bits are new are preferred, as short clips carry only those. Only the last
        part of ``output_name`` is kept. Raises ValueError for a hash that is none.
        """
        values = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version,
            "weights_hash": _checked_hash(weights_hash),
            "reference_hash": _checked_hash(reference_hash),
            "text_hash": _checked_hash(text_hash),
            "output_name": _plain_name(output_name),
            "output_hash": "",
            "marks": _joined(marks),
        }
        with self._open() as database, _transaction(database):
            mark_id = _free_id(database)
            database.execute(_INSERT, values | {"id": mark_id})
        return mark_id

    def complete(self, mark_id: int, *, output_hash: str, marks: tuple[str, ...]) -> None:
        """Add what is known only when the file is finished. Raises KeyError for an unknown id."""
        values = (_checked_hash(output_hash), _joined(marks), mark_id)
        with self._open() as database, _transaction(database):
            changed = database.execute(
                "UPDATE takes SET output_hash = ?, marks = ? WHERE id = ?", values
            ).rowcount
        if not changed:
            raise KeyError(mark_id)

    def adopt(self, entry: Entry) -> bool:
        """Enter a file that another machine has made, under the id that it has there.

        False when the id is known here already: then nothing changes. Raises ValueError for a hash
        that is none.
        """
        values = {
            "id": entry.id,
            "time": entry.time,
            "version": entry.version,
            "weights_hash": _checked_hash(entry.weights_hash),
            "reference_hash": _checked_hash(entry.reference_hash),
            "text_hash": _checked_hash(entry.text_hash),
            "output_name": _plain_name(entry.output_name),
            "output_hash": _checked_hash(entry.output_hash),
            "marks": _joined(entry.marks),
        }
        with self._open() as database, _transaction(database):
            added = database.execute(f"{_INSERT} ON CONFLICT DO NOTHING", values).rowcount
        return bool(added)

    def find(self, mark_id: int, bits: int = 32) -> list[Entry]:
        """The rows whose id has these low ``bits`` (16 or 32), newest first; often none or one."""
        if bits not in (16, 32):
            raise ValueError(f"an id has 16 or 32 bits, not {bits}")
        if not os.path.lexists(self.path):
            return []  # looking something up makes no file
        which = "id = ?" if bits == 32 else f"id & {_LOW} = ?"
        with self._open() as database:
            rows = database.execute(
                f"SELECT * FROM takes WHERE {which} ORDER BY time DESC, rowid DESC LIMIT 100",
                (mark_id,),
            ).fetchall()
            return [_entry(dict(row)) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        private_folder(self.path.parent)
        try:
            _touch_private(self.path)
            with closing(
                sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as database:
                database.row_factory = sqlite3.Row
                # The file may come from anywhere: no code in it is trusted.
                database.execute("PRAGMA trusted_schema = OFF")
                _prepare(database, self.path)
                yield database
        except (sqlite3.Error, OSError, TypeError, ValueError) as error:
            raise SetupError(
                f"{self.path}: the ledger of marks cannot be used ({error}); move it away, and a "
                f"new one will be made, or set {ENVIRONMENT_VARIABLE} to another folder"
            ) from error


def _touch_private(path: Path) -> None:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    os.close(os.open(path, flags, 0o600))


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    found = database.execute("PRAGMA user_version").fetchone()[0]
    if found == _FORMAT:
        return
    if found > _FORMAT:
        raise SetupError(f"{path}: was made by a newer version of omnitalk; update this one")
    database.execute("PRAGMA journal_mode = WAL")
    with _transaction(database):
        for statement in _SCHEMA:
            database.execute(statement)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")  # waits for other writers now, not in the middle
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _free_id(database: sqlite3.Connection) -> int:
    spare = None
    for _ in range(_DRAWS):
        drawn = secrets.randbits(32)
        if database.execute("SELECT 1 FROM takes WHERE id = ?", (drawn,)).fetchone():
            continue
        low = database.execute(f"SELECT 1 FROM takes WHERE id & {_LOW} = ?", (drawn & _LOW,))
        if low.fetchone() is None:
            return drawn
        spare = drawn
    if spare is None:
        raise sqlite3.IntegrityError("no free id was found")
    return spare


def _checked_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("a SHA-256 in 64 lower-case hexadecimal digits is expected, or nothing")
    return text


def _plain_name(text: str) -> str:
    name = Path(text).name.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:_NAME_LENGTH]


def _joined(marks: tuple[str, ...]) -> str:
    if any("," in mark or len(mark) > _MARK_LENGTH for mark in marks):
        raise ValueError("marks are short names without commas")
    return ",".join(marks)


def _entry(row: Mapping[str, Any]) -> Entry:
    text = {name: str(value) for name, value in row.items() if name not in ("id", "marks")}
    marks = tuple(filter(None, str(row["marks"]).split(",")))
    return Entry(id=int(row["id"]), marks=marks, **text)
