"""Neck and a knitted roll-neck sweater: lofts round the spine."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

SPINE_Z = -0.95
# Profile of the sweater from inside the collar to the waist, at the side and at the front.
SIDE_X = (0.55, 0.60, 0.655, 0.70, 0.715, 0.735, 0.98, 1.42, 1.80, 2.05, 2.16)
SIDE_Y = (-1.85, -1.56, -1.52, -1.60, -1.82, -1.90, -1.99, -2.15, -2.36, -2.75, -3.60)
FRONT_Z = (0.52, 0.57, 0.625, 0.665, 0.685, 0.70, 0.77, 0.90, 1.00, 1.05, 1.05)
FRONT_Y = (-1.95, -1.66, -1.62, -1.70, -1.94, -2.02, -2.22, -2.60, -3.00, -3.40, -3.90)
COLLAR_END = 5 / 10
YARN = np.array([0.022, 0.078, 0.088], np.float32)
NECK_LOW, NECK_HIGH = -1.95, -0.62


def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Triangles of a grid whose columns close to a ring, counter-clockwise from outside."""
    r, c = np.mgrid[0 : rows - 1, 0:columns]
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, d, b], axis=-1).reshape(-1, 3), np.stack([b, d, e], axis=-1).reshape(-1, 3)]
    )


def sweater(rows: int = 120, columns: int = 180) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points ``[V,3]``, triangles, thread coordinates ``[V,3]`` (round, down, on the collar)."""
    s = np.linspace(0, 1, rows)
    knots = np.linspace(0, 1, len(SIDE_X))
    side_x, side_y, front_z, front_y = (
        PchipInterpolator(knots, values)(s)[:, None]
        for values in (SIDE_X, SIDE_Y, FRONT_Z, FRONT_Y)
    )
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    sin, cos = np.sin(angle), np.cos(angle)
    power = 2.0 - 0.35 * np.clip((s[:, None] - COLLAR_END) * 4, 0, 1)
    x = side_x * np.sign(sin) * np.abs(sin) ** (2 / power)
    share = np.abs(sin) ** 2.0
    z = SPINE_Z + front_z * np.sign(cos) * np.abs(cos) ** (2 / power) * np.where(cos > 0, 1, 0.8)
    y = (
        side_y * share
        + front_y * (1 - share) * (cos > 0)
        + (side_y + 0.05) * (1 - share) * (cos <= 0)
    )
    # A few slow folds and slack in the collar.
    slack = 0.012 * np.sin(3 * angle + 1.0) + 0.008 * np.sin(7 * angle + 2.2)
    collar = np.exp(-(((s[:, None] - 0.28) / 0.16) ** 2))
    y = y + collar * slack
    x, z = x * (1 + 0.5 * collar * slack), z + 0.3 * collar * slack
    points = np.stack([x + 0 * y, y, z + 0 * y], axis=-1)
    down = np.concatenate([
        np.zeros((1, columns)),
        np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=-1), axis=0),
    ])  # fmt: skip
    around = np.broadcast_to(angle, x.shape)
    is_collar = np.broadcast_to(s[:, None] < COLLAR_END - 0.01, x.shape)
    threads = np.stack([around, down, is_collar], axis=-1)
    return (
        points.reshape(-1, 3).astype(np.float32),
        grid_triangles(rows, columns),
        threads.reshape(-1, 3).astype(np.float32),
    )


def knit(threads: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Height (0…1) of the knitting at thread coordinates ``[P,3]`` and places ``[P,3]``."""
    around, down, collar = threads.T
    ribs = around * 46 / (2 * np.pi) * 1.0
    rib = np.abs(np.sin(np.pi * ribs)) ** 0.7
    rows = down * 26
    purl = 0.5 + 0.5 * np.cos(2 * np.pi * rows)
    high = rib * (0.72 + 0.28 * purl)
    # Stocking stitch: columns of V, wider over the body so that they stay of one size.
    columns = places[:, 0] * 14.0
    u = columns - np.floor(columns) - 0.5
    v = down * 15.0 + np.abs(u) * 1.1
    leg = 0.5 + 0.5 * np.cos(2 * np.pi * v)
    spine = np.clip(np.abs(np.abs(u) - 0.25) / 0.25, 0, 1)
    stitch = (1 - spine**2) * (0.45 + 0.55 * leg)
    return np.where(collar > 0.5, high, stitch)


def neck(rows: int = 40, columns: int = 72) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, triangles and how much each point follows the head (0…1)."""
    t = np.linspace(0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    y = NECK_HIGH + (NECK_LOW - NECK_HIGH) * t
    wide = 0.575 - 0.06 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) + 0.05 * t**3
    deep = 0.50 + 0.06 * t
    z0 = -0.80 - 0.15 * t
    sin, cos = np.sin(angle), np.cos(angle)
    # Two cords run from behind the ears to the pit of the neck.
    cord = np.exp(-(((np.abs(np.arctan2(sin, cos)) - (1.15 - 0.75 * t)) / 0.20) ** 2))
    windpipe = np.exp(-((np.arctan2(sin, cos) / 0.33) ** 2))
    swell = 1 + 0.035 * cord * np.sin(np.pi * t) + 0.03 * windpipe * np.sin(np.pi * t)
    points = np.stack(
        [wide * sin * swell, np.broadcast_to(y, cord.shape), z0 + deep * cos * swell], axis=-1
    )
    follow = np.broadcast_to(np.clip(1 - t * 1.15, 0, 1) ** 1.2, cord.shape)
    return (
        points.reshape(-1, 3).astype(np.float32),
        grid_triangles(rows, columns),
        follow.reshape(-1, 1).astype(np.float32),
    )
