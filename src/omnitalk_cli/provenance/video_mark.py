"""The mark in the picture: an id that is still there after re-encoding, scaling and cropping.

A pattern of luma, too weak to be seen, is laid over every frame. It repeats four times along the
shorter side of the picture, and is a sum of waves with 4.5 to 20 periods per repetition, long
enough to survive codecs and smaller sizes. A third of the waves is known beforehand (the sync:
from it the detector finds position, size and mirroring), the others carry the code symbols of the
id (``coding``) in the signs of their cosine and sine parts.

The pattern stands still. Its strength follows the texture of the picture, which hides it, and the
part of every symbol follows what the picture itself already says (informed embedding: a symbol
that the picture happens to carry needs little, one that it contradicts needs more). Both sides
measure with the same eye: the picture less its local mean, divided by its local contrast.

Sizes: ``h, w`` of a frame that was scaled to ``WORK`` pixels along its shorter side; a repetition
(tile) has ``TILE`` x ``TILE`` pixels there. ``K`` is the number of waves of the tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from omnitalk_cli.provenance.coding import agreement, code_length, decode, encode, shuffle, spread
from omnitalk_cli.types import Float

Complex = NDArray[np.complex64]
Bytes = NDArray[np.uint8]

DEFAULT_KEY = b"omnitalk video mark 1"
WORK = 512
TILE = 128

_LOW, _HIGH = 4.5, 20.0  # periods per tile
_SYNC_SHARE = 1 / 3
_TILT = -1.2  # of the amplitude over the frequency: codecs spare the long waves

# What the pattern may add to the picture, in grey levels.
_FLAT, _PER_ACTIVITY, _STRONGEST = 1.2, 0.12, 4.0
_RMS = 1.42  # at most, over a picture: 45.1 dB PSNR, before the gains differ
_GAIN_MIN, _GAIN_MAX = 0.25, 2.0
_GAIN_STEP, _SHARE_STEP = 0.08, 0.03  # at most, per update: nothing may jump
_MARGIN = 1.0  # of a symbol's statistic, relative to what a gain of 1 gives in an empty picture
_UPDATE = 8  # frames between two looks at what the picture says itself
_MEMORY = 0.3  # share of the newest look
_FINE = 32  # bytes hold pattern and strength in 1/32: their product is one step of OpenCV
_CUT = 18.0  # mean change in grey levels that is a new scene

# The detector's eye.
_EYE = 15  # pixels of the local mean
_CONTRAST_FLOOR = 1.0
_CLIP = 2.5

_SCALES = np.exp(np.arange(math.log(0.60), math.log(1.76), 0.009))
_CANDIDATES = 6
_LONGEST = 4  # sides of a picture: of a narrower one only the middle is looked at
_SYNC_TILT = 1.0
_SYNC_PRESENT = 7.0  # standard deviations; unmarked videos reach about 6
_SYNC_WITH_ID = 5.2
_AGREEMENT = 0.58  # the best word in pure noise: 0.54 on average, one time in fifty above this


@dataclass(frozen=True, kw_only=True)
class VideoMark:
    """What is embedded: an id of ``bits`` (16 or 32) bits, readable with the same ``key``."""

    id: int
    bits: int = 32
    key: bytes = DEFAULT_KEY

    def __post_init__(self) -> None:
        encode(self.id, self.bits)  # refuses what does not fit


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What was found. ``present`` without an ``id``: a mark is there, but too worn to be read.

    ``confidence`` is from 0 to 1; ``sync`` is the height of the sync peak in standard deviations
    of what unmarked pictures give, ``scale`` the size of the pattern against an uncropped picture.
    """

    id: int | None
    bits: int
    confidence: float
    present: bool
    sync: float
    scale: float
    mirrored: bool
    frames: int

    def to_dict(self) -> dict[str, object]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Waves:
    """The waves of the tile: ``u, v [K]`` periods down and across, ``weight [K]`` amplitudes.

    ``sync [K]`` says which are known beforehand, ``chips [K]`` the secret signs (±1±1j).
    """

    u: NDArray[np.intp]
    v: NDArray[np.intp]
    weight: Float
    sync: NDArray[np.bool_]
    chips: Complex

    def spectrum(self, tile: Float) -> Complex:
        """The coefficients ``[K]`` of ``tile [TILE,TILE]``."""
        full = fft.rfft2(tile)
        return np.asarray(full[self.u, self.v], np.complex64)

    def tile(self, coefficients: Complex) -> Float:
        """The tile ``[TILE,TILE]`` of coefficients ``[K]``; those of size 1 give an rms of 1."""
        full = np.zeros((TILE, TILE // 2 + 1), np.complex64)
        full[self.u, self.v] = coefficients
        # Waves with v = 0 appear at both ends of the first column.
        full[-self.u[self.v == 0], 0] = coefficients[self.v == 0].conj()
        scale = TILE * TILE / math.sqrt(2 * len(self.u))
        return np.asarray(fft.irfft2(full, (TILE, TILE)) * scale, np.float32)

    def surface(self, coefficients: Complex) -> Float:
        """Correlation of ``coefficients [K]`` with the sync at every shift ``[TILE,TILE]``."""
        return self.tile(np.where(self.sync, coefficients * self.chips.conj(), 0))

    def shifted(self, coefficients: Complex, down: float, across: float) -> Complex:
        """The coefficients of the tile after it was moved back by ``down``, ``across`` pixels."""
        turn = np.exp(2j * np.pi * (self.u * down + self.v * across) / TILE)
        return np.asarray(coefficients * turn, np.complex64)


@lru_cache(maxsize=8)
def _waves(key: bytes) -> _Waves:
    reach = int(_HIGH) + 1
    v, u = np.meshgrid(np.arange(reach), np.arange(-reach, reach + 1))
    radius = np.hypot(u, v)
    used = (radius >= _LOW) & (radius <= _HIGH) & ((v > 0) | (u > 0))
    u, v, radius = u[used], v[used], radius[used]
    count = len(u)
    sync = np.zeros(count, bool)
    sync[shuffle(key + b" sync", count)[: round(_SYNC_SHARE * count)]] = True
    signs = spread(key + b" chips", 2 * count).astype(np.float32).reshape(2, count)
    weight = (radius / radius.mean()) ** _TILT
    return _Waves(
        u=u,
        v=v,
        weight=(weight / np.sqrt((weight**2).mean())).astype(np.float32),
        sync=sync,
        chips=((signs[0] + 1j * signs[1]) / math.sqrt(2)).astype(np.complex64),
    )


@lru_cache(maxsize=8)
def _places(key: bytes, bits: int) -> NDArray[np.intp]:
    """Which symbol each real number of the payload waves carries: ``[2 * payload waves]``."""
    count = 2 * int((~_waves(key).sync).sum())
    order = shuffle(key + b" symbols %d" % bits, count)
    places = np.empty(count, np.intp)
    places[order] = np.arange(count) % code_length(bits)
    return places


def _per_symbol(waves: _Waves, coefficients: Complex, key: bytes, bits: int) -> Float:
    """The sums of the payload coefficients ``[K]`` that carry each symbol, chips taken off."""
    bare = _parts(coefficients)[:, ~waves.sync] * _parts(waves.chips)[:, ~waves.sync]
    sums = np.bincount(_places(key, bits), bare.reshape(-1), code_length(bits))
    return sums.astype(np.float32)


def _parts(coefficients: Complex) -> Float:
    """Real and imaginary parts, ``[2,K]``; those of the chips have size 1."""
    return np.stack([coefficients.real, coefficients.imag]).astype(np.float32) * math.sqrt(2)


class VideoMarker:
    """Puts ``mark`` into the frames of one video, in their order; keeps state between frames."""

    def __init__(self, mark: VideoMark) -> None:
        self._mark = mark
        self._waves = _waves(mark.key)
        self._symbols = encode(mark.id, mark.bits).astype(np.float32)
        # The signs of both parts of every wave, ``[2,K]``.
        self._signs = _parts(self._waves.chips)
        payload = self._symbols[_places(mark.key, mark.bits)].reshape(2, -1)
        self._signs[:, ~self._waves.sync] *= payload
        self._gains = np.ones_like(self._signs)
        self._host: Complex | None = None
        self._response = 1.0
        self._share = 1.0
        self._levels = _levels(self._share)
        self._small: Bytes | None = None
        self._size = (0, 0)
        self._up = self._down = np.zeros((0, 0), np.uint8)
        self._count = 0

    def mark(self, frame: Bytes) -> Bytes:
        """``frame [H,W,3]`` RGB with the mark; a new array. All frames have one size."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 [H,W,3], not {frame.dtype} {frame.shape}")
        grey = _to_work(frame)
        small = _quarter(grey)
        size = (frame.shape[0], frame.shape[1])
        if size != self._size or self._is_cut(small):
            self._size = size
            self._begin_scene(grey)
        elif self._count % _UPDATE == 0:
            self._follow(grey)
        self._small = small
        self._count += 1
        return self._apply(frame, _strength(grey, self._levels))

    def _is_cut(self, small: Bytes) -> bool:
        assert self._small is not None
        return float(cv2.norm(small, self._small, cv2.NORM_L1)) / small.size > _CUT

    def _begin_scene(self, grey: Bytes) -> None:
        """Everything anew: how strong the mark may be, and what the gains are."""
        self._share = _affordable(grey)
        self._levels = _levels(self._share)
        self._host = self._waves.spectrum(_fold(_eye(grey)))
        self._response = self._seen(grey, self._host)
        self._gains = self._wanted()
        self._draw()

    def _follow(self, grey: Bytes) -> None:
        """Lead the strength and the gains, slowly, to what the picture needs now."""
        assert self._host is not None
        now = self._waves.spectrum(_fold(_eye(grey)))
        self._host = self._host + np.complex64(_MEMORY) * (now - self._host)
        self._response += _MEMORY * (self._seen(grey, now) - self._response)
        share = float(np.clip(_affordable(grey) - self._share, -_SHARE_STEP, _SHARE_STEP))
        self._share = round(self._share + share, 2)
        self._levels = _levels(self._share)
        change = np.clip(self._wanted() - self._gains, -_GAIN_STEP, _GAIN_STEP)
        if float(np.abs(change).mean()) > 0.2 * _GAIN_STEP:
            self._gains += change
            self._draw()

    def _seen(self, grey: Bytes, host: Complex) -> float:
        """How much the eye, to which ``grey`` is ``host``, sees of a pattern with gains of 1."""
        strength = _resized(_strength(grey, self._levels), *grey.shape).astype(np.float32) / _FINE
        pattern = _tiled(self._tile(np.ones_like(self._signs)), *grey.shape)
        marked = np.clip(np.rint(grey + pattern * strength), 0, 255)
        added = self._waves.spectrum(_fold(_eye(marked))) - host
        return max(float((_parts(added) * self._signs / self._waves.weight).mean()), 1e-3)

    def _wanted(self) -> Float:
        """The gains ``[2,K]`` that bring each symbol and each sync wave to the margin."""
        assert self._host is not None
        waves, mark = self._waves, self._mark
        unit = self._response * waves.weight  # what a gain of 1 adds to each part
        host = _parts(self._host) * self._signs
        wanted = _MARGIN - 0.5 * host / unit  # sync: each wave for itself, but half-heartedly
        places = _places(mark.key, mark.bits)
        held = _per_symbol(waves, self._host, mark.key, mark.bits) * self._symbols
        full = np.bincount(places, np.tile(unit[~waves.sync], 2), code_length(mark.bits))
        wanted[:, ~waves.sync] = (_MARGIN - held / full)[places].reshape(2, -1)
        return np.clip(wanted, _GAIN_MIN, _GAIN_MAX).astype(np.float32)

    def _tile(self, gains: Float) -> Float:
        parts = self._signs * gains * self._waves.weight / math.sqrt(2)
        return self._waves.tile((parts[0] + 1j * parts[1]).astype(np.complex64))

    def _draw(self) -> None:
        """The pattern at the size of the frames, as what is added and what is taken away."""
        height, width = self._size
        pattern = _tiled(self._tile(self._gains), *_work_size(height, width))
        if pattern.shape != self._size:
            way = cv2.INTER_CUBIC if pattern.shape[0] < height else cv2.INTER_AREA
            pattern = _resized(pattern, height, width, way)
        self._up = np.clip(np.rint(_FINE * pattern), 0, 255).astype(np.uint8)
        self._down = np.clip(np.rint(-_FINE * pattern), 0, 255).astype(np.uint8)

    def _apply(self, frame: Bytes, strength: Bytes) -> Bytes:
        height, width = self._size
        amount = _resized(strength, height, width)
        up = cv2.multiply(self._up, amount, scale=1 / _FINE**2)
        down = cv2.multiply(self._down, amount, scale=1 / _FINE**2)
        brighter = cv2.add(frame, cv2.cvtColor(up, cv2.COLOR_GRAY2RGB))
        darker = cv2.subtract(brighter, cv2.cvtColor(down, cv2.COLOR_GRAY2RGB))
        return np.asarray(darker, np.uint8)


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
        seen = _eye(_to_work(_middle(frame)))
        if self._sum is None:
            self._sum = seen.copy()
        elif self._sum.shape == seen.shape:
            self._sum += seen
        else:
            raise ValueError("the frames of one video have one size")
        self._count += 1

    def result(self) -> Detection:
        """What is in the frames so far; the first 16 and 32 bit id that holds up is given."""
        nothing = Detection(
            id=None, bits=0, confidence=0.0, present=False,
            sync=0.0, scale=1.0, mirrored=False, frames=self._count,
        )  # fmt: skip
        if self._sum is None:
            return nothing
        waves = _waves(self._key)
        places = self._search(waves, self._sum / self._count)
        best = places[0]
        for place in places:
            if place.sync < _SYNC_WITH_ID:
                break
            for bits in (32, 16):
                soft = _per_symbol(waves, place.coefficients, self._key, bits)
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

    def _search(self, waves: _Waves, seen: Float) -> list[_Place]:
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


def _look(waves: _Waves, seen: Float, scale: float) -> list[_Place]:
    """The best shift at this scale, as it is and mirrored."""
    height, width = (max(TILE // 2, round(side / scale)) for side in seen.shape)
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    folded = _fold(_resized(seen, height, width, way))
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


def _settled(waves: _Waves, place: _Place) -> _Place:
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


def _trust(waves: _Waves, heights: Float) -> Float:
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
) -> Detection:
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


def _work_size(height: int, width: int) -> tuple[int, int]:
    scale = WORK / min(height, width)
    return max(WORK, round(height * scale)), max(WORK, round(width * scale))


def _to_work(frame: Bytes) -> Bytes:
    """The luma of ``frame`` at working size, ``[h,w]``."""
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    height, width = _work_size(*grey.shape)
    if grey.shape != (height, width):
        way = cv2.INTER_AREA if height < grey.shape[0] else cv2.INTER_LINEAR
        grey = _resized(grey, height, width, way)
    return np.asarray(grey)


def _resized(
    picture: NDArray[Any], height: int, width: int, way: int = cv2.INTER_LINEAR
) -> NDArray[Any]:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way))


def _quarter(grey: Bytes) -> Bytes:
    size = (grey.shape[1] // 4, grey.shape[0] // 4)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _strength(grey: Bytes, levels: Bytes) -> Bytes:
    """How much of the pattern each 4 x 4 pixels hide, ``[h/4,w/4]`` in 1/32 grey level."""
    activity = np.asarray(cv2.absdiff(grey, cv2.blur(grey, (5, 5))), np.uint8)
    return np.asarray(cv2.LUT(cv2.blur(_quarter(activity), (5, 5)), levels), np.uint8)


@lru_cache(maxsize=64)
def _levels(share: float) -> Bytes:
    """The strength for every activity 0 to 255; ``share`` scales it down."""
    strength = np.minimum(_FLAT + _PER_ACTIVITY * np.arange(256), _STRONGEST)
    return np.rint(_FINE * share * strength).astype(np.uint8)


def _affordable(grey: Bytes) -> float:
    """The share of the strength that keeps a picture full of texture within the limit."""
    strength = _strength(grey, _levels(1.0)).astype(np.float32) / _FINE
    rms = math.sqrt(float((strength**2).mean()))
    return round(min(1.0, _RMS / rms), 2)


def _eye(grey: Bytes | Float) -> Float:
    """``grey [h,w]`` less its local mean, over its local contrast, without extremes."""
    picture = grey.astype(np.float32)
    detail = picture - cv2.blur(picture, (_EYE, _EYE))
    # The running sums of the blur can end a hair below zero.
    power = np.maximum(cv2.blur(detail * detail, (_EYE, _EYE)), 0)
    contrast = np.sqrt(power) + np.float32(_CONTRAST_FLOOR)
    return np.asarray(np.clip(detail / contrast, -_CLIP, _CLIP), np.float32)


def _fold(picture: Float) -> Float:
    """The mean of all repetitions of the tile in ``picture [h,w]``."""
    height, width = picture.shape
    down, across = -(-height // TILE), -(-width // TILE)
    padded = np.zeros((down * TILE, across * TILE), np.float32)
    padded[:height, :width] = picture
    total = padded.reshape(down, TILE, across, TILE).sum(axis=(0, 2))
    rows = np.bincount(np.arange(height) % TILE, minlength=TILE)
    columns = np.bincount(np.arange(width) % TILE, minlength=TILE)
    return np.asarray(total / np.maximum(np.outer(rows, columns), 1), np.float32)


def _tiled(tile: Float, height: int, width: int) -> Float:
    """``tile`` repeated over ``[height,width]``."""
    return np.tile(tile, (-(-height // TILE), -(-width // TILE)))[:height, :width]
