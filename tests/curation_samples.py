"""Talking videos and tracked faces for tests of the curation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media_samples import run_ffmpeg
from omnitalk_cli.training.curation.tracks import TrackedFace
from omnitalk_cli.types import Crop

FPS = 25.0
# How loud, and how open, somebody is who talks: syllables of changing length.
TALK = "max(0,sin(2*PI*2.3*t+1.3*sin(2*PI*0.31*t))+0.5*sin(2*PI*3.7*t+2*sin(2*PI*0.23*t)))"
OTHER = "max(0,sin(2*PI*3.1*t+2.1*sin(2*PI*0.43*t))+0.5*sin(2*PI*1.9*t+2*sin(2*PI*0.53*t)))"


def course(formula: str, count: int, *, fps: float = FPS, start: float = 0.0) -> NDArray:
    """The values of such a formula for ``count`` pictures."""
    t = start + np.arange(count) / fps
    known = {"sin": np.sin, "max": np.maximum, "PI": np.pi, "t": t}
    return np.asarray(eval(formula, {"__builtins__": {}}, known), np.float64)


def talking_sound(formula: str = TALK, *, gate: str = "1") -> str:
    """For ``aevalsrc``: a vowel whose loudness follows ``formula`` where ``gate`` is 1."""
    return f"0.15*({gate})*({formula})*(sin(2*PI*1500*t)+0.6*sin(2*PI*2300*t)+0.4*sin(2*PI*250*t))"


def make_talk(
    path: Path,
    *,
    seconds: float = 6.0,
    formula: str = TALK,
    gate: str = "1",
    picture: str = "testsrc2",
) -> Path:
    """A small video of ffmpeg's test picture with a talking sound."""
    source = f"{picture}=s=160x120:r={FPS:g}:d={seconds}"
    sound = talking_sound(formula, gate=gate)
    run_ffmpeg(
        "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", f"aevalsrc='{sound}':s=24000:d={seconds}",
        "-pix_fmt", "yuv420p", "-preset", "ultrafast", path,
    )  # fmt: skip
    return path


def tracked(
    opening: NDArray,
    *,
    start: float = 0.0,
    share: float = 0.1,
    yaw: float = 0.0,
    found: NDArray | None = None,
) -> TrackedFace:
    """A face that nobody had to find: its mouth takes the course ``opening``."""
    count, side = len(opening), 100.0 * np.sqrt(share)
    codes = np.zeros((count, 61), np.float32)
    codes[:, 52] = np.radians(yaw)
    codes[:, 54] = np.linspace(-1, 1, count)
    boxes = np.tile(np.array([10.0, 10.0, 4 * side, 4 * side], np.float32), (count, 1))
    return TrackedFace(
        start=start,
        fps=FPS,
        codes=codes,
        found=np.ones(count, bool) if found is None else found,
        opening=np.asarray(0.1 * opening, np.float32),
        boxes=boxes,
        crop=Crop(x=0, y=0, size=400, source_width=400, source_height=400),
    )
