"""Warped base pictures over the background plate, and patches laid into them seamlessly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.plate import Plate
from omnitalk_cli.render.sampling import displaced, pixel_grid, sample
from omnitalk_cli.types import Float

# Pixels (side 512) that the background may ride along with the head: fully, not at all.
STILL, OWN = np.array([1.0, 4.0]), np.array([8.0, 24.0])
MEMBRANE_STEP, SPREAD, LEAST_WEIGHT = 8, 5, 1e-4
FLOW_SIDE = 256
FINE = 1.6  # pixels (side 512): detail finer than this comes from one picture alone


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A base picture: [S,S,4] RGB and matte, or [S,S,3] where there is no plate to lay it over."""

    picture: NDArray[np.uint8]


def warp_base(layer: Layer, flow: Float, pixels: Float, plate: Plate | None) -> NDArray[np.uint8]:
    """Warp a base picture by ``flow`` [G,G,2] and lay it over the plate → [S,S,3].

    Where the picture hardly moves it brings its own background, if that stood still in the
    reference; where the plate was never seen, also while it moves moderately.
    """
    size = pixels.shape[0]
    places = displaced(pixels, flow)
    if plate is None:
        return sample(layer.picture, places)
    warped = sample(layer.picture, places)
    unit = size / 512
    motion = np.hypot(flow[..., 0], flow[..., 1])
    keep = below(motion, STILL * unit).astype(np.float32)
    own = below(motion, OWN * unit).astype(np.float32)
    matte = cv2.extractChannel(warped, 3)
    unseen = (1 - plate.seen) * cv2.resize(own, (size, size))
    alpha = cv2.max(cv2.resize(keep, (size, size)) * plate.calm, unseen)
    alpha = cv2.max(alpha, matte.astype(np.float32) * (1 / 255))
    colours = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.blendLinear(colours, plate.picture, alpha, 1 - alpha), np.uint8)


def warp_matte(matte: NDArray[np.uint8], flow: Float, pixels: Float) -> NDArray[np.uint8]:
    """The matte [S,S] of a base picture, warped as ``warp_base`` warps the picture."""
    return sample(matte, displaced(pixels, flow))


def cross_fade(
    first: NDArray[np.uint8], second: NDArray[np.uint8], weight: float
) -> NDArray[np.uint8]:
    """Blend two pictures [S,S,3] of the same geometry, ``weight`` 0…1 of the second.

    Hair and clothes do not lie on the mesh and differ: they are first moved towards each other
    along their optical flow, so that one picture turns into the other instead of both showing.
    """
    size = first.shape[0]
    side = (FLOW_SIDE, FLOW_SIDE)
    small = [
        np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), np.uint8)
        for picture in (first, second)
    ]
    pixels = pixel_grid(size)
    stretched = cv2.resize(flow_between(small[0], small[1], size), (size, size))
    moved = [
        sample(picture, pixels + share * stretched)
        for picture, share in ((first, -weight), (second, 1 - weight))
    ]
    return np.asarray(cv2.addWeighted(moved[0], 1 - weight, moved[1], weight, 0), np.uint8)


def flow_between(first: NDArray[np.uint8], second: NDArray[np.uint8], size: int) -> Float:
    """Optical flow [F,F,2], F = 256, between two pictures [F,F,3] of the same geometry, smoothed,
    in pixels of pictures of side ``size``."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    start = np.zeros((FLOW_SIDE, FLOW_SIDE, 2), np.float32)
    flow = finder.calc(greys[0], greys[1], start) * (size / FLOW_SIDE)
    return np.asarray(cv2.GaussianBlur(flow, (0, 0), 2.0), np.float32)


def tinted(picture: NDArray[np.uint8], colour: Float) -> NDArray[np.uint8]:
    """``picture`` [h,w,3] plus the coarse ``colour`` [g,g,3] (grey levels), stretched over it."""
    wide = cv2.resize(colour, picture.shape[1::-1])
    return np.asarray(cv2.add(picture, wide, dtype=cv2.CV_8U), np.uint8)


def blend_coarse(
    first: NDArray[np.uint8], second: NDArray[np.uint8], *, unit: float
) -> NDArray[np.uint8]:
    """The mean of two pictures of the same thing with the fine detail of the first.

    Both are a little wrong, each in its own way. ``unit`` is the size of a pixel at a side of 512.
    """
    apart = cv2.subtract(second, first, dtype=cv2.CV_16S)
    coarse = cv2.GaussianBlur(apart, (0, 0), FINE * unit)
    return np.asarray(cv2.addWeighted(first, 1, coarse, 0.5, 0, dtype=cv2.CV_8U), np.uint8)


def lay_patch(
    base: NDArray[np.uint8], patch: NDArray[np.uint8], mask: Float, *, membrane: bool = True
) -> None:
    """Blend ``patch`` [h,w,3] into ``base`` [h,w,3] in place, by ``mask`` [h,w] 0…1.

    The patch first takes over the base's low-frequency colour along the mask's rim.
    """
    if membrane:
        patch = _match_colours(base, patch, mask)
    base[...] = cv2.blendLinear(patch, base, mask, 1 - mask)


def coarse_side(pixels: int) -> int:
    """Cells along a side of ``pixels`` at which colours are matched."""
    return max(2, pixels // MEMBRANE_STEP)


def _match_colours(
    base: NDArray[np.uint8], patch: NDArray[np.uint8], mask: Float
) -> NDArray[np.uint8]:
    height, width = mask.shape
    small = (coarse_side(width), coarse_side(height))
    rim = cv2.resize(4 * mask * (1 - mask), small, interpolation=cv2.INTER_AREA)[..., None]
    difference = cv2.resize(base, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference -= cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    spread = max(small) / SPREAD
    weight = cv2.GaussianBlur(rim, (0, 0), spread) + LEAST_WEIGHT
    shift = cv2.GaussianBlur(difference * rim, (0, 0), spread) / weight[..., None]
    return np.asarray(cv2.add(patch, cv2.resize(shift, (width, height)), dtype=cv2.CV_8U), np.uint8)


def below(values: Any, limits: NDArray[np.float64]) -> Any:
    """1 below the first of ``limits``, 0 above the second, linear between (array or tensor)."""
    return ((limits[1] - values) / (limits[1] - limits[0])).clip(0, 1)
