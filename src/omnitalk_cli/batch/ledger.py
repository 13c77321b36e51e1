"""The ledger of a batch: which row is done, which failed, and who makes which one just now.

One SQLite file in the folder of the outputs. Every step is on the disk before it counts, so that a
run may be killed at any moment. Several runs, also on several machines, may share a folder: each
row is made by one of them. Names of outputs are relative to the folder, which may be moved.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from omnitalk_cli.batch.claims import Asked, Claim, Known, judge
from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.presence import Presence
from omnitalk_cli.batch.reader import BatchReader, pages
from omnitalk_cli.batch.records import ending, plain
from omnitalk_cli.batch.sweep import find_leftovers, output_key, remove_leftovers
from omnitalk_cli.errors import WorkError
from omnitalk_cli.weights.store import sha256

_PAGE = 5000  # rows that are entered at once
_POLL_SECONDS = 1.0


class BatchLedger(BatchReader):
    """The ledger as a run works with it, a context manager; errors are those of ``BatchReader``.

    Reading needs no more than the file; the first claim enters this run in it. ``clock`` counts
    seconds for the leases of runs on other machines (``holders``).
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(folder)
        self._presence = Presence(self._store, clock)
        self._beginning = threading.Lock()
        self._known: Known | None = None
        self._held: dict[str, Path] = {}  # outputs of the rows that this run makes, by id

    def __enter__(self) -> BatchLedger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the rows that are still held, and let go of the file."""
        self._presence.leave()
        self._store.close()

    # --- what a run does with its rows -----------------------------------------------------------

    def enter(self, jobs: Iterable[Job]) -> None:
        """Note which rows there are and their places in the table; what became of them stays.

        Optional, but cheap for a whole table, while a changed place costs a claim a transaction.
        """
        for page in pages(jobs, _PAGE):
            rows = [(plain(job.id), job.line, self._name(job.output), job.seed) for job in page]
            with self._store.writing() as database:
                database.executemany(
                    "INSERT INTO jobs (id, line, output, seed) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET line = excluded.line"
                    " WHERE line <> excluded.line",
                    rows,
                )

    def claim(
        self,
        job: Job,
        fingerprint: str,
        *,
        retry_failed: bool,
        worker: str,
        overwrite: bool = False,
    ) -> Claim:
        """Decide over a row, and take it if it is to be made; no two runs are told ``run`` at once.

        * ``run``: it is this run's now, until ``finish``, ``fail`` or ``release``; what lies at its
          output may be replaced.
        * ``done``: made before with this fingerprint, and the output is still as it was then.
        * ``failed``: it failed before with this fingerprint, and is not to be tried again; or at
          its output lies a file that was not made for it, and ``overwrite`` is false. A run with
          ``retry_failed`` tries again what had failed before it began, once.
        * ``taken``: a living run makes it, or another row with the same output, just now.

        Without a fingerprint (``""``) a row is never taken for done.
        """
        known = self._begin()
        output = self._name(job.output)
        if known.done(job, output, fingerprint):
            return "done"
        while True:
            if self._presence.living(self._holders(job, output)):
                return "taken"
            row = self._row(job.id)
            asked = Asked(
                job=job, output=output, fingerprint=fingerprint, overwrite=overwrite, worker=worker,
                retry=retry_failed and known.failed_before(row), token=self._presence.token,
            )  # fmt: skip
            verdict = judge(row, asked)
            if not verdict.changes:
                return verdict.claim
            with self._store.writing() as database:
                # Looking at files took its time; whatever changed since, decide again.
                if self._holders(job, output) or self._row(job.id) != row:
                    continue
                database.execute(
                    "INSERT INTO jobs (id, line, output) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (plain(job.id), job.line, output),
                )
                _change(database, job.id, verdict.changes)
                if verdict.claim == "run":
                    self._presence.renew(database)
                    self._held[job.id] = job.output
            return verdict.claim

    def holds(self, job: Job) -> bool:
        """Whether the row is still this run's; ask before an output gets its name.

        False when this machine was out of reach for so long that others took the row over.
        """
        with self._store.writing() as database:
            self._presence.renew(database)
            row = self._row(job.id)
        return row is not None and self._is_mine(row)

    def finish(self, result: JobResult) -> bool:
        """Record how a claimed row ended, done or failed; False when it was no longer this run's.

        For a row that is done the size, time and (when the result has none) the hash of its output
        are taken here. Raises WorkError when the output is not there, KeyError when the row was
        never claimed here.
        """
        if result.state not in ("done", "failed"):
            raise ValueError(f"a row ends as done or failed, not {result.state}")
        output = self._held[result.id]
        changes = ending(result) | {"owned": int(os.path.lexists(output))}
        if result.state == "done":
            try:
                found = output.stat()
                digest = result.output_sha256 or sha256(output)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise WorkError(
                    f"{output}: the finished file is gone ({why}); run again"
                ) from error
            changes |= {
                "output_bytes": found.st_size, "output_mtime_ns": found.st_mtime_ns,
                "output_sha256": digest,
            }  # fmt: skip
        return self._end(result.id, changes)

    def fail(
        self, job: Job, message: str, exit_code: int, *, timings: Mapping[str, float] | None = None
    ) -> bool:
        """Record that a claimed row failed, and why; as ``finish``."""
        return self.finish(
            JobResult(
                id=job.id, line=job.line, state="failed", message=message, exit_code=exit_code,
                timings=timings or {},
            )
        )  # fmt: skip

    def release(self, job: Job) -> bool:
        """Give back a claimed row that was interrupted: anyone may make it. As ``finish``."""
        return self._release(job.id)

    def release_all(self) -> None:
        """Give back all rows that are still held, when nothing makes them any more: a sweep may
        then remove what they left."""
        for job_id in list(self._held):
            self._release(job_id)

    def sweep(self) -> list[Path]:
        """Remove half-written files of runs that are dead, beside the outputs; return their paths.

        Never those of a row that a living run makes: what an earlier attempt at such a row left is
        removed by a sweep after it is finished.
        """
        self._begin()
        with self._store.reading() as database:
            names = [row[0] for row in database.execute("SELECT output FROM jobs")]
        folders = {name.rpartition("/")[0] for name in names}
        leftovers = find_leftovers({self.folder, *(self.folder / folder for folder in folders)})
        if not leftovers:
            return []
        # Only now: whoever began after this look at the folders has no file among them.
        running = self._running()
        living = self._presence.living(row["holder"] for row in running)
        live = {
            output_key(self.folder / row["output"]) for row in running if row["holder"] in living
        }
        # The disk's own clock: the ledger on it was written a moment ago.
        now = self._store.path.stat().st_mtime
        known = {output_key(self.folder / name) for name in names}
        return remove_leftovers(leftovers, live=live, known=known, now=now)

    # --- what others do --------------------------------------------------------------------------

    def taken_by(self, ids: Iterable[str] | None = None) -> dict[str, str]:
        """Which rows (of ``ids``) other living runs make just now: id → the process, in words."""
        wanted = None if ids is None else set(ids)
        rows = [
            row for row in self._running()
            if not self._is_mine(row) and (wanted is None or row["id"] in wanted)
        ]  # fmt: skip
        living = self._presence.living(row["holder"] for row in rows)
        return {
            row["id"]: living[row["holder"]].description for row in rows if row["holder"] in living
        }

    def wait_for_taken(self, ids: Iterable[str], *, seconds: float) -> list[str]:
        """Those of ``ids`` that no other living run makes any more, to be claimed again.

        Returns as soon as there is one, or after ``seconds`` with none. Rows of a run that died on
        another machine come back when its lease has ended.
        """
        ids = list(ids)
        end = time.monotonic() + seconds
        while True:
            taken = self.taken_by(ids)
            free = [name for name in ids if name not in taken]
            left = end - time.monotonic()
            if free or left <= 0:
                return free
            time.sleep(min(left, _POLL_SECONDS))

    # ---------------------------------------------------------------------------------------------

    def _begin(self) -> Known:
        with self._beginning:
            if self._known is None:
                self._store.check()
                self._presence.join()
                self._known = Known(self._store)
            return self._known

    def _holders(self, job: Job, output: str) -> list[str]:
        with self._store.reading() as database:
            rows = database.execute(
                "SELECT holder FROM jobs WHERE state = 'running' AND (id = ? OR output = ?)",
                (plain(job.id), output),
            )
            return [row[0] for row in rows]

    def _is_mine(self, row: sqlite3.Row) -> bool:
        return bool(row["state"] == "running" and row["holder"] == self._presence.token)

    def _release(self, job_id: str) -> bool:
        owned = int(os.path.lexists(self._held[job_id]))
        return self._end(job_id, {"state": "pending", "holder": "", "owned": owned})

    def _end(self, job_id: str, changes: Mapping[str, object]) -> bool:
        with self._store.writing() as database:
            row = self._row(job_id)
            mine = row is not None and self._is_mine(row)
            if mine:
                _change(database, job_id, changes)
        del self._held[job_id]
        return mine


def _change(database: sqlite3.Connection, job_id: str, changes: Mapping[str, object]) -> None:
    columns = ", ".join(f"{name} = ?" for name in changes)
    values = (*changes.values(), plain(job_id))
    database.execute(f"UPDATE jobs SET {columns} WHERE id = ?", values)
