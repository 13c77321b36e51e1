"""Do lips and sound belong together, and which comes first? Without weights of any kind.

The course of the lips is predicted from the sound by a linear map that is fitted to the clip
itself, with every part predicted from the others, once for every shift between the two. Where
they belong together, prediction succeeds at one shift and fails at the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from omnitalk_cli.evaluation.motion import lip_opening, pearson
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.types import MEL_RATE, Float

Series = NDArray[np.float64]

VIDEO_RATE = 25.0  # frames per second in which papers state offsets
LARGEST = 15  # of these frames either way, as SyncNet looks
_GRID = 50.0
_BANDS = 8
_CONTEXT = (-3, 0, 3)  # steps of the grid: what is heard 60 ms before and after counts too
_TREND_SECONDS = 0.5
_RIDGE, _FOLDS = 0.03, 5
_GAP = 5  # steps between what is fitted and what is predicted: neighbours are alike
_LEAST_SECONDS = 2.0
# Below this the best shift of real clips is a guess (docs/evaluation.md).
CLEAR = 0.4


@dataclass(frozen=True, kw_only=True)
class Synchrony:
    """``offset`` of the lips in frames of 25 per second (positive: late), the ``correlation`` of
    predicted and true lips there, and by how much it is above the median over all shifts
    (``confidence``)."""

    offset: float
    correlation: float
    confidence: float


def synchrony(codes: Float, rate: float, audio: Float) -> Synchrony:
    """Compares codes ``[N,61]`` with sound ``[S]`` (24 kHz) that begins with them.

    Raises ValueError when they share less than two seconds, or where one of them stands still.
    """
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(audio, np.float32))).numpy()
    seconds = min(len(codes) / rate, len(mel) / MEL_RATE)
    if seconds < _LEAST_SECONDS:
        raise ValueError(f"{seconds:.1f} s are too short to compare lips and sound")
    heard = _detrended(_on_grid(_bands(mel), MEL_RATE, seconds))
    lips = _detrended(_on_grid(lip_opening(codes).astype(np.float64)[:, None], rate, seconds))[:, 0]
    if lips.std() < 1e-3:
        raise ValueError("the lips do not move")
    if heard.std() < 1e-2:
        raise ValueError("the sound does not change")
    context = np.concatenate([np.roll(heard, -shift, axis=0) for shift in _CONTEXT], axis=1)
    steps = round(LARGEST * _GRID / VIDEO_RATE)
    curve = np.array([_agreement(context, lips, shift) for shift in range(-steps, steps + 1)])
    curve = gaussian_filter1d(curve, 1.0)
    best = int(curve.argmax())
    place = best + _vertex(curve, best) - steps
    return Synchrony(
        offset=place / _GRID * VIDEO_RATE,
        correlation=float(curve[best]),
        confidence=float(curve[best] - np.median(curve)),
    )


def sync_scores(
    codes: Float | None, rate: float, audio: Float | None, why: str
) -> dict[str, Score]:
    """``sync_offset`` and ``sync_confidence``; ``why`` where something is missing."""
    names = ("sync_offset", "sync_confidence")
    if codes is None or audio is None:
        return {name: Score.missing(why) for name in names}
    try:
        found = synchrony(codes, rate, audio)
    except ValueError as error:
        return {name: Score.missing(str(error)) for name in names}
    model = "lips predicted from sound"
    note = f"{found.offset * 1000 / VIDEO_RATE:+.0f} ms, positive: the lips are late"
    if found.correlation < CLEAR:
        note += f"; not clear (correlation {found.correlation:.2f} is below {CLEAR})"
    about = "another scale than SyncNet's confidence"
    return {
        "sync_offset": Score(value=found.offset, model=model, substitute=True, note=note),
        "sync_confidence": Score(value=found.confidence, model=model, substitute=True, note=about),
    }


def _bands(mel: Float) -> Series:
    """Log-mel ``[T,100]`` in eight bands of equally many channels."""
    parts = np.array_split(mel.astype(np.float64), _BANDS, axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)


def _on_grid(values: Series, rate: float, seconds: float) -> Series:
    times, known = np.arange(0.0, seconds, 1 / _GRID), np.arange(len(values)) / rate
    return np.stack([np.interp(times, known, column) for column in values.T], axis=1)


def _detrended(values: Series) -> Series:
    """Without what changes more slowly than speech does."""
    slow = gaussian_filter1d(values, _TREND_SECONDS * _GRID, axis=0)
    return np.asarray(values - slow, np.float64)


def _agreement(heard: Series, lips: Series, shift: int) -> float:
    """Correlation of the lips, taken ``shift`` steps later, with what the sound says of them."""
    x = heard[max(-shift, 0) : len(heard) + min(-shift, 0)]
    y = lips[max(shift, 0) : len(lips) + min(shift, 0)]
    guess = np.zeros_like(y)
    edges = np.linspace(0, len(y), _FOLDS + 1).round().astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        known = np.r_[0 : max(0, first - _GAP), min(len(y), last + _GAP) : len(y)]
        mean, spread = x[known].mean(axis=0), x[known].std(axis=0) + 1e-6
        a = (x[known] - mean) / spread
        middle = y[known].mean()
        normal = a.T @ a + _RIDGE * len(known) * np.eye(a.shape[1])
        weights = np.linalg.solve(normal, a.T @ (y[known] - middle))
        guess[first:last] = (x[first:last] - mean) / spread @ weights + middle
    return pearson(guess, y)


def _vertex(curve: Series, best: int) -> float:
    """Where between the points the parabola through the best and its neighbours is highest."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    left, middle, right = curve[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend < -1e-12 else 0.0
