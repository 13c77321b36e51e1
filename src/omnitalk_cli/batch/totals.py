"""A batch in numbers: how many rows, how fast, where the time went."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from omnitalk_cli.batch.jobs import JobResult

STATUSES = ("done", "skipped", "failed", "running", "pending")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over all rows. ``counts`` holds every status of ``STATUSES``.

    ``video_seconds`` is the length of all videos that are there, ``elapsed`` the seconds from
    ``started`` to ``finished`` (to now while the batch runs), ``rows_per_hour`` counts the rows
    that this run made (0 if none). ``stages`` are seconds of work for each stage, in the order in
    which they happen; workers side by side make them add up to more than ``elapsed``.
    """

    counts: dict[str, int]
    video_seconds: float
    elapsed: float
    rows_per_hour: float
    started: str
    finished: str
    written: str
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": self.rows, "counts": self.counts,
            "video_seconds": round(self.video_seconds, 3), "elapsed": round(self.elapsed, 1),
            "rows_per_hour": round(self.rows_per_hour, 1), "started": self.started,
            "finished": self.finished, "written": self.written,
            "stages": {name: round(value, 2) for name, value in self.stages.items()},
        }  # fmt: skip

    def words(self) -> dict[str, str]:
        """What the page says about the batch before any script has run."""
        return {
            "headline": self._headline(),
            "per_hour": _rate(self.rows_per_hour),
            "video": spoken(self.video_seconds),
            "elapsed": spoken(self.elapsed),
            "started": self.started,
            "ended_word": "Finished" if self.finished else "Still running at",
            "ended": self.finished or self.written,
            "written": self.written,
        }

    def _headline(self) -> str:
        if not self.rows:
            return "The batch has no rows."
        there = self.counts["done"] + self.counts["skipped"]
        told = f"{there:,} of {self.rows:,} row{'s are' if self.rows > 1 else ' is'} done"
        if self.counts["skipped"]:
            told += f" ({self.counts['skipped']:,} from earlier runs)"
        if self.counts["failed"]:
            told += f", {self.counts['failed']:,} failed"
        if to_do := self.counts["running"] + self.counts["pending"]:
            told += f", {to_do:,} to do"
        return told + "."


def _rate(per_hour: float) -> str:
    if not per_hour:
        return "–"
    return f"{per_hour:,.0f}" if per_hour >= 10 else f"{per_hour:.1f}"


def spoken(seconds: float) -> str:
    """A length of time as the page writes it: ``9.5 s``, ``12 s``, ``3 min 5 s``, ``2 h 1 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    return (
        f"{minutes} min {whole % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def finite(value: float) -> float:
    """``value``, or 0 if it is infinite or not a number."""
    return value if math.isfinite(value) else 0.0


def totals_of(
    rows: Iterable[tuple[str, JobResult]],
    *,
    started: str,
    finished: str = "",
    no_stage: Collection[str] = (),
) -> Totals:
    """Sums over ``rows`` (status, result); timings in ``no_stage`` are left out of the stages."""
    counts = Counter(dict.fromkeys(STATUSES, 0))
    stages: dict[str, float] = {}
    video_seconds = 0.0
    for status, result in rows:
        counts[status] += 1
        video_seconds += finite(result.seconds) if status in ("done", "skipped") else 0.0
        for name, value in result.timings.items():
            if name not in no_stage:
                stages[name] = stages.get(name, 0.0) + finite(value)
    now = datetime.now(UTC)
    begin = parse_time(started)
    elapsed = ((parse_time(finished) or now) - begin).total_seconds() if begin else 0.0
    return Totals(
        counts=dict(counts),
        video_seconds=video_seconds,
        elapsed=max(0.0, elapsed),
        rows_per_hour=counts["done"] * 3600 / elapsed if elapsed > 0 else 0.0,
        started=started,
        finished=finished,
        written=now.isoformat(timespec="seconds"),
        stages=stages,
    )


def parse_time(text: str) -> datetime | None:
    """A time in ISO 8601 (without a zone: UTC); None if it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
