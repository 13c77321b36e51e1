"""What the marks survive, what they cost, and whether they can be seen: the benchmark of the marks.

A clip is marked and encoded as the product does it, then treated as platforms and people treat
videos (``VIDEO_ATTACKS``), and the detector is asked for the id.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import WorkError
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.encode import VideoWriter
from omnitalk_cli.media.ffmpeg import FFmpegProcess, command, find_ffmpeg, local
from omnitalk_cli.media.probe import probe
from omnitalk_cli.provenance.video_detector import VideoDetection, detect
from omnitalk_cli.provenance.video_mark import VideoMark, VideoMarker
from omnitalk_cli.types import Float

Frames = Sequence[NDArray[np.uint8]]

_MASTER_CRF = 18


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run through ffmpeg: a filter chain in ffmpeg's own words, a codec and its quality."""

    filters: str = ""
    codec: str = "libx264"
    crf: int = 20

    def options(self) -> dict[str, Any]:
        """The encoder's options."""
        speed = (
            {"deadline": "realtime", "cpu-used": 6, "b:v": 0}
            if self.codec == "libvpx-vp9"
            else {"preset": "medium"}
        )
        quiet = {"x265-params": "log-level=error"} if self.codec == "libx265" else {}
        return {"vcodec": self.codec, "crf": self.crf, "pix_fmt": "yuv420p"} | speed | quiet


@dataclass(frozen=True, kw_only=True)
class VideoAttack:
    """What happens to a video: passes one after the other; none leaves it as the product wrote it.

    ``middle`` keeps only so many seconds from its middle.
    """

    name: str
    passes: tuple[Pass, ...] = ()
    middle: float | None = None


def _one(name: str, filters: str = "", *, codec: str = "libx264", crf: int = 20) -> VideoAttack:
    return VideoAttack(name=name, passes=(Pass(filters=filters, codec=codec, crf=crf),))


VIDEO_ATTACKS: tuple[VideoAttack, ...] = (
    VideoAttack(name="none"),
    _one("x264 crf 23", crf=23),
    _one("x264 crf 28", crf=28),
    _one("x265 crf 28", codec="libx265", crf=28),
    _one("vp9 crf 36", codec="libvpx-vp9", crf=36),
    _one("half size", "scale=trunc(iw/4)*2:-2", crf=23),
    _one("crop 70 %", "crop=trunc(iw*0.35)*2:trunc(ih*0.35)*2", crf=23),
    _one("crop 90 %, scaled back", "crop=iw*0.9:ih*0.9,scale=trunc(iw/1.8)*2:-2", crf=23),
    _one("blur", "gblur=sigma=1.2", crf=23),
    _one("noise", "noise=alls=14:allf=t", crf=23),
    _one("brightness, contrast", "eq=brightness=0.08:contrast=1.2", crf=23),
    _one("20 fps", "fps=20", crf=23),
    _one("mirrored", "hflip", crf=23),
    _one("overlay box", "drawbox=x=iw*0.1:y=ih*0.65:w=iw*0.8:h=ih*0.25:color=black:t=fill", crf=23),
    VideoAttack(name="double compression", passes=(Pass(crf=28), Pass(crf=26))),
    VideoAttack(name="one second", passes=(Pass(crf=23),), middle=1.0),
    VideoAttack(name="screen share", passes=(Pass(filters="scale=-2:360", crf=28),), middle=5.0),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One attack on one clip."""

    clip: str
    attack: str
    right: bool
    detection: VideoDetection

    def to_dict(self) -> dict[str, object]:
        """The fields by name."""
        return dict(vars(self)) | {"detection": self.detection.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """What the mark costs on one clip, before any encoder.

    ``psnr`` and ``worst_psnr`` (of a frame) in dB; ``milliseconds`` of processor time per frame.
    ``still_flicker`` is the mean change of the mark from frame to frame, in grey levels, where the
    picture itself stands still; ``still_share`` how much of the clip that is;
    ``steady`` is the share of the mark's power at temporal frequency 0 (1: it stands still).
    """

    clip: str
    frames: int
    psnr: float
    worst_psnr: float
    milliseconds: float
    still_flicker: float
    still_share: float
    steady: float

    def to_dict(self) -> dict[str, object]:
        """The fields by name."""
        return dict(vars(self))


def attacked(source: Path, attack: VideoAttack, folder: Path) -> Path:
    """``source`` after ``attack``, as a file in ``folder``. Raises WorkError when ffmpeg fails."""
    current = source
    for number, step in enumerate(attack.passes):
        options: dict[str, Any] = {}
        if attack.middle is not None and number == 0:
            length = probe(current).video_seconds
            cut = min(attack.middle, length)
            options = {"ss": f"{(length - cut) / 2:.3f}", "t": f"{cut:.3f}"}
        extra: dict[str, Any] = {"vf": step.filters} if step.filters else {}
        ending = ".webm" if step.codec == "libvpx-vp9" else ".mp4"
        target = folder / f"attack{number}{ending}"
        graph = ffmpeg.input(local(current.absolute()), **options).output(
            local(target.absolute()), **step.options(), **extra, an=None
        )
        with FFmpegProcess(command(graph, find_ffmpeg())) as process:
            if process.wait() != 0:
                raise WorkError(f"{attack.name}: {process.stderr_tail()}")
        current = target
    return current


def read_mark(path: Path, *, most: int = 150, key: bytes | None = None) -> VideoDetection:
    """What the detector says about the first ``most`` frames of ``path``."""
    info = probe(path)
    named = {} if key is None else {"key": key}
    with stream_frames(path, fps=info.fps or 25, info=info) as frames:
        return detect(frames, most=most, **named)


def survive_video(
    frames: Frames,
    *,
    clip: str,
    fps: Fraction | float,
    mark: VideoMark,
    attacks: Iterable[VideoAttack] = VIDEO_ATTACKS,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Mark ``frames``, encode them, and see what is left after each of ``attacks``."""
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        master = folder / "master.mp4"
        marker = VideoMarker(mark)
        height, width = frames[0].shape[:2]
        with VideoWriter(master, width=width, height=height, fps=fps, crf=_MASTER_CRF) as writer:
            for frame in frames:
                writer.write(marker.mark(frame))
        for attack in attacks:
            found = read_mark(attacked(master, attack, folder), key=mark.key)
            right = found.id == mark.id and found.bits == mark.bits
            outcomes.append(Outcome(clip=clip, attack=attack.name, right=right, detection=found))
            report(outcomes[-1])
    return outcomes


def visibility(frames: Frames, *, clip: str, mark: VideoMark) -> Visibility:
    """How much of the mark could be seen in ``frames``, and what it costs to put it there."""
    marker = VideoMarker(mark)
    begin = time.process_time()
    marked = [marker.mark(frame) for frame in frames]
    spent = time.process_time() - begin
    added = [_added(one, two) for one, two in zip(frames, marked, strict=True)]
    errors = [float((one**2).mean()) for one in added]
    changes, still = 0.0, 0
    for at in range(1, len(frames)):
        quiet = _quiet(frames[at - 1], frames[at])
        changes += float(np.abs(added[at] - added[at - 1])[quiet].sum())
        still += int(quiet.sum())
    power = float(np.mean([(one**2).mean() for one in added]))
    constant = float((np.mean(added, axis=0) ** 2).mean())
    return Visibility(
        clip=clip,
        frames=len(frames),
        psnr=_decibel(float(np.mean(errors))),
        worst_psnr=_decibel(max(errors)),
        milliseconds=1000 * spent / len(frames),
        still_flicker=changes / max(still, 1),
        still_share=still / max(1, added[0].size * (len(frames) - 1)),
        steady=constant / max(power, 1e-9),
    )


def _decibel(error: float) -> float:
    return 10 * math.log10(255**2 / max(error, 1e-9))


def _added(frame: NDArray[np.uint8], marked: NDArray[np.uint8]) -> Float:
    """The mark itself, ``[H,W]`` in grey levels (of green: all three colours carry the same)."""
    return marked[..., 1].astype(np.float32) - frame[..., 1]


def _quiet(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where neither the picture nor its neighbourhood moves, ``[H,W]``."""
    moved = cv2.absdiff(before, after).max(axis=2)
    spread = cv2.dilate(moved, np.ones((9, 9), np.uint8))
    return np.asarray(spread <= 1)


def survival_table(outcomes: Iterable[Outcome]) -> str:
    """One line per attack: how many clips, in how many the id was read, the weakest reading."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.attack, []).append(outcome)
    lines = [f"{'attack':24s} {'read':>7s} {'confidence':>10s} {'sync':>6s}  not read"]
    for name, group in groups.items():
        read = sum(one.right for one in group)
        weakest = min(group, key=lambda one: one.detection.confidence).detection
        failed = ", ".join(one.clip for one in group if not one.right)
        lines.append(
            f"{name:24s} {read:3d}/{len(group):<3d} {weakest.confidence:10.2f} "
            f"{weakest.sync:6.1f}  {failed}"
        )
    return "\n".join(lines)


def visibility_table(rows: Iterable[Visibility]) -> str:
    """One line per clip."""
    lines = [
        f"{'clip':28s} {'frames':>6s} {'PSNR':>6s} {'worst':>6s} {'ms':>5s} "
        f"{'flicker':>8s} {'of':>5s} {'steady':>7s}"
    ]
    lines += [
        f"{one.clip:28s} {one.frames:6d} {one.psnr:6.2f} {one.worst_psnr:6.2f} "
        f"{one.milliseconds:5.2f} {one.still_flicker:8.4f} {one.still_share:5.2f} {one.steady:7.3f}"
        for one in rows
    ]
    return "\n".join(lines)
