"""The file under the ledger of a batch: opening, transactions, and errors in plain words.

A rollback journal and not WAL, whose shared memory does not work on network disks. The journal
takes a file that a killed process left half written back to its last whole state, by itself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnitalk_cli.errors import OmnitalkError, SetupError, WorkError

_APPLICATION = 0x6F746C62  # PRAGMA application_id, "otlb": tells the file from those of others
_FORMAT = 1  # PRAGMA user_version
_BUSY_SECONDS = 60.0

# ``owned``: what lies at ``output`` was made for this row, or may have been when it was killed.
# The index holds the few rows that are running, so that they are found among 100 000.
_SCHEMA = (
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        line INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'running', 'done', 'failed')),
        output TEXT NOT NULL,
        exit_code INTEGER NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '',
        fingerprint TEXT NOT NULL DEFAULT '',
        output_bytes INTEGER NOT NULL DEFAULT 0,
        output_sha256 TEXT NOT NULL DEFAULT '',
        mark_id TEXT NOT NULL DEFAULT '',
        performance_sha256 TEXT NOT NULL DEFAULT '',
        seed INTEGER NOT NULL DEFAULT 0,
        seconds REAL NOT NULL DEFAULT 0,
        timings TEXT NOT NULL DEFAULT '{}',
        started TEXT NOT NULL DEFAULT '',
        finished TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT '',
        output_mtime_ns INTEGER NOT NULL DEFAULT 0,
        owned INTEGER NOT NULL DEFAULT 0,
        holder TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    "CREATE INDEX jobs_in_order ON jobs (line, id)",
    "CREATE INDEX jobs_running ON jobs (state) WHERE state = 'running'",
    """CREATE TABLE holders (
        token TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started TEXT NOT NULL,
        beat INTEGER NOT NULL
    ) STRICT""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_FORMAT}",
)


class Store:
    """The SQLite file at ``path``, made when it is missing; for all threads of one process.

    Every use raises SetupError when the file is damaged, of another program, of a newer version or
    not writable, and WorkError when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._pid = os.getpid()
        # Nothing but SQLite may open the file: closing any other descriptor of it would drop the
        # locks of this whole process (POSIX).
        with self._told():
            self._database = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def check(self) -> None:
        """Read the whole file (half a second for 100 000 rows): find damage now, not later."""
        with self.reading() as database:
            said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if said != "ok":
                raise sqlite3.DatabaseError(" ".join(str(said).split()))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The open file for queries; other processes may write between two of them."""
        if os.getpid() != self._pid:
            raise RuntimeError("the ledger does not survive a fork; open it in each process")
        with self._lock, self._told():
            yield self._database

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other process comes between; rolled back when it raises."""
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:  # SQLite ends it itself when the disk is full
                    database.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        database = self._database
        database.row_factory = sqlite3.Row
        # The file may come from anywhere: no code in it is trusted.
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA synchronous = FULL")
        if self._is_ready():
            return
        with self.writing():
            if self._is_ready():  # another process was quicker
                return
            for statement in _SCHEMA:
                database.execute(statement)

    def _is_ready(self) -> bool:
        application = self._database.execute("PRAGMA application_id").fetchone()[0]
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if application == _APPLICATION and version > _FORMAT:
            raise SetupError(
                f"{self.path}: was made by a newer version of omnitalk; update this one"
            )
        if application == _APPLICATION and version == _FORMAT:
            return True
        if (
            application
            or version
            or self._database.execute("SELECT 1 FROM sqlite_master").fetchone()
        ):
            raise SetupError(
                f"{self.path}: belongs to another program; move it away or choose another folder "
                "for the outputs"
            )
        return False

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # a mistake in this program
        except sqlite3.Error as error:
            raise _plain_error(self.path, error) from error


def _plain_error(path: Path, error: sqlite3.Error) -> OmnitalkError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return WorkError(
            f"{path}: disk full; free some space and run the batch again, it goes on where it ended"
        )
    if code == sqlite3.SQLITE_IOERR:
        return WorkError(f"{path}: the disk refuses to work ({error}); check it and run again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return SetupError(
            f"{path}: another program has locked it for {_BUSY_SECONDS:.0f} s; end that program, "
            "or use a disk on which file locks work"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return SetupError(
            f"{path}: cannot be written ({error}); choose a folder that you may write to"
        )
    return SetupError(
        f"{path}: the ledger of the batch is damaged ({error}); move it away, and --overwrite "
        "makes every row again"
    )
