"""The label in the picture that says to the eye what the video is.

It is drawn as a small picture and laid over the frames by ffmpeg: ffmpeg's own text filter needs an
installed font, which bare machines lack; Pillow carries one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omnitalk_cli.errors import UsageError

Position = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
POSITIONS: tuple[Position, ...] = ("top-left", "top-right", "bottom-left", "bottom-right")

_SUPERSAMPLING = 4
_MAX_TEXT = 80
_MAX_WIDTH = 0.9  # of the picture
_MIN_LETTERS = 9  # pixels: below this nobody can read the label


@dataclass(frozen=True, kw_only=True)
class VisibleMark:
    """How the label looks. White letters on a dark plate are readable on any background.

    ``size`` is the height of the letters relative to the height of the picture, ``margin`` the
    distance from the border likewise, ``opacity`` that of the plate (the letters are opaque).
    ``font`` is a TrueType file for scripts that the built-in font lacks, such as Chinese.
    """

    text: str = "AI-generated"
    position: Position = "bottom-right"
    size: float = 0.04
    margin: float = 0.02
    opacity: float = 0.6
    font: Path | None = None

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > _MAX_TEXT or not self.text.isprintable():
            raise UsageError(f"the visible mark needs one line of 1 to {_MAX_TEXT} characters")
        if self.position not in POSITIONS:
            raise UsageError(f"visible mark position: one of {', '.join(POSITIONS)}")
        if not 0.02 <= self.size <= 0.2:
            raise UsageError("visible mark size: 0.02 to 0.2 of the height of the picture")
        if not 0 <= self.margin <= 0.2:
            raise UsageError("visible mark margin: 0 to 0.2 of the height of the picture")
        if not 0.3 <= self.opacity <= 1:
            raise UsageError("visible mark opacity: 0.3 to 1, or it cannot be read")


@dataclass(frozen=True, kw_only=True)
class Label:
    """A drawn mark: ``rgba`` ``uint8 [h,w,4]`` and where its upper left corner goes, in pixels."""

    rgba: NDArray[np.uint8]
    x: int
    y: int


def draw_label(mark: VisibleMark, *, width: int, height: int) -> Label:
    """Draw ``mark`` for a picture of ``width`` × ``height``; it shrinks when it would not fit.

    Raises UsageError when the font lacks a character or cannot be read.
    """
    text = mark.text.strip()
    letters = max(_MIN_LETTERS, mark.size * height)
    scale = float(_SUPERSAMPLING)
    left, top, right, bottom = _box(_font(mark, letters * scale), text)
    limit = _MAX_WIDTH * width * scale
    padded = right - left + 1.2 * letters * scale
    if padded > limit:
        letters *= limit / padded
    font = _font(mark, letters * scale)
    _check_glyphs(font, text)
    left, top, right, bottom = _box(font, text)
    pad_x, pad_y = 0.5 * letters * scale, 0.32 * letters * scale
    plate_width = _even((right - left + 2 * pad_x) / scale)
    plate_height = _even((bottom - top + 2 * pad_y) / scale)
    large = (int(plate_width * scale), int(plate_height * scale))
    plate = Image.new("L", large, 0)
    ImageDraw.Draw(plate).rounded_rectangle(
        (0, 0, large[0] - 1, large[1] - 1), radius=0.3 * letters * scale, fill=255
    )
    ink = Image.new("L", large, 0)
    corner = ((large[0] - right - left) / 2, (large[1] - bottom - top) / 2)
    ImageDraw.Draw(ink).text(corner, text, fill=255, font=font)
    small = (plate_width, plate_height)
    plate_alpha = _shrink(plate, small) * mark.opacity
    ink_alpha = _shrink(ink, small)
    alpha = ink_alpha + plate_alpha * (1 - ink_alpha)
    white = np.divide(ink_alpha, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    rgba = np.empty((plate_height, plate_width, 4), np.uint8)
    rgba[..., :3] = np.rint(255 * white)[..., None]
    rgba[..., 3] = np.rint(255 * alpha)
    distance = _even(mark.margin * height)
    x = _corner(mark.position.endswith("left"), distance, width - plate_width)
    y = _corner(mark.position.startswith("top"), distance, height - plate_height)
    return Label(rgba=rgba, x=x, y=y)


def _corner(near: bool, distance: int, room: int) -> int:
    """An even coordinate, ``distance`` from one border if there is ``room``."""
    place = max(0, min(distance, room) if near else room - distance)
    return place - place % 2


def _font(mark: VisibleMark, size: float) -> Any:
    if mark.font is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(str(mark.font), size)
    except OSError as error:
        raise UsageError(f"{mark.font}: is not a readable font file") from error


def _check_glyphs(font: Any, text: str) -> None:
    unknown = _picture(font, "\uffff")
    missing = sorted({c for c in text if not c.isspace() and _picture(font, c) == unknown})
    if missing:
        raise UsageError(
            f"visible mark: the font has no {' '.join(missing)}; give a font file that has it"
        )


def _picture(font: Any, character: str) -> tuple[tuple[int, ...], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _box(font: Any, text: str) -> tuple[float, float, float, float]:
    left, _, right, _ = font.getbbox(text)
    # The height is that of tall and deep letters, so that the plate does not depend on the text.
    _, top, _, bottom = font.getbbox("Ag")
    _, high, _, deep = font.getbbox(text)
    return left, min(top, high), right, max(bottom, deep)


def _shrink(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32) / 255


def _even(value: float) -> int:
    """Chroma is stored at half the size: even edges keep the border of the plate sharp."""
    return max(2, 2 * round(value / 2))
