"""The few values that every room speaks. Arrays are NumPy; shapes and units are in the docstrings.

Legend of dimension letters, here and in every room: ``B`` batch, ``T`` mel frames (93.75 per
second), ``N`` video frames, ``D`` width, ``H`` attention heads, ``C`` the 61 codes, ``S`` audio
samples (24 kHz), ``K`` text tokens, ``W`` words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

SAMPLE_RATE = 24_000
HOP = 256
MEL_BINS = 100
MEL_RATE = SAMPLE_RATE / HOP  # 93.75 frames per second


@dataclass(frozen=True, kw_only=True)
class Word:
    """A spoken word and when it is spoken, in seconds from the beginning of its audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The square of the source picture that the renderer works on, in source pixels.

    The square may reach over the border of the picture (replicated there).
    """

    x: float
    y: float
    size: float
    source_width: int
    source_height: int


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is around the square: one whole picture of the source, shrunk to a usual video size.

    ``picture`` is an RGB JPEG, ``matte`` a grey one of the same size (255 inside the person);
    ``crop`` is the square in pixels of this picture.
    """

    picture: bytes = field(repr=False)
    matte: bytes = field(repr=False)
    crop: Crop


@dataclass(frozen=True, kw_only=True)
class PoseFrame:
    """Places the face model in the crop: codes of zero pose stand here.

    ``origin`` is the pixel (x, y down) of the face model's origin, ``scale`` the pixels per eye
    distance, both medians over the reference, in pixels of the stored square frames.
    """

    origin_x: float
    origin_y: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Everything that generation and rendering need of a reference clip (paper section 3.1).

    ``mel`` [T,100] log-mel; ``codes`` [N,61] at ``fps``; ``landmarks`` [N,478,3] pixels of the
    stored frames (x right, y down, z in the same unit, smaller is nearer); ``neutral`` [478,3] the
    personal neutral face in eye distances (y up); ``frames`` N JPEG pictures, square, side
    ``frame_size``; ``mattes`` N JPEG grey pictures of the person (255 inside), the same size or
    smaller; ``sharpness`` [N] (variance of the Laplacian in the face box; 0 where the face is
    hidden or turned away: such pictures are not shown).
    ``transcript`` is empty when it is not known. ``words`` may be empty. ``voice`` [S] is the sound
    that ``mel`` was taken from (24 kHz, int16). ``surroundings`` are missing in features of format
    1, ``voice`` in those before 3.
    """

    mel: Float
    codes: Float
    landmarks: Float
    neutral: Float
    frames: tuple[bytes, ...] = field(repr=False)
    mattes: tuple[bytes, ...] = field(repr=False)
    sharpness: Float
    fps: float
    frame_size: int
    crop: Crop
    pose_frame: PoseFrame
    transcript: str
    language: str
    words: tuple[Word, ...]
    source_sha256: str
    source_name: str
    start_seconds: float
    surroundings: Surroundings | None = None
    voice: NDArray[np.int16] | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """Length of the reference."""
        return len(self.mel) / MEL_RATE


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One piece of a script: normalised text (empty: only a pause) and the silence after it."""

    text: str
    pause_after: float
    paragraph: int = 0


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script ready to be spoken: segments in order, language ``en`` or ``zh``."""

    segments: tuple[Segment, ...]
    language: str
    source_sha256: str


@dataclass(frozen=True, kw_only=True)
class SegmentTime:
    """When a segment's text is spoken, in seconds of the performance."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Generated speech and motion: ``mel`` [T,100] and ``codes`` [T,61], both at the mel rate.

    ``settings`` is JSON-able and says how it was made (model, steps, guidance, seed, versions).
    ``sound`` [S] (24 kHz mono) is the finished speech where there is one, recorded or made by the
    model's own vocoder; without it a vocoder makes it from ``mel``.
    """

    mel: Float
    codes: Float
    segments: tuple[SegmentTime, ...]
    settings: dict[str, Any]
    sound: Float | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """Length of the performance."""
        return len(self.mel) / MEL_RATE


@dataclass(frozen=True, kw_only=True)
class Take:
    """A finished file: where it is, what it holds, how long each stage took (seconds)."""

    path: Path
    seconds: float
    width: int
    height: int
    fps: float
    seed: int
    marks: dict[str, Any]
    timings: dict[str, float]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as ``--json`` prints it."""
        return {
            "path": str(self.path), "seconds": round(self.seconds, 3), "width": self.width,
            "height": self.height, "fps": self.fps, "seed": self.seed, "marks": self.marks,
            "timings": {name: round(value, 3) for name, value in self.timings.items()},
            "settings": self.settings,
        }  # fmt: skip
