"""Rows, videos and hostile texts for the tests of the batch report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from media_samples import gradient_frames
from omnitalk_cli.batch.jobs import JobResult
from omnitalk_cli.media.encode import VideoWriter
from omnitalk_cli.types import SAMPLE_RATE

STARTED, FINISHED = "2026-03-01T10:00:00+00:00", "2026-03-01T11:30:00+00:00"
HOSTILE = [
    "</script><script>window.broken = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.broken = 1'>",
    "\"'`><svg onload=window.broken=1>",
    "${window.broken = 1}{{1}}$title",
    "javascript:window.broken=1",
    "a\u202e4pm.exe\u202c b\u2066c",
    "\u2028\u2029\x00\x1b[31m",
    "\U0001f469\u200d\U0001f4bb \U0001f1e9\U0001f1ea e\u0301 \ufeff",
    "<!-- rows --><!-- pictures -->",
    "lone \ud83d surrogate",
    "../../etc/%2e%2e?x=1#y",
]


def result(name: str = "a", **values: Any) -> JobResult:
    basis: dict[str, Any] = {"id": name, "line": 2, "state": "done", "output": f"{name}.mp4"}
    return JobResult(**(basis | values))


def make_talk(path: Path, *, seconds: float = 2.0, tone: float = 0.3) -> Path:
    """A small video with a tone in its second half, as ``generate`` writes its videos."""
    count = round(25 * seconds)
    time = np.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    sound = np.where(time < seconds / 2, 0, tone * np.sin(2 * np.pi * 300 * time))
    with VideoWriter(
        path, width=128, height=128, fps=25, audio=sound.astype(np.float32), frames=count
    ) as writer:
        for frame in gradient_frames(count, 128, 128):
            writer.write(frame)
    return path
