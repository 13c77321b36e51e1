"""The colour of a voice and the quiet of its room, carried over from one mel to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from omnitalk_cli.types import Float

_LOUD = 2.0  # nepers below the loud frames: vowels, mostly
_SMOOTH = 2.0  # bins
_MOST = 1.5  # nepers that the colour is moved by
_MOST_QUIET = 3.0  # nepers that the noise floor is lowered by


def match_colour(mel: Float, reference: Float) -> Float:
    """``mel`` ``[T, 100]`` with the long-term spectrum (not level) of ``reference`` ``[R, 100]``.

    Compares the mean log-mels of loud frames. What a small network makes of a voice drifts towards
    the average voice, and the ear hears that before anything else. Pauses that are noisier than
    the reference's, relative to its speech, become as quiet.
    """
    loud, quiet = _levels(mel)
    loud_wanted, quiet_wanted = _levels(reference)
    level = float((loud - loud_wanted).mean())
    colour = _smooth(loud_wanted + level - loud).clip(-_MOST, _MOST)
    floor = _smooth(quiet_wanted + level - quiet).clip(-_MOST_QUIET, 0.0)
    loudness = gaussian_filter1d(_loudness(mel), 1.0)
    low, high = np.quantile(loudness, [0.05, 0.9])
    share = ((loudness - low) / max(high - _LOUD - low, 0.5)).clip(0.0, 1.0)[:, None]
    return (mel + share * colour + (1.0 - share) * floor).astype(np.float32)


def _loudness(mel: Float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(np.exp(mel).sum(axis=1, dtype=np.float64))
    return found


def _levels(mel: Float) -> tuple[Float, Float]:
    """Mean log-mels ``[100]`` of the loud and of the quietest frames."""
    loudness = _loudness(mel)
    loud = loudness > np.quantile(loudness, 0.9) - _LOUD
    return mel[loud].mean(axis=0), mel[loudness <= np.quantile(loudness, 0.05)].mean(axis=0)


def _smooth(change: Float) -> Float:
    smoothed: Float = gaussian_filter1d(change, _SMOOTH)
    return smoothed
