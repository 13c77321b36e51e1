"""What the video mark survives, what it costs, and whether it can be seen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.evaluation.attacks import VIDEO_ATTACKS, Attack, attacked
from omnitalk_cli.evaluation.mark_material import (
    Frames,
    Outcome,
    Picture,
    outcome,
    read_frames,
)
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.probe import probe
from omnitalk_cli.provenance.video_detector import VideoDetection, VideoMarkDetector, detect
from omnitalk_cli.provenance.video_mark import VideoMark, VideoMarker
from omnitalk_cli.types import Float

MOST_FRAMES = 150  # that the detector gets to see of a file

_BLOCK = 32  # frames over which areas must stand still for the temporal spectrum
_STILL, _FLAT = 4.0, 3.0  # grey levels: range over the block, deviation inside 15 pixels
_BANDS = (("to_3_hz", 3.0), ("to_8_hz", 8.0), ("above_8_hz", math.inf))
_STILLS = 5  # single pictures of a clip that are tried


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """How much of the mark could be seen in one clip, before any encoder.

    ``psnr`` and ``worst_psnr`` (of a frame) in dB. ``flat_share``: how much of the picture is flat
    and stands still over 32 frames; there, in grey levels (rms), ``standing``: the mark's part that
    does not change, ``moving``: its changes by temporal frequency, ``own``: those of the picture.
    """

    clip: str
    frames: int
    psnr: float
    worst_psnr: float
    flat_share: float
    standing: float
    moving: dict[str, float]
    own: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def marked_frames(frames: Frames, mark: VideoMark) -> list[Picture]:
    """``frames`` with the mark, as the product puts it in."""
    marker = VideoMarker(mark)
    return [marker.mark(frame) for frame in frames]


def read_mark(path: Path, *, key: bytes) -> VideoDetection:
    """What the detector says about the first frames of ``path``."""
    info = probe(path)
    with stream_frames(path, fps=info.fps or 25, info=info) as frames:
        return detect(frames, most=MOST_FRAMES, key=key)


def survive_video(
    master: Path,
    folder: Path,
    *,
    clip: str,
    mark: VideoMark,
    attacks: Iterable[Attack] = VIDEO_ATTACKS,
) -> Iterable[Outcome]:
    """See what is left of ``mark`` in the file ``master`` after each of ``attacks``."""
    for attack in attacks:
        found = read_mark(attacked(master, attack, folder), key=mark.key)
        yield outcome(clip, attack.name, found, mark.id, mark.bits)


def survive_cutting(
    master: Path, foreign: Frames, *, clip: str, mark: VideoMark
) -> Iterable[Outcome]:
    """Single pictures (PNG, JPEG, screenshot), and the clip as the middle third of an edit.

    ``foreign``: unmarked frames of the same size that come before and after it.
    """
    frames = read_frames(master, MOST_FRAMES)
    for at in np.linspace(0, len(frames) - 1, _STILLS).astype(int):
        for name, picture in _stills(frames[at]):
            found = detect([picture], key=mark.key)
            yield outcome(clip, name, found, mark.id, mark.bits)
    third = len(frames)
    around = [foreign[at % len(foreign)] for at in range(third)]
    whole = VideoMarkDetector(mark.key)
    best: VideoDetection | None = None
    for part in (around, frames, around):
        window = VideoMarkDetector(mark.key)
        for frame in part:
            window.add(frame)
        whole = whole.joined(window)
        found = window.result()
        if best is None or (found.id is not None, found.sync) > (best.id is not None, best.sync):
            best = found
    assert best is not None
    yield outcome(clip, "middle third, by windows", best, mark.id, mark.bits)
    yield outcome(clip, "middle third, all at once", whole.result(), mark.id, mark.bits)


def _stills(frame: Picture) -> Iterable[tuple[str, Picture]]:
    yield "one picture, PNG", frame
    coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    yield "one picture, JPEG 75", np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
    # A screenshot of a player: another size, with the window around it.
    height, width = (round(side * 1.37) for side in frame.shape[:2])
    screen = np.full((height + 120, width + 160, 3), 40, np.uint8)
    screen[60 : 60 + height, 80 : 80 + width] = cv2.resize(frame, (width, height))
    yield "one picture, screenshot", screen


def visibility(frames: Frames, marked: Frames, *, clip: str, fps: Fraction) -> Visibility:
    """How much of the mark could be seen in ``marked``."""
    errors = [
        float(((one.astype(np.float32) - two) ** 2).mean())
        for one, two in zip(frames, marked, strict=True)
    ]
    flat, standing = 0, 0.0
    moving = np.zeros(_BLOCK // 2 + 1)
    own = np.zeros(_BLOCK // 2 + 1)
    blocks = range(0, len(frames) - _BLOCK + 1, _BLOCK)
    for start in blocks:
        block = slice(start, start + _BLOCK)
        plain = np.stack([_luma(frame) for frame in frames[block]])
        quiet = _flat_and_still(plain)
        mark = np.stack([_luma(frame)[quiet] for frame in marked[block]]) - plain[:, quiet]
        flat += int(quiet.sum())
        standing += float((mark.mean(axis=0) ** 2).sum())
        moving += _spectrum(mark)
        own += _spectrum(plain[:, quiet])
    hertz = np.fft.rfftfreq(_BLOCK, 1 / float(fps))
    return Visibility(
        clip=clip,
        frames=len(frames),
        psnr=_decibel(float(np.mean(errors))),
        worst_psnr=_decibel(max(errors)),
        flat_share=flat / max(1, len(blocks) * frames[0][..., 0].size),
        standing=math.sqrt(standing / max(flat, 1)),
        moving=_banded(moving / max(flat, 1), hertz),
        own=_banded(own / max(flat, 1), hertz),
    )


def embedding_milliseconds(frames: Frames) -> float:
    """Processor time of one core for one frame."""
    marker = VideoMarker(VideoMark(id=1))
    marker.mark(frames[0])
    begin = time.process_time()
    for frame in frames:
        marker.mark(frame)
    return 1000 * (time.process_time() - begin) / len(frames)


def _decibel(error: float) -> float:
    return 10 * math.log10(255**2 / max(error, 1e-9))


def _luma(frame: Picture) -> Float:
    return frame.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def _flat_and_still(block: Float) -> NDArray[np.bool_]:
    """Where the pictures ``[_BLOCK,H,W]`` neither move nor hold texture, ``[H,W]``."""
    smooth = np.stack([cv2.blur(picture, (5, 5)) for picture in block])
    middle = block.mean(axis=0)
    mean = cv2.blur(middle, (15, 15))
    texture = np.sqrt(np.maximum(cv2.blur((middle - mean) ** 2, (15, 15)), 0))
    return np.asarray((np.ptp(smooth, axis=0) <= _STILL) & (texture <= _FLAT))


def _spectrum(series: Float) -> NDArray[np.float64]:
    """Power by temporal frequency of ``series [_BLOCK,pixels]``, summed over the pixels.

    The mean is taken off; the values sum up to the variance over time (Parseval).
    """
    changes = np.fft.rfft(series - series.mean(axis=0), axis=0)
    power = (np.abs(changes) ** 2).sum(axis=1) / _BLOCK**2
    power[1:-1] *= 2
    return np.asarray(power, np.float64)


def _banded(power: NDArray[np.float64], hertz: NDArray[np.float64]) -> dict[str, float]:
    made, low = {}, 0.0
    for name, high in _BANDS:
        made[name] = math.sqrt(float(power[(hertz > low) & (hertz <= high)].sum()))
        low = high
    return made
