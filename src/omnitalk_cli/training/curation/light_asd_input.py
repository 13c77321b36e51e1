"""What Light-ASD looks at and listens to: grey lower faces at 25 pictures per second, and MFCC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from omnitalk_cli.errors import SetupError
from omnitalk_cli.face.crop import cut
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.training.curation.active_speaker import SpeakerScore, Stretch
from omnitalk_cli.training.curation.cutting import Piece
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.tracks import TrackedFace
from omnitalk_cli.types import Crop, Float

VERSION = 1
RATE = 16_000
_FPS, _SIDE = 25, 112
_MARGIN = 0.4  # their cropScale: the view is 2.8 half sides wide, and its middle half is used
_WINDOW, _STEP, _FFT, _BANDS, _LIFTER = 400, 160, 512, 26, 22


def mfcc(audio: Float) -> Float:
    """13 MFCC ``[frames,13]`` every 10 ms of ``audio`` [S] (16 kHz, −1…1), as the package
    python_speech_features makes them by default from 16-bit samples."""
    samples = np.round(np.asarray(audio, np.float64) * 32767.0)
    samples = np.concatenate([samples[:1], samples[1:] - 0.97 * samples[:-1]])
    count = 1 + max(0, int(np.ceil((len(samples) - _WINDOW) / _STEP)))
    padded = np.pad(samples, (0, (count - 1) * _STEP + _WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP][:count]
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    tiny = np.finfo(float).eps
    energy = np.maximum(power.sum(axis=1), tiny)
    from scipy.fft import dct

    bands = np.log(np.maximum(power @ _bank().T, tiny))
    cepstrum = dct(bands, type=2, axis=1, norm="ortho")[:, :13]
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(13) / _LIFTER)
    cepstrum[:, 0] = np.log(energy)
    return cepstrum.astype(np.float32)


@lru_cache(maxsize=1)
def _bank() -> NDArray[np.float64]:
    """Triangular filters ``[26,257]``, equally spaced in mel from 0 to 8 kHz."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * hertz / RATE).astype(int)
    bank = np.zeros((_BANDS, _FFT // 2 + 1))
    for row, (low, middle, high) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        bank[row, low:middle] = (np.arange(low, middle) - low) / max(middle - low, 1)
        bank[row, middle:high] = (high - np.arange(middle, high)) / max(high - middle, 1)
    return bank


def grey_faces(stretch: Stretch) -> list[NDArray[np.uint8]]:
    """The lower part of every face, ``[T,112,112]`` at 25 pictures per second."""
    places = [_views(face) for face in stretch.faces]
    pictures: list[list[NDArray[np.uint8]]] = [[] for _ in places]
    length = stretch.end - stretch.start
    with stream_frames(
        stretch.info.path, fps=_FPS, start=stretch.start, seconds=length, info=stretch.info
    ) as frames:
        for number, frame in enumerate(frames):
            for views, kept in zip(places, pictures, strict=True):
                x, y, half = views[min(number, len(views) - 1)].tolist()
                height, width = frame.shape[:2]
                crop = Crop(
                    x=x - half, y=y - half, size=2 * half, source_width=width, source_height=height
                )
                kept.append(np.asarray(cv2.cvtColor(cut(frame, crop, _SIDE), cv2.COLOR_RGB2GRAY)))
    return [np.stack(kept).astype(np.uint8) for kept in pictures]


def _views(face: TrackedFace) -> Float:
    """Middle (x, y) and half side of the view ``[T,3]`` at 25 per second."""
    from scipy.signal import medfilt

    half = face.boxes[:, 2:].max(axis=1) / 2
    x, y = (face.boxes[:, :2] + face.boxes[:, 2:] / 2).T
    times = np.arange(int(len(half) / face.fps * _FPS) or 1) / _FPS
    frames = np.arange(len(half)) / face.fps
    smooth = [np.interp(times, frames, medfilt(v.astype(np.float64), 13)) for v in (x, y, half)]
    reach = (1 + _MARGIN) / 2
    return np.stack([smooth[0], smooth[1] + _MARGIN * smooth[2], reach * smooth[2]], axis=1).astype(
        np.float32
    )


class LightAsdModel:
    """Judges faces with Light-ASD; ``weights`` is a safetensors file. Raises SetupError."""

    margin = 0.0

    def __init__(self, weights: Path | None, limits: CurationSettings) -> None:
        from omnitalk_cli.training.curation.light_asd import load_light_asd

        if weights is None:
            raise SetupError(
                "--speaker-model light-asd needs its weights: --speaker-weights FILE.safetensors "
                "(docs/corpus.md says how to get them), or use --speaker-model sync"
            )
        self._network: Any = load_light_asd(weights)
        self._limits = limits
        state = weights.stat()
        self._name = [VERSION, weights.name, state.st_size, state.st_mtime_ns]

    def judge(self, stretch: Stretch, piece: Piece) -> list[SpeakerScore]:
        """A score for every face of ``stretch`` in ``piece``."""
        courses = stretch.cache.arrays(
            "light-asd", [self._name, stretch.faces_key], lambda: self._courses(stretch),
            save=_save, load=_load,
        )  # fmt: skip
        first = round((piece.start - stretch.start) * _FPS)
        count = max(1, round(piece.seconds * _FPS))
        return [self._score(course[first : first + count]) for course in courses]

    def _courses(self, stretch: Stretch) -> list[Float]:
        import torch

        sound = mfcc(stretch.sound(stretch.start, stretch.end - stretch.start, RATE))
        return [
            self._network.scores(torch.from_numpy(sound), torch.from_numpy(faces)).numpy()
            for faces in grey_faces(stretch)
        ]

    def _score(self, course: Float) -> SpeakerScore:
        score = float(course.mean()) if len(course) else -100.0
        faults: Sequence[str] = ()
        if score < self._limits.min_asd:
            faults = [f"Light-ASD gives {score:.2f} (at least {self._limits.min_asd:g})"]
        return SpeakerScore(score=score, faults=tuple(faults), values={"asd": score})


def _save(courses: Sequence[Float], path: Path) -> None:
    save_file({str(number): course for number, course in enumerate(courses)}, path)


def _load(path: Path) -> list[Float]:
    tensors = load_file(path)
    return [tensors[str(number)] for number in range(len(tensors))]
