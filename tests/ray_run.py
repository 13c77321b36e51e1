"""A run over light rows on Ray, as a process of its own: FOLDER ROWS and the options below.

On stdout comes one JSON object: the counts, or the error with its exit code.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import typer

import ray_rows
from omnitalk_cli.batch.job_table import Checked
from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.maker import MakerSettings
from omnitalk_cli.batch.ray_engine import RayEngine
from omnitalk_cli.batch.runner import Counts, Run, RunOptions
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import OmnitalkError


class Lines:
    """A watcher that writes to stderr."""

    def begun(self, job: Job, where: str) -> None:
        print(f"{job.id}: begun in {where}", file=sys.stderr)

    def told(self, job_id: str, stage: str, done: float, total: float | None) -> None:
        print(f"{job_id}: {stage} {done:g} of {total}", file=sys.stderr)

    def noted(self, text: str) -> None:
        print(text, file=sys.stderr)

    def ended(self, result: JobResult, counts: Counts) -> None:
        print(f"{result.id}: {result.state} {result.message}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--address")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--killer", type=int, help="the row that kills whoever makes it")
    parser.add_argument("--maker", default="LightMaker")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    ref = given.folder.parent / "ref.mp4"
    ref.write_bytes(b"clip")
    jobs = ray_rows.jobs(given.folder, given.rows, ref=ref)
    if given.killer is not None:
        jobs[given.killer] = replace(jobs[given.killer], text=ray_rows.KILLER)
    run = Run(
        Checked(jobs=tuple(jobs), problems=(), rows=len(jobs)),
        RunOptions(out_dir=given.folder),
        engine=lambda: RayEngine(
            MakerSettings(device=given.device), address=given.address, workers=given.workers,
            factory=getattr(ray_rows, given.maker), patience=given.patience,
        ),
        watcher=Lines(),
    )  # fmt: skip
    with session(quiet=True):
        try:
            answer = run.run().to_dict()
        except OmnitalkError as error:
            answer = {"error": str(error), "exit_code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main()
    except typer.Exit as error:
        sys.exit(error.exit_code)
