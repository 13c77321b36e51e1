"""Strands of hair as lines: shaded along their length, drawn far to near."""

from __future__ import annotations

import cv2
import numpy as np

from person.hair import DARK, LIGHT, STEP, STEPS, Strands, follow
from person.head import SKULL_CENTRE
from person.light import GROUND, LIGHTS, SKY
from person.raster import Camera
from person.skin import smooth_step

CHAIN = 3  # segments drawn in one colour
SHINE = np.array([1.0, 0.72, 0.46], np.float32)
EXPOSE = 1.6  # linear value that the 8-bit layer calls white


class HairBrush:
    """Draws strands for a camera; shading and what can never be seen are settled at the start.

    The sheen therefore turns with the head; for the small turns of a speaker nobody sees it.
    ``poses`` are (rotation, offset) pairs that span the head's movement.
    """

    def __init__(
        self, strands: Strands, camera: Camera, poses: list[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        self.paths, self.camera = strands.paths, camera
        # Chains begin at different knots from strand to strand, or their ends would show as bands.
        rows = np.arange(len(self.paths))[:, None]
        knots = np.arange(1 - CHAIN, STEPS - 1, CHAIN)[None] + (rows * 7 % CHAIN)
        begin, ahead = np.maximum(knots, 0), np.clip(knots + CHAIN, 0, STEPS - 1)
        middle = (begin + ahead + 1) // 2
        place = self.paths[rows, middle]
        tangent = self.paths[rows, ahead] - self.paths[rows, begin]
        length = np.linalg.norm(tangent, axis=-1)
        along = begin / STEPS
        shade = _shade(strands, place, tangent / np.maximum(length, 1e-6)[..., None], along)
        row, column = np.nonzero(length > 0.5 * STEP)
        self.row, self.begin, self.ahead, self.middle, self.shade = (
            row, begin[row, column], ahead[row, column], middle[row, column], shade[row, column],
        )  # fmt: skip
        self.wide = np.where(strands.depth < 0.55, 2, 1)[row]
        self._keep_visible(poses)

    def _keep_visible(self, poses: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Drop the chains that other hair hides in every pose."""
        seen = np.zeros(len(self.row), bool)
        for rotation, offset in poses:
            points, z = self._place(rotation, offset)
            picture = np.full((self.camera.size, self.camera.size), -1, np.int32)
            for k in np.argsort(z, kind="stable").tolist():
                line = points[self.row[k], self.begin[k] : self.ahead[k] + 1]
                cv2.polylines(picture, [line], False, k, 1, cv2.LINE_8, 4)
            seen[np.unique(picture[picture >= 0])] = True
        self.row, self.begin, self.ahead, self.middle, self.shade, self.wide = (
            values[seen]
            for values in (self.row, self.begin, self.ahead, self.middle, self.shade, self.wide)
        )

    def _place(self, rotation: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fixed-point pixels ``[N,STEPS,2]`` of the strands and the depth of every chain."""
        paths = follow(self.paths, rotation, offset)
        screen = self.camera.project(paths.reshape(-1, 3)).reshape(*paths.shape)
        points = np.round(screen[..., :2] * 16).astype(np.int32)
        return points, paths[self.row, self.middle, 2]

    def draw(
        self, rotation: np.ndarray, offset: np.ndarray, surface: np.ndarray, split_z: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Layers behind and before ``split_z``: linear pictures ``[S,S,4]`` (colour, cover).

        ``surface`` [S,S] is the depth of skin and cloth, low where there is none.
        """
        size = self.camera.size
        points, z = self._place(rotation, offset)
        centre = points[self.row, self.middle] >> 4
        x, y = np.clip(centre, 0, size - 1).T
        shown = (centre[:, 1] < size + 20) & (z > surface[y, x] - 0.03)
        layers = []
        for use, least in ((shown & (z <= split_z), 2), (shown & (z > split_z), 1)):
            layer = np.zeros((size, size, 4), np.uint8)
            layer[..., :3] = _encode(0.7 * (DARK + 0.35 * (LIGHT - DARK)))
            chosen = np.flatnonzero(use)
            chosen = chosen[np.argsort(z[chosen], kind="stable")]
            for row, first, last, shade, thick in zip(
                self.row[chosen].tolist(),
                self.begin[chosen].tolist(),
                self.ahead[chosen].tolist(),
                self.shade[chosen].tolist(),
                np.maximum(self.wide[chosen], least).tolist(),
                strict=True,
            ):
                line = points[row, first : last + 1]
                cv2.polylines(layer, [line], False, shade, thick, cv2.LINE_AA, 4)
            linear = (layer.astype(np.float32) / 255) ** 2 * EXPOSE
            linear[..., 3] = layer[..., 3].astype(np.float32) / 255
            layers.append(linear)
        return layers[0], layers[1]


def _encode(colour: np.ndarray) -> np.ndarray:
    """Linear light as the square roots that fit an 8-bit layer."""
    return np.sqrt(np.clip(colour / EXPOSE, 0, 1)) * 255


def _shade(
    strands: Strands, place: np.ndarray, tangent: np.ndarray, along: np.ndarray
) -> np.ndarray:
    """Encoded colour and full cover ``[N,K,4]`` of chains at ``place`` that run along ``tangent``.

    Two highlights about the strand's cone, the second one coloured by the hair it has passed
    (J. Kajiya and T. Kay 1989; S. Marschner et al. 2003); inner and lower hair lies in shadow.
    """
    out = (place - SKULL_CENTRE) * np.array([1.0, 0.35, 1.0], np.float32)
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    height = np.interp(place[..., 1], [-2.0, -0.8, 0.3], [0.52, 0.60, 1.0])
    # Behind the ears no light comes in.
    hollow = smooth_step(-0.35, -0.60, place[..., 2]) * smooth_step(0.55, 0.25, place[..., 1])
    hollow = hollow * smooth_step(0.95, 0.75, np.abs(place[..., 0]))
    height = height * (1 - 0.85 * hollow)
    shut = ((0.10 + 0.90 * strands.depth[:, None] ** 1.3) * height)[..., None]
    tint = strands.tint[:, None, None]
    base = (DARK + (LIGHT - DARK) * tint) * (0.85 + 0.30 * along[..., None])
    sky = (SKY + GROUND) / 2 + out[..., 1:2] * (SKY - GROUND) / 2
    colour = base * sky * shut * 1.2
    for light in LIGHTS:
        direction = light.direction
        facing = np.clip(0.25 + 0.75 * (out @ direction), 0, 1)[..., None]
        cosine = (tangent @ direction)[..., None]
        sine = np.sqrt(np.clip(1 - cosine * cosine, 0, 1))
        half = direction + np.array([0, 0, 1], np.float32)
        half /= np.linalg.norm(half)
        lean = (tangent @ half)[..., None] + 0.05 + 0.10 * (tint - 0.5)
        narrow = np.clip(1 - lean**2, 0, 1) ** 90
        broad = np.clip(1 - (lean - 0.14) ** 2, 0, 1) ** 22
        radiance = np.array(light.colour, np.float32) * facing * shut
        colour = colour + radiance * (
            base * sine * 0.85 + 0.10 * narrow + broad * base * SHINE * 2.2
        )
    return np.concatenate([_encode(colour), np.full((*along.shape, 1), 255.0)], axis=-1)
