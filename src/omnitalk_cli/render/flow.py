"""Dense backward flow from a target frame to source frames, drawn on a coarse grid.

The flow is the head's 2D similarity, faded out around the head, plus what is left at the mesh
vertices, interpolated over triangles. The triangles are drawn once per target frame and serve
every source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.topology import LID_A, LID_B, LIPS, Topology
from omnitalk_cli.types import Float

GRID = 128
# Head region around the pose points, in eye distances: full weight inside, none outside.
SIDE, UP, DOWN = (1.3, 2.1), (1.7, 2.7), (1.25, 2.4)
BLUR = 1.2  # cells
GAZE_STRENGTH = 0.5


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


EVERYWHERE = Region(rows=slice(0, GRID), columns=slice(0, GRID))


@dataclass(frozen=True, kw_only=True)
class FlowGrid:
    """Constants of the grid for pictures of side ``size``: cell centres in pixels."""

    size: int
    points: Float  # [G,G,2]
    topology: Topology
    sharp_parts: tuple[NDArray[np.int64], ...]  # vertices of lips and lids

    @property
    def cell(self) -> float:
        """Pixels per cell."""
        return self.size / GRID


def build_grid(size: int, topology: Topology) -> FlowGrid:
    """Make the grid for square pictures of ``size`` pixels."""
    axis = (np.arange(GRID, dtype=np.float32) + 0.5) * (size / GRID) - 0.5
    points = np.stack(np.meshgrid(axis, axis), axis=-1)
    parts = tuple(topology.places(group) for group in (LIPS, LID_A, LID_B))
    return FlowGrid(size=size, points=points, topology=topology, sharp_parts=parts)


class TargetFlow:
    """Flows into frame ``index`` of the ``target`` geometry."""

    def __init__(self, grid: FlowGrid, target: Geometry, index: int) -> None:
        self._grid = grid
        self._vertices = target.vertices[index]
        self._pose = _as_complex(target.pose_points[index])
        self._irises = target.irises[index]
        self.scale = float(target.scale[index])
        triangles = draw_triangles(grid, self._vertices, target.depth[index])
        self._corners, self._shares = self._barycentric(triangles)
        self.head = self._head_weight(float(target.angles[index, 2]))
        sharp = draw_sharp_parts(grid, self._vertices)
        self._sharp = sharp.astype(np.float32)[..., None] / 255

    def _head_weight(self, roll: float) -> Float:
        centre = self._pose.mean()
        relative = self._grid.points - np.array([centre.real, centre.imag], np.float32)
        cos, sin = np.cos(roll) / self.scale, np.sin(roll) / self.scale
        weight = head_weight(relative[..., 0], relative[..., 1], cos, sin)
        return np.asarray(weight, np.float32)

    def to(
        self, source: Geometry, index: int, *, region: Region = EVERYWHERE, gaze: bool = False
    ) -> Float:
        """Displacement in pixels: target pixel + displacement = place in the source.

        [G,G,2], or only the cells of ``region`` [g,g,2]. ``gaze`` also moves the irises.
        """
        grid = self._grid
        turn, shift = _similarity(self._pose, _as_complex(source.pose_points[index]))
        matrix = np.array([[turn.real, turn.imag], [-turn.imag, turn.real]], np.float32)
        offset = np.array([shift.real, shift.imag], np.float32)
        left_over = source.vertices[index] - (self._vertices @ matrix + offset)
        left_over[grid.topology.outermost] = 0

        here = (region.rows, region.columns)
        points = grid.points[here]
        similarity = points @ (matrix - np.eye(2, dtype=np.float32)) + offset
        flow = similarity * self.head[here][..., None]
        residual = self._interpolate(left_over, here)
        smooth = cv2.GaussianBlur(residual, (0, 0), BLUR)
        flow += smooth + self._sharp[here] * (residual - smooth)
        if gaze:
            self._shift_gaze(flow, points, source.irises[index])
        return flow

    def _barycentric(self, triangles: NDArray[np.int16]) -> tuple[NDArray[np.int64], Float]:
        """Vertices [G,G,3] around every cell and their shares [G,G,3]; 0 outside the mesh.

        Shares are kept within 0…1: thin triangles also cover cells whose middle lies outside
        them, and extrapolated they would throw pixels across the face.
        """
        grid = self._grid
        inverse = inverse_corners(self._vertices[grid.topology.triangles]).reshape(-1, 9)
        inverse = np.concatenate([inverse, np.zeros((1, 9), np.float32)])
        flat = triangles.ravel()
        here = np.take(inverse, flat, axis=0)  # index -1: the zero row
        points = grid.points.reshape(-1, 2)
        shares = here[:, :3] * points[:, :1] + here[:, 3:6] * points[:, 1:] + here[:, 6:]
        shares = np.maximum(shares, 0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
        corners = np.take(grid.topology.triangles, flat, axis=0)
        return corners.reshape(GRID, GRID, 3), shares.reshape(GRID, GRID, 3)

    def _interpolate(self, values: Float, here: tuple[slice, slice]) -> Float:
        """Values [V,2] at vertices → [g,g,2] over some cells, linear in triangles, 0 outside."""
        corners, shares = self._corners[here], self._shares[here]
        # One complex number per vertex: half the look-ups of two reals.
        flat = np.take(_as_complex(values), corners)  # [g,g,3]
        total = (flat * shares).sum(axis=-1)
        return np.stack([total.real, total.imag], axis=-1)

    def _shift_gaze(self, flow: Float, points: Float, irises: Float) -> None:
        """Move the irises half of the way that the lids' flow does not, in place.

        ``flow`` and ``points`` [g,g,2] of some region; ``irises`` [2,2] of the source, pixels.
        """
        spread = 0.045 * self.scale
        for eye in range(2):
            goal = self._irises[eye]
            column, row = np.rint((goal - points[0, 0]) / self._grid.cell).astype(int)
            if not (0 <= row < points.shape[0] and 0 <= column < points.shape[1]):
                continue
            reach = int(np.ceil(2.5 * spread / self._grid.cell))
            near = (
                slice(max(0, row - reach), row + reach + 1),
                slice(max(0, column - reach), column + reach + 1),
            )
            missing = irises[eye] - goal - flow[row, column]
            distance = ((points[near] - goal) ** 2).sum(axis=-1)
            bump = np.exp(-distance / (2 * spread**2))[..., None]
            flow[near] += GAZE_STRENGTH * bump * missing


def draw_triangles(grid: FlowGrid, vertices: Float, depth: Float) -> NDArray[np.int16]:
    """Index [G,G] of the triangle over every cell (far ones first), -1 where there is none."""
    cells = (vertices + 0.5) / grid.cell - 0.5
    corners = np.rint(cells * 16).astype(np.int32)[grid.topology.triangles]
    order = np.argsort(-depth[grid.topology.triangles].sum(axis=1))
    image = np.full((GRID, GRID), -1, np.int16)
    for number, corner in zip(order.tolist(), corners[order], strict=True):
        cv2.fillConvexPoly(image, corner, (number,), cv2.LINE_8, 4)
    return image


def draw_sharp_parts(grid: FlowGrid, vertices: Float) -> NDArray[np.uint8]:
    """[G,G] 255 on lips and lids, where what is left at the vertices must not be blurred."""
    mask = np.zeros((GRID, GRID), np.uint8)
    for part in grid.sharp_parts:
        hull = cv2.convexHull((vertices[part] + 0.5) / grid.cell - 0.5)
        cv2.fillConvexPoly(mask, np.rint(hull * 16).astype(np.int32), (255,), cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.0)
    return np.asarray(soft, np.uint8)


def head_weight(x: Any, y: Any, cos: Any, sin: Any) -> Any:
    """0…1: how far a place ``x``, ``y`` (pixels from the head's centre) moves with the head.

    ``cos`` and ``sin`` of its roll, divided by the eye distance. For arrays and for tensors.
    """
    across = abs(x * cos - y * sin)
    along = x * sin + y * cos
    return _fall(across, *SIDE) * _fall(-along, *UP) * _fall(along, *DOWN)


def _as_complex(points: Float) -> NDArray[np.complex64]:
    return points[:, 0] + 1j * points[:, 1]


def _similarity(
    target: NDArray[np.complex64], source: NDArray[np.complex64]
) -> tuple[complex, complex]:
    """Least squares ``source ≈ turn · target + shift`` over complex points."""
    target_mean, source_mean = target.mean(), source.mean()
    centred = target - target_mean
    turn = np.vdot(centred, source - source_mean) / np.vdot(centred, centred).real
    return complex(turn), complex(source_mean - turn * target_mean)


def _fall(distance: Any, inner: float, outer: float) -> Any:
    """1 below ``inner``, 0 above ``outer``, smooth between (of an array or a tensor)."""
    step = ((outer - distance) / (outer - inner)).clip(0, 1)
    return step * step * (3 - 2 * step)


def inverse_corners(corners: Float) -> Float:
    """Inverses [F,3,3] of the corner matrices with rows [x y 1]; 0 for empty triangles."""
    x, y = corners[..., 0].astype(np.float64), corners[..., 1].astype(np.float64)
    following, last = [1, 2, 0], [2, 0, 1]
    area = ((y[:, 1] - y[:, 2]) * (x[:, 0] - x[:, 2])) + ((x[:, 2] - x[:, 1]) * (y[:, 0] - y[:, 2]))
    safe = np.where(np.abs(area) < 1e-3, np.inf, area)[:, None]
    rows = [
        (y[:, following] - y[:, last]) / safe,
        (x[:, last] - x[:, following]) / safe,
        (x[:, following] * y[:, last] - x[:, last] * y[:, following]) / safe,
    ]
    return np.stack(rows, axis=1).astype(np.float32)
