"""Small charts with NumPy and OpenCV: panels of curves, a spectrogram, a heat map of places.

Everything is drawn at twice the size on a light ground and shrunk at the end, because OpenCV's
line fonts look ragged at their own size. Places and sizes are in pixels of the finished picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

SCALE = 2
PAPER: Colour = (250, 250, 248)  # all colours are RGB
INK: Colour = (38, 42, 52)
SOFT: Colour = (120, 126, 138)
GRID: Colour = (226, 228, 232)
LINES: tuple[Colour, ...] = ((33, 102, 172), (214, 96, 40), (60, 145, 90), (145, 80, 160))


@dataclass(frozen=True, kw_only=True)
class Box:
    """The rectangle of a panel's data area."""

    x: int
    y: int
    width: int
    height: int


class Chart:
    """A picture that panels are drawn on."""

    def __init__(self, width: int, height: int) -> None:
        self._canvas: Picture = np.empty((height * SCALE, width * SCALE, 3), np.uint8)
        self._canvas[:] = PAPER

    def picture(self) -> Picture:
        """The finished picture [height,width,3], RGB."""
        size = (self._canvas.shape[1] // SCALE, self._canvas.shape[0] // SCALE)
        return np.asarray(cv2.resize(self._canvas, size, interpolation=cv2.INTER_AREA), np.uint8)

    def text(
        self, words: str, x: float, y: float, *, size: float = 0.42, colour: Colour = INK,
        align: str = "left", bold: bool = False,
    ) -> int:  # fmt: skip
        """Words with their baseline at (x, y); returns their width. Only ASCII can be drawn."""
        words = words.encode("ascii", "replace").decode()
        thickness = 3 if bold else 2
        (wide, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size * SCALE, thickness)
        left = x * SCALE - {"left": 0, "centre": wide / 2, "right": wide}[align]
        cv2.putText(
            self._canvas, words, (round(left), round(y * SCALE)), cv2.FONT_HERSHEY_SIMPLEX,
            size * SCALE, colour, thickness, cv2.LINE_AA,
        )  # fmt: skip
        return wide // SCALE

    def line(self, points: NDArray[np.floating], colour: Colour, *, thickness: float = 1.0) -> None:
        """A line through ``points`` [n,2]."""
        fixed = np.round(np.asarray(points) * SCALE * 16).astype(np.int32)
        cv2.polylines(
            self._canvas, [fixed[:, None]], False, colour, max(1, round(thickness * SCALE)),
            cv2.LINE_AA, 4,
        )  # fmt: skip

    def frame(self, box: Box, title: str, *, unit: str = "") -> None:
        """A panel's title and border."""
        wide = self.text(title, box.x, box.y - 9, size=0.47, bold=True)
        if unit:
            self.text(unit, box.x + wide + 8, box.y - 9, size=0.38, colour=SOFT)
        corners = [
            (box.x, box.y), (box.x + box.width, box.y), (box.x + box.width, box.y + box.height),
            (box.x, box.y + box.height), (box.x, box.y),
        ]  # fmt: skip
        self.line(np.array(corners, float), SOFT, thickness=0.5)

    def x_ticks(self, box: Box, low: float, high: float, *, unit: str, labels: bool = True) -> None:
        """Grid lines and numbers along the bottom."""
        for value in ticks(low, high, 10):
            x = box.x + box.width * (value - low) / (high - low)
            self.line(np.array([(x, box.y), (x, box.y + box.height)]), GRID, thickness=0.5)
            if labels:
                self.text(f"{value:g}", x, box.y + box.height + 15, size=0.36, colour=SOFT,
                          align="centre")  # fmt: skip
        if labels:
            self.text(unit, box.x + box.width, box.y + box.height + 30, size=0.38, colour=SOFT,
                      align="right")  # fmt: skip

    def y_ticks(self, box: Box, low: float, high: float, *, count: int = 4) -> None:
        """Grid lines and numbers along the left side."""
        for value in ticks(low, high, count):
            y = box.y + box.height * (1 - (value - low) / (high - low))
            self.line(np.array([(box.x, y), (box.x + box.width, y)]), GRID, thickness=0.5)
            self.text(f"{value:g}", box.x - 7, y + 4, size=0.36, colour=SOFT, align="right")

    def curves(
        self, box: Box, values: Sequence[tuple[str, Float]], low: float, high: float
    ) -> None:
        """Curves [n] over the whole width of the panel, with a legend above its right end."""
        right = box.x + box.width
        for number, (name, curve) in reversed(list(enumerate(values))):
            colour = LINES[number % len(LINES)]
            if len(curve) > 1:
                x = box.x + box.width * np.linspace(0, 1, len(curve))
                level = (np.clip(curve, low, high) - low) / (high - low)
                points = np.stack([x, box.y + box.height * (1 - level)], 1)
                self.line(points, colour, thickness=1.2)
            right -= self.text(name, right, box.y - 9, size=0.38, colour=INK, align="right") + 6
            self.line(np.array([(right - 14, box.y - 13), (right, box.y - 13)]), colour,
                      thickness=2)  # fmt: skip
            right -= 28

    def fill(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A rectangle."""
        corner = (round(x * SCALE), round(y * SCALE))
        other = (round((x + width) * SCALE) - 1, round((y + height) * SCALE) - 1)
        if other[0] >= corner[0] and other[1] >= corner[1]:
            cv2.rectangle(self._canvas, corner, other, colour, -1)

    def image(self, box: Box, values: Float, *, colour_map: int) -> None:
        """``values`` [rows,columns] in 0...1 stretched over the panel, first row at the bottom."""
        levels = (np.clip(values[::-1], 0, 1) * 255).astype(np.uint8)
        size = (box.width * SCALE, box.height * SCALE)
        shrinks = levels.shape[1] > size[0]
        grown = cv2.resize(
            levels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        painted = cv2.cvtColor(cv2.applyColorMap(grown, colour_map), cv2.COLOR_BGR2RGB)
        top, left = box.y * SCALE, box.x * SCALE
        self._canvas[top : top + size[1], left : left + size[0]] = painted

    def density(
        self, box: Box, x: Float, y: Float, reach: float, *, colour: Colour, bins: int = 64
    ) -> None:
        """Where the points (x, y) lie in the square -reach...reach (y up), darker is oftener."""
        span = (-reach, reach)
        counts, _, _ = np.histogram2d(
            np.clip(y, *span), np.clip(x, *span), bins=bins, range=(span, span)
        )
        soft = cv2.GaussianBlur(counts.astype(np.float32), (0, 0), 1.3)
        share = np.sqrt(soft[::-1] / max(float(soft.max()), 1e-9))  # root: rare places show too
        grown = cv2.resize(share, (box.width * SCALE, box.height * SCALE))[..., None]
        painted = np.asarray(PAPER) * (1 - grown) + np.asarray(colour) * grown
        top, left = box.y * SCALE, box.x * SCALE
        self._canvas[top : top + painted.shape[0], left : left + painted.shape[1]] = painted


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most about ``count`` round numbers from ``low`` to ``high``."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= count)
    first = np.ceil(low / step - 1e-6)
    return [
        float(round(k * step, 10)) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-6) + 1)
    ]


def reach_of(values: Float, *, least: float, step: float) -> float:
    """A symmetric range's end for ``values``: a multiple of ``step``, ``least`` or more."""
    peak = float(np.quantile(np.abs(values), 0.998)) if values.size else 0.0
    return max(least, float(np.ceil(peak / step)) * step)
