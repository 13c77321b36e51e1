"""What a run tells while it goes on and when it has ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from omnitalk_cli.batch.jobs import Job, JobResult


@dataclass
class Counts:
    """Rows by what became of them in this run; ``busy`` are made by another run just now."""

    total: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    busy: int = 0
    stopped: str = ""
    video_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def settled(self) -> int:
        """Rows with which nothing more is to be done."""
        return self.done + self.skipped + self.failed

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self, report: Path) -> list[str]:
        """The counts in words."""
        hours = self.seconds / 3600
        rate = f", {self.done / hours:.0f} rows an hour" if self.done and hours else ""
        found = [
            str(report),
            f"{self.done} made ({self.video_seconds:.0f} s of video in {self.seconds:.0f} s"
            f"{rate}), {self.skipped} done before, {self.failed} failed",
        ]
        return [*found, self.stopped] if self.stopped else found


class Watcher(Protocol):
    """Who looks on: the command line."""

    def begun(self, job: Job, where: str) -> None: ...

    def told(self, job_id: str, stage: str, done: float, total: float | None) -> None: ...

    def noted(self, text: str) -> None: ...

    def ended(self, result: JobResult, counts: Counts) -> None: ...
