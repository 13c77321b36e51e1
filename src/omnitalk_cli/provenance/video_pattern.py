"""The pattern of the video mark, and the eye that both its sides see it with.

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
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from omnitalk_cli.provenance.coding import code_length, shuffle, spread
from omnitalk_cli.types import Float

Complex = NDArray[np.complex64]
Bytes = NDArray[np.uint8]

DEFAULT_KEY = b"omnitalk video mark 1"
WORK = 512
TILE = 128

_LOW, _HIGH = 4.5, 20.0  # periods per tile
_SYNC_SHARE = 1 / 3
_TILT = -1.2  # of the amplitude over the frequency: codecs spare the long waves

_EYE = 15  # pixels of the local mean
_CONTRAST_FLOOR = 1.0
_CLIP = 2.5


@dataclass(frozen=True)
class Waves:
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
def waves_of(key: bytes) -> Waves:
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
    return Waves(
        u=u,
        v=v,
        weight=(weight / np.sqrt((weight**2).mean())).astype(np.float32),
        sync=sync,
        chips=((signs[0] + 1j * signs[1]) / math.sqrt(2)).astype(np.complex64),
    )


@lru_cache(maxsize=8)
def places_of(key: bytes, bits: int) -> NDArray[np.intp]:
    """Which symbol each real number of the payload waves carries: ``[2 * payload waves]``."""
    count = 2 * int((~waves_of(key).sync).sum())
    order = shuffle(key + b" symbols %d" % bits, count)
    places = np.empty(count, np.intp)
    places[order] = np.arange(count) % code_length(bits)
    return places


def per_symbol(waves: Waves, coefficients: Complex, key: bytes, bits: int) -> Float:
    """The sums of the payload coefficients ``[K]`` that carry each symbol, chips taken off."""
    bare = parts_of(coefficients)[:, ~waves.sync] * parts_of(waves.chips)[:, ~waves.sync]
    sums = np.bincount(places_of(key, bits), bare.reshape(-1), code_length(bits))
    return sums.astype(np.float32)


def parts_of(coefficients: Complex) -> Float:
    """Real and imaginary parts, ``[2,K]``; those of the chips have size 1."""
    return np.stack([coefficients.real, coefficients.imag]).astype(np.float32) * math.sqrt(2)


def work_size(height: int, width: int) -> tuple[int, int]:
    scale = WORK / min(height, width)
    return max(WORK, round(height * scale)), max(WORK, round(width * scale))


def to_work(frame: Bytes) -> Bytes:
    """The luma of ``frame`` at working size, ``[h,w]``."""
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    height, width = work_size(*grey.shape)
    if grey.shape != (height, width):
        way = cv2.INTER_AREA if height < grey.shape[0] else cv2.INTER_LINEAR
        grey = resized(grey, height, width, way)
    return np.asarray(grey)


def resized(
    picture: NDArray[Any], height: int, width: int, way: int = cv2.INTER_LINEAR
) -> NDArray[Any]:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way))


def seen_by_eye(grey: Bytes | Float) -> Float:
    """``grey [h,w]`` less its local mean, over its local contrast, without extremes."""
    picture = grey.astype(np.float32)
    detail = picture - cv2.blur(picture, (_EYE, _EYE))
    # The running sums of the blur can end a hair below zero.
    power = np.maximum(cv2.blur(detail * detail, (_EYE, _EYE)), 0)
    contrast = np.sqrt(power) + np.float32(_CONTRAST_FLOOR)
    return np.asarray(np.clip(detail / contrast, -_CLIP, _CLIP), np.float32)


def folded_tile(picture: Float) -> Float:
    """The mean of all repetitions of the tile in ``picture [h,w]``."""
    height, width = picture.shape
    down, across = -(-height // TILE), -(-width // TILE)
    padded = np.zeros((down * TILE, across * TILE), np.float32)
    padded[:height, :width] = picture
    total = padded.reshape(down, TILE, across, TILE).sum(axis=(0, 2))
    rows = np.bincount(np.arange(height) % TILE, minlength=TILE)
    columns = np.bincount(np.arange(width) % TILE, minlength=TILE)
    return np.asarray(total / np.maximum(np.outer(rows, columns), 1), np.float32)


def tiled(tile: Float, height: int, width: int) -> Float:
    """``tile`` repeated over ``[height,width]``."""
    return np.tile(tile, (-(-height // TILE), -(-width // TILE)))[:height, :width]
