"""Marks that are found where there are none: unmarked files, and files marked by somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from omnitalk_cli.evaluation.mark_material import SIDE, Clip, Frames, Picture
from omnitalk_cli.provenance.audio_mark import detect as detect_sound
from omnitalk_cli.provenance.audio_mark import embed
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.provenance.video_detector import detect as detect_picture
from omnitalk_cli.provenance.video_mark import VideoMark, VideoMarker
from omnitalk_cli.types import SAMPLE_RATE, Float

OTHER_KEY = b"somebody else"
_LENGTHS = (1, 6, 24)  # frames of a piece
_SECONDS = (2.0, 4.0, 8.0)
_BARE_SHARE = 8  # one try in so many is noise, and one a still or a tone


@dataclass(frozen=True, kw_only=True)
class FalseMarks:
    """Of ``tries`` without our mark: how many gave an id, how many were said to hold a mark.

    ``highest``: the most confident of them (for the picture half the sync over its threshold).
    """

    tries: int
    foreign: int
    ids: int
    marks: int
    highest: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def with_one(self, found: Detection, *, foreign: bool) -> FalseMarks:
        """One more try."""
        return FalseMarks(
            tries=self.tries + 1,
            foreign=self.foreign + foreign,
            ids=self.ids + (found.id is not None),
            marks=self.marks + found.present,
            highest=max(self.highest, found.confidence),
        )


NONE_YET = FalseMarks(tries=0, foreign=0, ids=0, marks=0, highest=0.0)


def false_video(clip: Clip, tries: int, *, seed: int) -> Iterator[tuple[Detection, bool]]:
    """What the detector says of ``tries`` pieces made of ``clip``, and whether one was foreign."""
    rng = np.random.default_rng(seed)
    for number in range(tries):
        foreign = number % 4 == 3
        kind = number % _BARE_SHARE
        if kind == 1:
            piece: Frames = _noise(rng)
        else:
            count = 1 if kind == 2 else int(rng.choice(_LENGTHS))
            start = int(rng.integers(0, max(1, len(clip.frames) - count)))
            piece = clip.frames[start : start + count]
        if foreign:
            marker = VideoMarker(VideoMark(id=int(rng.integers(2**32)), key=OTHER_KEY))
            piece = [marker.mark(frame) for frame in piece]
        yield detect_picture(_mistreated(piece, rng)), foreign


def false_audio(clip: Clip, tries: int, *, seed: int) -> Iterator[tuple[Detection, bool]]:
    """As ``false_video``, for pieces of the sound of ``clip``."""
    rng = np.random.default_rng(seed)
    for number in range(tries):
        foreign = number % 4 == 3
        kind = number % _BARE_SHARE
        size = min(len(clip.sound), round(float(rng.choice(_SECONDS)) * SAMPLE_RATE))
        start = int(rng.integers(0, len(clip.sound) - size + 1))
        piece = clip.sound[start : start + size]
        if kind == 1:
            piece = (0.1 * rng.standard_normal(size)).astype(np.float32)
        elif kind == 2:
            piece = _tones(size, rng)
        if foreign:
            piece = embed(piece, int(rng.integers(2**32)), 32, OTHER_KEY)
        elif rng.random() < 0.3:
            piece = piece[::-1].copy()  # as much speech again, with other beginnings
        rate = int(rng.choice((SAMPLE_RATE, 44_100, 16_000)))  # played at another speed, so to say
        yield detect_sound(float(rng.uniform(0.1, 1.5)) * piece, rate), foreign


def _mistreated(frames: Frames, rng: np.random.Generator) -> Iterable[Picture]:
    """Cropped, scaled, mirrored and coded again, all frames alike."""
    height, width = frames[0].shape[:2]
    share = float(rng.uniform(0.5, 1.0))
    high, wide = round(height * share), round(width * share)
    top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    scale = float(rng.uniform(0.6, 1.6))
    size = (max(16, round(wide * scale)), max(16, round(high * scale)))
    mirrored = rng.random() < 0.5
    quality = int(rng.integers(25, 95))
    for frame in frames:
        cut = frame[top : top + high, left : left + wide]
        scaled = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
        scaled = scaled[:, ::-1] if mirrored else scaled
        coded = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        yield np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _noise(rng: np.random.Generator) -> list[Picture]:
    """Noise of some grain, alike in three colours."""
    rough = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), float(rng.uniform(0.3, 6)))
    grey = np.clip(128 + rng.uniform(5, 50) * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return [np.repeat(grey[..., None], 3, axis=2)]


def _tones(size: int, rng: np.random.Generator) -> Float:
    """A steady chord."""
    seconds = np.arange(size) / SAMPLE_RATE
    pitches = rng.uniform(100, 4000, 5)
    return np.asarray(sum(0.1 * np.sin(2 * np.pi * f * seconds) for f in pitches), np.float32)
