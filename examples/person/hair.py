"""Hair: combed guides that fall round the head, and a lock of strands about each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from person.head import SKULL_CENTRE, SKULL_RADII
from person.skin import smooth_step

GUIDES, LOCK = 430, 26
STEPS = 40
STEP = 0.066
PART = -0.16  # the parting's x
DARK = np.array([0.030, 0.0135, 0.0065], np.float32)
LIGHT = np.array([0.150, 0.066, 0.027], np.float32)


def hairline(places: np.ndarray) -> np.ndarray:
    """How far ``[P,3]`` neutral places lie inside the hair (negative: bare skin)."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    front = 0.63 - 0.52 * np.clip(x - 0.20, 0, None) ** 1.6 + 0.02 * np.cos(9 * places[:, 0])
    side = (-z - 0.22) * 0.9 + 0.3 * (y - 0.25)
    low = np.maximum((y - 0.15) * 2.0, np.minimum(-z - 0.85, (y + 0.5) * 2.0))
    return np.minimum(np.maximum(y - front, side), low)


def _collide(points: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """Push points out of the skull, the face's front and the shoulders."""
    grow = 1.0 + lift[:, None]
    local = (points - SKULL_CENTRE) / (SKULL_RADII * grow)
    length = np.linalg.norm(local, axis=1, keepdims=True)
    points = np.where(length < 1, SKULL_CENTRE + local / length * SKULL_RADII * grow, points)
    x, y, z = points.T
    # Jaw and neck: a column that narrows downwards.
    wide = np.interp(y, [-2.2, -1.3, -0.9, -0.2, 0.4], [0.66, 0.66, 0.74, 0.86, 0.84])
    wide = wide * (1 + 0.6 * lift)
    deep = np.interp(y, [-2.2, -1.3, -0.4, 0.4], [0.60, 0.60, 0.66, 0.6])
    cz = -0.62
    r = np.hypot(x / wide, np.maximum(np.abs(z - cz) - 0.3, 0) / deep)
    push = np.where((r < 1) & (y < 0.35), np.minimum(1 / np.maximum(r, 0.35), 1.10), 1.0)
    x = x * push
    # The face stays free.
    open_to = np.interp(y, [-1.3, -0.8, -0.2, 0.40, 0.62], [0.56, 0.64, 0.69, 0.62, 0.28])
    ahead = (z > -0.25) & (y < 0.62) & (np.abs(x) < open_to)
    x = np.where(ahead, np.sign(x) * np.minimum(open_to, np.abs(x) + 0.05), x)
    z = np.where(ahead, z - 0.02, z)
    # Shoulders.
    floor = np.interp(np.abs(x), [0.6, 1.0, 1.5, 2.0], [-1.70, -1.97, -2.15, -2.45])
    floor = (
        floor - 0.9 * np.clip(z - SKULL_CENTRE[2] + 0.1, 0, None) - 0.5 * np.clip(-z - 1.1, 0, None)
    )
    inside = (y < floor + lift * 0.5) & (np.abs(z + 0.95) < 0.75)
    z = np.where(inside, z + np.where(z > -0.95, 0.055, -0.055), z)
    return np.stack([x, y, z], axis=1)


@dataclass(frozen=True, kw_only=True)
class Strands:
    """``paths`` [N,STEPS,3] at rest, ``tint`` [N] (0 dark … 1 light), ``depth`` [N] (0 inner)."""

    paths: np.ndarray
    tint: np.ndarray
    depth: np.ndarray


def grow(rng: np.random.Generator) -> Strands:
    """Comb some hundred guides over the skull and grow a lock round each."""
    roots = []
    while len(roots) < GUIDES:
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        if direction[2] > -0.2 and rng.random() < 0.25 and direction[1] < 0.5:
            continue
        place = SKULL_CENTRE + direction * SKULL_RADII
        if hairline(place[None])[0] > 0.0:
            roots.append(place)
    for _ in range(70):  # both banks of the parting
        direction = np.array([0.0, rng.uniform(0.35, 1.0), rng.uniform(-0.6, 0.95)])
        direction[0] = PART + rng.choice([-1, 1]) * rng.uniform(0.004, 0.06)
        direction[1:] *= np.sqrt(1 - direction[0] ** 2) / np.linalg.norm(direction[1:])
        place = SKULL_CENTRE + direction * SKULL_RADII
        if hairline(place[None])[0] > 0.0:
            roots.append(place)
    guide = np.array(roots)
    count = len(guide)
    children = np.repeat(guide, LOCK, axis=0)
    tangent = rng.standard_normal(children.shape) * 0.055
    side = np.sign(guide[:, 0] - PART)
    sides = np.repeat(side, LOCK)
    children = children + tangent
    wrong = np.sign(children[:, 0] - PART) != sides
    children[wrong, 0] = PART + 0.01 * sides[wrong]
    local = (children - SKULL_CENTRE) / SKULL_RADII
    children = SKULL_CENTRE + local / np.linalg.norm(local, axis=1, keepdims=True) * SKULL_RADII
    bare = hairline(children) < -0.005
    children[bare] = np.repeat(guide, LOCK, axis=0)[bare]
    depth = np.repeat(rng.random(count) ** 0.8, LOCK) * 0.82 + 0.18 * rng.random(len(children))
    flat = 0.35 + 0.65 * smooth_step(0.0, 0.40, np.abs(children[:, 0] - PART))
    root_lift = (0.015 + 0.10 * depth) * flat
    final_lift = 0.015 + 0.10 * depth

    position = children.copy()
    normal = (position - SKULL_CENTRE) / SKULL_RADII**2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    away = np.stack([sides * 0.8, np.full(len(sides), -0.25), np.full(len(sides), -0.55)], axis=1)
    heading = away - (away * normal).sum(axis=1, keepdims=True) * normal + 0.18 * normal
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    path = [position]
    for k in range(1, STEPS):
        y, z = position[:, 1], position[:, 2]
        pull = np.zeros_like(position)
        pull[:, 1] = -1.0
        high = smooth_step(-0.1, 0.7, y)
        pull[:, 0] = sides * (0.40 * high + 0.02)
        pull[:, 2] = -0.35 * smooth_step(-0.6, 0.2, z) * smooth_step(-0.9, 0.2, y)
        pull[:, 2] += 0.20 * smooth_step(-0.9, -1.5, y) * (z > -0.9)
        keep = 0.78
        heading = heading * keep + pull * (1 - keep)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        grown = min(1.0, k / 9)
        lift = (root_lift + (final_lift - root_lift) * grown) * min(1.0, 0.25 + 0.12 * k)
        moved = _collide(position + STEP * heading, lift)
        heading = moved - position
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-6)
        position = position + STEP * heading
        path.append(position)
    paths = np.stack(path, axis=1)
    # Locks gather towards their middle line, more at the ends, and wave together.
    grouped = paths.reshape(count, LOCK, STEPS, 3)
    s = np.linspace(0, 1, STEPS)
    gather = (0.60 * smooth_step(0.1, 0.95, s))[None, None, :, None]
    grouped = grouped + (grouped.mean(axis=1, keepdims=True) - grouped) * gather
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    rate = rng.uniform(7.5, 10.5, (count, 1, 1))
    own = rng.normal(0, 0.30, (count, LOCK, 1))
    swing = (0.012 + 0.060 * smooth_step(0.25, 1.0, s))[None, None]
    wave = swing * np.sin(phase + own + rate * s[None, None])
    wave2 = 0.8 * swing * np.sin(phase * 1.7 + 1.3 + own + rate * 0.9 * s[None, None])
    grouped = grouped + np.stack([wave, 0 * wave, wave2], axis=-1)
    fray = rng.normal(0, 1, (count, LOCK, 1, 3)) * (0.004 + 0.022 * s**2)[None, None, :, None]
    stray = (rng.random((count, LOCK, 1, 1)) < 0.05) * 1.9 + 1.0
    paths = (grouped + fray * stray).reshape(-1, STEPS, 3)
    tint = np.repeat(rng.beta(2, 2.6, count), LOCK) * 0.75 + 0.25 * rng.random(len(paths))
    ends = rng.integers(int(STEPS * 0.86), STEPS + 1, len(paths))
    paths = np.take_along_axis(
        paths, np.minimum(np.arange(STEPS)[None], ends[:, None] - 1)[..., None], axis=1
    )
    return Strands(
        paths=paths.astype(np.float32), tint=tint.astype(np.float32),
        depth=depth.astype(np.float32),
    )  # fmt: skip


def follow(paths: np.ndarray, rotation: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Move strands with the head: all of it at the roots, little on the shoulders."""
    moved = paths @ rotation.T.astype(np.float32) + offset.astype(np.float32)
    share = smooth_step(-2.1, -0.35, paths[..., 1])[..., None]
    return paths + (moved - paths) * share
