"""The room behind, and the film that everything is taken on."""

from __future__ import annotations

import cv2
import numpy as np

from person.skin import noise, smooth_step


def _disc(radius: float) -> np.ndarray:
    size = int(np.ceil(radius)) * 2 + 1
    yy, xx = np.mgrid[0:size, 0:size] - size // 2
    disc = smooth_step(radius + 0.7, radius - 0.7, np.hypot(xx, yy)).astype(np.float32)
    return disc / disc.sum()


def room(size: int, rng: np.random.Generator) -> np.ndarray:
    """An office far out of focus: window, shelf, plant, lamps; linear ``[size,size,3]``."""
    side = 512
    scene = np.empty((side, side, 3), np.float32)
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) / side
    wall = np.array([0.105, 0.092, 0.080], np.float32)
    scene[:] = wall * (1.25 - 0.55 * yy - 0.25 * xx)[..., None]

    def box(x0: float, y0: float, x1: float, y1: float, colour: tuple[float, ...]) -> None:
        corners = (np.array([x0, y0, x1, y1]) * side).astype(int)
        scene[corners[1] : corners[3], corners[0] : corners[2]] = colour

    for k in range(2):  # window panes
        box(-0.02 + 0.175 * k if k else 0.0, 0.02, 0.145 + 0.175 * k, 0.62, (0.62, 0.70, 0.78))
        box(0.0 + 0.175 * k, 0.40, 0.145 + 0.175 * k, 0.62, (0.36, 0.43, 0.36))
    box(0.0, 0.62, 0.36, 0.66, (0.16, 0.12, 0.09))
    box(0.66, 0.0, 1.0, 0.74, (0.075, 0.050, 0.034))  # shelf with books
    for shelf in (0.24, 0.47, 0.70):
        box(0.66, shelf, 1.0, shelf + 0.022, (0.19, 0.12, 0.07))
        x = 0.68
        while x < 0.98:
            width = rng.uniform(0.014, 0.036)
            height = rng.uniform(0.10, 0.17)
            hue = rng.choice(
                np.array([[0.26, 0.07, 0.04], [0.05, 0.11, 0.15], [0.34, 0.24, 0.11],
                          [0.40, 0.36, 0.29], [0.09, 0.13, 0.07], [0.02, 0.02, 0.03]])
            )  # fmt: skip
            if rng.random() < 0.75:
                box(x, shelf - height, x + width, shelf, tuple(hue * rng.uniform(0.6, 1.3)))
            x += width + 0.004
    for _ in range(70):  # leaves in front of the window
        cx, cy = rng.normal(0.09, 0.07), rng.normal(0.66, 0.13)
        green = np.array([0.045, 0.075, 0.032]) * rng.uniform(0.4, 1.7)
        cv2.ellipse(scene, (int(cx * side), int(cy * side)),
                    (int(rng.uniform(12, 26)), int(rng.uniform(4, 9))),
                    rng.uniform(0, 180), 0, 360, green.tolist(), -1)  # fmt: skip
    for x, y, power in ((0.74, 0.10, 16.0), (0.90, 0.30, 11.0), (0.84, 0.055, 8.0),
                        (0.96, 0.12, 12.0), (0.70, 0.335, 6.0), (0.93, 0.56, 6.0)):  # fmt: skip
        cv2.circle(scene, (int(x * side), int(y * side)), 4,
                   (np.array([1.0, 0.66, 0.34]) * power).tolist(), -1)  # fmt: skip
    blurred = cv2.filter2D(scene, -1, _disc(19), borderType=cv2.BORDER_REFLECT)
    blurred = cv2.filter2D(blurred, -1, _disc(5), borderType=cv2.BORDER_REFLECT)
    blurred *= (1.0 + 0.02 * noise((side, side), 90, rng))[..., None]
    return cv2.resize(blurred * 0.85, (size, size), interpolation=cv2.INTER_CUBIC)


def develop(linear: np.ndarray, size: int, grain: np.ndarray) -> np.ndarray:
    """Linear light → 8-bit RGB ``[size,size,3]``: bloom, filmic curve, vignette, grain."""
    small = cv2.resize(linear, (size, size), interpolation=cv2.INTER_AREA)
    glow = cv2.GaussianBlur(np.clip(small - 0.55, 0, 3), (0, 0), size / 60)
    small = small + 0.10 * glow
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    small = small * (1.0 - 0.55 * (xx * xx + yy * yy))[..., None]
    x = np.maximum(small * 0.60, 0)
    film = np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    picture = np.where(film < 0.0031308, 12.92 * film, 1.055 * film ** (1 / 2.4) - 0.055)
    grey = picture.mean(axis=-1, keepdims=True)
    picture = grey + (picture - grey) * 0.94
    picture = picture + grain[..., None] * (0.010 * (1 - 0.6 * grey))
    sharp = picture + 0.35 * (picture - cv2.GaussianBlur(picture, (0, 0), 0.9))
    return np.clip(sharp * 255 + 0.5, 0, 255).astype(np.uint8)
