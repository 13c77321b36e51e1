"""The embedded renderer: a layered warp with the person's own frames. No weights.

Key poses are warped as a whole; mouth and eyes come from the frames whose lips and lids fit best.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.base import Picture
from omnitalk_cli.render.compositor import Layer, lay_patch, pixel_grid, warp_base
from omnitalk_cli.render.features import Features, features_of
from omnitalk_cli.render.flow import FlowGrid, TargetFlow
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.patches import Crop, PatchKind, patch_mask, warp_patch
from omnitalk_cli.render.plan import Planner, Step
from omnitalk_cli.render.plate import Plate
from omnitalk_cli.types import Float


@dataclass(frozen=True, kw_only=True)
class MeshBank:
    """The reference, ready to be warped: base keys, crops of all frames, geometry, plate."""

    size: int
    grid: FlowGrid
    pixels: Float
    geometry: Geometry
    key_indices: NDArray[np.int64]
    layers: tuple[Layer, ...]
    plate: Plate | None
    mouth_kind: PatchKind
    mouths: tuple[Crop, ...]
    eye_kind: PatchKind
    eyes: tuple[Crop, ...]
    planner: Planner


def draw_frame(bank: MeshBank, target: Geometry, index: int, step: Step) -> Picture:
    """Draw frame ``index`` of ``target`` from the sources of ``step`` → [S,S,3]."""
    flow = TargetFlow(bank.grid, target, index)

    def base(key: int) -> Picture:
        to_key = flow.to(bank.geometry, int(bank.key_indices[key]))
        return warp_base(bank.layers[key], to_key, bank.pixels, bank.plate)

    picture = base(step.base)
    if step.other_weight > 0:
        weight = step.other_weight
        picture = cv2.addWeighted(picture, 1 - weight, base(step.other), weight, 0)
    vertices = target.vertices[index]
    for kind, crops, source in (
        (bank.mouth_kind, bank.mouths, step.mouth),
        (bank.eye_kind, bank.eyes, step.eyes),
    ):
        masked = patch_mask(kind, vertices, flow.scale, bank.grid)
        if masked is None:
            continue
        region, mask = masked
        to_source = flow.to(bank.geometry, source, gaze=kind.gaze)
        patch = warp_patch(crops[source], to_source, region, bank.pixels)
        rows, columns = region.pixels(round(bank.grid.cell))
        lay_patch(picture[rows, columns], patch, mask)
    return picture
