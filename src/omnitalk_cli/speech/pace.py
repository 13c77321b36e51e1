"""How fast somebody speaks, heard from the sound alone, and whether a transcript can be believed.

No syllable is found: what counts is how fast the shape of the spectrum changes while somebody
speaks, and how often the loudness of a few bands rises and falls. Both grow with the tempo, and
neither depends on the loudness or the colour of the voice. A ridge regression makes a pace of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from omnitalk_cli.speech.duration import FASTEST, SLOWEST
from omnitalk_cli.types import MEL_RATE

Array = NDArray[np.float64]

_QUIET = 3.5  # nepers below the loud frames that still count as speech
_LEAST_FRAMES = 70  # of speech: three quarters of a second
_LAGS = (2, 4, 6, 9)  # frames of 10.7 ms
_CEPSTRA = 14
_BANDS = ((2, 20), (20, 45), (45, 75), (75, 100))
_SMOOTHING = 2.0  # frames
_PROMINENCE = 0.4  # nepers
_RIDGE = 300.0
_DISAGREEMENT = 1.35
_TRUST_IN_TEXT = 0.6  # measured: least error of the speaker's other sentences at 0.5 to 0.75
_BIAS = -0.0504
# Per feature: mean and spread over the corpus, and what one spread adds to the log of the pace
# (fitted by ``python -m omnitalk_cli.evaluation.durations --fit-pace``).
_MODEL: tuple[tuple[float, float, float], ...] = (
    (-0.7644, 0.3977, -0.0122),
    (-0.7491, 0.2646, -0.041),
    (0.0346, 0.2828, 0.022),
    (-0.0065, 0.2137, -0.0443),
    (0.3392, 0.2153, 0.0316),
    (0.3214, 0.1818, -0.0221),
    (0.5039, 0.1667, -0.0002),
    (0.5564, 0.1343, 0.0027),
    (1.3296, 0.2005, -0.0307),
    (1.4097, 0.1777, -0.0216),
    (1.4765, 0.1729, -0.0371),
    (1.3912, 0.1888, -0.0207),
    (0.9505, 0.0376, -0.0284),
)  # fmt: skip


def speech_frames(mel: Array) -> NDArray[np.bool_]:
    """Where ``mel`` ``[T, 100]`` (natural log) holds speech ``[T]``; gaps of stops are bridged."""
    loudness = gaussian_filter1d(np.log(np.exp(mel).mean(axis=1)), 2.0)
    top = np.percentile(loudness, 95)
    floor = np.percentile(loudness, 2)
    # A noisy room leaves less distance between speech and what is between the words.
    threshold = max(top - _QUIET, floor + 0.2 * (top - floor))
    loud = (loudness > threshold).astype(np.float64)
    bridged: NDArray[np.bool_] = gaussian_filter1d(loud, 6.0) > 0.35
    return bridged


def pace_features(mel: NDArray[Any]) -> Array | None:
    """What of ``mel`` ``[T, 100]`` tells the pace; None with too little speech in it."""
    mel = np.asarray(mel, np.float64)
    if len(mel) < _LEAST_FRAMES:
        return None
    spoken = speech_frames(mel)
    count = int(spoken.sum())
    if count < _LEAST_FRAMES:
        return None
    shape = dct(np.maximum(mel, mel[spoken].max() - 9.0), axis=1, norm="ortho")[:, :_CEPSTRA]
    shape = shape / (shape[spoken].std(axis=0) + 1e-6)
    features = []
    for lag in _LAGS:
        both = spoken[lag:] & spoken[:-lag]
        change = ((shape[lag:] - shape[:-lag])[both] ** 2) if both.any() else np.ones((1, 1))
        features += [np.log(change[:, :1].mean()), np.log(change[:, 1:].mean())]
    seconds = count / MEL_RATE
    for low, high in _BANDS:
        envelope = gaussian_filter1d(np.log(np.exp(mel[:, low:high]).mean(axis=1)), _SMOOTHING)
        peaks, _ = find_peaks(envelope, prominence=_PROMINENCE)
        features.append(np.log((spoken[peaks].sum() + 1.0) / seconds))
    features.append(count / len(mel))
    return np.asarray(features)


def pace_from_mel(mel: NDArray[Any]) -> float | None:
    """The pace of speech ``mel`` ``[T, 100]`` (natural log), on the scale of
    :class:`~omnitalk_cli.speech.duration.DurationModel` fitted to the human part of the corpus.

    None with less than about a second of speech. Held within the limits of that class's ``pace``.
    """
    features = pace_features(mel)
    if features is None:
        return None
    mean, spread, weight = np.asarray(_MODEL).T
    # Sound unlike any speech of the corpus must not lead to a pace unlike any.
    away = np.clip((features - mean) / spread, -3.0, 3.0)
    return float(np.clip(np.exp(_BIAS + away @ weight), FASTEST, SLOWEST))


def reliable_pace(by_text: float | None, by_sound: float | None) -> float:
    """The pace to speak with, from what the transcript and what the sound of a reference tell.

    Both err, differently, so the speaker's next sentence is predicted best by a mean of them. A
    transcript that is more than 35 % off what is heard is wrong and does not count. 1 when
    neither is known.
    """
    if by_text is None or by_sound is None:
        return by_text or by_sound or 1.0
    if max(by_text, by_sound) > _DISAGREEMENT * min(by_text, by_sound):
        return by_sound
    return float(by_text**_TRUST_IN_TEXT * by_sound ** (1.0 - _TRUST_IN_TEXT))


def fit_pace(
    features: Array, log_paces: Array, importance: Array
) -> tuple[float, list[tuple[float, float, float]]]:
    """The bias and per feature its (mean, spread, weight): ridge regression of ``log_paces``
    ``[U]`` on ``features`` ``[U, F]``, rows weighted by ``importance`` ``[U]`` (mean 1)."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    away = np.c_[np.clip((features - mean) / spread, -3.0, 3.0), np.ones(len(features))]
    weighted = away * importance[:, None]
    penalty = _RIDGE * np.diag([1.0] * features.shape[1] + [0.0])
    found = np.linalg.solve(weighted.T @ away + penalty, weighted.T @ log_paces)
    rows = [(float(a), float(b), float(c)) for a, b, c in zip(mean, spread, found, strict=False)]
    return float(found[-1]), rows


def stretched(mel: NDArray[Any], factor: float) -> Array:
    """``mel`` ``[T, 100]`` lasting ``factor`` times as long, frames interpolated."""
    where = np.linspace(0, len(mel) - 1, max(2, round(len(mel) * factor)))
    left = np.minimum(where.astype(int), len(mel) - 2)
    share = (where - left)[:, None]
    return np.asarray(mel[left] * (1.0 - share) + mel[left + 1] * share, np.float64)
