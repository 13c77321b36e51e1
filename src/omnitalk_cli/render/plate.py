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
STILL = 8.0  # mean standard deviation (grey levels) above which the background moves
CLEAR = 12  # matte values (0…255) below this are background
MARGIN = 9  # pixels (side 512) around the person that are not trusted


@dataclass(frozen=True, kw_only=True)
class Plate:
    """``picture`` [S,S,3] RGB; ``seen`` [S,S] 0…1, soft: 1 where background was observed."""

    picture: NDArray[np.uint8]
    seen: Float


def build_plate(
    frames: Sequence[NDArray[np.uint8]], mattes: Sequence[NDArray[np.uint8]]
) -> Plate | None:
    """Median of the background pixels over at most 50 frames, holes filled smoothly.

    ``frames`` [S,S,3] with ``mattes`` [S,S] (255: person). None when the background moves or is
    hardly visible: then the warped frame brings its own background.
    """
    side = frames[0].shape[0]
    steps = np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int)
    reach = max(3, round(MARGIN * side / 512)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    hidden = np.stack([cv2.dilate(mattes[index], kernel) >= CLEAR for index in steps])
    visible = len(steps) - hidden.sum(axis=0)
    stack = np.stack([frames[index] for index in steps])
    if (visible > 0).mean() < 0.02 or _unrest(stack, hidden) > STILL:
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
    soft = cv2.GaussianBlur(cv2.erode(seen, kernel), (0, 0), max(1.0, reach / 3))
    return Plate(picture=picture, seen=soft * seen)


def _unrest(stack: NDArray[np.uint8], hidden: NDArray[np.bool_]) -> float:
    """Mean standard deviation over time of the pixels that are background in most frames."""
    small = stack[:, ::4, ::4].mean(axis=-1)
    weight = ~hidden[:, ::4, ::4]
    count = weight.sum(axis=0)
    often = count >= max(2, 0.6 * len(stack))
    if not often.any():
        return 0.0
    total = np.maximum(count, 1)
    mean = (small * weight).sum(axis=0) / total
    variance = (((small - mean) ** 2) * weight).sum(axis=0) / total
    return float(np.sqrt(variance[often]).mean())


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
