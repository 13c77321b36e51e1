"""Two ways to show the progress of long stages: bars on a terminal, lines everywhere else.

A stage is known by its name up to the first comma; what follows (``training, loss 0.4``) is shown
and may change.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_SECONDS = 10.0


class BarProgress:
    """Bars on stderr with stage, amount, rate and time left; rich is imported at the first use."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """Shows the stage's state; a new stage gets a bar of its own."""
        with self._lock:
            bars = self._bars or self._start()
            name = _name(stage)
            task = self._tasks.get(name)
            if task is None:
                task = self._tasks[name] = bars.add_task(stage, total=total)
            bars.update(task, description=stage, completed=done, total=total)

    def write(self, text: str) -> None:
        """A line above the bars."""
        with self._lock:
            bars = self._bars or self._start()
            bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leaves the bars as they are and gives the terminal back."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _start(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        from omnitalk_cli.cli.richcolumns import RateColumn

        self._bars = Progress(
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=8,
        )
        self._bars.start()
        return self._bars


class LineProgress:
    """Plain lines for logs: every ten seconds of a stage and when it is finished."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stages: dict[str, tuple[float, float]] = {}  # start, time of the last line
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """Writes a line when one is due."""
        now = time.monotonic()
        with self._lock:
            name = _name(stage)
            start, last = self._stages.get(name, (now, now))
            finished = total is not None and done >= total
            if finished:
                # Set far ahead, so that a stage that reports its end twice gets one line.
                if last != float("inf"):
                    self._write(f"{stage}: done in {now - start:.1f} s{_rate(done, now - start)}")
                last = float("inf")
            elif now - last >= LINE_SECONDS:
                self._write(f"{stage}: {_state(done, total, now - start)}")
                last = now
            self._stages[name] = (start, last)

    def write(self, text: str) -> None:
        """A remark between the lines."""
        with self._lock:
            self._write(text)

    def close(self) -> None:
        """Nothing to take down."""

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _name(stage: str) -> str:
    return stage.partition(",")[0]


def _state(done: float, total: float | None, seconds: float) -> str:
    if not total:
        return f"{done:g}{_rate(done, seconds)}"
    left = f", {seconds * (total - done) / done:.0f} s left" if done > 0 else ""
    return f"{100 * done / total:.0f} % ({done:g} of {total:g}{_rate(done, seconds)}{left})"


def _rate(done: float, seconds: float) -> str:
    return f", {done / seconds:.3g}/s" if seconds > 0.05 and done > 1 else ""
