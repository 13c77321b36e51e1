"""Groups of the 478 face-mesh points, and those that the fit looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def _indices(text: str) -> Indices:
    return np.array([int(word) for word in text.split()], np.intp)


LIPS = _indices(
    "61 146 91 181 84 17 314 405 321 375 291 409 270 269 267 0 37 39 40 185 "
    "78 95 88 178 87 14 317 402 318 324 308 415 310 311 312 13 82 81 80 191"
)
RIGHT_LIDS = _indices("33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246")
LEFT_LIDS = _indices("263 249 390 373 374 380 381 382 362 398 384 385 386 387 388 466")
LIDS = np.concatenate([RIGHT_LIDS, LEFT_LIDS])
BROWS = _indices("46 53 52 65 55 70 63 105 66 107 276 283 282 295 285 300 293 334 296 336")
# The lower half of the oval, from ear to ear.
JAW = _indices("454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 136 172 58 132 93 234")
_FOREHEAD = _indices("10 338 297 332 284 251 389 356 127 162 21 54 103 67 109")
_NOSE = _indices(
    "168 6 197 195 5 4 1 19 94 2 45 275 220 440 48 278 64 294 98 327 97 326 115 344 9 8 151"
)

REGIONS: dict[str, Indices] = {"mouth": LIPS, "eyes": LIDS, "brows": BROWS, "jaw": JAW}

FIT_POINT_COUNT = 238


def _fit_points() -> Indices:
    """All feature points, filled up evenly from the cheeks and the forehead."""
    features = np.unique(np.concatenate([LIPS, LIDS, BROWS, JAW, _FOREHEAD, _NOSE]))
    rest = np.setdiff1d(np.arange(468), features)
    chosen = rest[
        np.linspace(0, len(rest) - 1, FIT_POINT_COUNT - len(features)).round().astype(int)
    ]
    return np.sort(np.concatenate([features, chosen]))


FIT_POINTS = _fit_points()
