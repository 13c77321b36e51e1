"""Small media that tests make for themselves, with the ffmpeg that omnitalk finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.media.ffmpeg import find_ffmpeg


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg quietly; the test fails with its complaint."""
    command = [str(find_ffmpeg()), "-y", "-hide_banner", "-nostats", "-loglevel", "error"]
    done = subprocess.run(
        [*command, *(str(a) for a in arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")


def run_and_weigh(code: str, *arguments: object) -> tuple[str, float]:
    """What a Python program prints, and the most memory that it held, in megabytes."""
    # Not getrusage: there a new process begins with the peak of the one that started it.
    code += "\nprint(next(x.split()[1] for x in open('/proc/self/status') if x[:5] == 'VmHWM'))"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    *said, kilobytes = done.stdout.splitlines()
    return "\n".join(said), int(kilobytes) / 1024


def make_video(
    path: Path,
    *,
    seconds: float = 1.0,
    size: tuple[int, int] = (64, 48),
    fps: int | str = 25,
    tone: float | None = 440.0,
    channels: int = 1,
    video_filter: str = "null",
    arguments: Sequence[object] = (),
) -> Path:
    """A moving test picture with a tone (None: without a sound track) in a container by suffix."""
    sound: list[object] = []
    if tone is not None:
        terms = "|".join([f"0.3*sin(2*PI*{tone}*t)"] * channels)
        sound = ["-f", "lavfi", "-i", f"aevalsrc={terms}:s=44100:d={seconds}"]
    picture = f"testsrc2=s={size[0]}x{size[1]}:r={fps}:d={seconds}"
    run_ffmpeg(
        "-f", "lavfi", "-i", picture, *sound, "-vf", video_filter, "-pix_fmt", "yuv420p",
        *arguments, path,
    )  # fmt: skip
    return path


def make_colour(
    path: Path,
    rgb: tuple[int, int, int],
    *,
    matrix: str,
    tag: bool,
    size: tuple[int, int] = (64, 64),
) -> Path:
    """A fifth of a second of one colour, converted with ``matrix``, with or without saying so."""
    tags = ["-colorspace", matrix] if tag else []
    colour = "0x{:02x}{:02x}{:02x}".format(*rgb)
    convert = f"scale=out_color_matrix={matrix}:out_range=tv:flags=accurate_rnd"
    # Without a bitstream filter the scale filter's own tag would reach the file.
    clear = [] if tag else ["-bsf:v", "h264_metadata=matrix_coefficients=2"]
    run_ffmpeg(
        "-f", "lavfi", "-i", f"color=c={colour}:s={size[0]}x{size[1]}:d=0.2",
        "-vf", f"format=rgb24,{convert},format=yuv420p", "-c:v", "libx264", "-qp", "4",
        *tags, *clear, path,
    )  # fmt: skip
    return path


def cut_bytes(path: Path, target: Path, *, keep: float) -> Path:
    """The first ``keep`` (0…1) of a file's bytes: a broken download."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def gradient_frames(count: int, width: int, height: int) -> list[NDArray[np.uint8]]:
    """Smooth colour frames that change slowly, so that compression hardly hurts them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    frames = []
    for index in range(count):
        red = 255 * x / max(1, width - 1)
        green = 255 * y / max(1, height - 1)
        blue = np.full_like(x, 60 + 120 * index / max(1, count))
        frames.append(np.stack([red, green, blue], axis=-1).round().astype(np.uint8))
    return frames
