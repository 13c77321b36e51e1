"""Signals that face motion is made of: loudness, coloured noise, bumps at events.

All at the mel rate (93.75 per second), all vectorised over time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

from omnitalk_cli.types import MEL_RATE, Float

Array = NDArray[np.float64]


def loudness(mel: Float) -> tuple[Array, Array]:
    """Loudness and brightness of a log-mel ``[T,100]``, both ``[T]`` in 0…1.

    Loudness is relative to the clip's own loud parts (30 dB below them is 0); digital silence
    gives zeros. Brightness is the share of the level above about 2.5 kHz (spread vowels and
    fricatives are bright, rounded ones dark).
    """
    power = np.exp(np.clip(2.0 * mel.astype(np.float64), -24.0, 24.0))
    level = 0.5 * np.log(power.mean(axis=1))
    if len(level) == 0 or np.percentile(level, 95) < -9.0:
        return np.zeros(len(level)), np.zeros(len(level))
    top = np.percentile(level, 95)
    span = 30.0 / 8.686  # 30 dB in nepers
    loud = np.clip((level - top + span) / span, 0.0, 1.15) / 1.15
    high = power[:, 50:].sum(axis=1) / power.sum(axis=1)
    bright = np.sqrt(high) * (loud > 0.15)
    return smooth(loud, 0.02), smooth(bright, 0.03)


def smooth(values: Array, seconds: float) -> Array:
    """Gaussian smoothing along time (axis 0); ``seconds`` is its standard deviation."""
    if seconds * MEL_RATE < 0.3 or len(values) < 2:
        return values
    smoothed: Array = ndimage.gaussian_filter1d(
        values, seconds * MEL_RATE, axis=0, mode="nearest", truncate=3.0
    )
    return smoothed


def coloured(rng: np.random.Generator, frames: int, columns: int, low: float, high: float) -> Array:
    """Gaussian noise ``[frames, columns]`` of unit variance, its power between two hertz figures.

    The band has soft flanks. Made over at least 24 s, so that a short clip of slow noise is mostly
    an offset, as it would be when cut from a long one.
    """
    length = fft.next_fast_len(max(frames + frames // 4, int(24 * MEL_RATE)), real=True)
    frequency = fft.rfftfreq(length, 1.0 / MEL_RATE)
    with np.errstate(divide="ignore"):
        gain = 1.0 / (1.0 + (frequency / high) ** 4) / (1.0 + (low / frequency) ** 4)
    # Lines weaker than half a percent do not show: spare their random numbers.
    last = int(np.nonzero(gain > 0.005 * gain.max())[0][-1]) + 1
    spectrum = np.zeros((len(gain), columns), np.complex128)
    draw = rng.standard_normal((last, columns, 2))
    spectrum[:last] = gain[:last, None] * (draw[..., 0] + 1j * draw[..., 1])
    spectrum[0] = 0.0
    # irfft of unit complex lines (power 2 each, both sides) has variance 4·Σgain²/length².
    scale = length / (2.0 * np.sqrt((gain[1:last] ** 2).sum()))
    noise: Array = fft.irfft(spectrum, length, axis=0)[:frames] * scale
    return noise


def bumps(
    frames: int, starts: Array, ends: Array, rise: Array | float, fall: Array | float
) -> sparse.csc_matrix:
    """One bump per event as a sparse ``[frames, E]``: 1 between start and end (seconds), raised
    cosines of ``rise`` seconds before and ``fall`` seconds after."""
    starts, ends = np.asarray(starts, np.float64), np.asarray(ends, np.float64)
    rise = np.broadcast_to(np.asarray(rise, np.float64), starts.shape)
    fall = np.broadcast_to(np.asarray(fall, np.float64), starts.shape)

    def shape(early: Array, late: Array, which: NDArray[np.int64]) -> Array:
        away = np.maximum(early / rise[which], late / fall[which])
        return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.minimum(away, 1.0)))

    return _scatter(frames, starts, ends, rise, fall, shape)


def dominances(
    frames: int, starts: Array, ends: Array, before: float, after: float
) -> sparse.csc_matrix:
    """Exponential dominance per phone, sparse ``[frames, P]``: 1 in the phone's middle part, fading
    with the time constants ``before`` and ``after`` (seconds) outside it (Cohen and Massaro 1993).
    """
    middle, half = 0.5 * (starts + ends), 0.5 * (ends - starts)
    # The outer part of a phone already belongs to the way there and away.
    starts, ends = middle - 0.4 * half, middle + 0.4 * half
    reach_before = np.full(starts.shape, 6.0 * before)
    reach_after = np.full(starts.shape, 6.0 * after)

    def shape(early: Array, late: Array, which: NDArray[np.int64]) -> Array:
        return np.asarray(np.exp(-np.maximum(early / before, late / after)))

    return _scatter(frames, starts, ends, reach_before, reach_after, shape)


def _scatter(
    frames: int,
    starts: Array,
    ends: Array,
    before: Array,
    after: Array,
    shape: Callable[[Array, Array, NDArray[np.int64]], Array],
) -> sparse.csc_matrix:
    first = np.clip(np.ceil((starts - before) * MEL_RATE), 0, frames).astype(np.int64)
    last = np.clip(np.floor((ends + after) * MEL_RATE) + 1, 0, frames).astype(np.int64)
    counts = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = first[which] + offset
    time = rows / MEL_RATE
    early = np.maximum(starts[which] - time, 0.0)
    late = np.maximum(time - ends[which], 0.0)
    edges = np.concatenate([[0], np.cumsum(counts)])
    values = shape(early, late, which)
    return sparse.csc_matrix((values, rows, edges), (frames, len(starts)))


def renewal(rng: np.random.Generator, seconds: float, mean_gap: float, least: float) -> Array:
    """Times (seconds) of events; gaps are ``least`` plus a gamma of shape 2, mean ``mean_gap``.

    Begins before zero, so that the process is already running when the clip starts.
    """
    excess = max(mean_gap - least, 0.05)
    count = int(2.0 * (seconds + 2 * mean_gap) / mean_gap) + 12
    times = np.cumsum(least + rng.gamma(2.0, excess / 2.0, count)) - 2 * mean_gap
    kept: Array = times[(times > -0.3) & (times < seconds + 0.3)]
    return kept
