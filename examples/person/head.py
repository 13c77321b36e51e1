"""The head: the package's face model, closed to a skull, with lids and lips of some thickness.

The coarse mesh has the model's 468 points, rings from the face's oval to the back of the head,
one ring behind each lid edge and two behind the lips. Loop's subdivision makes it smooth.
"""

from __future__ import annotations

import mediapipe as mp
import numpy as np
from scipy import sparse

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.rig import FaceRig

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_LIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_LIDS = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
INNER_LIPS = (
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
OUTER_LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip
RINGS = 7
SKULL_CENTRE = np.array([0.0, 0.12, -0.62])
SKULL_RADII = np.array([0.86, 1.02, 1.02])
LEVELS = 3


_NOT_FACES = {(49, 64, 129), (279, 294, 358)}  # cycles around the nostril points 102 and 331


def face_triangles() -> np.ndarray:
    """The face mesh without eyes and mouth opening, [852,3], counter-clockwise from outside."""
    neighbours: dict[int, set[int]] = {}
    for a, b in mp.solutions.face_mesh.FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    found = set()
    for a, linked in neighbours.items():
        for b in linked:
            for c in linked & neighbours[b]:
                found.add(tuple(sorted((a, b, c))))
    return np.array(sorted(found - _NOT_FACES))


def orient(triangles: np.ndarray, seed: int, flip: bool) -> np.ndarray:
    """Give all triangles of a connected mesh the winding of triangle ``seed``."""
    result = triangles.copy()
    if flip:
        result[seed] = result[seed][::-1]
    owners: dict[tuple[int, int], list[int]] = {}
    for index, triangle in enumerate(triangles.tolist()):
        for k in range(3):
            a, b = triangle[k], triangle[(k + 1) % 3]
            owners.setdefault((min(a, b), max(a, b)), []).append(index)
    done, queue = {seed}, [seed]
    while queue:
        triangle = result[queue.pop()].tolist()
        for k in range(3):
            a, b = triangle[k], triangle[(k + 1) % 3]
            for other in owners[(min(a, b), max(a, b))]:
                if other in done:
                    continue
                row = result[other].tolist()
                if row.index(b) == (row.index(a) + 1) % 3:  # same direction: opposite winding
                    result[other] = result[other][::-1]
                done.add(other)
                queue.append(other)
    return result


def loop_step(triangles: np.ndarray, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One step of Loop's subdivision: the matrix ``[V',V]`` and the triangles of the new mesh."""
    corners = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    opposite = np.roll(triangles, -2, axis=1).reshape(-1)
    edges, inverse = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    uses = np.bincount(inverse, minlength=len(edges))
    border = uses == 1
    e = len(edges)
    rows, cols, values = [], [], []

    def add(row: np.ndarray, col: np.ndarray, value: np.ndarray | float) -> None:
        rows.append(row)
        cols.append(col)
        values.append(np.broadcast_to(value, row.shape).astype(float))

    # New points on the edges: 3/8 of the ends, 1/8 of the opposite corners; middle on borders.
    middle = np.arange(e) + count
    for end in range(2):
        add(middle, edges[:, end], np.where(border, 0.5, 0.375))
    inner = ~border[inverse]
    add(middle[inverse[inner]], opposite[inner], 0.125)
    # Old points move towards their neighbours.
    on_border = np.zeros(count, bool)
    on_border[edges[border].ravel()] = True
    both = np.concatenate([edges, edges[:, ::-1]])
    both_border = np.concatenate([border, border])
    valence = np.bincount(both[:, 0], minlength=count)
    beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / np.maximum(valence, 3))) ** 2) / np.maximum(
        valence, 1
    )
    own = np.arange(count)
    add(own, own, np.where(on_border, 0.75, 1.0 - valence * beta))
    use = ~on_border[both[:, 0]]
    add(both[use, 0], both[use, 1], beta[both[use, 0]])
    use = on_border[both[:, 0]] & both_border
    add(both[use, 0], both[use, 1], 0.125)
    matrix = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))),
        shape=(count + e, count),
    )
    ids = inverse.reshape(-1, 3) + count
    a, b, c = triangles.T
    ab, bc, ca = ids.T
    new = np.concatenate(
        [np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    return matrix, new


class Head:
    """A neutral face and how it moves: codes ``[61]`` → dense vertices.

    ``neutral`` [478,3] is the person's own shape in model space.
    """

    def __init__(self, neutral: np.ndarray) -> None:
        self.rig = FaceRig.load()
        self.neutral = neutral.astype(np.float64)
        self._build_topology()
        self.control = self._fit_control()

    # -- the coarse mesh ------------------------------------------------------------------

    def _build_topology(self) -> None:
        """Extra points follow landmarks: ``coarse = landmarks[parent] * follow + offset``."""
        triangles = face_triangles().tolist()
        parents, follow, offsets = list(range(468)), [1.0] * 468, [np.zeros(3)] * 468
        face = self.neutral

        def point(parent: int, weight: float, place: np.ndarray) -> int:
            parents.append(parent)
            follow.append(weight)
            offsets.append(place - weight * face[parent])
            return len(parents) - 1

        def band(outer: list[int], inner: list[int]) -> None:
            count = len(outer)
            for k in range(count):
                n = (k + 1) % count
                triangles.append([outer[k], outer[n], inner[k]])
                triangles.append([outer[n], inner[n], inner[k]])

        previous = list(OVAL)
        pole = np.array([0.0, 0.1, -1.0])
        for ring in range(1, RINGS + 1):
            amount = ring / (RINGS + 1)
            current = []
            for landmark in OVAL:
                start = (face[landmark] - SKULL_CENTRE) / SKULL_RADII
                length = np.linalg.norm(start)
                direction = start / length
                angle = np.arccos(np.clip(direction @ pole, -1, 1))
                turned = (
                    np.sin((1 - amount) * angle) * direction + np.sin(amount * angle) * pole
                ) / np.sin(angle)
                size = length + (1.0 - length) * min(1.0, 1.6 * amount)
                place = SKULL_CENTRE + turned / np.linalg.norm(turned) * size * SKULL_RADII
                current.append(point(landmark, max(0.0, 1.0 - 0.45 * ring), place))
            band(previous, current)
            previous = current
        cap = point(10, 0.0, SKULL_CENTRE + pole * SKULL_RADII)
        for k in range(len(previous)):
            triangles.append([previous[k], previous[(k + 1) % len(previous)], cap])
        for lids in (RIGHT_LIDS, LEFT_LIDS):
            middle = face[list(lids)].mean(axis=0)
            rim = []
            for landmark in lids:
                inward = middle - face[landmark]
                place = face[landmark] + 0.07 * inward + np.array([0.0, 0.0, -0.028])
                rim.append(point(landmark, 1.0, place))
            band(list(lids), rim)
            back = [
                point(mark, 1.0, face[mark] - 0.05 * (middle - face[mark]) + [0, 0, -0.09])
                for mark in lids
            ]
            band(rim, back)
        previous = list(INNER_LIPS)
        for depth, spread in ((0.06, 0.012), (0.16, 0.05)):
            current = []
            for k, landmark in enumerate(INNER_LIPS):
                up = 1.0 if 0 < k < 10 else -1.0 if k > 10 else 0.0
                place = face[landmark] + np.array([0.0, up * spread, -depth])
                current.append(point(landmark, 1.0, place))
            band(previous, current)
            previous = current
        self.parents = np.array(parents)
        self.follow = np.array(follow)[:, None]
        self.offsets = np.array(offsets)
        raw = np.array(triangles)
        front = face[raw[0]]
        flip = np.cross(front[1] - front[0], front[2] - front[0])[2] < 0
        oriented = orient(raw, 0, bool(flip))
        matrix = sparse.identity(len(parents), format="csr")
        current_triangles = oriented
        for level in range(LEVELS):
            step, current_triangles = loop_step(current_triangles, matrix.shape[0])
            matrix = (step @ matrix).tocsr()
            if level == 0:
                self.half, self.half_triangles = matrix, current_triangles
        self.triangles = current_triangles
        self.subdivision = matrix

    def _fit_control(self) -> np.ndarray:
        """Corrections that let the smooth surface pass near the landmarks (it shrinks else)."""
        coarse = self.coarse(self.neutral)
        control = coarse.copy()
        for _ in range(4):
            control += 0.7 * (coarse - (self.subdivision @ control)[: len(coarse)])
        return control - coarse

    def coarse(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks ``[478,3]`` → coarse vertices."""
        return landmarks[self.parents] * self.follow + self.offsets

    # -- poses ----------------------------------------------------------------------------

    def landmarks(self, codes: np.ndarray) -> np.ndarray:
        """The 478 points for codes ``[61]`` (no head pose), lids and lips kept from crossing."""
        points = self.rig.shape(codes[None], self.neutral)[0].astype(np.float64)
        for lids, name in ((RIGHT_LIDS, "eyeBlinkRight"), (LEFT_LIDS, "eyeBlinkLeft")):
            shut = float(np.clip((codes[CODE_INDEX[name]] - 0.25) / 0.55, 0.0, 1.0))
            shut = shut * shut * (3 - 2 * shut)
            for k in range(1, 8):
                upper, lower = lids[k], lids[16 - k]
                meet = 0.22 * points[upper] + 0.78 * points[lower]
                points[upper] += shut * (meet - points[upper]) * [1, 1, 0.4]
                points[lower] += shut * (meet - points[lower]) * [1, 1, 0.4]
        for k in range(1, 10):
            upper, lower = INNER_LIPS[k], INNER_LIPS[20 - k]
            gap = points[upper, 1] - points[lower, 1]
            if gap < -0.004:
                points[upper, 1] += 0.5 * (-0.004 - gap)
                points[lower, 1] -= 0.5 * (-0.004 - gap)
        return points

    def dense(self, landmarks: np.ndarray) -> np.ndarray:
        """Smooth vertices ``[V,3]`` for landmarks ``[478,3]``."""
        return self.subdivision @ (self.coarse(landmarks) + self.control)
