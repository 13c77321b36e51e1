"""Reading the video mark: where the pattern lies in the frames of a file, and which id it says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from omnitalk_cli.provenance.coding import agreement, decode
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.provenance.video_pattern import (
    DEFAULT_KEY,
    TILE,
    Bytes,
    Complex,
    Waves,
    folded_tile,
    per_symbol,
    resized,
    seen_by_eye,
    to_work,
    waves_of,
)
from omnitalk_cli.types import Float

_SCALES = np.exp(np.arange(math.log(0.60), math.log(1.76), 0.009))
_CANDIDATES = 6
_LONGEST = 3  # sides of a picture: of a narrower one only the middle is looked at
_SYNC_TILT = 1.0
_SYNC_PRESENT = 7.0  # standard deviations; unmarked videos reach about 6
_SYNC_WITH_ID = 5.2
# The best word in pure noise agrees by 0.54, and in 4 of 10 000 inputs of 16 bits by more than this
# (fewer of 32 bits). With the CRC and at most 12 places, less than one result in ten million that
# has no mark gives an id.
_AGREEMENT = 0.62

_ONE_SIZE = "the frames of one video have one size"


@dataclass(frozen=True, kw_only=True)
class VideoDetection(Detection):
    """What was found in ``frames`` pictures. ``sync`` is the height of the sync peak in standard
    deviations of what unmarked pictures give, ``scale`` the size of the pattern against an
    uncropped picture."""

    sync: float
    scale: float
    mirrored: bool
    frames: int


class VideoMarkDetector:
    """Looks for a mark in the frames of one file: ``add`` them, then ask for the ``result``.

    Memory is that of one picture, however many frames there are.
    """

    def __init__(self, key: bytes = DEFAULT_KEY) -> None:
        self._key = key
        self._sum: Float | None = None
        self._count = 0

    def add(self, frame: Bytes) -> None:
        """One frame ``[H,W,3]`` RGB or ``[H,W]`` grey; all of one size."""
        seen = seen_by_eye(to_work(_middle(frame)))
        if self._sum is None:
            self._sum = seen.copy()
        elif self._sum.shape == seen.shape:
            self._sum += seen
        else:
            raise ValueError(_ONE_SIZE)
        self._count += 1

    def joined(self, other: VideoMarkDetector) -> VideoMarkDetector:
        """A detector that has seen the frames of both, at the cost of one addition.

        So a long file is read window by window, and all windows together as well. Raises
        ValueError when the keys or the sizes of the frames differ.
        """
        if self._key != other._key:
            raise ValueError("only detectors with the same key can be joined")
        both = VideoMarkDetector(self._key)
        sums = [one._sum for one in (self, other) if one._sum is not None]
        if len(sums) == 2 and sums[0].shape != sums[1].shape:
            raise ValueError(_ONE_SIZE)
        both._sum = np.sum(sums, axis=0, dtype=np.float32) if sums else None
        both._count = self._count + other._count
        return both

    def result(self) -> VideoDetection:
        """What is in the frames so far; the first 16 and 32 bit id that holds up is given."""
        nothing = VideoDetection(
            id=None, bits=0, confidence=0.0, present=False,
            sync=0.0, scale=1.0, mirrored=False, frames=self._count,
        )  # fmt: skip
        if self._sum is None:
            return nothing
        waves = waves_of(self._key)
        places = self._search(waves, self._sum / self._count)
        best = places[0]
        for place in places:
            if place.sync < _SYNC_WITH_ID:
                break
            for bits in (32, 16):
                soft = per_symbol(waves, place.coefficients, self._key, bits)
                found = decode(soft, bits)
                fit = 0.0 if found is None else agreement(soft, found, bits)
                if found is not None and fit > _AGREEMENT:
                    return replace(
                        nothing, id=found, bits=bits, present=True, confidence=min(1.0, fit),
                        sync=place.sync, scale=place.scale, mirrored=place.mirrored,
                    )  # fmt: skip
        present = best.sync > _SYNC_PRESENT
        return replace(
            nothing, present=present, sync=best.sync, scale=best.scale, mirrored=best.mirrored,
            confidence=min(1.0, best.sync / (2 * _SYNC_PRESENT)),
        )  # fmt: skip

    def _search(self, waves: Waves, seen: Float) -> list[_Place]:
        """The most likely places of the pattern, best first: a grid of scales, then finer."""
        coarse = [place for scale in _SCALES for place in _look(waves, seen, float(scale))]
        coarse.sort(key=lambda place: -place.sync)
        fine = []
        for place in coarse[:_CANDIDATES]:
            for step in (-0.0045, -0.00225, 0.0, 0.00225, 0.0045):
                near = _look(waves, seen, place.scale * math.exp(step))
                fine += [one for one in near if one.mirrored == place.mirrored]
        fine.sort(key=lambda place: -place.sync)
        return [_settled(waves, place) for place in fine[: 2 * _CANDIDATES]]


@dataclass(frozen=True)
class _Place:
    """Where the pattern may be; ``coefficients [K]`` are whitened."""

    sync: float
    scale: float
    mirrored: bool
    down: float
    across: float
    coefficients: Complex


def _look(waves: Waves, seen: Float, scale: float) -> list[_Place]:
    """The best shift at this scale, as it is and mirrored."""
    height, width = (max(TILE // 2, round(side / scale)) for side in seen.shape)
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    folded = folded_tile(resized(seen, height, width, way))
    places = []
    for mirrored in (False, True):
        spectrum = waves.spectrum(folded[:, ::-1] if mirrored else folded)
        size = np.abs(spectrum)
        phases = spectrum / np.maximum(size, 1e-9)
        surface = waves.surface(phases * waves.weight**_SYNC_TILT)
        at = int(surface.argmax())
        sync = float(surface.flat[at] / max(float(surface.std()), 1e-9))
        coefficients = spectrum / (size + np.median(size) + 1e-9)
        places.append(
            _Place(sync, scale, mirrored, at // TILE, at % TILE, coefficients.astype(np.complex64))
        )
    return places


def _settled(waves: Waves, place: _Place) -> _Place:
    """The place to a quarter of a pixel, its coefficients moved back to the tile's own origin."""
    bare = place.coefficients * waves.chips.conj()
    best, down, across = -math.inf, place.down, place.across
    for more_down in (-0.5, -0.25, 0.0, 0.25, 0.5):
        for more_across in (-0.5, -0.25, 0.0, 0.25, 0.5):
            y, x = place.down + more_down, place.across + more_across
            height = float(waves.shifted(bare, y, x)[waves.sync].real.sum())
            if height > best:
                best, down, across = height, y, x
    moved = waves.shifted(place.coefficients, down, across)
    trust = _trust(waves, (moved * waves.chips.conj()).real)
    return replace(
        place, down=down, across=across, coefficients=(moved * trust).astype(np.complex64)
    )


def _trust(waves: Waves, heights: Float) -> Float:
    """How much of each wave is left, ``[K]``, judged by the sync waves of a similar length.

    A codec takes the short waves away first: without this their noise would count in full.
    """
    radius = np.hypot(waves.u, waves.v)
    distance = (radius[:, None] - radius[waves.sync]) / 2.5
    near = np.exp(-0.5 * distance**2)
    left = near @ heights[waves.sync] / near.sum(axis=1)
    return np.asarray(np.maximum(left, 0.02), np.float32)


def detect(
    frames: Iterable[Bytes], *, key: bytes = DEFAULT_KEY, most: int | None = None
) -> VideoDetection:
    """Look for a mark in ``frames`` ``[H,W,3]`` RGB; ``most`` ends the reading after so many."""
    detector = VideoMarkDetector(key)
    for number, frame in enumerate(frames, 1):
        detector.add(frame)
        if most is not None and number >= most:
            break
    return detector.result()


def _middle(frame: Bytes) -> Bytes:
    """``frame`` without the ends that make it longer than ``_LONGEST`` times its shorter side."""
    most = _LONGEST * min(frame.shape[:2])
    top, left = (max(0, (side - most) // 2) for side in frame.shape[:2])
    return frame[top : top + most, left : left + most]
