"""What a batch shows while it runs: a line for each row that is being made and one for all rows on
a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from omnitalk_cli.cli.console import Console, draws_bars, one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from omnitalk_cli.batch.counts import Counts
    from omnitalk_cli.batch.jobs import Job, JobResult


class BatchDisplay:
    """The watcher of a run; ``close`` gives the terminal back."""

    def __init__(self, console: Console, total: int) -> None:
        import sys

        self._console = console
        self._total = total
        self._settled = 0
        self._began = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if not console.quiet and draws_bars(sys.stderr):
            self._bars = _bars()
            self._all = self._bars.add_task("all rows", total=total)
            self._bars.start()

    def begun(self, job: Job, where: str) -> None:
        """A row is being made."""
        if self._bars is not None:
            self._tasks[job.id] = self._bars.add_task(_short(job.id), total=None)
        else:
            self._console.detail(f"{job.id}: begun in {where}")

    def told(self, job_id: str, stage: str, done: float, total: float | None) -> None:
        """Its progress."""
        if self._bars is not None and job_id in self._tasks:
            self._bars.update(
                self._tasks[job_id], description=f"{_short(job_id)} {stage}", completed=done,
                total=total,
            )  # fmt: skip

    def noted(self, text: str) -> None:
        """A remark."""
        self._line(text, detail=True)

    def ended(self, result: JobResult, counts: Counts) -> None:
        """A row has come to its end."""
        self._settled = counts.settled
        if self._bars is not None:
            task = self._tasks.pop(result.id, None)
            if task is not None:
                self._bars.remove_task(task)
            self._bars.update(
                self._all, completed=self._settled, total=self._total,
                description=f"all rows, {counts.failed} failed" if counts.failed else "all rows",
            )  # fmt: skip
            if result.state == "done":
                return
        number = f"[{self._settled}/{self._total}]"
        if result.state == "done":
            spent = result.timings.get("total", 0.0)
            made = f"{result.seconds:.1f} s of video in {spent:.1f} s"
            self._line(f"{number} {result.id}: {made}{self._eta()}")
        else:
            self._line(f"{number} {result.id}: failed ({result.exit_code}): {result.message}")

    def close(self) -> None:
        """Take the display down."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _eta(self) -> str:
        left = self._total - self._settled
        if not left or not self._settled:
            return ""
        seconds = (time.monotonic() - self._began) / self._settled * left
        return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"

    def _line(self, text: str, *, detail: bool = False) -> None:
        if self._bars is not None:
            if not detail or self._console.verbose:
                self._bars.console.print(
                    one_line(text), markup=False, highlight=False, soft_wrap=True
                )
        elif detail:
            self._console.detail(text)
        else:
            self._console.note(text)


def _bars() -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=RichConsole(stderr=True),
        refresh_per_second=4,
    )


def _short(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:19]}…"
