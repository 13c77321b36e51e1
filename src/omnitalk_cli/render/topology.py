"""Landmark groups of the 478-point face mesh and the triangle mesh that the flow is drawn with.

Indices are those of MediaPipe FaceMesh with irises (468 face points, then 5 per iris).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from omnitalk_cli.types import Float

POSE_POINTS = np.array(
    [168, 6, 197, 195, 33, 133, 362, 263, 127, 356, 234, 454, 162, 389, 21, 251]
    + [10, 109, 338, 54, 284, 9]
)  # fmt: skip
LIPS_OUTER = np.array(
    [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
)  # fmt: skip
LIPS_INNER = np.array(
    [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
)  # fmt: skip
LIPS = np.concatenate([LIPS_OUTER, LIPS_INNER])
# Per eye: ring of lid points, from the corner at the image's left along the lower lid and back.
LID_A = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246])
LID_B = np.array([362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398])
LIDS = (LID_A, LID_B)
INNER_LIPS = (13, 14)  # upper, lower, in the middle
IRISES = np.array([468, 473])
BROWS = np.array(
    [46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336]
)  # fmt: skip
OVAL = np.array(
    [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
    + [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
)  # fmt: skip

# (upper, lower) points that must not pass each other: the lids of each eye, the inner lips.
LID_PAIRS = tuple(np.stack([ring[:8:-1], ring[1:8]]) for ring in LIDS)
LIP_PAIRS = np.stack([LIPS_INNER[:10:-1], LIPS_INNER[1:10]])

MESH_POINTS = 228
RING_FACTORS = (1.15, 1.5, 2.2)
RING_DEPTH = 0.25  # the head curves away behind the oval: eye distances of depth per factor


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The triangle mesh: P face points, then three rings of 36 points around the oval.

    ``points`` [P] landmark indices; ``rings`` [108,3] in the space of the neutral face (eye
    distances, y up); ``triangles`` [F,3] indices into the P+108 vertices.
    """

    points: NDArray[np.int64]
    rings: Float
    triangles: NDArray[np.int64]

    def places(self, landmarks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Vertex indices of ``landmarks``, which must be mesh points."""
        place = {int(point): index for index, point in enumerate(self.points)}
        return np.array([place[int(point)] for point in landmarks], np.int64)

    @property
    def outermost(self) -> slice:
        """Vertices of the outermost ring, which stay where the head's similarity puts them."""
        return slice(len(self.points) + len(self.rings) - len(OVAL), None)


def build_topology(neutral: Float) -> Topology:
    """Choose mesh points and triangles for a personal neutral face [478,3] (y up).

    The triangulation is made on the neutral with its mouth pulled open: on closed lips the inner
    contours coincide and the triangles of the mouth's inside would be lost.
    """
    points = _spread_points(neutral)
    oval = neutral[OVAL]
    centre = oval.mean(axis=0)
    rings = []
    for factor in RING_FACTORS:
        ring = centre + factor * (oval - centre)
        ring[:, 2] = oval[:, 2] - RING_DEPTH * (factor - 1)
        rings.append(ring)
    ring_points = np.concatenate(rings).astype(np.float32)
    plane = np.concatenate([_open_mouth(neutral)[points, :2], ring_points[:, :2]])
    triangles = Delaunay(plane.astype(np.float64)).simplices.astype(np.int64)
    return Topology(points=points, rings=ring_points, triangles=triangles)


def _spread_points(neutral: Float) -> NDArray[np.int64]:
    """Contours of lips, lids, brows and oval, the pose points, then farthest points to 228."""
    first = np.concatenate([LIPS, *LIDS, BROWS, OVAL, POSE_POINTS])
    chosen = list(dict.fromkeys(int(index) for index in first))
    distance = np.full(468, np.inf)
    for index in chosen:
        distance = np.minimum(distance, np.linalg.norm(neutral[:468] - neutral[index], axis=1))
    while len(chosen) < MESH_POINTS:
        index = int(distance.argmax())
        chosen.append(index)
        distance = np.minimum(distance, np.linalg.norm(neutral[:468] - neutral[index], axis=1))
    return np.array(chosen, np.int64)


def _open_mouth(neutral: Float) -> Float:
    """The neutral with lower lip and chin moved down, most in the middle of the mouth."""
    opened = neutral.copy()
    corners = neutral[[78, 308], :2]
    middle, half = corners.mean(axis=0), np.linalg.norm(corners[1] - corners[0]) / 2
    fall = np.exp(-(((neutral[:, 0] - middle[0]) / half) ** 2))
    lower = neutral[:, 1] < middle[1]
    lower[LIPS_OUTER[1:10]] = lower[LIPS_INNER[1:10]] = True
    lower[LIPS_OUTER[11:]] = lower[LIPS_INNER[11:]] = False
    lower[LIPS_INNER[[0, 10]]] = lower[LIPS_OUTER[[0, 10]]] = False
    opened[lower, 1] -= (0.2 * fall)[lower]
    return opened
