"""Warped base pictures over the background plate, and patches laid into them seamlessly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.plate import Plate
from omnitalk_cli.types import Float

STILL_PIXELS, MOVED_PIXELS = 1.0, 4.0  # at side 512: the background may ride along this far
MEMBRANE_STEP = 8


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A base picture [S,S,4]: RGB and its matte."""

    picture: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of whole grid cells, in cells; ``pixels(cell)`` gives slices of the picture."""

    rows: slice
    columns: slice

    def pixels(self, cell: int) -> tuple[slice, slice]:
        """Rows and columns in pixels for cells of ``cell`` pixels."""
        return (
            slice(self.rows.start * cell, self.rows.stop * cell),
            slice(self.columns.start * cell, self.columns.stop * cell),
        )


def pixel_grid(size: int) -> Float:
    """[S,S,2] every pixel's own x and y."""
    axis = np.arange(size, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def warp_base(layer: Layer, flow: Float, pixels: Float, plate: Plate | None) -> NDArray[np.uint8]:
    """Warp a base picture by ``flow`` [G,G,2] and lay it over the plate → [S,S,3].

    Where the plate was never seen, and where the picture hardly moves, the picture brings its own
    background.
    """
    size = pixels.shape[0]
    places = cv2.add(pixels, cv2.resize(flow, (size, size)))
    if plate is None:
        return cv2.remap(layer.picture[..., :3], places, None, cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    warped = cv2.remap(layer.picture, places, None, cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    unit = size / 512
    motion = cv2.magnitude(flow[..., 0], flow[..., 1])
    keep = np.clip((MOVED_PIXELS * unit - motion) / ((MOVED_PIXELS - STILL_PIXELS) * unit), 0, 1)
    matte = cv2.extractChannel(warped, 3)
    alpha = cv2.max(cv2.resize(keep, (size, size)), 1 - plate.seen)
    alpha = cv2.max(alpha, matte.astype(np.float32) * (1 / 255))
    colours = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    return cv2.blendLinear(colours, plate.picture, alpha, 1 - alpha)


def lay_patch(
    base: NDArray[np.uint8], patch: NDArray[np.uint8], mask: Float, *, membrane: bool = True
) -> None:
    """Blend ``patch`` [h,w,3] into ``base`` [h,w,3] in place, by ``mask`` [h,w] 0…1.

    The patch first takes over the base's low-frequency colour along the mask's rim.
    """
    if membrane:
        patch = _match_colours(base, patch, mask)
    base[...] = cv2.blendLinear(patch, base, mask, 1 - mask)


def _match_colours(
    base: NDArray[np.uint8], patch: NDArray[np.uint8], mask: Float
) -> NDArray[np.uint8]:
    height, width = mask.shape
    small = (max(2, width // MEMBRANE_STEP), max(2, height // MEMBRANE_STEP))
    rim = cv2.resize(4 * mask * (1 - mask), small, interpolation=cv2.INTER_AREA)[..., None]
    difference = cv2.resize(base, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference -= cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    spread = max(small) / 5
    weight = cv2.GaussianBlur(rim, (0, 0), spread) + 1e-4
    shift = cv2.GaussianBlur(difference * rim, (0, 0), spread) / weight[..., None]
    return cv2.add(patch, cv2.resize(shift, (width, height)), dtype=cv2.CV_8U)
