"""Putting the video mark into frames: an id that is still there after re-encoding and cropping.

The pattern (``video_pattern``) stands still. Its strength follows the texture of the picture, which
hides it, and the part of every symbol follows what the picture itself already says (informed
embedding: a symbol that the picture happens to carry needs little, one that it contradicts more).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from omnitalk_cli.provenance.coding import code_length, encode
from omnitalk_cli.provenance.video_pattern import (
    DEFAULT_KEY,
    Bytes,
    Complex,
    folded_tile,
    parts_of,
    per_symbol,
    places_of,
    resized,
    seen_by_eye,
    tiled,
    to_work,
    waves_of,
    work_size,
)
from omnitalk_cli.types import Float

# What the pattern may add to the picture, in grey levels.
_PER_ACTIVITY, _STRONGEST = 0.2, 4.0
_DARK_FLAT, _BRIGHT_FLAT = 0.9, 1.15  # where nothing hides it: less in the dark, as skin in shade
_DARK, _BRIGHT = 30, 110  # luma up to which, and from which on, these hold
_RMS = 1.42  # at most, over a picture: 45.1 dB PSNR, before the gains differ
_GAIN_MIN, _GAIN_MAX = 0.25, 2.0
_GAIN_STEP, _SHARE_STEP = 0.08, 0.03  # at most, per update: nothing may jump
_MARGIN = 1.0  # of a symbol's statistic, relative to what a gain of 1 gives in an empty picture
_UPDATE = 8  # frames between two looks at what the picture says itself
_MEMORY = 0.3  # share of the newest look
_FINE = 32  # bytes hold pattern and strength in 1/32: their product is one step of OpenCV
_CUT = 18.0  # mean change in grey levels that is a new scene


@dataclass(frozen=True, kw_only=True)
class VideoMark:
    """What is embedded: an id of ``bits`` (16 or 32) bits, readable with the same ``key``."""

    id: int
    bits: int = 32
    key: bytes = DEFAULT_KEY

    def __post_init__(self) -> None:
        encode(self.id, self.bits)  # refuses what does not fit


class VideoMarker:
    """Puts ``mark`` into the frames of one video, in their order; keeps state between frames."""

    def __init__(self, mark: VideoMark) -> None:
        self._mark = mark
        self._waves = waves_of(mark.key)
        self._symbols = encode(mark.id, mark.bits).astype(np.float32)
        # The signs of both parts of every wave, ``[2,K]``.
        self._signs = parts_of(self._waves.chips)
        payload = self._symbols[places_of(mark.key, mark.bits)].reshape(2, -1)
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
        grey = to_work(frame)
        small = _quarter(grey)
        size = (frame.shape[0], frame.shape[1])
        if size != self._size or self._is_cut(small):
            self._size = size
            self._begin_scene(grey, small)
        elif self._count % _UPDATE == 0:
            self._follow(grey, small)
        self._small = small
        self._count += 1
        return self._apply(frame, _strength(grey, small, self._levels))

    def _is_cut(self, small: Bytes) -> bool:
        assert self._small is not None
        return float(cv2.norm(small, self._small, cv2.NORM_L1)) / small.size > _CUT

    def _begin_scene(self, grey: Bytes, small: Bytes) -> None:
        """Everything anew: how strong the mark may be, and what the gains are."""
        self._share = _affordable(grey, small)
        self._levels = _levels(self._share)
        self._host = self._waves.spectrum(folded_tile(seen_by_eye(grey)))
        self._response = self._seen(grey, small, self._host)
        self._gains = self._wanted()
        self._draw()

    def _follow(self, grey: Bytes, small: Bytes) -> None:
        """Lead the strength and the gains, slowly, to what the picture needs now."""
        assert self._host is not None
        now = self._waves.spectrum(folded_tile(seen_by_eye(grey)))
        self._host = self._host + np.complex64(_MEMORY) * (now - self._host)
        self._response += _MEMORY * (self._seen(grey, small, now) - self._response)
        share = float(np.clip(_affordable(grey, small) - self._share, -_SHARE_STEP, _SHARE_STEP))
        self._share = round(self._share + share, 2)
        self._levels = _levels(self._share)
        change = np.clip(self._wanted() - self._gains, -_GAIN_STEP, _GAIN_STEP)
        if float(np.abs(change).mean()) > 0.2 * _GAIN_STEP:
            self._gains += change
            self._draw()

    def _seen(self, grey: Bytes, small: Bytes, host: Complex) -> float:
        """How much the eye, to which ``grey`` is ``host``, sees of a pattern with gains of 1."""
        strength = (
            resized(_strength(grey, small, self._levels), *grey.shape).astype(np.float32) / _FINE
        )
        pattern = tiled(self._tile(np.ones_like(self._signs)), *grey.shape)
        marked = np.clip(np.rint(grey + pattern * strength), 0, 255)
        added = self._waves.spectrum(folded_tile(seen_by_eye(marked))) - host
        return max(float((parts_of(added) * self._signs / self._waves.weight).mean()), 1e-3)

    def _wanted(self) -> Float:
        """The gains ``[2,K]`` that bring each symbol and each sync wave to the margin."""
        assert self._host is not None
        waves, mark = self._waves, self._mark
        unit = self._response * waves.weight  # what a gain of 1 adds to each part
        host = parts_of(self._host) * self._signs
        wanted = _MARGIN - 0.5 * host / unit  # sync: each wave for itself, but half-heartedly
        places = places_of(mark.key, mark.bits)
        held = per_symbol(waves, self._host, mark.key, mark.bits) * self._symbols
        full = np.bincount(places, np.tile(unit[~waves.sync], 2), code_length(mark.bits))
        wanted[:, ~waves.sync] = (_MARGIN - held / full)[places].reshape(2, -1)
        return np.clip(wanted, _GAIN_MIN, _GAIN_MAX).astype(np.float32)

    def _tile(self, gains: Float) -> Float:
        parts = self._signs * gains * self._waves.weight / math.sqrt(2)
        return self._waves.tile((parts[0] + 1j * parts[1]).astype(np.complex64))

    def _draw(self) -> None:
        """The pattern at the size of the frames, as what is added and what is taken away."""
        height, width = self._size
        pattern = tiled(self._tile(self._gains), *work_size(height, width))
        if pattern.shape != self._size:
            way = cv2.INTER_CUBIC if pattern.shape[0] < height else cv2.INTER_AREA
            pattern = resized(pattern, height, width, way)
        self._up = np.clip(np.rint(_FINE * pattern), 0, 255).astype(np.uint8)
        self._down = np.clip(np.rint(-_FINE * pattern), 0, 255).astype(np.uint8)

    def _apply(self, frame: Bytes, strength: Bytes) -> Bytes:
        height, width = self._size
        amount = resized(strength, height, width)
        up = cv2.multiply(self._up, amount, scale=1 / _FINE**2)
        down = cv2.multiply(self._down, amount, scale=1 / _FINE**2)
        brighter = cv2.add(frame, cv2.cvtColor(up, cv2.COLOR_GRAY2RGB))
        darker = cv2.subtract(brighter, cv2.cvtColor(down, cv2.COLOR_GRAY2RGB))
        return np.asarray(darker, np.uint8)


def _quarter(grey: Bytes) -> Bytes:
    size = (grey.shape[1] // 4, grey.shape[0] // 4)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _strength(grey: Bytes, small: Bytes, levels: tuple[Bytes, Bytes]) -> Bytes:
    """How much of the pattern each 4 x 4 pixels hide, ``[h/4,w/4]`` in 1/32 grey level.

    ``small`` is ``grey`` at that size.
    """
    activity = np.asarray(cv2.absdiff(grey, cv2.blur(grey, (5, 5))), np.uint8)
    of_texture = cv2.LUT(cv2.blur(_quarter(activity), (5, 5)), levels[0])
    of_light = cv2.LUT(cv2.blur(small, (5, 5)), levels[1])
    return np.asarray(cv2.add(of_texture, of_light), np.uint8)


@lru_cache(maxsize=64)
def _levels(share: float) -> tuple[Bytes, Bytes]:
    """Strength for every activity, scaled by ``share``, and for every luma, 0 to 255."""
    flat = np.interp(np.arange(256), (_DARK, _BRIGHT), (_DARK_FLAT, _BRIGHT_FLAT))
    texture = np.minimum(_PER_ACTIVITY * np.arange(256), _STRONGEST - _BRIGHT_FLAT)
    in_bytes = [np.rint(_FINE * one).astype(np.uint8) for one in (share * texture, flat)]
    return in_bytes[0], in_bytes[1]


def _affordable(grey: Bytes, small: Bytes) -> float:
    """The share of what texture adds that keeps a picture full of it within the limit."""
    flat = _strength(grey, small, _levels(0.0)).astype(np.float32) / _FINE
    texture = _strength(grey, small, _levels(1.0)).astype(np.float32) / _FINE - flat
    # The root of mean((flat + share * texture) ** 2) = _RMS ** 2.
    square = float((texture**2).mean()) + 1e-6
    mixed = float((texture * flat).mean())
    left = max(0.0, _RMS**2 - float((flat**2).mean()))
    return round(min(1.0, (math.sqrt(mixed**2 + square * left) - mixed) / square), 2)
