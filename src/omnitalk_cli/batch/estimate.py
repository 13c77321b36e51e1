"""How long a batch will take and how much room it needs, before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.reader import BatchReader
from omnitalk_cli.media.probe import probe
from omnitalk_cli.pipeline.script import read_script
from omnitalk_cli.pipeline.settings import estimate_seconds

# Measured on two cores at 512x512: a second of video, and what every row and reference cost alone.
_PER_SECOND, _PER_ROW, _PER_REFERENCE = 1.1, 1.5, 15.0
_BYTES_PER_SECOND = 90_000  # at 512x512 and crf 18
_KNOWN_ROWS = 5  # of earlier runs, from which on their times are believed


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of ``rows``, ``done`` are in the ledger already; the rest needs about ``work_seconds`` for
    ``video_seconds`` of video and ``bytes`` on a disk that has ``free_bytes``."""

    rows: int
    done: int
    video_seconds: float
    work_seconds: float
    bytes: int
    free_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The estimate in words."""
        return [
            f"rows       {self.rows}, {self.done} of them done before",
            f"video      about {self.video_seconds / 60:.1f} min",
            f"time       about {self.work_seconds / 60:.1f} min",
            f"disk       about {self.bytes / 1e6:.0f} MB of {self.free_bytes / 1e9:.1f} GB free",
        ]


def estimate(jobs: Sequence[Job], out_dir: Path) -> Estimate:
    """What is to be expected of ``jobs``; nothing is made, not even ``out_dir``."""
    known = {}
    if out_dir.is_dir():
        known = {one.id: one for one in BatchReader(out_dir).results() if one.state == "done"}
    left = [job for job in jobs if job.id not in known]
    video = sum(_seconds(job) for job in left)
    size = 1.0
    if len(known) >= _KNOWN_ROWS:
        made = sum(one.seconds for one in known.values()) or 1.0
        work = sum(one.timings.get("total", 0.0) for one in known.values()) / made * video
        size = sum(one.output_bytes for one in known.values()) / made / _BYTES_PER_SECOND
    else:
        people = len({job.ref for job in left})
        work = _PER_SECOND * video + _PER_ROW * len(left) + _PER_REFERENCE * people
    place = next(folder for folder in (out_dir.absolute(), *out_dir.absolute().parents)
                 if folder.exists())  # fmt: skip
    return Estimate(
        rows=len(jobs), done=len(jobs) - len(left), video_seconds=round(video, 1),
        work_seconds=round(work, 1), bytes=round(size * _BYTES_PER_SECOND * video),
        free_bytes=shutil.disk_usage(place).free,
    )  # fmt: skip


def _seconds(job: Job) -> float:
    if job.audio is not None:
        return probe(job.audio).audio_seconds
    said = job.text_file if job.text is None else job.text
    assert said is not None
    script = read_script(said, language=job.options.get("lang") or "auto")
    return estimate_seconds(
        script, speed=job.options.get("speed"), duration=job.options.get("duration")
    )
