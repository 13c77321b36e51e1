"""Landmarks of one face through a clip: tracked in the fixed square, gaps filled, smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.crop import choose_crop
from omnitalk_cli.face.finder import FaceTrack, rank
from omnitalk_cli.face.mediapipe_models import Box, FaceMesh, LandmarkNetwork, LandmarkNetworks
from omnitalk_cli.face.smoothing import fill_gaps, gaps, smooth
from omnitalk_cli.types import Crop, Float

# A hand or a turn hides a face this long at most; longer is not guessed over.
MAX_GAP_SECONDS = 0.4
_STRAY = 0.6  # a mesh further from where the face was than this, in face sides, is another face


@dataclass(frozen=True, kw_only=True)
class ChosenFace:
    """The face to follow, its square, and the others that are seen at the same time."""

    track: FaceTrack
    crop: Crop
    others: tuple[FaceTrack, ...]

    @property
    def in_square(self) -> int:
        """How many faces the square holds at some time, this one included."""
        square = Box(x=self.crop.x, y=self.crop.y, width=self.crop.size, height=self.crop.size)
        return 1 + sum(any(square.overlap(b) > 0.5 for b in other.boxes) for other in self.others)


def choose_face(
    faces: list[FaceTrack], size: tuple[int, int], *, name: str, index: int | None = None
) -> ChosenFace:
    """The most visible of ``faces``, or number ``index`` counted from the left from 0.

    ``size`` is the picture's (width, height), ``name`` the file for messages. Raises InputError
    when there is no face, or no such number.
    """
    faces = rank(faces)
    if not faces:
        raise InputError(
            f"no face found in {name}; use a clip in which a face is seen from the front, "
            "well lit and not hidden"
        )
    chosen = faces[0]
    if index is not None:
        if not 0 <= index < len(faces):
            count = "one face is" if len(faces) == 1 else f"{len(faces)} faces are"
            raise InputError(
                f"{name}: there is no face {index}; {count} seen, counted from the left from 0"
            )
        chosen = sorted(faces, key=lambda track: track.middle)[index]
    crop = choose_crop(chosen.boxes, *size)
    others = tuple(f for f in faces if f is not chosen and f.samples & chosen.samples)
    return ChosenFace(track=chosen, crop=crop, others=others)


class LandmarkTracker:
    """Follows one face through square pictures; a context manager.

    ``expected`` is where the face is at first, in pixels of the square; ``faces`` how many may be
    in the square at once, to tell them apart; ``networks`` what finds the landmarks.
    """

    def __init__(
        self,
        expected: Box | None = None,
        *,
        faces: int = 1,
        networks: LandmarkNetworks = FaceMesh,
    ) -> None:
        self._networks = networks
        self._mesh = networks(still=False, faces=faces)
        self._again: LandmarkNetwork | None = None
        self._last = expected
        self._points: list[Float] = []
        self._found: list[bool] = []

    def __enter__(self) -> LandmarkTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self._mesh.close()
        if self._again is not None:
            self._again.close()

    def add(self, square: NDArray[np.uint8]) -> Float | None:
        """Track the next picture [side,side,3]; its landmarks, None if the face is not seen."""
        points = self._nearest(self._mesh.landmarks(square))
        if points is None:
            points = self._search(square)
        self._found.append(points is not None)
        if points is None:
            self._points.append(np.zeros((478, 3), np.float32))
            return None
        self._points.append(points)
        self._last = _box(points)
        return points

    def result(self) -> tuple[Float, NDArray[np.bool_]]:
        """Raw landmarks [N,478,3] (zero where not found) and where they were found [N]."""
        points = np.array(self._points, np.float32).reshape(-1, 478, 3)
        return points, np.array(self._found, bool)

    def _nearest(self, meshes: Float) -> Float | None:
        if self._last is None:
            return meshes[0] if len(meshes) else None
        best, least = None, _STRAY
        for points in meshes:
            box = _box(points)
            away = float(np.hypot(*np.subtract(box.centre, self._last.centre)))
            away /= max(box.side, self._last.side)
            if away < least:
                best, least = points, away
        return best

    def _search(self, square: NDArray[np.uint8]) -> Float | None:
        """Look once more, in a tight square around the last place and without memory."""
        if self._last is None:
            return None
        if self._again is None:
            self._again = self._networks(still=True, confidence=0.3)
        half = self._last.side
        x, y = self._last.centre
        x0, y0 = max(0, round(x - half)), max(0, round(y - half))
        part = square[y0 : max(y0 + 2, round(y + half)), x0 : max(x0 + 2, round(x + half))]
        if min(part.shape[:2]) < 16:
            return None
        meshes = self._again.landmarks(part)
        meshes[:, :, 0] += x0
        meshes[:, :, 1] += y0
        return self._nearest(meshes)


def longest_run(
    found: NDArray[np.bool_], fps: float, *, max_gap: float = MAX_GAP_SECONDS
) -> tuple[int, int]:
    """First and one past the last frame of the longest stretch that ends with a face at both ends
    and has no long gap. (0, 0) when nothing was found."""
    best, start = (0, 0), 0
    for lost, after in [*gaps(found), (len(found), len(found))]:
        long = (after - lost) / fps > max_gap or lost == 0 or after == len(found)
        if not long:
            continue
        if lost - start > best[1] - best[0]:
            best = (start, lost)
        start = after
    return best


def finish(points: Float, found: NDArray[np.bool_]) -> Float:
    """Fill the gaps and smooth: raw landmarks [N,478,3] → [N,478,3]."""
    return smooth(fill_gaps(points, found))


def lost_times(found: NDArray[np.bool_], fps: float, *, start: float = 0.0) -> str:
    """Where the face is not seen, in words for an error."""
    spans = [(start + a / fps, start + b / fps) for a, b in gaps(found)]
    spans = [span for span in spans if span[1] - span[0] > MAX_GAP_SECONDS] or spans
    listed = ", ".join(f"{a:.1f}-{b:.1f} s" for a, b in spans[:4])
    return f"the face is lost at {listed}{' and more' if len(spans) > 4 else ''}"


def _box(points: Float) -> Box:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    size = high - low
    return Box(x=float(low[0]), y=float(low[1]), width=float(size[0]), height=float(size[1]))
