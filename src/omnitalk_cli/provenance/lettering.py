"""Words as a picture: measured, broken into lines, drawn.

Letters come from a font (Pillow's own, or a file); Chinese characters that the font lacks come from
``strokes``. Sizes are heights of capital letters, because those are what the eye reads by; a
Chinese character stands a little above and below them.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont

from omnitalk_cli.errors import UsageError
from omnitalk_cli.provenance.strokes import STROKES, draw_character

# All relative to the height of a capital.
ASCENT = 1.15  # a Chinese character's top above the baseline
DESCENT = 0.32  # the depth of a "g" or "y"
_SQUARE = 1.3  # a Chinese character's side
_ADVANCE = 1.42  # from one Chinese character to the next
_BRUSH = 0.11  # thickness of our own strokes, about that of the built-in font's
_STEM = 0.12  # thickness of the built-in font's stems
_GAP = 0.1  # between letters and Chinese characters

_PROBE = 200  # pixels, the size at which a font's proportions are taken
_SEPARATORS = " ·•|/"  # what nobody wants at the end of a line
_WIDE = "\u2e80"  # from here on lines may be broken between any two characters


class Lettering:
    """A font (None: the built-in one) and the strokes that fill its gaps.

    Raises UsageError when the file is no font that can be read.
    """

    def __init__(self, font: Path | None = None) -> None:
        self._file = font
        probe = _font(font, _PROBE)
        top = -probe.getbbox("H", anchor="ls")[1]
        self._em = _PROBE / max(top, 0.3 * _PROBE)  # of a capital

    def check(self, text: str) -> None:
        """Raises UsageError when there is no shape for one of the characters of ``text``."""
        missing = sorted(
            {c for c in text if not c.isspace() and c not in STROKES and not self._has(c)}
        )
        if missing:
            name = self._file.name if self._file else "the built-in font"
            raise UsageError(
                f"visible mark: {name} has no {' '.join(missing)}; "
                "give a font file that has it (--visible-font)"
            )

    def width(self, text: str, capital: float) -> float:
        """Width of ``text`` in pixels when capitals are ``capital`` pixels high."""
        runs = self._runs(text)
        gaps = (len(runs) - 1) * _GAP * capital
        return gaps + sum(self._advance(run, drawn, capital) for drawn, run in runs)

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        text: str,
        *,
        x: float,
        baseline: float,
        capital: float,
        least_stem: float,
    ) -> None:
        """Draws ``text`` in white; stems are at least about ``least_stem`` pixels thick."""
        bolder = max(0, round((least_stem - _STEM * capital) / 2))
        font = _font(self._file, self._em * capital)
        for drawn, run in self._runs(text):
            if drawn:
                for place, character in enumerate(run):
                    draw_character(
                        draw, character, x=x + (place * _ADVANCE + 0.06) * capital,
                        y=baseline - ASCENT * capital, side=_SQUARE * capital,
                        thickness=max(_BRUSH * capital, 0.8 * least_stem),
                    )  # fmt: skip
            else:
                draw.text((x, baseline), run, fill=255, font=font, anchor="ls", stroke_width=bolder)
            x += self._advance(run, drawn, capital) + _GAP * capital

    def _advance(self, run: str, drawn: bool, capital: float) -> float:
        if drawn:
            return len(run) * _ADVANCE * capital
        return float(_font(self._file, _PROBE).getlength(run)) / _PROBE * self._em * capital

    def _runs(self, text: str) -> list[tuple[bool, str]]:
        """Pieces of ``text`` and whether they are drawn as strokes."""
        return [
            (drawn, "".join(run))
            for drawn, run in groupby(text, lambda c: c in STROKES and not self._has(c))
        ]

    def _has(self, character: str) -> bool:
        return _has_glyph(self._file, character)


def two_lines(text: str, lettering: Lettering) -> tuple[str, ...]:
    """``text`` broken where its longer line is shortest; one line when it cannot be broken."""
    places = [i for i in range(1, len(text)) if _may_break(text[i - 1], text[i])]
    breaks = [(text[:i].rstrip(_SEPARATORS), text[i:].lstrip(_SEPARATORS)) for i in places]
    breaks = [lines for lines in breaks if all(lines)]
    if not breaks:
        return (text,)
    return min(breaks, key=lambda lines: max(lettering.width(line, 1.0) for line in lines))


def _may_break(before: str, after: str) -> bool:
    return before in " -" or after == " " or (before >= _WIDE and after >= _WIDE)


@lru_cache(maxsize=32)
def _font(file: Path | None, size: float) -> Any:
    if file is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(str(file), size)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: is not a readable font file") from error


@lru_cache(maxsize=512)
def _has_glyph(file: Path | None, character: str) -> bool:
    """A missing character is drawn like one that no font has."""
    font = _font(file, _PROBE)
    shape, nothing = font.getmask(character), font.getmask("\uffff")
    return (shape.size, bytes(shape)) != (nothing.size, bytes(nothing))
