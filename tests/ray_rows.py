"""Light rows for tests of the engine on Ray: what stands in for the function that makes videos."""

from __future__ import annotations

import os
import time
from pathlib import Path

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.maker import Made, MakerSettings, Notes
from omnitalk_cli.media.files import part_path
from omnitalk_cli.progress import Progress

KILLER = "kill"  # a row with this text ends the process that makes it


def jobs(folder: Path, count: int, *, ref: Path) -> list[Job]:
    return [
        Job(
            id=f"row-{number:02}", line=number + 2, ref=ref, text=f"text {number}",
            output=folder / f"row-{number:02}.mp4", options={"seed": number},
        )
        for number in range(count)
    ]  # fmt: skip


def content(job: Job, settings: MakerSettings) -> bytes:
    return f"{job.text} {job.seed} {settings.device}\n".encode() * 500


class LightMaker:
    """Writes a few bytes in ``seconds``; ``begun.log`` beside the folder of the outputs tells who
    made which row."""

    seconds = 0.25

    def __init__(self, settings: MakerSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        pass

    def make(self, job: Job, *, progress: Progress, notes: Notes) -> Made:
        log = os.open(
            job.output.parent.parent / "begun.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY
        )
        os.write(log, f"{job.id} {os.getpid()} {os.environ.get('NODE', '')}\n".encode())
        os.close(log)
        if job.text == KILLER:
            os._exit(3)
        notes(f"threads {self._settings.threads}")
        part = part_path(job.output)
        part.write_bytes(b"half")
        for step in range(5):
            progress("drawing", step, 5)
            time.sleep(self.seconds / 5)
        part.write_bytes(content(job, self._settings))
        os.replace(part, job.output)
        return Made(seconds=1.5, timings={"total": self.seconds})


class BrokenMaker(LightMaker):
    """Cannot begin."""

    def prepare(self) -> None:
        raise RuntimeError("no weights here")
