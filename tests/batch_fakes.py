"""Rows that are made in no time, and ones that go wrong in every way, for tests of batches."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.counts import Counts
from omnitalk_cli.batch.engine import Ended, Event, Lost, Slot
from omnitalk_cli.batch.job_table import Checked
from omnitalk_cli.batch.jobs import Job, JobResult, seed_of
from omnitalk_cli.batch.maker import Made, MakerSettings


def jobs(folder: Path, count: int, refs: int = 3, text: str = "text {}") -> Checked:
    """``count`` rows of ``refs`` references, whose files are made too."""
    made = []
    for number in range(count):
        ref = folder / f"ref{number % refs}.mp4"
        ref.touch()
        name = f"row-{number:02}"
        made.append(
            Job(
                id=name, line=number + 2, ref=ref, text=text.format(number),
                output=folder / "out" / f"{name}.mp4", options={"seed": seed_of(name)},
            )
        )  # fmt: skip
    return Checked(jobs=tuple(made), problems=(), rows=count)


def write(job: Job) -> Made:
    job.output.write_bytes(f"{job.text}\n".encode())
    return Made(mark_id="00c0ffee", seconds=2.0, timings={"total": 0.01})


class FakeMaker:
    """Does what the text says: ``fail``, ``die`` (by SIGKILL), ``slow``; else writes the output."""

    def __init__(self, settings: MakerSettings) -> None:
        self._settings = settings

    def prepare(self) -> None: ...

    def make(self, job: Job, *, progress: Any, notes: Any) -> Made:
        progress("rendering", 1, 2)
        text = job.text or ""
        if text.startswith("fail"):
            return Made(exit_code=3, message="no face")
        if text.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith("slow"):
            time.sleep(0.3)
        notes("nearly there")
        return write(job)


class FakeEngine:
    """Makes rows at once, in this process; ``lose`` names rows that are lost so many times."""

    def __init__(self, slots: int = 2, lose: dict[str, int] | None = None) -> None:
        self.slots = [Slot(name=f"slot {number}") for number in range(slots)]
        self.lose = lose or {}
        self.started: list[str] = []

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *error: object) -> None: ...

    def start(self, slot: Slot, job: Job) -> None:
        slot.job, slot.last_ref = job, job.ref
        self.started.append(job.id)

    def poll(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        for slot in self.slots:
            if (job := slot.job) is None:
                continue
            slot.job = None
            if self.lose.get(job.id, 0):
                self.lose[job.id] -= 1
                events.append(Lost(job=job, why="its worker was ended by SIGKILL"))
            elif (job.text or "").startswith("fail"):
                events.append(Ended(job=job, made=Made(exit_code=3, message="no face")))
            else:
                events.append(Ended(job=job, made=write(job)))
        return events


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.results: dict[str, JobResult] = {}
        self.stages: set[str] = set()

    def begun(self, job: Job, where: str) -> None:
        self.lines.append(f"begun {job.id}")

    def told(self, job_id: str, stage: str, done: float, total: float | None) -> None:
        self.stages.add(stage)

    def noted(self, text: str) -> None:
        self.lines.append(text)

    def ended(self, result: JobResult, counts: Counts) -> None:
        self.results[result.id] = result
