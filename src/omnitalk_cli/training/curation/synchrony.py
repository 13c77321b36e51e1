"""Does this mouth move with this sound? Our own measure, without a trained network.

Loudness alone does not tell: in running speech lips are closed at "m" and nearly so at "u", which
are loud below 500 Hz, and open where there is energy above 1 kHz. So the opening is compared with
``log E(1…4.5 kHz) − a · log E(150…500 Hz)``, for a few ``a`` (0 for those who shout and sing) and
all lags of up to 0.3 s: the highest normalised cross-correlation is the agreement. Its confidence
needs no permutations: Fisher's z with the number of independent samples after Bartlett (1946), less
what the best of so many tries reaches by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.training.curation.tracks import TrackedFace
from omnitalk_cli.types import MEL_BINS, MEL_RATE, SAMPLE_RATE, Float

Series = NDArray[np.float64]

RATE = 50  # samples per second of both series
LARGEST_LAG = 0.3  # seconds
_LOW_HZ, _HIGH_HZ = (150.0, 500.0), (1000.0, 4500.0)
_WEIGHTS = (0.0, 0.5, 1.0)
_DEPTH = 5.0  # what is softer than the loudest by this (natural log of amplitude) counts alike
_PASS_HZ = (0.5, 8.0)  # syllables; slower is mood, faster is noise of the tracker
_SHORTEST = 1.0
# Lags and weights are not independent tries: neighbouring lags agree within a quarter of a second.
_TRIES = len(_WEIGHTS) * 2 * LARGEST_LAG / 0.25


@dataclass(frozen=True, kw_only=True)
class Synchrony:
    """``agreement`` −1…1 of mouth and sound; ``confidence`` in standard deviations above chance;
    ``lag`` in seconds, positive when the sound comes before the mouth moves."""

    agreement: float
    confidence: float
    lag: float


NONE = Synchrony(agreement=0.0, confidence=0.0, lag=0.0)


@lru_cache(maxsize=1)
def _band_hertz() -> Series:
    """Centre of each mel band, ``[100]``."""
    highest = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    return np.asarray(
        700.0 * (10 ** ((np.arange(MEL_BINS) + 1) * highest / (MEL_BINS + 1) / 2595.0) - 1.0)
    )


def sound_curves(mel: Float) -> Series:
    """What the mouth is compared with, for every weight: log-mel ``[T,100]`` → ``[3, n]`` at 50
    per second."""
    power = np.exp(2.0 * mel.astype(np.float64))
    times = np.arange(int(len(mel) / MEL_RATE * RATE)) / RATE
    curves = []
    for low, high in (_HIGH_HZ, _LOW_HZ):
        inside = (_band_hertz() >= low) & (_band_hertz() < high)
        level = 0.5 * np.log(power[:, inside].sum(axis=1) + 1e-9)
        level = np.maximum(level, np.quantile(level, 0.99) - _DEPTH)
        curves.append(np.interp(times, np.arange(len(mel)) / MEL_RATE, level))
    return np.stack([curves[0] - weight * curves[1] for weight in _WEIGHTS])


def mouth_curve(face: TrackedFace) -> Series:
    """The opening of the mouth at 50 per second."""
    times = np.arange(int(len(face.opening) / face.fps * RATE)) / RATE
    return np.interp(times, np.arange(len(face.opening)) / face.fps, face.opening)


def synchrony(mouth: Series, sound: Series) -> Synchrony:
    """Agreement of ``mouth`` [n] and ``sound`` [3,n] (see the functions above), from the same
    moment on. Nothing (zeros) when they share less than a second or one of them stands still."""
    length = min(len(mouth), sound.shape[1])
    if length < _SHORTEST * RATE or np.ptp(mouth[:length]) < 1e-6:
        return NONE
    lips = _passed(mouth[:length])
    best = NONE
    for curve in sound[:, :length]:
        if np.ptp(curve) < 1e-6:
            continue
        heard = _passed(curve)
        correlations = _correlations(lips, heard)
        place = int(correlations.argmax())
        agreement = float(correlations[place])
        if agreement > best.agreement:
            best = Synchrony(
                agreement=agreement,
                confidence=_confidence(agreement, _independent(lips, heard)),
                lag=(place - len(correlations) // 2) / RATE,
            )
    return best


def _passed(values: Series) -> Series:
    from scipy.signal import sosfiltfilt

    return np.asarray(sosfiltfilt(_filter(), values), np.float64)


@lru_cache(maxsize=1)
def _filter() -> Any:
    from scipy.signal import butter

    return butter(2, _PASS_HZ, btype="band", fs=RATE, output="sos")


def _correlations(lips: Series, heard: Series) -> Series:
    """Pearson correlation for lags −0.3…0.3 s: lips taken later than the sound are positive."""
    steps, length = round(LARGEST_LAG * RATE), len(lips)
    values = []
    for lag in range(-steps, steps + 1):
        a = lips[max(0, lag) : length + min(0, lag)]
        b = heard[max(0, -lag) : length + min(0, -lag)]
        a, b = a - a.mean(), b - b.mean()
        values.append(float(a @ b) / float(np.sqrt((a @ a) * (b @ b)) + 1e-12))
    return np.array(values)


def _independent(a: Series, b: Series) -> float:
    """Independent samples in two series: ``n / (1 + 2 Σ ρ_a(k) ρ_b(k))`` (Bartlett)."""
    length = len(a)
    longest = min(length // 2, 2 * RATE)
    lags = np.arange(1, longest)
    shared = float(((1 - lags / length) * _autocorrelation(a, longest) *
                    _autocorrelation(b, longest)).sum())  # fmt: skip
    return length / max(1.0, 1.0 + 2.0 * shared)


def _autocorrelation(values: Series, longest: int) -> Series:
    """ρ(1) … ρ(longest − 1)."""
    spectrum = np.fft.rfft(values - values.mean(), 2 * len(values))
    whole = np.fft.irfft(np.abs(spectrum) ** 2)[:longest]
    return np.asarray(whole[1:] / max(float(whole[0]), 1e-12))


def _confidence(agreement: float, independent: float) -> float:
    """Standard deviations above what the best of the tries has by chance."""
    z = float(np.arctanh(min(agreement, 0.999))) * float(np.sqrt(max(independent - 3.0, 0.0)))
    return z - float(np.sqrt(2.0 * np.log(_TRIES)))
