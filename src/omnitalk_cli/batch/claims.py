"""What a run may do with a row, decided from its entry in the ledger and the file on the disk."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.records import now, plain
from omnitalk_cli.batch.store import Store
from omnitalk_cli.weights import store as weights

Claim = Literal["run", "done", "failed", "taken"]

_USAGE = 2  # exit code of ``generate`` for an output that exists


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A job as a run asks for it. ``output`` is the name in the ledger, ``retry`` whether a failure
    with the same fingerprint is tried again, ``token`` who asks.
    """

    job: Job
    output: str
    fingerprint: str
    retry: bool
    overwrite: bool
    worker: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and the columns of the row that change with it."""

    claim: Claim
    changes: Mapping[str, Any] = field(default_factory=dict)


def judge(row: sqlite3.Row | None, asked: Asked) -> Verdict:
    """Decide over a row that nobody holds; ``row`` is None for one that the ledger never saw.

    May read the whole output: not to be called while the ledger is locked.
    """
    place = {} if row is None or row["line"] == asked.job.line else {"line": asked.job.line}
    if row is not None and asked.fingerprint and row["fingerprint"] == asked.fingerprint:
        if row["state"] == "done" and row["output"] == asked.output:
            time = whole_output(row, asked.job)
            if time is not None:
                later = {} if time == row["output_mtime_ns"] else {"output_mtime_ns": time}
                return Verdict(claim="done", changes=place | later)
        if row["state"] == "failed" and not asked.retry:
            return Verdict(claim="failed", changes=place)
    ours = row is not None and row["owned"] and row["output"] == asked.output
    if not ours and not asked.overwrite and os.path.lexists(asked.job.output):
        return Verdict(claim="failed", changes=_refusal(asked))
    return Verdict(claim="run", changes=_beginning(asked, row["attempts"] if row else 0))


def whole_output(row: sqlite3.Row, job: Job) -> int | None:
    """The time of last change (ns) of an output that is as it was recorded, else None.

    Another time alone says little (copies have one): then the content is compared.
    """
    try:
        found = os.stat(job.output)
        if not stat.S_ISREG(found.st_mode) or found.st_size != row["output_bytes"]:
            return None
        if found.st_mtime_ns != row["output_mtime_ns"]:
            if weights.sha256(job.output) != row["output_sha256"]:
                return None
        return found.st_mtime_ns
    except OSError:
        return None


class Known:
    """The rows that were done, or had failed, when this run began: read once, for quick answers.

    What other runs do meanwhile only makes the quick answer be "not known".
    """

    def __init__(self, store: Store) -> None:
        self._done: dict[str, tuple[str, str, int, int, int]] = {}
        self._failed: dict[str, int] = {}
        with store.reading() as database:
            rows = database.execute(
                "SELECT id, fingerprint, output, line, output_bytes, output_mtime_ns FROM jobs"
                " WHERE state = 'done'"
            )
            self._done = {row[0]: tuple(row)[1:] for row in rows}
            failed = database.execute("SELECT id, attempts FROM jobs WHERE state = 'failed'")
            self._failed = {row[0]: row[1] for row in failed}

    def done(self, job: Job, output: str, fingerprint: str) -> bool:
        """Whether the row is done without any doubt; its entry is not kept any longer."""
        known = self._done.pop(plain(job.id), None)
        if known is None or known[:3] != (fingerprint, output, job.line):
            return False
        try:
            found = os.stat(job.output)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == known[3:]

    def failed_before(self, row: sqlite3.Row | None) -> bool:
        """Whether the row's failure is older than this run; a run tries no row twice."""
        return row is not None and self._failed.get(row["id"], -1) == row["attempts"]


def _beginning(asked: Asked, attempts: int) -> dict[str, Any]:
    return {
        "line": asked.job.line, "state": "running", "output": asked.output, "exit_code": 0,
        "message": "", "fingerprint": asked.fingerprint, "output_bytes": 0, "output_sha256": "",
        "mark_id": "", "seed": asked.job.seed, "seconds": 0.0, "timings": "{}", "started": now(),
        "finished": "", "attempts": attempts + 1, "worker": plain(asked.worker),
        "output_mtime_ns": 0, "owned": 1, "holder": asked.token,
    }  # fmt: skip


def _refusal(asked: Asked) -> dict[str, Any]:
    # Without a fingerprint, so that the next run looks again whether the file is still there.
    return {
        "line": asked.job.line, "state": "failed", "output": asked.output, "exit_code": _USAGE,
        "message": plain(
            f"{asked.job.output}: exists already and was not made for this row; use --overwrite or "
            "another --name"
        ),
        "fingerprint": "", "output_bytes": 0, "output_sha256": "", "mark_id": "",
        "seed": asked.job.seed, "seconds": 0.0, "timings": "{}", "started": "", "finished": now(),
        "output_mtime_ns": 0, "owned": 0, "holder": "",
    }  # fmt: skip
