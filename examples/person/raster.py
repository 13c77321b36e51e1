"""A painter's-algorithm rasteriser: triangles to identities, identities to attributes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SHIFT = 4  # sub-pixel bits of OpenCV's polygon filler


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Perspective camera on the z axis: ``distance`` eye distances away from the plane z = 0.

    ``scale`` pixels per eye distance in that plane, ``centre`` the pixel (x, y down) of the origin.
    """

    size: int
    scale: float
    centre: tuple[float, float]
    distance: float = 9.0

    def project(self, points: np.ndarray) -> np.ndarray:
        """World ``[V,3]`` → ``[V,3]``: pixel x, pixel y (down), z as it was (larger is nearer)."""
        factor = self.scale * self.distance / (self.distance - points[:, 2])
        x = self.centre[0] + points[:, 0] * factor
        y = self.centre[1] - points[:, 1] * factor
        return np.stack([x, y, points[:, 2]], axis=1).astype(np.float32)

    def scaled(self, factor: float) -> Camera:
        """The same view on a picture ``factor`` times as large."""
        return Camera(
            size=int(round(self.size * factor)),
            scale=self.scale * factor,
            centre=(self.centre[0] * factor, self.centre[1] * factor),
            distance=self.distance,
        )


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """What a mesh covers: flat pixel indices ``[P]``, corners ``[P,3]``, weights ``[P,3]``."""

    size: int
    pixels: np.ndarray
    corners: np.ndarray
    weights: np.ndarray

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Vertex values ``[V,K]`` at the fragments: ``[P,K]``."""
        out = values[self.corners[:, 0]] * self.weights[:, 0:1]
        out += values[self.corners[:, 1]] * self.weights[:, 1:2]
        out += values[self.corners[:, 2]] * self.weights[:, 2:3]
        return out

    def scatter(self, values: np.ndarray, background: float = 0.0) -> np.ndarray:
        """Fragment values ``[P]`` or ``[P,K]`` as a picture ``[size,size(,K)]``."""
        shape = (self.size * self.size, *values.shape[1:])
        picture = np.full(shape, background, np.float32)
        picture[self.pixels] = values
        return picture.reshape(self.size, self.size, *values.shape[1:])


def rasterise(screen: np.ndarray, triangles: np.ndarray, size: int, *, cull: bool = True
              ) -> Fragments:  # fmt: skip
    """Paint ``triangles`` [F,3] (counter-clockwise seen from outside) far to near.

    ``screen`` [V,3] comes from :meth:`Camera.project`.
    """
    a, b, c = (screen[triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    low = np.minimum(np.minimum(a, b), c)[:, :2]
    high = np.maximum(np.maximum(a, b), c)[:, :2]
    keep = (high > 0).all(axis=1) & (low < size - 1).all(axis=1) & (np.abs(area) > 1e-6)
    if cull:
        keep &= area < 0.0  # y points down, so front faces turn clockwise on the screen
    index = np.flatnonzero(keep)
    depth = screen[:, 2][triangles[index]].sum(axis=1)
    index = index[np.argsort(depth, kind="stable")]
    polygons = np.round(screen[:, :2] * (1 << _SHIFT)).astype(np.int32)[triangles[index]]
    ids = np.full((size, size), -1, np.int32)
    for identity, polygon in zip(index.tolist(), polygons, strict=True):
        cv2.fillConvexPoly(ids, polygon, identity, cv2.LINE_8, _SHIFT)
    flat = ids.ravel()
    pixels = np.flatnonzero(flat >= 0)
    corners = triangles[flat[pixels]]
    x = (pixels % size).astype(np.float32)
    y = (pixels // size).astype(np.float32)
    a, b, c = (screen[corners[:, k], :2] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    wb = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (y - a[:, 1])) / area
    wc = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (x - a[:, 0]) * (b[:, 1] - a[:, 1])) / area
    weights = np.clip(np.stack([1.0 - wb - wc, wb, wc], axis=1), 0.0, 1.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return Fragments(size=size, pixels=pixels, corners=corners, weights=weights)


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals ``[V,3]`` of counter-clockwise triangles."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(
                triangles[:, k], weights=face[:, axis], minlength=len(points)
            )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
