"""Does the picture itself show our label? What re-encoding, scaling and trimming leave of it.

A label stands still while the picture behind it moves: the mean of some frames shows it best. In
the upper and lower part of that mean the usual words are looked for at all sizes that a label can
have. Other words, and labels of two lines, are not found; words that look much the same are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.provenance.labels import PROFILES
from omnitalk_cli.provenance.visible import SIZES, Position, VisibleMark, draw_label
from omnitalk_cli.types import Float

# The longest first: the shorter ones are parts of it.
TEXTS = tuple(sorted({profile.text for profile in PROFILES.values()}, key=len, reverse=True))

_WORK = 360  # pixels of the shorter side; larger pictures are reduced to that
_SMALLEST = 160  # pixels of the shorter side: below this no label could be read
_LONGEST = 4  # sides: no video is longer, and the search stays short
_STEP = 0.02  # from one size that is tried to the next, logarithmic
_BAND = 0.3  # of the height, above and below, where labels are
_FOUND = 0.8  # correlation; unmarked clips reach 0.43, labels after x264 crf 28 at 360 lines 0.88
_PROMISING = 0.5  # correlation from which a closer look is taken
_FINE = 3  # enlargement for that look
_CONTRAST = 14.0  # grey levels, standard deviation: flat areas correlate by chance
_LARGE = 100  # height of the letters from which the templates are made
_BOLDER = 5  # pixels that stems of such letters grow by
_TRIM = 0.25  # of the letters: the plate's border, where the background begins


@dataclass(frozen=True, kw_only=True)
class VisibleFinding:
    """The label that was found in ``frames`` pictures: its ``text`` (None: no label), where it is,
    the height of its letters as a share of the shorter side, and the correlation (-1 to 1) with
    what was drawn, also when that was too low."""

    text: str | None
    position: Position | None
    size: float | None
    score: float
    frames: int

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


class VisibleLabelDetector:
    """Looks for the label in the frames of one file: ``add`` some 10 to 50 of them, from all over
    the file, then ask for the ``result``. Memory is that of one small picture.
    """

    def __init__(self) -> None:
        self._sum: Float | None = None
        self._count = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Take in a frame ``uint8 [H,W,3]``; frames of another size than the first are left out."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        shorter = min(grey.shape)
        if shorter > _WORK:
            height, width = (round(side * _WORK / shorter) for side in grey.shape)
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        small = grey.astype(np.float32)
        if self._sum is None:
            self._sum = np.zeros_like(small)
        if small.shape == self._sum.shape:
            self._sum += small
            self._count += 1

    def result(self) -> VisibleFinding:
        """What was found so far."""
        best = 0.0
        if self._sum is not None and _can_hold_a_label(self._sum):
            mean = self._sum / self._count
            for text in TEXTS:
                match = _search(mean, text)
                best = max(best, match.score)
                if match.score >= _FOUND:
                    return VisibleFinding(
                        text=text, position=_position(match, text, mean),
                        size=round(match.letters / min(mean.shape), 4),
                        score=round(match.score, 3), frames=self._count,
                    )  # fmt: skip
        return VisibleFinding(
            text=None, position=None, size=None, score=round(best, 3), frames=self._count
        )


def _can_hold_a_label(picture: Float) -> bool:
    shorter, longer = sorted(picture.shape)
    return shorter >= _SMALLEST and longer <= _LONGEST * shorter


def detect_label(frames: Iterable[NDArray[np.uint8]]) -> VisibleFinding:
    """``VisibleLabelDetector`` over frames ``uint8 [H,W,3]`` that are at hand."""
    detector = VisibleLabelDetector()
    for frame in frames:
        detector.add(frame)
    return detector.result()


@dataclass(frozen=True, kw_only=True)
class _Match:
    """Where a text fits best: its score, its upper left corner, the height of its letters."""

    score: float
    x: float
    y: float
    letters: float


def _search(mean: Float, text: str) -> _Match:
    """The best place of ``text`` in the mean picture ``[H,W]``: roughly, then between pixels."""
    height, width = mean.shape
    shorter = min(height, width)
    band = round(_BAND * height)
    best = _Match(score=0.0, x=0.0, y=0.0, letters=0.0)
    count = math.ceil(math.log(SIZES[1] / SIZES[0]) / _STEP) + 1
    for letters in SIZES[0] * shorter * np.exp(_STEP * np.arange(count)):
        template = _template(text, round(float(letters), 2))
        if template.shape[0] > band or template.shape[1] > width:
            break
        for first, part in ((0, mean[:band]), (height - band, mean[-band:])):
            match = _best_match(part, template, float(letters))
            if match.score > best.score:
                best = replace(match, y=match.y + first)
    return _refined(mean, text, best) if best.score >= _PROMISING else best


def _refined(mean: Float, text: str, rough: _Match) -> _Match:
    """Letters are thin: half a pixel or a hundredth of the size tells words from like words."""
    high, wide = _template(text, round(rough.letters, 2)).shape
    left, top = max(0, int(rough.x) - 4), max(0, int(rough.y) - 3)
    part = mean[top : int(rough.y) + high + 4, left : int(rough.x) + wide + 6]
    part = _enlarged(part)
    best = rough
    shares = np.exp(np.arange(-_STEP, 1.01 * _STEP, _STEP / 5))
    for share, bold in itertools.product(shares, (False, True)):
        letters = float(rough.letters * share)
        template = _enlarged(_template(text, round(letters, 2), bold))
        if template.shape[0] > part.shape[0] or template.shape[1] > part.shape[1]:
            continue
        match = _best_match(part, template, letters)
        if match.score > best.score:
            best = replace(match, x=left + match.x / _FINE, y=top + match.y / _FINE)
    return best


def _enlarged(picture: Float) -> Float:
    large = cv2.resize(picture, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


def _best_match(picture: Float, template: Float, letters: float) -> _Match:
    """The highest correlation in places with enough contrast."""
    scores = cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED)
    scores[_deviation(picture, template.shape) < _CONTRAST] = -1
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return _Match(score=float(scores[row, column]), x=float(column), y=float(row), letters=letters)


def _deviation(picture: Float, shape: tuple[int, ...]) -> Float:
    """Standard deviation of ``picture`` in each window of ``shape``."""
    height, width = shape
    moments = cv2.integral2(picture.astype(np.float64))
    mean, square = (
        (sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
         + sums[:-height, :-width]) / (height * width)
        for sums in map(np.asarray, moments)
    )  # fmt: skip
    return np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)


def _position(match: _Match, text: str, mean: Float) -> Position:
    height, width = mean.shape
    place = (match.x + _template(text, round(match.letters, 2)).shape[1] / 2) / width
    vertical = "top" if match.y < height / 2 else "bottom"
    horizontal = "-left" if place < 0.44 else "-right" if place > 0.56 else ""
    return f"{vertical}{horizontal}"  # type: ignore[return-value]


@lru_cache(maxsize=512)
def _template(text: str, letters: float, bold: bool = False) -> Float:
    """The inner part of the label in grey, its capitals ``letters`` pixels high; ``bold`` as in
    small pictures, where thin stems would turn grey."""
    large = _large(text)
    if bold:
        kernel = np.ones((_BOLDER, _BOLDER), np.uint8)
        large = np.asarray(cv2.dilate(large, kernel), np.float32)
    share = letters / _LARGE
    size = (max(2, round(large.shape[1] * share)), max(2, round(large.shape[0] * share)))
    return np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), np.float32)


@lru_cache(maxsize=8)
def _large(text: str) -> Float:
    mark = VisibleMark(text=text, size=0.05)
    label = draw_label(mark, width=20 * _LARGE, height=20 * _LARGE)
    trim = round(_TRIM * _LARGE)
    return label.rgba[trim:-trim, trim:-trim, 0].astype(np.float32)
