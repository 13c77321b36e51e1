"""Which part of a clip becomes the reference: where one sharp face is seen and speech is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.finder import FaceTrack
from omnitalk_cli.types import Float

_LEVEL_STEP = 0.02  # seconds
_STEP = 0.25  # seconds between candidate windows
_SILENCE_DB = -70.0  # the loudest 20 ms of a track below this: there is no sound on it
_SPEECH_BELOW_PEAK_DB = 25.0
# Weights of the score; a face that is not there cannot be made up for by anything else.
_PRESENT, _SPEECH, _ALONE, _SHARP, _QUIET_EDGE = 3.0, 1.0, 0.5, 0.3, 0.1


@dataclass(frozen=True, kw_only=True)
class Window:
    """Part of a clip in seconds."""

    start: float
    seconds: float


def levels(audio: Float, rate: int) -> Float:
    """Loudness in dB of full scale for every 20 ms of ``audio`` [S]."""
    step = round(_LEVEL_STEP * rate)
    count = max(1, len(audio) // step)
    padded = np.zeros(count * step, np.float32)
    part = audio[: count * step]
    padded[: len(part)] = part
    power = (padded.reshape(count, step).astype(np.float64) ** 2).mean(axis=1)
    return (10 * np.log10(power + 1e-12)).astype(np.float32)


def is_silent(audio: Float, rate: int) -> bool:
    """Whether nothing at all can be heard. Very quiet sound is sound."""
    return bool(levels(audio, rate).max() < _SILENCE_DB)


def best_window(
    audio: Float,
    rate: int,
    faces: Sequence[FaceTrack],
    samples_per_second: float,
    *,
    total: float,
    seconds: float,
) -> Window:
    """The best ``seconds`` of a clip of ``total`` seconds.

    ``audio`` [S] at ``rate`` from the clip's beginning, ``faces`` seen in pictures sampled
    ``samples_per_second``. Each person's windows are judged by the share of samples with that face,
    the share of time with speech, being alone, sharpness, and beginning and ending in a pause.
    """
    if total <= seconds:
        return Window(start=0.0, seconds=total)
    loudness = levels(audio, rate)
    loud = float(np.quantile(loudness, 0.95))
    spoken = loudness > max(loud - _SPEECH_BELOW_PEAK_DB, _SILENCE_DB)
    count = max(1, int(np.floor(total * samples_per_second)))
    seen = [_per_sample(face, count) for face in faces]
    sharpest = max((s.sharpness for face in faces for s in face.sightings), default=1.0)
    best, most = 0.0, -np.inf
    for start in np.arange(0.0, total - seconds + 1e-6, _STEP):
        score = _SPEECH * _share(spoken, start, seconds) + _quiet_edges(spoken, start, seconds)
        first = round(start * samples_per_second)
        last = max(first + 1, round((start + seconds) * samples_per_second))
        crowd = [sizes[first:last] for sizes, _ in seen]
        score += max(
            (
                _of_face(number, crowd, sharpness[first:last], sharpest)
                for number, (_, sharpness) in enumerate(seen)
            ),
            default=0.0,
        )
        if score > most + 1e-9:
            best, most = float(start), score
    return Window(start=best, seconds=seconds)


def _per_sample(face: FaceTrack, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Side and sharpness of a face in every sample, 0 where it is not seen."""
    sides, sharpness = np.zeros(count + 1), np.zeros(count + 1)
    for sighting in face.sightings:
        place = min(sighting.sample, count)
        sides[place], sharpness[place] = sighting.box.side, sighting.sharpness
    return sides, sharpness


def _of_face(
    number: int,
    crowd: list[NDArray[np.float64]],
    sharpness: NDArray[np.float64],
    sharpest: float,
) -> float:
    sides = crowd[number]
    present = sides > 0
    others = [sizes for index, sizes in enumerate(crowd) if index != number]
    # Only faces that could be taken for the speaker disturb.
    alone = present.copy()
    for sizes in others:
        alone &= sizes < 0.5 * sides
    sharp = float(sharpness[present].mean()) / max(sharpest, 1e-9) if present.any() else 0.0
    return _PRESENT * float(present.mean()) + _ALONE * float(alone.mean()) + _SHARP * sharp


def _share(spoken: NDArray[np.bool_], start: float, seconds: float) -> float:
    part = spoken[round(start / _LEVEL_STEP) : round((start + seconds) / _LEVEL_STEP)]
    return float(part.mean()) if len(part) else 0.0


def _quiet_edges(spoken: NDArray[np.bool_], start: float, seconds: float) -> float:
    edges = (_share(spoken, start, 0.12), _share(spoken, start + seconds - 0.12, 0.12))
    return _QUIET_EDGE * sum(1.0 - edge for edge in edges)
