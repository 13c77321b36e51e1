"""Reading the ledger of a batch: what became of the rows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar, get_args

from omnitalk_cli.batch.jobs import JobResult, State
from omnitalk_cli.batch.records import plain, result_of
from omnitalk_cli.batch.store import Store
from omnitalk_cli.errors import SetupError

LEDGER_FILE = "batch.sqlite3"

_PAGE = 500  # rows per query: others write in between, and it is below SQLite's limit of variables

_Item = TypeVar("_Item")


class BatchReader:
    """The ledger in ``folder``, which is made when missing.

    May be used by all threads of the process that opened it, by no other process. All methods
    raise SetupError when the file is damaged, foreign or not writable, WorkError when the disk is
    full. Names of outputs are relative to the folder, with slashes; absolute outside it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise SetupError(f"{folder}: cannot be made ({why}); choose another folder") from error
        self.folder = Path(os.path.abspath(folder))
        self._prefix = os.path.join(self.folder, "")
        self._store = Store(self.folder / LEDGER_FILE)

    def each_result(self) -> Iterator[JobResult]:
        """All rows in the table's order, read page by page; others may write meanwhile."""
        place = (-1, "")
        while True:
            with self._store.reading() as database:
                rows = database.execute(
                    "SELECT * FROM jobs WHERE (line, id) > (?, ?) ORDER BY line, id LIMIT ?",
                    (*place, _PAGE),
                ).fetchall()
            if not rows:
                return
            yield from map(result_of, rows)
            place = (rows[-1]["line"], rows[-1]["id"])

    def results(self, ids: Iterable[str] | None = None) -> list[JobResult]:
        """The rows with these ids (default: all) in the table's order, without unknown ones."""
        if ids is None:
            return list(self.each_result())
        found = [result_of(row) for page in pages(ids, _PAGE) for row in self._select(page)]
        return sorted(found, key=lambda result: (result.line, result.id))

    def counts(self, ids: Iterable[str] | None = None) -> dict[State, int]:
        """How many rows (of ``ids``) are in each state; all states are named."""
        counts: dict[State, int] = dict.fromkeys(get_args(State), 0)
        if ids is None:
            with self._store.reading() as database:
                rows = database.execute("SELECT state, count(*) FROM jobs GROUP BY state")
                return counts | {row[0]: row[1] for row in rows}
        for page in pages(ids, _PAGE):
            for row in self._select(page, "state"):
                counts[row["state"]] += 1
        return counts

    def _name(self, output: Path) -> str:
        path = os.path.abspath(output)
        inside = path.startswith(self._prefix)
        return plain(path[len(self._prefix) :].replace(os.sep, "/") if inside else path)

    def _row(self, job_id: str) -> sqlite3.Row | None:
        return next(iter(self._select((job_id,))), None)

    def _select(self, ids: tuple[str, ...], columns: str = "*") -> list[sqlite3.Row]:
        marks = ", ".join("?" * len(ids))
        with self._store.reading() as database:
            return database.execute(
                f"SELECT {columns} FROM jobs WHERE id IN ({marks})", [plain(name) for name in ids]
            ).fetchall()

    def _running(self) -> list[sqlite3.Row]:
        with self._store.reading() as database:
            query = "SELECT id, output, state, holder FROM jobs WHERE state = 'running'"
            return database.execute(query).fetchall()


def pages(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    """The items in groups of ``size``, the last one shorter."""
    rest = iter(items)
    while page := tuple(islice(rest, size)):
        yield page
