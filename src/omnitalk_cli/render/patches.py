"""Mouth and eye pictures of the bank: cut out small, warped onto the target, masked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.flow import GRID, FlowGrid, Region
from omnitalk_cli.render.sampling import displaced, sample
from omnitalk_cli.types import Float

MARGIN = 0.35  # eye distances around the points that a crop keeps, for the warp to reach into


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A cut-out [h,w,3] whose top left pixel was at ``x``, ``y`` of the frame."""

    picture: NDArray[np.uint8]
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class PatchKind:
    """How a part of the face is cut and blended: groups of mesh vertices, one hull each.

    ``grow`` scales the hull about its middle (sideways, up and down); ``feather`` is the blur of
    its edge in eye distances.
    """

    groups: tuple[NDArray[np.int64], ...]
    grow: tuple[float, float]
    feather: float
    gaze: bool


def cut(frame: NDArray[np.uint8], points: Float, scale: float) -> Crop:
    """Cut the box around ``points`` [P,2] with a margin of 0.35 eye distances."""
    margin = MARGIN * scale
    height, width = frame.shape[:2]
    left, top = np.clip(points.min(axis=0) - margin, 0, [width - 2, height - 2]).astype(int)
    right, bottom = np.ceil(np.clip(points.max(axis=0) + margin, 0, [width, height])).astype(int)
    right, bottom = max(right, left + 2), max(bottom, top + 2)
    return Crop(picture=frame[top:bottom, left:right].copy(), x=int(left), y=int(top))


def patch_mask(
    kind: PatchKind, vertices: Float, scale: float, grid: FlowGrid
) -> tuple[Region, Float] | None:
    """Region of whole cells and soft mask [h,w] 0…1 of the part at ``vertices`` [V,2] (pixels).

    None when the part lies outside the frame.
    """
    covered = patch_cover(kind, vertices, scale, grid)
    if covered is None:
        return None
    region, cover = covered
    return region, np.asarray(cover.astype(np.float32) / 255, np.float32)


def patch_cover(
    kind: PatchKind, vertices: Float, scale: float, grid: FlowGrid
) -> tuple[Region, NDArray[np.uint8]] | None:
    """As ``patch_mask``, the mask in 255 steps."""
    feather = kind.feather * scale
    hulls = []
    for group in kind.groups:
        hull = cv2.convexHull(vertices[group])[:, 0]
        middle = 0.5 * (hull.min(axis=0) + hull.max(axis=0))
        hulls.append(middle + (hull - middle) * np.array(kind.grow, np.float32))
    everything = np.concatenate(hulls)
    low = np.floor((everything.min(axis=0) - 2.5 * feather) / grid.cell).astype(int)
    high = np.ceil((everything.max(axis=0) + 2.5 * feather) / grid.cell).astype(int) + 1
    low, high = np.clip(low, 0, GRID), np.clip(high, 0, GRID)
    if (high - low < 2).any():
        return None
    region = Region(rows=slice(low[1], high[1]), columns=slice(low[0], high[0]))
    cell = round(grid.cell)
    shape = ((high - low) * cell)[::-1]
    # Drawn at half the resolution: the blur leaves nothing finer.
    mask = np.zeros((shape[0] // 2, shape[1] // 2), np.uint8)
    for hull in hulls:
        places = ((hull - low * cell) * 8 - 4).round().astype(np.int32)
        cv2.fillConvexPoly(mask, places, (255,), cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.5, feather / 2))
    return region, np.asarray(cv2.resize(soft, (int(shape[1]), int(shape[0]))), np.uint8)


def warp_patch(crop: Crop, flow: Float, region: Region, pixels: Float) -> NDArray[np.uint8]:
    """Warp a crop by the ``flow`` [g,g,2] of ``region`` → [h,w,3]."""
    cell = pixels.shape[0] // GRID
    rows, columns = region.pixels(cell)
    here = pixels[rows, columns]
    return sample(crop.picture, displaced(here, flow - np.array([crop.x, crop.y], np.float32)))
