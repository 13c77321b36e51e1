"""Filling short gaps in tracked landmarks and smoothing them over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

WINDOW, ORDER = 5, 2


def smooth(landmarks: Float) -> Float:
    """Savitzky-Golay (window 5, order 2) along time: ``[N,...]`` → ``[N,...]``.

    Sequences shorter than the window are returned as they are.
    """
    if len(landmarks) < WINDOW:
        return landmarks
    from scipy.signal import savgol_filter  # a second to import, and only extraction needs it

    return savgol_filter(landmarks, WINDOW, ORDER, axis=0, mode="interp").astype(np.float32)


def fill_gaps(landmarks: Float, found: NDArray[np.bool_]) -> Float:
    """Interpolate the frames where ``found`` [N] is false; the ends repeat the nearest frame.

    ``landmarks`` [N,...] may hold anything there. At least one frame must be found.
    """
    if found.all():
        return landmarks
    known = np.flatnonzero(found)
    if not len(known):
        raise ValueError("no frame to interpolate from")
    position = np.interp(np.arange(len(found)), known, np.arange(len(known)))
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (position - before).reshape(-1, *[1] * (landmarks.ndim - 1)).astype(np.float32)
    return (1 - share) * landmarks[known[before]] + share * landmarks[known[after]]


def gaps(found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of frames that are not ``found``, as (first, one past the last)."""
    lost = np.concatenate([[False], ~found, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(lost))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
