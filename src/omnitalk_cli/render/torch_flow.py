"""``flow.py`` for whole batches of target frames, on a torch device.

The parts that stay sharp and the patches' masks are drawn on the host, frame by frame, before the
device needs them (``Outline``); everything that is done per cell and source is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.render.bank import MeshBank
from omnitalk_cli.render.flow import (
    BLUR,
    GAZE_STRENGTH,
    GRID,
    Region,
    draw_sharp_parts,
    head_weight,
    inverse_corners,
)
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.patches import PatchKind, patch_cover
from omnitalk_cli.render.torch_bank import DeviceBank
from omnitalk_cli.render.torch_ops import gaussian_map, mapped, upload
from omnitalk_cli.render.torch_raster import cover_cells

Cover = tuple[Region, NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """What is drawn on the host for one frame: the ``sharp`` parts [G,G] as in ``flow.py``; where
    ``mouth`` and ``eyes`` go."""

    sharp: NDArray[np.uint8]
    mouth: Cover | None
    eyes: Cover | None

    @classmethod
    def of(cls, bank: MeshBank, target: Geometry, index: int) -> Outline:
        """The outline of frame ``index`` of ``target``."""
        vertices, scale = target.vertices[index], float(target.scale[index])

        def cover(kind: PatchKind) -> Cover | None:
            return patch_cover(kind, vertices, scale, bank.grid)

        return cls(
            sharp=draw_sharp_parts(bank.grid, vertices),
            mouth=cover(bank.mouth_kind),
            eyes=cover(bank.eye_kind),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """B target frames: fields of ``Geometry`` by frame."""

    vertices: NDArray[np.float32]
    depth: NDArray[np.float32]
    pose_points: NDArray[np.float32]
    irises: NDArray[np.float32]
    scale: NDArray[np.float32]
    roll: NDArray[np.float32]

    @classmethod
    def of(cls, frames: Sequence[tuple[Geometry, int]]) -> Targets:
        """The frames (geometry, index in it)."""
        return cls(
            vertices=np.stack([one.vertices[index] for one, index in frames]),
            depth=np.stack([one.depth[index] for one, index in frames]),
            pose_points=np.stack([one.pose_points[index] for one, index in frames]),
            irises=np.stack([one.irises[index] for one, index in frames]),
            scale=np.stack([one.scale[index] for one, index in frames]),
            roll=np.stack([one.angles[index, 2] for one, index in frames]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """A rectangle of cells for every target frame, all of one size: ``rows`` [B,h], ``columns``
    [B,w] (cells)."""

    rows: Tensor
    columns: Tensor

    def of(self, values: Tensor, targets: Tensor) -> Tensor:
        """``values`` [B,G,G,...] of frames ``targets`` [P], inside their windows: [P,h,w,...]."""
        rows, columns = self.rows[targets], self.columns[targets]
        return values[targets[:, None, None], rows[:, :, None], columns[:, None, :]]

    def points(self, cell: int) -> Tensor:
        """Middles [B,2,h,w] of the cells, x and y in pixels."""
        return _mesh((self.rows + 0.5) * cell - 0.5, (self.columns + 0.5) * cell - 0.5)

    def pixels(self, cell: int) -> tuple[Tensor, Tensor]:
        """Rows [B,H] and columns [B,W] of the pixels inside."""
        inside = torch.arange(cell, device=self.rows.device)
        return (
            (self.rows[..., None] * cell + inside).flatten(1),
            (self.columns[..., None] * cell + inside).flatten(1),
        )


class BatchFlow:
    """Flows into B target frames."""

    def __init__(self, bank: DeviceBank, targets: Targets, outlines: Sequence[Outline]) -> None:
        device, grid = bank.device, bank.host.grid
        self._bank = bank
        count = len(outlines)
        self._vertices = upload(targets.vertices, device)
        self._pose = upload(targets.pose_points, device)
        self._irises = upload(targets.irises, device)
        self._scale = upload(targets.scale, device)
        every = torch.arange(GRID, device=device).expand(count, GRID)
        self.everywhere = Windows(rows=every, columns=every)
        self._outermost = grid.topology.outermost
        corners = targets.vertices[:, grid.topology.triangles]  # [B,F,3,2]
        inverse = inverse_corners(corners.reshape(-1, 3, 2)).reshape(count, -1, 9)
        lines = upload(inverse, device)
        triangles = cover_cells(grid, targets.vertices, targets.depth, lines)
        self._corners, self._shares = self._barycentric(lines, triangles)
        sharp = upload(np.stack([outline.sharp for outline in outlines]), device)
        self._sharp = sharp.float() / 255
        middle = self._pose.mean(dim=1)[:, :, None, None]
        x, y = (self.everywhere.points(bank.cell) - middle).unbind(1)
        turn = upload(np.stack([np.cos(targets.roll), np.sin(targets.roll)]), device)
        cos, sin = (turn / self._scale)[..., None, None]
        self._head = head_weight(x, y, cos, sin)

    def _barycentric(self, inverse: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [B,G,G,3] around every cell and their shares, as ``TargetFlow`` has them.

        ``inverse`` [B,F,9] of the triangles' corners, ``triangles`` [B,G,G].
        """
        # The number of triangles stands for none of them: a row of zeros.
        inverse = torch.cat([inverse, inverse.new_zeros(len(inverse), 1, 9)], dim=1)
        flat = triangles.flatten(1)
        here = inverse.gather(1, flat[..., None].expand(-1, -1, 9))
        x, y = self.everywhere.points(self._bank.cell).flatten(2).unbind(1)
        shares = here[..., :3] * x[..., None] + here[..., 3:6] * y[..., None] + here[..., 6:]
        shares = shares.clamp_min(0)
        shares = shares / shares.sum(dim=-1, keepdim=True).clamp_min(1e-6)
        corners = self._bank.corners[flat]
        return corners.view(*triangles.shape, 3), shares.view(*triangles.shape, 3)

    def to(
        self,
        targets: Tensor,
        sources: Tensor,
        windows: Windows | None = None,
        *,
        gaze: bool = False,
    ) -> Tensor:
        """Displacement [P,2,h,w] in pixels from the frames ``targets`` [P] of this batch to the
        bank's frames ``sources`` [P], inside the target's window. ``gaze`` also moves the irises.
        """
        bank = self._bank
        windows = windows or self.everywhere
        turn, shift = _similarity(self._pose[targets], bank.pose_points[sources])
        moved = _turned(self._vertices[targets].mT, turn) + shift[..., None]
        left_over = bank.vertices[sources] - moved.mT  # [P,V,2]
        left_over[:, self._outermost] = 0

        points = windows.points(bank.cell)[targets]
        count, _, height, width = points.shape
        similarity = _turned(points.flatten(2), turn).view_as(points) - points
        flow = similarity + shift[..., None, None]
        flow = flow * windows.of(self._head, targets)[:, None]
        residual = self._interpolate(left_over, targets, windows)
        rows = upload(gaussian_map(height, BLUR), bank.device)
        columns = upload(gaussian_map(width, BLUR), bank.device)
        smooth = mapped(residual, rows, columns)
        sharp = windows.of(self._sharp, targets)[:, None]
        flow = flow + smooth + sharp * (residual - smooth)
        if gaze:
            for eye in range(2):
                flow = flow + self._gaze(flow, points, targets, bank.irises[sources, eye], eye)
        return flow

    def _interpolate(self, values: Tensor, targets: Tensor, windows: Windows) -> Tensor:
        """Values [P,V,2] at vertices → [P,2,h,w] over the cells."""
        corners, shares = windows.of(self._corners, targets), windows.of(self._shares, targets)
        count, height, width, _ = corners.shape
        found = values.gather(1, corners.reshape(count, -1, 1).expand(-1, -1, 2))
        total = (found.view(count, height, width, 3, 2) * shares[..., None]).sum(dim=3)
        return total.permute(0, 3, 1, 2)

    def _gaze(
        self, flow: Tensor, points: Tensor, targets: Tensor, irises: Tensor, eye: int
    ) -> Tensor:
        """What to add to ``flow`` [P,2,h,w] at ``points`` [P,2,h,w] to bring an iris half of the
        way that the lids' flow does not; ``irises`` [P,2] of the sources."""
        cell = self._bank.cell
        goal, scale = self._irises[targets, eye], self._scale[targets]
        height, width = flow.shape[-2:]
        column, row = ((goal - points[:, :, 0, 0]) / cell).round().long().unbind(1)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pairs = torch.arange(len(flow), device=flow.device)
        there = flow[pairs, :, row.clamp(0, height - 1), column.clamp(0, width - 1)]
        missing = (irises - goal - there) * inside[:, None]
        spread = 0.045 * scale
        reach = (2.5 * spread / cell).ceil()[:, None]
        down = (torch.arange(height, device=flow.device) - row[:, None]).abs() <= reach
        across = (torch.arange(width, device=flow.device) - column[:, None]).abs() <= reach
        distance = ((points - goal[..., None, None]) ** 2).sum(dim=1)
        bump = torch.exp(-distance / (2 * spread**2)[:, None, None])
        bump = bump * (down[:, :, None] & across[:, None, :])
        return GAZE_STRENGTH * bump[:, None] * missing[..., None, None]


def _mesh(rows: Tensor, columns: Tensor) -> Tensor:
    """x and y [B,2,h,w] of places in ``rows`` [B,h] and ``columns`` [B,w]."""
    shape = (len(rows), rows.shape[1], columns.shape[1])
    x, y = columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)
    return torch.stack([x, y], dim=1)


def _similarity(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares ``source ≈ turn · target + shift`` over points [P,K,2] as complex numbers:
    turn [P,2] (real and imaginary part) and shift [P,2]."""
    target_mean, source_mean = target.mean(dim=1), source.mean(dim=1)
    a, b = target - target_mean[:, None], source - source_mean[:, None]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    turn = torch.stack([(a * b).sum(dim=(1, 2)), cross.sum(dim=1)], dim=-1)
    turn = turn / (a * a).sum(dim=(1, 2))[:, None]
    shift = source_mean - _turned(target_mean[..., None], turn)[..., 0]
    return turn, shift


def _turned(points: Tensor, turn: Tensor) -> Tensor:
    """``points`` [P,2,K] times the complex numbers ``turn`` [P,2]."""
    real, imaginary = turn[:, :1], turn[:, 1:]
    x, y = points[:, 0], points[:, 1]
    return torch.stack([x * real - y * imaginary, x * imaginary + y * real], dim=1)
