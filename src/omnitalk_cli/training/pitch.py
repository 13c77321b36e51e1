"""Pitch and voicing of recorded speech, as labels for networks that see only its mel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.types import HOP, SAMPLE_RATE, Float

LOWEST, HIGHEST = 55.0, 500.0
_STATES = 96  # pitches that a path can take, evenly spaced in log frequency


@dataclass(frozen=True, kw_only=True)
class PitchTrack:
    """Per mel frame [T]: pitch in ``hertz`` (unvoiced frames too) and ``voiced`` 0…1."""

    hertz: NDArray[np.float32]
    voiced: NDArray[np.float32]


def track_pitch(audio: Float) -> PitchTrack:
    """Pitch of mono ``audio`` [S] at 24 kHz, S at least 0.1 s.

    YIN's dips (de Cheveigne and Kawahara 2002) joined by dynamic programming.
    """
    hertz, dip = _pitch_path(audio)
    voiced = np.clip((0.45 - dip) / 0.25, 0.0, 1.0)
    return PitchTrack(hertz=hertz.astype(np.float32), voiced=voiced.astype(np.float32))


def _pitch_path(audio: Float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth pitch [T] in Hz, unvoiced frames too, and the depth of YIN's dip (0 deep) [T]."""
    normal = _yin(torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))).numpy()
    grid = np.geomspace(LOWEST, HIGHEST, _STATES)
    lags = SAMPLE_RATE / grid
    low = np.floor(lags).astype(np.int64)
    share = lags - low
    dips = normal[:, low] * (1 - share) + normal[:, low + 1] * share
    # A slight preference for short periods: their multiples fit as well.
    cost = dips + 0.06 * np.linspace(1, 0, _STATES)
    distance = np.abs(np.arange(_STATES)[:, None] - np.arange(_STATES))
    states = _best_path(cost, np.minimum(0.05 * np.maximum(distance - 1, 0), 0.8))
    rows = np.arange(len(states))
    hertz = _smoothed(_refined(dips, states, grid), dips[rows, states])
    return hertz, dips[rows, states].astype(np.float64)


def _refined(
    dips: NDArray[np.float64], states: NDArray[np.int64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pitch at the bottom of a parabola through each chosen dip and its neighbours."""
    rows, inner = np.arange(len(states)), states.clip(1, _STATES - 2)
    left, middle, right = (dips[rows, inner + k] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend > 1e-6, 0.5 * (left - right) / np.maximum(bend, 1e-6), 0.0).clip(-1, 1)
    ratio = grid[1] / grid[0]
    return np.asarray(grid[inner] * ratio**shift, dtype=np.float64)


def _smoothed(hertz: NDArray[np.float64], dip: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over five frames of log pitch, in which clear frames count most."""
    weight = np.exp(-8.0 * dip) + 1e-4
    kernel = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    above = np.convolve(np.log(hertz) * weight, kernel, mode="same")
    return np.asarray(np.exp(above / np.convolve(weight, kernel, mode="same")))


def _yin(audio: Tensor) -> Tensor:
    """Cumulative mean normalised difference (YIN, Eq. 8) per mel frame, [T, lags]."""
    longest = int(SAMPLE_RATE / LOWEST) + 2
    window, size = 2 * HOP, 2 * HOP + longest
    length = 1024
    count = len(audio) // HOP + 1
    padded = torch.nn.functional.pad(audio, (size // 2, size // 2 + HOP))
    frames = padded.unfold(0, size, HOP)[:count]
    spectrum = torch.fft.rfft(frames, length)
    head = torch.fft.rfft(frames[:, :window], length)
    correlation = torch.fft.irfft(spectrum * head.conj(), length)[:, :longest]
    energy = torch.nn.functional.pad(frames.square().cumsum(1), (1, 0))
    moved = energy[:, window : window + longest] - energy[:, :longest]
    difference = (moved[:, :1] + moved - 2 * correlation).clamp_min(0.0) + 1e-7
    mean = difference[:, 1:].cumsum(1) / torch.arange(1, longest)
    normal = torch.cat([torch.ones(count, 1), difference[:, 1:] / mean], 1)
    return normal.clamp_max(1.5)


def _best_path(cost: NDArray[np.float64], move: NDArray[np.float64]) -> NDArray[np.int64]:
    """States [T] of least summed ``cost`` [T,K] and ``move`` [K,K], symmetric (Viterbi)."""
    total, rows = cost[0], np.arange(len(move))
    back = np.zeros(cost.shape, dtype=np.int64)
    for t in range(1, len(cost)):
        through = total + move
        back[t] = through.argmin(axis=1)
        total = through[rows, back[t]] + cost[t]
    states = np.zeros(len(cost), dtype=np.int64)
    states[-1] = total.argmin()
    for t in range(len(cost) - 1, 0, -1):
        states[t - 1] = back[t, states[t]]
    return states
