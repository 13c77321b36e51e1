"""Rows of the ledger as results, and the other way round."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from omnitalk_cli.batch.jobs import JobResult

COLUMNS = tuple(field.name for field in dataclasses.fields(JobResult))


def result_of(row: sqlite3.Row) -> JobResult:
    """The public part of a row. ``output`` is relative to the ledger's folder, with slashes."""
    values = {name: row[name] for name in COLUMNS}
    return JobResult(**values | {"timings": json.loads(values["timings"])})


def ending(result: JobResult) -> dict[str, Any]:
    """What a row takes over from the result of its job; the rest is known since the claim."""
    timings = {plain(name): float(value) for name, value in result.timings.items()}
    return {
        "state": result.state, "exit_code": result.exit_code, "message": plain(result.message),
        "mark_id": plain(result.mark_id),
        "performance_sha256": plain(result.performance_sha256), "seconds": float(result.seconds),
        "timings": json.dumps(timings),
        "finished": result.finished or now(),
        "holder": "",
    }  # fmt: skip


def plain(text: str) -> str:
    """Text that SQLite can hold; names of files need not be valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
