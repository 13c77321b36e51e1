"""What the benchmark of the marks works on: clips as the product would have made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.encode import VideoWriter
from omnitalk_cli.media.probe import probe
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.types import SAMPLE_RATE, Float

Picture = NDArray[np.uint8]
Frames = Sequence[Picture]

SIDE = 512  # pixels of the shorter side: the size that the product draws
SECONDS = 15.0
_SILENT = 1e-3  # rms: sound below -60 dBFS is no speech
_BLANK_RATE = 5  # frames per second of the picture beside sound that stands alone


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip: ``frames [N][H,W,3]`` RGB, shorter side 512 (none: sound only) at ``fps``;
    ``sound [S]`` at 24 kHz (none: silent)."""

    name: str
    frames: Frames
    fps: Fraction
    sound: Float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One attack on one clip or piece: was the right id read, and how well did it agree."""

    clip: str
    attack: str
    bits: int
    right: bool
    wrong: bool
    present: bool
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def outcome(clip: str, attack: str, found: Detection, wanted: int, bits: int) -> Outcome:
    """What ``found`` means where the id ``wanted`` of ``bits`` was embedded."""
    right = (found.id, found.bits) == (wanted, bits)
    return Outcome(
        clip=clip, attack=attack, bits=bits, right=right, present=found.present,
        wrong=found.id is not None and not right, confidence=found.confidence,
    )  # fmt: skip


def load(path: Path, *, seconds: float = SECONDS, picture: bool = True) -> Clip:
    """The first ``seconds`` of a video or sound file. Raises InputError for anything else."""
    info = probe(path)
    frames: list[Picture] = []
    if picture and info.has_video and not info.is_image:
        width, height = info.display_size
        scale = SIDE / min(width, height)
        with stream_frames(
            path, fps=info.fps or 25, info=info, seconds=seconds,
            width=2 * round(width * scale / 2), height=2 * round(height * scale / 2),
        ) as stream:  # fmt: skip
            frames = list(stream)
    sound = np.zeros(0, np.float32)
    if info.has_audio:
        sound = decode_audio(path, info=info, seconds=seconds)
        if float(np.sqrt((sound**2).mean())) < _SILENT:
            sound = sound[:0]
    if picture and not frames and not len(sound):
        raise InputError(f"{path}: holds neither a video nor sound that could be marked")
    return Clip(name=path.stem, frames=frames, fps=info.fps or Fraction(25), sound=sound)


def id_of(number: int) -> int:
    """A 32-bit id for the clip or piece of this number, the same in every run."""
    return 0x9E3779B1 * (number + 1) % 2**32


def write_master(path: Path, frames: Frames, *, fps: Fraction, sound: Float | None = None) -> Path:
    """``frames`` and ``sound [S]`` as a file, by the product's own encoder and settings."""
    height, width = frames[0].shape[:2]
    audio = sound if sound is not None and len(sound) else None
    with VideoWriter(
        path, width=width, height=height, fps=fps, audio=audio, frames=len(frames), overwrite=True
    ) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_sound(path: Path, sound: Float) -> Path:
    """``sound [S]`` as the product writes it, beside a blank picture."""
    count = max(1, round(len(sound) / SAMPLE_RATE * _BLANK_RATE))
    blank = np.full((32, 32, 3), 128, np.uint8)
    return write_master(path, [blank] * count, fps=Fraction(_BLANK_RATE), sound=sound)


def read_frames(path: Path, most: int) -> list[Picture]:
    """The first ``most`` frames of a file, at its own rate and size."""
    info = probe(path)
    fps = info.fps or Fraction(25)
    with stream_frames(path, fps=fps, info=info, seconds=most / float(fps)) as stream:
        return list(stream)
