"""Rows for tests of the ledger of a batch, and short words for what is done with them."""

from __future__ import annotations

from pathlib import Path

from omnitalk_cli.batch.claims import Claim
from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.batch.reader import BatchReader


def make_job(folder: Path, name: str = "a", line: int = 2, output: str = "") -> Job:
    return Job(
        id=name, line=line, ref=Path("clip.mp4"), text="hello",
        output=folder / (output or f"{name}.mp4"), options={"seed": 7},
    )  # fmt: skip


def done(job: Job, **more: object) -> JobResult:
    return JobResult(id=job.id, line=job.line, state="done", **more)  # type: ignore[arg-type]


def ask(ledger: BatchLedger, job: Job, fingerprint: str = "f", **more: bool) -> Claim:
    settings = {"retry_failed": False} | more
    return ledger.claim(job, fingerprint, worker="w", **settings)  # type: ignore[arg-type]


def make(ledger: BatchLedger, job: Job, fingerprint: str = "f", content: bytes = b"video") -> None:
    assert ask(ledger, job, fingerprint) == "run"
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_bytes(content)
    assert ledger.finish(done(job))


def result(ledger: BatchReader, name: str = "a") -> JobResult:
    (found,) = ledger.results([name])
    return found
