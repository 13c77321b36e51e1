"""Teaching the renderer one person: how mouth and eyes look, and what moves beside the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.appearance import Appearance, learn_appearance
from omnitalk_cli.render.flow import FlowGrid, Region, TargetFlow
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.patches import Crop, PatchKind, patch_mask, warp_patch
from omnitalk_cli.render.residual import (
    FLOW_SIDE,
    MOST_PAIRS,
    Residual,
    learn_residual,
    usual_residual,
)
from omnitalk_cli.render.sampling import displaced, pixel_grid, sample
from omnitalk_cli.types import Float

TEXTURE = (48, 36)  # width and height of learned textures


@dataclass(frozen=True, kw_only=True)
class PartModel:
    """The expected look of a part of the face: textures over ``region`` of bank frame ``index``."""

    appearance: Appearance
    index: int
    region: Region

    def correction(self, inputs: Float, source: int, points: Float, flow: Float) -> Float:
        """What to add [g,g,3] to bank picture ``source`` at the grid cells ``points`` [g,g,2],
        which ``flow`` [g,g,2] takes to the frame of the textures."""
        texture = self.appearance.correction(inputs, source)
        low, span = self.texture_box(float(points[0, 1, 0] - points[0, 0, 0]))
        places = (points + flow - low + 0.5) / span * np.array(texture.shape[1::-1]) - 0.5
        found = cv2.remap(
            texture, places.astype(np.float32), None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # type: ignore[call-overload]  # fmt: skip
        return np.asarray(found, np.float32)

    def texture_box(self, cell: float) -> tuple[Float, NDArray[np.float64]]:
        """Top left corner [2] and size [2] in pixels of what the textures show."""
        rows, columns = self.region.rows, self.region.columns
        low = np.array([columns.start, rows.start], np.float32) * cell
        return low, np.array([columns.stop - columns.start, rows.stop - rows.start]) * cell


def learn_part(
    crops: tuple[Crop, ...],
    kind: PatchKind,
    geometry: Geometry,
    openness: Float,
    inputs: Float,
    grid: FlowGrid,
) -> PartModel | None:
    """What the part looks like, learned from every frame's picture of it, small, warped onto the
    frame that is as open as the upper quartile, so that the inside has room."""
    index = int(np.argsort(openness)[int(0.75 * (len(crops) - 1))])
    flow = TargetFlow(grid, geometry, index)
    masked = patch_mask(kind, geometry.vertices[index], flow.scale, grid)
    if masked is None:
        return None
    region, pixels = masked[0], pixel_grid(grid.size)
    pictures = [
        warp_patch(crop, flow.to(geometry, source, region=region, gaze=kind.gaze), region, pixels)
        for source, crop in enumerate(crops)
    ]
    small = [cv2.resize(picture, TEXTURE, interpolation=cv2.INTER_AREA) for picture in pictures]
    appearance = learn_appearance(np.stack(small), inputs)
    if appearance is None:
        return None
    return PartModel(appearance=appearance, index=index, region=region)


def learn_residual_of(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    geometry: Geometry,
    distance: Float,
    keys: NDArray[np.int64],
    grid: FlowGrid,
    inputs: Float,
    workers: int = 1,
) -> Residual:
    """What is left when bank frames are drawn from the base pictures ``keys`` that fit them best
    (``distance`` [N,K]), by ``inputs`` [N,F], other than themselves and their neighbours in time.
    With too few of them: shoulders that follow the head a little. ``workers`` threads draw."""
    count = len(frames)
    near = np.abs(np.arange(count)[:, None] - keys[None]) < 6
    distance = np.where(near, np.inf, distance)
    targets = np.unique(np.linspace(0, count - 1, min(count, MOST_PAIRS)).round().astype(int))
    pairs = [
        (int(target), int(keys[distance[target].argmin()]))
        for target in targets
        if np.isfinite(distance[target].min())
    ]
    axis = (np.arange(FLOW_SIDE, dtype=np.float32) + 0.5) * (grid.size / FLOW_SIDE) - 0.5
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1)
    side = (FLOW_SIDE, FLOW_SIDE)

    def draw(target: int, source: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Float]:
        flow = TargetFlow(grid, geometry, target).to(geometry, source)
        warped = sample(frames[source], displaced(pixels, flow))
        filmed = cv2.resize(frames[target], side, interpolation=cv2.INTER_AREA)
        matte = cv2.resize(mattes[target], side, interpolation=cv2.INTER_AREA)
        return np.asarray(filmed, np.uint8), warped, matte.astype(np.float32) / 255

    learned = learn_residual(pairs, draw, inputs, grid.size, keys, workers=workers)
    if learned is not None:
        return learned
    centre = np.median(geometry.pose_points.mean(axis=1), axis=0)
    scale = float(np.median(geometry.scale))
    return usual_residual(centre, scale, grid.size, keys=len(keys))
