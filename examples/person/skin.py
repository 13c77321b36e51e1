"""Skin painted in the plane of the neutral face: colour, gloss and relief."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from person.head import INNER_LIPS, LEFT_LIDS, OUTER_LIPS, RIGHT_LIDS

DENSITY = 560  # texels per eye distance
LEFT, TOP = -1.05, 1.15
WIDTH, HEIGHT = int(2.1 * DENSITY), int(2.75 * DENSITY)

BASE = np.array([0.600, 0.345, 0.235])
RED = np.array([0.62, 0.205, 0.155])
LIP = np.array([0.40, 0.095, 0.090])
BROWN = np.array([0.052, 0.026, 0.014])
BROWS = (
    ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107)),
    ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336)),
)


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit deviation with features of about ``scale`` texels."""
    height, width = shape
    small = (max(2, int(height / scale) + 3), max(2, int(width / scale) + 3))
    grid = rng.standard_normal(small).astype(np.float32)
    grown = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return grown / grown.std()


def smooth_step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, a smooth ramp between (``low`` may be the larger)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def closed_curve(points: np.ndarray, samples: int = 12) -> np.ndarray:
    """A Catmull-Rom curve through closed ``points`` [K,D]: ``[K*samples,D]``."""
    t = np.linspace(0, 1, samples, endpoint=False)[:, None]
    pieces = []
    for k in range(len(points)):
        a, b, c, d = (points[(k + o) % len(points)] for o in (-1, 0, 1, 2))
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
                   + (3 * b - a - 3 * c + d) * t**3)
        )  # fmt: skip
    return np.concatenate(pieces)


@dataclass(frozen=True, kw_only=True)
class SkinMaps:
    """``albedo`` [H,W,3] linear, ``gloss`` [H,W] 0…1, ``slope`` [H,W,2] of the relief, y up."""

    albedo: np.ndarray
    gloss: np.ndarray
    slope: np.ndarray

    def sample(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Albedo ``[P,3]``, gloss ``[P]`` and slope ``[P,2]`` at neutral-face places ``[P,2+]``."""
        x = ((places[:, 0] - LEFT) * DENSITY).astype(np.float32)[:, None]
        y = ((TOP - places[:, 1]) * DENSITY).astype(np.float32)[:, None]

        def look(image: np.ndarray) -> np.ndarray:
            out = [
                cv2.remap(image, x[i : i + 30000], y[i : i + 30000], cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)[:, 0]
                for i in range(0, len(x), 30000)
            ]  # fmt: skip
            return np.concatenate(out)

        return look(self.albedo), look(self.gloss), look(self.slope)


def paint(face: np.ndarray, rng: np.random.Generator) -> SkinMaps:
    """Paint the skin of the neutral face ``[478,3]``."""
    shape = (HEIGHT, WIDTH)
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    px, py = LEFT + xx / DENSITY, TOP - yy / DENSITY

    def texel(points: np.ndarray) -> np.ndarray:
        return np.stack([(points[:, 0] - LEFT), (TOP - points[:, 1])], axis=1) * DENSITY

    def blob(index: int, rx: float, ry: float, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
        cx, cy = face[index, 0] + dx, face[index, 1] + dy
        return np.exp(-0.5 * (((px - cx) / rx) ** 2 + ((py - cy) / ry) ** 2))

    def region(indices: tuple[int, ...], softness: float, grow: float = 1.0) -> np.ndarray:
        curve = texel(face[list(indices)])
        curve = curve.mean(axis=0) + (curve - curve.mean(axis=0)) * grow
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [np.round(closed_curve(curve) * 16).astype(np.int32)], 255,
                     cv2.LINE_AA, 4)  # fmt: skip
        return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), softness * DENSITY)

    albedo = np.broadcast_to(BASE, (*shape, 3)).astype(np.float32).copy()

    def mix(colour: np.ndarray, amount: np.ndarray) -> None:
        albedo[:] += (np.asarray(colour, np.float32) - albedo) * amount[..., None]

    # Blood: cheeks, nose tip, chin, around the nostrils; yellow on the forehead.
    cheeks = blob(50, 0.20, 0.15) + blob(280, 0.20, 0.15)
    mix(RED, 0.34 * cheeks)
    mix(RED, 0.30 * blob(1, 0.13, 0.10))
    mix(RED, 0.22 * (blob(129, 0.06, 0.07) + blob(358, 0.06, 0.07)))
    mix(RED, 0.12 * blob(199, 0.16, 0.10))
    mix([0.66, 0.42, 0.28], 0.35 * blob(151, 0.42, 0.22))
    mottled = 0.6 * noise(shape, 60, rng) + 0.4 * noise(shape, 18, rng)
    albedo *= (1.0 + 0.030 * mottled[..., None] * np.array([0.4, 1.0, 1.1])).astype(np.float32)
    # Around the eyes: thinner, cooler skin and a little shadow in the crease.
    for lids, under, crease in (
        (RIGHT_LIDS, 119, (226, 247, 30, 29, 27, 28, 56, 190)),
        (LEFT_LIDS, 348, (446, 467, 260, 259, 257, 258, 286, 414)),
    ):
        mix([0.48, 0.235, 0.175], 0.38 * region(lids, 0.045, 1.25))
        mix([0.47, 0.25, 0.215], 0.22 * blob(under, 0.14, 0.06, dy=0.05))
        line = np.zeros(shape, np.uint8)
        path = texel(face[list(crease)])
        cv2.polylines(line, [np.round(path * 16).astype(np.int32)], False, 255,
                      int(0.012 * DENSITY), cv2.LINE_AA, 4)  # fmt: skip
        soft = cv2.GaussianBlur(line.astype(np.float32) / 255, (0, 0), 0.012 * DENSITY)
        mix([0.30, 0.12, 0.085], 0.55 * soft)
        rim = np.zeros(shape, np.uint8)
        upper = closed_curve(texel(face[list(lids)]))[: 8 * 12 + 1]
        cv2.polylines(rim, [np.round(upper * 16).astype(np.int32)], False, 255,
                      int(0.020 * DENSITY), cv2.LINE_AA, 4)  # fmt: skip
        dark = cv2.GaussianBlur(rim.astype(np.float32) / 255, (0, 0), 0.008 * DENSITY)
        mix([0.09, 0.04, 0.03], 0.75 * np.clip(dark, 0, 1))
        mix([0.50, 0.17, 0.14], 0.35 * region(lids, 0.008, 1.04))
    # Freckles: many faint, few clear, over nose and cheeks.
    freckles = np.zeros(shape, np.float32)
    for _ in range(420):
        side = rng.choice([-1.0, 1.0])
        cx, cy = side * abs(rng.normal(0.27, 0.17)), rng.normal(-0.33, 0.12)
        radius = rng.uniform(0.003, 0.0085) * DENSITY
        strength = rng.uniform(0.08, 0.42) * np.exp(-(((abs(cx) - 0.28) / 0.3) ** 2))
        x0, y0 = (cx - LEFT) * DENSITY, (TOP - cy) * DENSITY
        reach = int(3 * radius) + 2
        ix, iy = int(x0), int(y0)
        patch = (slice(iy - reach, iy + reach + 1), slice(ix - reach, ix + reach + 1))
        d2 = (xx[patch] - x0) ** 2 + ((yy[patch] - y0) * rng.uniform(0.8, 1.3)) ** 2
        freckles[patch] = np.maximum(freckles[patch], strength * np.exp(-d2 / (2 * radius**2)))
    mix([0.33, 0.135, 0.07], freckles * (1 - region(OUTER_LIPS, 0.02)))
    # Lips: soft vermilion border, darker towards the opening, fine upright lines.
    lips = region(OUTER_LIPS, 0.012, 0.99)
    lines = cv2.resize(
        rng.standard_normal((24, 260)).astype(np.float32), (WIDTH, HEIGHT),
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    mix(LIP, 0.82 * lips)
    albedo *= (1.0 + 0.03 * (lines * lips)[..., None]).astype(np.float32)
    mix([0.24, 0.045, 0.045], 0.55 * region(INNER_LIPS, 0.02, 1.02) * lips)
    for marks in ((97, 64, 98), (326, 294, 327)):  # nostrils
        cx, cy = face[list(marks), :2].mean(axis=0)
        side = np.sign(cx)
        dx = (px - cx + 0.012 * side) / 0.042
        dy = (py - cy - 0.012 - 0.25 * side * (px - cx)) / 0.020
        hole = np.exp(-((dx * dx + dy * dy) ** 1.5))
        mix([0.075, 0.018, 0.012], 0.92 * hole)
    # Relief: pores, fine creases, lip lines.
    skin = 1.0 - lips
    pores = noise(shape, 3.2, rng) + 0.8 * noise(shape, 7, rng)
    pores = pores - 0.6 * np.abs(noise(shape, 5, rng))
    nose = blob(4, 0.2, 0.16)
    relief = skin * (0.00045 + 0.0005 * nose + 0.0003 * cheeks) * pores
    relief += 0.0009 * lines * lips
    relief += 0.0011 * noise(shape, 42, rng)
    gloss = 0.42 + 0.25 * nose + 0.12 * blob(151, 0.4, 0.22) - 0.10 * cheeks + 0.04 * pores
    gloss = gloss * skin + 0.92 * lips
    _brows(albedo, face, texel, rng)
    slope_x = cv2.Sobel(relief.astype(np.float32), -1, 1, 0, scale=DENSITY / 8)
    slope_y = -cv2.Sobel(relief.astype(np.float32), -1, 0, 1, scale=DENSITY / 8)
    return SkinMaps(
        albedo=np.clip(albedo, 0.004, 0.9).astype(np.float32),
        gloss=np.clip(gloss, 0, 1).astype(np.float32),
        slope=np.stack([slope_x, slope_y], axis=-1).astype(np.float32),
    )


def _brows(albedo: np.ndarray, face: np.ndarray, texel, rng: np.random.Generator) -> None:
    """Soft ground and some hundred hairs for each brow, rooted low and combed outwards."""
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    ground = np.zeros((HEIGHT, WIDTH), np.float32)
    along = np.linspace(0, 1, 5)

    def at(rows: np.ndarray, t: float) -> np.ndarray:
        return np.array([np.interp(t, along, rows[:, k]) for k in range(2)])

    for lower, upper in BROWS:
        low, high = texel(face[list(lower)]), texel(face[list(upper)])
        side = np.sign(low[0, 0] - low[-1, 0])  # +1: the tail is at the picture's right

        for _ in range(560):
            t = rng.beta(1.1, 0.95)  # 0 tail … 1 nose side
            thick = np.interp(t, [0, 0.25, 0.7, 1], [0.16, 0.55, 0.72, 0.62])
            lift = 0.45 + thick * (rng.beta(1.3, 1.6) - 0.5)
            root = at(low, t) * (1 - lift) + at(high, t) * lift
            angle = np.interp(t, [0, 0.5, 0.85, 1.0], [12, 24, 52, 84]) + rng.normal(0, 7)
            if lift > 0.55 and t < 0.8:
                angle -= 18  # upper hairs lie flatter and meet the lower ones
            reach = rng.uniform(0.045, 0.085) * DENSITY * np.interp(t, [0, 0.3, 1], [0.7, 1, 0.75])
            bend = rng.normal(-10, 6)
            steps = np.linspace(0, 1, 6)
            turn = np.deg2rad(angle + bend * steps)
            path = root + reach * steps[:, None] * np.stack(
                [side * np.cos(turn), -np.sin(turn)], axis=1
            )
            shade = int(rng.uniform(90, 215) * np.interp(t, [0.9, 1.0], [1.0, 0.6]))
            for k in range(5):
                cv2.line(layer, tuple(np.round(path[k] * 16).astype(int).tolist()),
                         tuple(np.round(path[k + 1] * 16).astype(int).tolist()),
                         int(shade * (1 - 0.12 * k)), 1, cv2.LINE_AA, 4)  # fmt: skip
            ix, iy = np.round(path[2]).astype(int)
            ground[iy, ix] += 1.0
    ground = cv2.GaussianBlur(ground, (0, 0), 0.016 * DENSITY)
    amount = 0.66 * np.clip(ground / np.percentile(ground[ground > 1e-4], 90), 0, 1)
    albedo += (BROWN * 1.6 - albedo) * amount[..., None]
    hair = cv2.GaussianBlur(layer, (0, 0), 0.6).astype(np.float32)[..., None] / 255
    albedo += (BROWN - albedo) * np.clip(1.15 * hair, 0, 0.92)
