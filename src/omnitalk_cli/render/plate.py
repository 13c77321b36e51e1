"""The background plate: what stands behind the person, where the reference shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

MOST_FRAMES = 50
CLEAR = 12  # matte values (0…255) below this are background
MARGIN = 9  # pixels (side 512) around the person that are not trusted
# Standard deviation over time (grey levels) of background that stands still, that does not.
CALM, RESTLESS = 6.0, 14.0
WILD = 60.0  # beyond this the median is no picture of anything
LEAST_SEEN = 0.02  # share of the picture
SOFT = 4.0  # pixels (side 512): blur where the background does not stand still
COARSE = 4  # pixels per cell in which unrest is measured


@dataclass(frozen=True, kw_only=True)
class Plate:
    """``picture`` [S,S,3] RGB; ``seen`` [S,S] 0…1, soft: 1 where background was observed;
    ``calm`` [S,S] 0…1, soft: 1 where it stood still in the reference."""

    picture: NDArray[np.uint8]
    seen: Float
    calm: Float


def build_plate(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    known: Sequence[NDArray[np.uint8]] | None = None,
) -> Plate | None:
    """Median of the background pixels over at most 50 frames, holes filled smoothly.

    ``frames`` [S,S,3] with ``mattes`` [S,S] (255: person); ``known`` [S,S] is 0 where a frame
    shows nothing. Where the background moves wildly, the median is softened further, as out of
    focus. None when the background is hardly visible: then the warped frame brings its own.
    """
    side = frames[0].shape[0]
    steps = plate_frames(len(frames))
    hidden = _hidden(mattes, side, known)
    visible = len(steps) - hidden.sum(axis=0)
    stack = np.stack([frames[index] for index in steps])
    if (visible > 0).mean() < LEAST_SEEN:
        return None
    picture = np.zeros((side, side, 3), np.uint8)
    rank = np.maximum(visible - 1, 0) // 2
    for channel in range(3):
        layer = stack[..., channel].copy()
        layer[hidden] = 255  # sorts behind every visible value, so the rank counts those alone
        layer.sort(axis=0)
        picture[..., channel] = np.take_along_axis(layer, rank[None], axis=0)[0]
    seen = (visible >= min(3, len(steps))).astype(np.float32)
    picture = fill_smoothly(picture, seen)
    deviation, trust = _deviation(stack, hidden)
    calm = np.clip((RESTLESS - deviation) / (RESTLESS - CALM), 0, 1) * (trust > 0) + (trust == 0)
    calm = cv2.GaussianBlur(calm.astype(np.float32), (0, 0), 2.0)
    calm = np.asarray(cv2.resize(calm, (side, side)), np.float32)
    if deviation.max() > RESTLESS:
        wild = np.clip((deviation - RESTLESS) / (WILD - RESTLESS), 0, 1)
        wild = cv2.resize(cv2.GaussianBlur(wild, (0, 0), 2.0), (side, side))
        blurred = cv2.GaussianBlur(picture, (0, 0), SOFT * side / 512)
        picture = np.asarray(cv2.blendLinear(blurred, picture, wild, 1 - wild), np.uint8)
    kernel = _margin(side)
    soft = cv2.GaussianBlur(cv2.erode(seen, kernel), (0, 0), max(1.0, len(kernel) / 3))
    return Plate(picture=picture, seen=soft * seen, calm=calm)


def unrest(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    known: Sequence[NDArray[np.uint8]] | None = None,
) -> float:
    """Mean standard deviation over time (grey levels) of what is background in most frames."""
    stack = np.stack([frames[index][::COARSE, ::COARSE] for index in plate_frames(len(frames))])
    hidden = _hidden(mattes, frames[0].shape[0], known)[:, ::COARSE, ::COARSE]
    deviation, trust = _deviation(stack, hidden, step=1)
    often = trust >= 0.6
    return float(deviation[often].mean()) if often.any() else 0.0


def plate_frames(count: int) -> NDArray[np.int64]:
    """The frames, of ``count``, that a plate is made from: at most 50, evenly spread."""
    return np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int)


def _margin(side: int) -> NDArray[np.uint8]:
    reach = max(3, round(MARGIN * side / 512)) | 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)), np.uint8)


def _hidden(
    mattes: Sequence[NDArray[np.uint8]], side: int, known: Sequence[NDArray[np.uint8]] | None
) -> NDArray[np.bool_]:
    """[n,S,S] where some frames show no background."""
    kernel, steps = _margin(side), plate_frames(len(mattes))
    hidden = np.stack([cv2.dilate(mattes[index], kernel) >= CLEAR for index in steps])
    if known is not None:
        hidden |= np.stack([known[index] == 0 for index in steps])
    return hidden


def _deviation(
    stack: NDArray[np.uint8], hidden: NDArray[np.bool_], step: int = COARSE
) -> tuple[Float, Float]:
    """Standard deviation over time of every ``step``-th pixel while it is visible, and the share
    of the time that it is (0 for less than two frames)."""
    small = stack[:, ::step, ::step].mean(axis=-1)
    weight = ~hidden[:, ::step, ::step]
    count = weight.sum(axis=0)
    total = np.maximum(count, 1)
    mean = (small * weight).sum(axis=0) / total
    variance = (((small - mean) ** 2) * weight).sum(axis=0) / total
    share = np.where(count >= 2, count / len(stack), 0)
    return np.sqrt(variance).astype(np.float32), share.astype(np.float32)


def fill_smoothly(picture: NDArray[np.uint8], known: Float) -> NDArray[np.uint8]:
    """Fill pixels whose ``known`` is 0 from the nearest known ones (push-pull pyramid)."""
    levels: list[tuple[NDArray[Any], NDArray[Any]]]
    levels = [(picture.astype(np.float32) * known[..., None], known)]
    while min(levels[-1][1].shape) > 2 and levels[-1][1].min() < 1e-3:
        value, weight = levels[-1]
        half = (max(1, weight.shape[1] // 2), max(1, weight.shape[0] // 2))
        value = cv2.resize(value, half, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
        gain = np.minimum(1.0, 4 * weight) / np.maximum(weight, 1e-6)
        levels.append((value * gain[..., None], weight * gain))
    value, weight = levels[-1]
    mean = value.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    filled: NDArray[Any] = value / np.maximum(weight, 1e-6)[..., None]
    filled = np.where(weight[..., None] < 1e-3, mean, filled).astype(np.float32)
    for value, weight in reversed(levels[:-1]):
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        filled = value + (1 - weight)[..., None] * coarse
    return np.clip(filled + 0.5, 0, 255).astype(np.uint8)
