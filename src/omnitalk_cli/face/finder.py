"""Finding the faces of a clip in sampled pictures, however small and wherever they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.mediapipe_models import Box, FaceDetector, FaceMesh, LandmarkNetworks

_SAME = 0.3  # overlap above which two boxes are one face
_TILE_SHARES = (0.75, 0.5, 0.3)  # sides of the tiles over the picture's shorter side
_SEARCH = 3.0  # side of the picture around a known face, in face sides
_MIN_CONFIDENCE = 0.6
_WEAK_SHARE = 0.25  # of the sightings of the most visible face: below, a face does not count


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A face seen in sampled picture ``sample``; ``box`` encloses its 478 landmarks.

    ``sharpness`` is the variance of the Laplacian of the face at a fixed size.
    """

    sample: int
    box: Box
    sharpness: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """One person's sightings in order, and how well they are seen.

    ``visibility`` is the sum over the samples of the face's side × confidence in pixels.
    """

    sightings: tuple[Sighting, ...]
    visibility: float

    @property
    def boxes(self) -> list[Box]:
        """The boxes in order of time."""
        return [sighting.box for sighting in self.sightings]

    @property
    def samples(self) -> set[int]:
        """The samples in which the face was seen."""
        return {sighting.sample for sighting in self.sightings}

    @property
    def middle(self) -> float:
        """Median horizontal place, in pixels."""
        return float(np.median([box.centre[0] for box in self.boxes]))

    def between(self, first: int, last: int) -> FaceTrack | None:
        """The sightings in samples ``first`` … ``last`` − 1 only, None if there are none."""
        kept = tuple(s for s in self.sightings if first <= s.sample < last)
        return track_of(kept) if kept else None

    def scaled(self, factor: float) -> FaceTrack:
        """The track in pictures enlarged by ``factor``."""
        return track_of(replace(s, box=s.box.scaled(factor)) for s in self.sightings)


def track_of(sightings: Iterable[Sighting]) -> FaceTrack:
    """A track with its visibility worked out."""
    sightings = tuple(sightings)
    return FaceTrack(
        sightings=sightings, visibility=sum(s.box.side * s.box.score for s in sightings)
    )


def rank(tracks: Iterable[FaceTrack]) -> list[FaceTrack]:
    """The most visible first, passing glimpses left out."""
    ordered = sorted(tracks, key=lambda track: -track.visibility)
    return [t for t in ordered if t.visibility >= _WEAK_SHARE * ordered[0].visibility]


class FaceFinder:
    """Looks at one sampled picture after another; a context manager over its two networks: a
    detector, and one of ``networks`` that confirms its faces."""

    def __init__(self, networks: LandmarkNetworks = FaceMesh) -> None:
        self._detector = FaceDetector()
        self._mesh = networks(still=True)
        self._open: list[list[Sighting]] = []
        self.samples = 0

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *error: object) -> None:
        self._detector.close()
        self._mesh.close()

    def look(self, picture: NDArray[np.uint8]) -> list[Box]:
        """Find the faces in the next sampled picture [H,W,3] and remember them."""
        boxes = self._confirmed(picture, self._detected(picture))
        for box in boxes:
            sighting = Sighting(sample=self.samples, box=box, sharpness=_sharpness(picture, box))
            self._track_for(box).append(sighting)
        self.samples += 1
        return boxes

    def faces(self) -> list[FaceTrack]:
        """Everyone seen so far, in no order. One person may have several tracks (cuts)."""
        return [track_of(track) for track in self._open]

    def _detected(self, picture: NDArray[np.uint8]) -> list[Box]:
        """Whole picture, then where faces were last, then finer and finer tiles."""
        boxes = self._detector.boxes(picture)
        for track in self._open:
            last = track[-1]
            if last.sample >= self.samples - 3 and not _known(last.box, boxes):
                window = _around(last.box, picture)
                boxes += [b for b in self._inside(picture, window) if not _known(b, boxes)]
        if boxes:
            return _without_doubles(boxes)
        for share in _TILE_SHARES:
            side = max(64, round(share * min(picture.shape[:2])))
            for window in _tiles(picture, side):
                boxes += self._inside(picture, window)
            if boxes:
                break
        return _without_doubles(boxes)

    def _inside(self, picture: NDArray[np.uint8], window: tuple[int, int, int, int]) -> list[Box]:
        x, y, width, height = window
        return [
            box.moved(x, y) for box in self._detector.boxes(picture[y : y + height, x : x + width])
        ]

    def _confirmed(self, picture: NDArray[np.uint8], boxes: list[Box]) -> list[Box]:
        """Boxes in which the face mesh finds a face too, replaced by the mesh's own box."""
        confirmed: list[Box] = []
        for box in boxes:
            x, y, width, height = _around(box, picture)
            meshes = self._mesh.landmarks(picture[y : y + height, x : x + width])
            if not len(meshes):
                continue
            low, high = meshes[0, :, :2].min(axis=0), meshes[0, :, :2].max(axis=0)
            own = Box(
                x=float(low[0]) + x,
                y=float(low[1]) + y,
                width=float(high[0] - low[0]),
                height=float(high[1] - low[1]),
                score=box.score,
            )
            if own.overlap(box) > 0.5 and not _known(own, confirmed):
                confirmed.append(own)
        return confirmed

    def _track_for(self, box: Box) -> list[Sighting]:
        """The track whose last box is nearest, within one face side per sample that passed."""
        best, least = None, 1.0
        for track in self._open:
            last = track[-1]
            if last.sample == self.samples:
                continue
            side = max(box.side, last.box.side)
            away = float(np.hypot(*np.subtract(box.centre, last.box.centre))) / side
            unlike = abs(float(np.log(box.side / last.box.side)))
            cost = max(away, unlike / 0.7) / min(self.samples - last.sample, 2)
            if cost < least:
                best, least = track, cost
        if best is None:
            best = []
            self._open.append(best)
        return best


def _sharpness(picture: NDArray[np.uint8], box: Box) -> float:
    x, y = max(0, round(box.x)), max(0, round(box.y))
    face = picture[y : round(box.y + box.height), x : round(box.x + box.width)]
    if min(face.shape[:2]) < 8:
        return 0.0
    small = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _known(box: Box, boxes: list[Box]) -> bool:
    return any(box.overlap(other) > _SAME for other in boxes)


def _without_doubles(boxes: list[Box]) -> list[Box]:
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if box.score >= _MIN_CONFIDENCE and not _known(box, kept):
            kept.append(box)
    return kept


def _around(box: Box, picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Part of the picture around a face: left, top, width, height."""
    height, width = picture.shape[:2]
    half = _SEARCH / 2 * box.side
    x0, y0 = max(0, round(box.centre[0] - half)), max(0, round(box.centre[1] - half))
    x1, y1 = round(box.centre[0] + half), round(box.centre[1] + half)
    x0, y0 = min(x0, width - 2), min(y0, height - 2)
    return x0, y0, max(2, min(x1, width) - x0), max(2, min(y1, height) - y0)


def _tiles(picture: NDArray[np.uint8], side: int) -> Iterator[tuple[int, int, int, int]]:
    """Squares that cover the picture and overlap by at least a third."""
    height, width = picture.shape[:2]
    columns = max(1, int(np.ceil((width - side) / (0.67 * side))) + 1)
    rows = max(1, int(np.ceil((height - side) / (0.67 * side))) + 1)
    for y in np.linspace(0, max(0, height - side), rows).round().astype(int):
        for x in np.linspace(0, max(0, width - side), columns).round().astype(int):
            yield int(x), int(y), min(side, width), min(side, height)
