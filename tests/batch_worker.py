"""A run of a batch with small work, as a process of its own: FOLDER ROWS SECONDS_PER_ROW.

Begins when a line comes on stdin. Tells what it does in ``events.log`` beside the folder, a line
for each step.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.media.files import part_path


def jobs(folder: Path, count: int) -> list[Job]:
    return [
        Job(
            id=f"row-{number:04}", line=number + 2, ref=Path("clip.mp4"), text=f"text {number}",
            output=folder / f"row-{number:04}.mp4", options={"seed": number},
        )
        for number in range(count)
    ]  # fmt: skip


def content(job: Job) -> bytes:
    return f"{job.text}\n".encode() * 500


def main(folder: Path, count: int, seconds: float) -> None:
    log = os.open(folder.parent / "events.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def tell(what: str, job: Job) -> None:
        os.write(log, f"{what} {job.id} {os.getpid()}\n".encode())

    table = {job.id: job for job in jobs(folder, count)}
    with BatchLedger(folder) as ledger:
        print("open", flush=True)
        sys.stdin.readline()
        ledger.sweep()
        ledger.enter(table.values())
        waiting = list(table)
        while waiting:
            taken = []
            for name in waiting:
                job = table[name]
                claim = ledger.claim(job, f"print-{name}", retry_failed=False, worker="test")
                if claim == "taken":
                    taken.append(name)
                if claim != "run":
                    continue
                tell("start", job)
                part = part_path(job.output)
                part.write_bytes(content(job)[:1000])
                time.sleep(seconds)
                part.write_bytes(content(job))
                os.replace(part, job.output)
                if not ledger.finish(JobResult(id=name, line=job.line, state="done")):
                    tell("lost", job)
                tell("end", job)
            waiting = taken
            if waiting:
                ledger.wait_for_taken(waiting, seconds=30)
        ledger.sweep()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
