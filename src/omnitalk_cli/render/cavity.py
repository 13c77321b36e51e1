"""A drawn mouth interior, for references that never open the mouth as far as the codes ask.

A dark cavity that borrows its hue from the person's lips, a soft band of upper teeth, a hint of
tongue. Simple, but better than lips stretched over the gap.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

# Opening in per cent of the eye distance: what a picture's own interior may be stretched to.
STRETCH, SLACK, RAMP = 2.5, 1.5, 3.0
TEETH = np.array([208, 194, 182], np.float32)
TEETH_HEIGHT, TEETH_REACH = 0.055, 0.8  # eye distances; share of the mouth's half width


def shortage(target_opening: float, source_opening: float) -> float:
    """0…1: how much of the interior must be drawn, because the source does not show it."""
    missing = target_opening - STRETCH * source_opening - SLACK
    return float(np.clip(missing / RAMP, 0, 1))


def lip_colour(frame: NDArray[np.uint8], outer: Float, inner: Float) -> Float:
    """Mean RGB [3] between the outer and inner lip contours [20,2] (pixels) of a frame."""
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(outer).astype(np.int32)], (255,))
    cv2.fillPoly(mask, [np.rint(inner).astype(np.int32)], (0,))
    return np.array(cv2.mean(frame, mask)[:3], np.float32)


def draw_cavity(
    picture: NDArray[np.uint8], inner: Float, scale: float, lips: Float, amount: float
) -> None:
    """Draw the interior into ``picture`` [S,S,3] in place, with opacity ``amount`` 0…1.

    ``inner`` [20,2] is the inner lip contour in pixels: corner, lower lip, corner, upper lip;
    ``scale`` pixels per eye distance; ``lips`` [3] the lips' colour.
    """
    height, width = picture.shape[:2]
    low = np.clip(np.floor(inner.min(axis=0)).astype(int) - 4, 0, [width, height])
    high = np.clip(np.ceil(inner.max(axis=0)).astype(int) + 5, 0, [width, height])
    if (high - low < 4).any():
        return
    area = picture[low[1] : high[1], low[0] : high[0]]
    across, below, gap = _mouth_coordinates(inner, low, area.shape[:2])

    brightness = float(np.clip(lips.mean() / 130, 0.3, 1.1))
    depth = np.clip(below / np.maximum(gap, 1), 0, 1)[..., None]
    colour = lips * (0.16 + 0.10 * depth)
    tongue = _ramp(depth, 0.55, 1.0) * _ramp(1 - np.abs(across), 0.2, 0.7)[..., None]
    colour = colour + 0.5 * tongue * (lips * np.array([0.8, 0.62, 0.62], np.float32) - colour)
    edge = 0.012 * scale
    length = np.minimum(TEETH_HEIGHT * scale, 0.55 * gap) * (1 - 0.35 * across**2)
    teeth = _ramp(length - below, -edge, edge) * _ramp(TEETH_REACH - np.abs(across), 0, 0.35)
    shade = (brightness * (0.88 - 0.4 * across**2))[..., None]
    colour = colour + 0.75 * teeth[..., None] * (TEETH * shade - colour)

    mask = np.zeros(area.shape[:2], np.uint8)
    places = np.rint((inner - low) * 16).astype(np.int32)
    cv2.fillPoly(mask, [places], (255,), cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.7, 0.008 * scale)).astype(np.float32)
    soft *= amount / 255
    drawn = np.clip(colour, 0, 255).astype(np.uint8)
    area[...] = cv2.blendLinear(drawn, np.ascontiguousarray(area), soft, 1 - soft)


def _mouth_coordinates(
    inner: Float, low: NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[Float, Float, Float]:
    """Per pixel [h,w]: place between the corners -1…1, pixels below the upper lip, gap there."""
    left, right = inner[0], inner[10]
    axis = (right - left) / max(1e-3, float(np.linalg.norm(right - left)))
    down = np.array([-axis[1], axis[0]], np.float32)
    middle = 0.5 * (left + right)
    half = max(1.0, 0.5 * float(np.linalg.norm(right - left)))
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    relative = np.stack([columns + low[0], rows + low[1]], axis=-1) - middle
    along, beneath = relative @ axis, relative @ down
    contour = inner - middle
    lower = contour[:11]
    upper = np.concatenate([contour[10:], contour[:1]])[::-1]
    top = np.interp(along, upper @ axis, upper @ down)
    bottom = np.interp(along, lower @ axis, lower @ down)
    return along / half, (beneath - top).astype(np.float32), (bottom - top).astype(np.float32)


def _ramp(values: NDArray[Any], start: float, stop: float) -> Float:
    step = np.clip((values - start) / (stop - start), 0, 1)
    return step * step * (3 - 2 * step)
