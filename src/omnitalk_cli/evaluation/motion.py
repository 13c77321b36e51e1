"""How a face moves, in numbers: lips against the truth, statistics of motion, Fréchet distances."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from omnitalk_cli.face.codes import (
    BLENDSHAPE_NAMES,
    CODE_COUNT,
    CODE_INDEX,
    EXPRESSION,
    GAZE,
    LIVE_EXPRESSION,
    POSE,
    ROTATION,
    TRANSLATION,
)
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.types import Float

# Inner lip points of the face mesh, upper and lower, in the middle and a little to each side.
_UPPER_LIP, _LOWER_LIP = (82, 13, 312), (87, 14, 317)
_MOUTH = tuple(
    i for i in LIVE_EXPRESSION if BLENDSHAPE_NAMES[i].startswith(("mouth", "jaw"))
)  # fmt: skip
_BROWS = tuple(i for i in LIVE_EXPRESSION if BLENDSHAPE_NAMES[i].startswith("brow"))
_LIDS = tuple(i for i in LIVE_EXPRESSION if BLENDSHAPE_NAMES[i].startswith("eye"))
_BLINK = (CODE_INDEX["eyeBlinkLeft"], CODE_INDEX["eyeBlinkRight"])
# Speeds are taken after this much smoothing, so that rates from 25 to 94 per second compare.
_SPEED_SMOOTHING = 0.03
_LONGEST_BLINK = 0.7


def _checked(codes: Float, what: str = "codes") -> np.ndarray:
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or codes.shape[1] != CODE_COUNT:
        raise ValueError(f"{what} have shape {codes.shape}, not [T,{CODE_COUNT}]")
    if not np.isfinite(codes).all():
        raise ValueError(f"{what} hold values that are not finite")
    return codes


@lru_cache(maxsize=1)
def _opening_weights() -> np.ndarray:
    """What each code adds to the gap between the lips, in eye distances per unit, ``[61]``."""
    basis = FaceRig.load().basis
    gaps = (basis[:, list(_UPPER_LIP), 1] - basis[:, list(_LOWER_LIP), 1]).mean(axis=1)
    weights = np.zeros(CODE_COUNT)
    weights[list(LIVE_EXPRESSION)] = gaps
    others = np.ones(CODE_COUNT, bool)
    others[list(_MOUTH)] = False
    weights[others] = 0.0  # brows and lids move the lips only by chance of the regression
    return weights


def lip_opening(codes: Float) -> Float:
    """Gap between the inner lips over that of the neutral face, in eye distances: ``[T,61] → [T]``.

    From the mouth channels of the face model's basis. Negative where the lips press.
    Raises ValueError for another shape or values that are not finite.
    """
    return np.asarray(_checked(codes) @ _opening_weights(), np.float32)


def lip_correlation(generated: Float, true: Float) -> float:
    """Pearson correlation of the lip openings of two code sequences ``[T,61]``, −1…1.

    They must belong to the same audio at the same rate; a difference of length is cut off at the
    end. 0 when one of them does not move. Raises ValueError for fewer than two frames in common.
    """
    frames = min(len(generated), len(true))
    if frames < 2:
        raise ValueError(f"a correlation needs two frames at least, there are {frames}")
    return pearson(lip_opening(generated[:frames]), lip_opening(true[:frames]))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two series ``[T]``; 0 when one of them is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / power if power > 1e-9 else 0.0


def count_blinks(codes: Float, rate: float) -> int:
    """Number of blinks in ``codes`` ``[T,61]`` at ``rate`` frames per second.

    A blink rises at least 0.12 over the open lid (the median) and ends, within 0.7 s, where the
    lid has come back half of the way.
    """
    lid = _checked(codes)[:, list(_BLINK)].mean(axis=1)
    over = lid - np.median(lid) if len(lid) else lid
    above = np.concatenate([[False], over > 0.06, [False]])
    edges = np.diff(above.astype(np.int8))
    starts, ends = np.nonzero(edges == 1)[0], np.nonzero(edges == -1)[0]
    return sum(
        1
        for start, end in zip(starts, ends, strict=True)
        if over[start:end].max() > 0.12 and end - start <= _LONGEST_BLINK * rate
    )


def _speed(values: np.ndarray, rate: float) -> float:
    """Mean length of the velocity of ``[T,d]``, per second."""
    if len(values) < 2:
        return 0.0
    values = gaussian_filter1d(values, _SPEED_SMOOTHING * rate, axis=0, mode="nearest")
    return float(np.linalg.norm(np.diff(values, axis=0), axis=1).mean() * rate)


def motion_statistics(codes: Float, rate: float) -> dict[str, float]:
    """Figures of motion of ``codes`` ``[T,61]`` at ``rate`` frames per second.

    Angles are degrees, speeds per second: ``head_speed``, ``head_range`` (yaw, 5th to 95th
    percentile), ``head_shift_speed`` (eye distances), ``gaze_speed``, ``lip_speed`` (eye distances
    of opening), ``lip_range`` (5th to 95th percentile), ``blinks``, ``blinks_per_minute``,
    ``brow_activity`` (blendshape units), and the mean standard deviation of each group of codes,
    ``std_mouth``, ``std_brows``, ``std_lids``, ``std_rotation``, ``std_translation``,
    ``std_gaze``. Raises ValueError for no frames or a rate that is not positive.
    """
    values = _checked(codes)
    if not len(values) or not rate > 0:
        raise ValueError(f"{len(values)} frames at {rate} per second have no motion to measure")
    degrees = 180.0 / np.pi
    rotation, gaze = values[:, ROTATION] * degrees, values[:, GAZE] * degrees
    opening = lip_opening(codes).astype(np.float64)
    deviation = values.std(axis=0)
    blinks = count_blinks(codes, rate)
    return {
        "seconds": len(values) / rate,
        "head_speed": _speed(rotation, rate),
        "head_range": float(np.ptp(np.percentile(rotation[:, 1], [5, 95]))),
        "head_shift_speed": _speed(values[:, TRANSLATION][:, :2], rate),
        "gaze_speed": _speed(0.5 * (gaze[:, :2] + gaze[:, 2:]), rate),
        "lip_speed": _speed(opening[:, None], rate),
        "lip_range": float(np.ptp(np.percentile(opening, [5, 95]))),
        "blinks": float(blinks),
        "blinks_per_minute": 60.0 * blinks * rate / len(values),
        "brow_activity": _speed(values[:, list(_BROWS)], rate),
        "std_mouth": float(deviation[list(_MOUTH)].mean()),
        "std_brows": float(deviation[list(_BROWS)].mean()),
        "std_lids": float(deviation[list(_LIDS)].mean()),
        "std_rotation": float(deviation[ROTATION].mean() * degrees),
        "std_translation": float(deviation[TRANSLATION].mean()),
        "std_gaze": float(deviation[GAZE].mean() * degrees),
    }


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the Gaussians of two sets of vectors ``[n,d]`` and ``[m,d]``.

    ``|μa − μb|² + tr(Σa + Σb − 2 (Σa^½ Σb Σa^½)^½)`` (Dowson and Landau 1982; the FID's formula).
    Raises ValueError for other shapes or fewer than two vectors.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"Fréchet distance of {a.shape} and {b.shape}: need [n≥2,d] and [m≥2,d]")
    mean = a.mean(axis=0) - b.mean(axis=0)
    cov_a = np.atleast_2d(np.cov(a, rowvar=False))
    cov_b = np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ cov_b @ root)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum()
    return float(max(mean @ mean + trace, 0.0))


def expression_distance(codes: Float, reference: Float) -> float:
    """E-FID (paper section 4.1): Fréchet distance over blendshapes and eye movement of the frames
    of ``[n,61]`` and ``[m,61]``."""
    columns = np.r_[EXPRESSION, GAZE]
    return frechet_distance(
        _checked(codes)[:, columns], _checked(reference, "reference codes")[:, columns]
    )


def pose_distance(codes: Float, reference: Float) -> float:
    """P-FID (paper section 4.1): Fréchet distance over head pose of the frames of ``[n,61]`` and
    ``[m,61]``."""
    return frechet_distance(
        _checked(codes)[:, POSE], _checked(reference, "reference codes")[:, POSE]
    )
