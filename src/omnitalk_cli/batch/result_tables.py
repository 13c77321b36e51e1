"""``results.csv`` and ``results.jsonl``: the ledger of a batch for people and for other programs.

Both are always written whole and then put in place, so that a reader never sees half a row and two
runs in one folder do not mix their lines. While the batch runs they are written again only after a
pause of at least ``PAUSE_SECONDS`` and ``_REST`` times as long as the last writing took: however
many rows there are, at most a twentieth of the time goes into tables.
"""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.jobs import JobResult
from omnitalk_cli.batch.records import COLUMNS
from omnitalk_cli.errors import WorkError
from omnitalk_cli.media.files import atomic_output

CSV_FILE = "results.csv"
JSONL_FILE = "results.jsonl"
PAUSE_SECONDS = 5.0

_REST = 20.0
# What makes spreadsheets compute a cell instead of showing it; East Asian ones know the wide forms.
_FORMULA_BEGINS = tuple("=+-@＝＋－＠")


class ResultTables:
    """The two tables in ``folder``, fed by ``read``, which gives all rows in order, each time anew.

    May be used by several threads. ``clock`` counts seconds.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[], Iterable[JobResult]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._read = read
        self._clock = clock
        self._next = clock() + PAUSE_SECONDS
        self._lock = threading.Lock()

    def update(self) -> bool:
        """Write both if it is time; call it after every row. Returns whether they were written.

        Tables that cannot be written now (opened in a spreadsheet on Windows, disk full) are tried
        again later and do not stop the batch.
        """
        if self._clock() < self._next or not self._lock.acquire(blocking=False):
            return False
        try:
            self._write()
            return True
        except WorkError:
            return False
        finally:
            self._lock.release()

    def write(self) -> None:
        """Write both now, at the end of a run. Raises WorkError when that fails."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        begin = self._clock()
        try:
            write_tables(self.folder, self._read())
        finally:
            end = self._clock()
            self._next = end + max(PAUSE_SECONDS, _REST * (end - begin))


def write_tables(folder: Path, results: Iterable[JobResult]) -> None:
    """Write both tables. Raises WorkError when the folder is missing, not writable or full."""
    with ExitStack() as files:
        parts = [
            files.enter_context(atomic_output(folder / name, overwrite=True))
            for name in (CSV_FILE, JSONL_FILE)
        ]
        # The text files end before the parts get their names.
        with (
            parts[0].open("w", encoding="utf-8", errors="backslashreplace", newline="") as table,
            parts[1].open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as lines,
        ):
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(COLUMNS)
            for result in results:
                # The same as to_dict(), which copies deeply and takes half of the time.
                document = {name: getattr(result, name) for name in COLUMNS}
                document["timings"] = dict(result.timings)
                writer.writerow([cell(value) for value in document.values()])
                lines.write(json.dumps(document, ensure_ascii=False) + "\n")


def cell(value: Any) -> Any:
    """What stands in the CSV: ``timings`` as JSON, texts without line breaks, so that each line is
    a row, and with an apostrophe before what a spreadsheet would take for a formula.

    The exact texts are in the JSON lines.
    """
    if isinstance(value, dict):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", " ").replace("\r", " ").replace("\n", " ")
    return "'" + text if text.lstrip().startswith(_FORMULA_BEGINS) else text
