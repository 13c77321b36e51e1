"""The label in the picture that says to the eye what the video is.

It is drawn as a small picture and laid over the frames by ffmpeg: ffmpeg's own text filter needs an
installed font, which bare machines lack; Pillow carries one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from omnitalk_cli.errors import UsageError
from omnitalk_cli.provenance.lettering import ASCENT, DESCENT, Lettering, two_lines

Position = Literal["top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right"]
POSITIONS: tuple[Position, ...] = (
    "top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right",
)  # fmt: skip
SIZES = (0.025, 0.12)
# WCAG 2.1 asks for a contrast of 4.5. A plate of 0.55 would do over white, but encoders blur small
# letters: at 256 pixels and crf 28, 0.6 leaves 4.1 and 0.7 leaves 5.9.
OPACITIES = (0.7, 1.0)

_SUPERSAMPLING = 4
_MAX_TEXT = 80
_MAX_WIDTH = 0.92  # of the picture
_LEAST_LETTERS = 9.0  # pixels: below this reading is guessing
_LEAST_SHARE = 0.07  # of the shorter side of a picture that is too small for that
_LEAST_STEM = 1.5  # pixels: thinner stems turn grey
_ONE_LINE = 0.75  # a line may shrink this far before it is broken into two
_LINE = 1.75  # from line to line; this and the next two are relative to the letters
_PAD_X, _PAD_Y = 0.7, 0.4
_RADIUS = 0.4


@dataclass(frozen=True, kw_only=True)
class VisibleMark:
    """How the label looks. White letters on a dark plate are readable on any background.

    ``size`` is the height of the capital letters relative to the shorter side of the picture
    (Chinese characters are 1.3 times as high), ``margin`` the distance from the border likewise,
    ``opacity`` that of the plate (the letters are opaque). ``font`` is a TrueType file for scripts
    that neither the built-in font nor ``strokes`` has.
    """

    text: str = "AI-generated"
    position: Position = "bottom-right"
    size: float = 0.03
    margin: float = 0.02
    opacity: float = 0.75
    font: Path | None = None

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > _MAX_TEXT or not self.text.isprintable():
            raise UsageError(f"the visible mark needs one line of 1 to {_MAX_TEXT} characters")
        if self.position not in POSITIONS:
            raise UsageError(f"visible mark position: one of {', '.join(POSITIONS)}")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise UsageError(
                f"visible mark size: {SIZES[0]} to {SIZES[1]} of the shorter side of the picture"
            )
        if not 0 <= self.margin <= 0.2:
            raise UsageError("visible mark margin: 0 to 0.2 of the shorter side of the picture")
        if not OPACITIES[0] <= self.opacity <= OPACITIES[1]:
            raise UsageError(
                f"visible mark opacity: {OPACITIES[0]} to {OPACITIES[1]:g}; "
                "below, it cannot be read on a bright background"
            )

    def check(self) -> None:
        """Raises UsageError when the font cannot be read or lacks a character."""
        Lettering(self.font).check(self.text)


@dataclass(frozen=True, kw_only=True)
class Label:
    """A drawn mark: ``rgba`` ``uint8 [h,w,4]`` and where its upper left corner goes, in pixels.

    ``lines`` is the text as it was broken, ``letters`` the height of its capitals in pixels.
    """

    rgba: NDArray[np.uint8]
    x: int
    y: int
    lines: tuple[str, ...]
    letters: float


def draw_label(mark: VisibleMark, *, width: int, height: int) -> Label:
    """Draw ``mark`` for a picture of ``width`` × ``height``.

    What is too wide shrinks a little, is then broken into two lines, and then shrinks as far as it
    stays readable. Raises UsageError when it is too long even so, when the font lacks a character,
    or when it cannot be read.
    """
    lettering = Lettering(mark.font)
    text = " ".join(mark.text.split())
    lettering.check(text)
    lines, letters = _fit(text, lettering, mark.size, width=width, height=height)
    plate_width, plate_height = map(_even, _extent(lines, lettering, letters))
    unit = letters * _SUPERSAMPLING
    large = (plate_width * _SUPERSAMPLING, plate_height * _SUPERSAMPLING)
    plate, ink = Image.new("L", large, 0), Image.new("L", large, 0)
    ImageDraw.Draw(plate).rounded_rectangle(
        (0, 0, large[0] - 1, large[1] - 1), radius=_RADIUS * unit, fill=255
    )
    pen = ImageDraw.Draw(ink)
    first = (large[1] - (_height(len(lines)) - 2 * _PAD_Y) * unit) / 2 + ASCENT * unit
    for number, line in enumerate(lines):
        lettering.draw(
            pen, line, x=(large[0] - lettering.width(line, unit)) / 2,
            baseline=first + number * _LINE * unit, capital=unit,
            least_stem=_LEAST_STEM * _SUPERSAMPLING,
        )  # fmt: skip
    rgba = _compose(_shrink(plate) * mark.opacity, _shrink(ink))
    distance = _even(mark.margin * min(width, height))
    vertical, _, horizontal = mark.position.partition("-")
    x = _place(horizontal, distance, width - plate_width)
    y = _place(vertical, distance, height - plate_height)
    return Label(rgba=rgba, x=x, y=y, lines=lines, letters=letters)


def _fit(
    text: str, lettering: Lettering, size: float, *, width: int, height: int
) -> tuple[tuple[str, ...], float]:
    """The lines and the height of their capitals in pixels."""
    shorter = min(width, height)
    least = min(_LEAST_LETTERS, _LEAST_SHARE * shorter)
    wanted = max(least, size * shorter)
    found: tuple[tuple[str, ...], float] = ((text,), 0.0)
    for lines, enough in (
        ((text,), max(least, _ONE_LINE * wanted)),
        (two_lines(text, lettering), least),
    ):
        wide, high = _extent(lines, lettering, 1.0)
        letters = min(wanted, _MAX_WIDTH * width / wide, _MAX_WIDTH * height / high)
        if letters >= enough:
            return lines, letters
        found = max(found, (lines, letters), key=lambda fit: fit[1])
    # Round down: a text of that length is sure to fit.
    room = int(len(text) * found[1] / least)
    raise UsageError(
        f"visible mark: {len(text)} characters cannot be read in a picture of {width}x{height}; "
        f"use about {max(1, room)} at most, or a larger picture"
    )


def _extent(lines: tuple[str, ...], lettering: Lettering, letters: float) -> tuple[float, float]:
    wide = max(lettering.width(line, letters) for line in lines)
    return wide + 2 * _PAD_X * letters, _height(len(lines)) * letters


def _height(lines: int) -> float:
    return ASCENT + (lines - 1) * _LINE + DESCENT + 2 * _PAD_Y


def _compose(plate: NDArray[np.float32], ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """White ``ink`` over a black ``plate`` (coverage ``[h,w]``, 0 to 1) as ``rgba``."""
    alpha = ink + plate * (1 - ink)
    white = np.divide(ink, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    rgba = np.empty((*ink.shape, 4), np.uint8)
    rgba[..., :3] = np.rint(255 * white)[..., None]
    rgba[..., 3] = np.rint(255 * alpha)
    return rgba


def _place(side: str, distance: int, room: int) -> int:
    """An even coordinate: ``distance`` from the border of that name if there is ``room``."""
    near = {"top": distance, "left": distance, "": room // 2}.get(side, room - distance)
    place = max(0, min(near, room))
    return place - place % 2


def _shrink(picture: Image.Image) -> NDArray[np.float32]:
    small = (picture.width // _SUPERSAMPLING, picture.height // _SUPERSAMPLING)
    return np.asarray(picture.resize(small, Image.Resampling.BOX), np.float32) / 255


def _even(value: float) -> int:
    """Chroma is stored at half the size: even edges keep the border of the plate sharp."""
    return max(2, 2 * round(value / 2))
