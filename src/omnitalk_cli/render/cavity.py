"""The inside of a mouth, drawn where the reference's own pictures do not show it.

From back to front: a dark throat, the tongue, both rows of teeth (``teeth.py``) with their gums,
the wet rim of the lips. Hues come from the person's lips, the white of the eyes and the skin; the
light falls in through the opening, so that what lies deep or behind a narrow gap is dark. A still
picture that shows teeth lends them: they stay fixed to skull and jaw, and are not drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.teeth import Jaws, arches, jaws_of
from omnitalk_cli.types import Float

# Opening in per cent of the eye distance: what a picture's own interior may be stretched to.
STRETCH, SLACK, RAMP = 2.5, 1.5, 3.0
PARTED = (0.4, 1.6)  # the opening at which the lips of a still part: nothing, all is drawn
ZOOM = 2  # pixels are drawn this much finer
LIT = np.array([1.0, 0.93, 0.86, 0.72, 0.58, 0.44])  # crowns from the front backwards
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTeeth:
    """What a still shows between its lips: ``picture`` [h,w,3] whose top left pixel was at ``low``
    of the frame, ``upper`` and ``lower`` [h,w] 0…1: what belongs to skull and jaw; ``jaws`` there.
    """

    picture: NDArray[np.uint8]
    low: Float
    upper: Float
    lower: Float
    jaws: Jaws
    raised: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MouthLook:
    """Colours [3] of lips and teeth (RGB); ``softness``: blur in eye distances like the picture's;
    ``still``: there is but one picture, whose lips cannot lend their inside; ``own`` teeth."""

    lips: Float
    teeth: Float
    still: bool = False
    own: OwnTeeth | None = None


def shortage(target_opening: float, source_opening: float) -> float:
    """0…1: how much of the interior must be drawn, because the source does not show it."""
    missing = target_opening - STRETCH * source_opening - SLACK
    return float(np.clip(missing / RAMP, 0, 1))


def opacity(look: MouthLook, target_opening: float, source_opening: float) -> float:
    """0…1: how opaque the drawn interior is (openings in per cent of the eye distance)."""
    if look.still and (look.own is not None or source_opening < PARTED[1]):
        return float(_ramp(np.array(target_opening), *PARTED))
    return shortage(target_opening, source_opening)


def draw_cavity(
    picture: NDArray[np.uint8],
    inner: Float,
    geometry: Geometry,
    index: int,
    neutral: Float,
    look: MouthLook,
    amount: float,
) -> None:
    """Draw the interior into ``picture`` [S,S,3] in place, with opacity ``amount`` 0…1.

    ``inner`` [20,2] is the inner lip contour in pixels: corner, lower lip, corner, upper lip, of
    frame ``index`` of ``geometry``; ``neutral`` [478,3] the person's face at rest.
    """
    height, width = picture.shape[:2]
    low = np.clip(np.floor(inner.min(axis=0)).astype(int) - 4, 0, [width, height])
    high = np.clip(np.ceil(inner.max(axis=0)).astype(int) + 5, 0, [width, height])
    if (high - low < 4).any():
        return
    scale = float(geometry.scale[index])
    area = picture[low[1] : high[1], low[0] : high[0]]
    jaws = jaws_of(geometry, index, neutral, look.own.raised if look.own else 0.0)
    canvas = _Canvas(low=low.astype(np.float32), shape=area.shape[:2], scale=scale)
    drawn = _paint(canvas, inner, jaws, look)
    small = cv2.resize(drawn, area.shape[1::-1], interpolation=cv2.INTER_AREA)
    if look.own is not None:
        small = _lend(look.own, jaws, canvas, small)
    soft = cv2.GaussianBlur(canvas.fill([inner]), (0, 0), ZOOM * max(0.6, 0.006 * scale))
    mask = cv2.resize(soft, area.shape[1::-1], interpolation=cv2.INTER_AREA) * amount
    inside = np.clip(small, 0, 255).astype(np.uint8)
    area[...] = cv2.blendLinear(inside, np.ascontiguousarray(area), mask, 1 - mask)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Canvas:
    """A finer copy of the area at ``low`` of the picture, ``shape`` its size in picture pixels."""

    low: Float
    shape: tuple[int, ...]
    scale: float

    def fill(self, outlines: list[Float] | Float) -> Float:
        """[ZOOM·h, ZOOM·w] 0…1 inside any of the polygons [P,2] (picture pixels)."""
        mask = np.zeros((self.shape[0] * ZOOM, self.shape[1] * ZOOM), np.uint8)
        for outline in outlines:
            places = ((outline - self.low + 0.5) * ZOOM - 0.5) * 16
            cv2.fillPoly(mask, [np.rint(places).astype(np.int32)], (255,), cv2.LINE_AA, 4)
        return mask.astype(np.float32) * np.float32(1 / 255)

    def blur(self, values: Float, reach: float) -> Float:
        """Gaussian blur by ``reach`` eye distances."""
        sigma = max(0.3, reach * self.scale * ZOOM)
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _paint(canvas: _Canvas, inner: Float, jaws: Jaws, look: MouthLook) -> Float:
    """The interior on the finer canvas, as if there were no lips in front of it."""
    lips = look.lips
    across, beneath, gap = _mouth_coordinates(canvas, inner)
    opening = canvas.fill([inner])
    # Light enters through the gap: a wide one lets in more, rims and corners lie in shadow.
    light = np.clip(1.15 * canvas.blur(opening, 0.035) - 0.1, 0, 1)
    light = light * (0.6 + 0.4 * _ramp(gap, 0.0, 0.12 * canvas.scale))

    throat = (0.16 + 0.14 * light)[..., None] * lips * np.array([1.0, 0.86, 0.86], np.float32)
    colour = throat

    # The tongue lies behind the lower teeth and rises towards the middle of the mouth.
    axis = (inner[10] - inner[0]) / max(1e-3, float(np.linalg.norm(inner[10] - inner[0])))
    tongue = _tongue(jaws, axis, canvas.scale)
    depth = np.clip(beneath / np.maximum(gap, 1), 0, 1)
    flesh = (0.44 + 0.40 * light * _ramp(depth, 0.1, 1.0))[..., None] * (
        lips * np.array([0.98, 0.80, 0.82], np.float32)
    )
    colour = _over(colour, flesh, 0.9 * canvas.blur(canvas.fill([tongue]), 0.02))

    rows = (
        (jaws.lower, arches()[1].rank, 0.80, jaws.lower_edge),
        (jaws.upper, arches()[0].rank, 1.0, jaws.upper_edge),
    )
    for crowns, ranks, part, edge in rows:
        away = crowns[:, 0].mean(axis=0) - edge  # from the edge to the gum
        gum = np.concatenate([crowns[0::2, 0], crowns[::-2, 0]])
        band = canvas.fill([_thick(gum, away)])
        pink = lips * (0.45 + 0.35 * light)[..., None] * np.array([1.0, 0.8, 0.8], np.float32)
        colour = _over(colour, pink, canvas.blur(band, 0.006))
        shade = np.zeros_like(light)
        cover = np.zeros_like(light)
        for crown, rank in zip(crowns, ranks, strict=True):
            tooth = canvas.fill([crown])
            shade = shade * (1 - tooth) + tooth * np.float32(LIT[rank])
            # Neighbours meet in a faint line: a crown is a little darker at its sides.
            middle = crown.mean(axis=0)
            core = canvas.blur(canvas.fill([middle + 0.8 * (crown - middle)]), 0.012)
            shade = shade * (1 - 0.13 * tooth * (1 - core))
            cover = np.maximum(cover, tooth)
        enamel = (part * shade * (0.45 + 0.55 * light))[..., None] * look.teeth
        colour = _over(colour, enamel, canvas.blur(cover, 0.004))

    # Lips turn inwards, redder and wet; the lower one shows more of that than the upper.
    rim = 1 - _ramp(gap - beneath, 0.0, np.maximum(0.022 * canvas.scale, 1))
    colour = _over(colour, lips * np.array([0.84, 0.68, 0.70], np.float32), 0.75 * rim)
    under = 1 - _ramp(beneath, 0.0, 0.035 * canvas.scale)
    colour = colour * (1 - 0.45 * under)[..., None]
    corner = _ramp(np.abs(across), 0.72, 1.0)
    return np.asarray(colour * (1 - 0.5 * corner)[..., None], np.float32)


def _over(below: Float, above: Float, cover: Float) -> Float:
    return below + cover[..., None] * (above - below)


def _thick(line: Float, away: Float) -> Float:
    """A closed outline around the gum's ``line`` [P,2], widened ``away`` from the teeth."""
    order = np.argsort(line @ np.array([away[1], -away[0]], np.float32))
    edge = line[order]
    return np.concatenate([edge - 0.35 * away, (edge + 0.9 * away)[::-1]])


def _tongue(jaws: Jaws, axis: Float, scale: float) -> Float:
    """Outline [24,2] of the tongue in pixels: a flat dome behind the lower incisors."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    down = np.array([-axis[1], axis[0]], np.float32)
    middle = jaws.lower_edge + 0.03 * scale * down
    ring = 0.20 * np.cos(turn)[:, None] * axis + 0.13 * np.sin(turn)[:, None] * down
    return np.asarray(middle + scale * ring, np.float32)


def _mouth_coordinates(canvas: _Canvas, inner: Float) -> tuple[Float, Float, Float]:
    """Per fine pixel: place between the corners -1…1, pixels below the upper lip, gap there."""
    left, right = inner[0], inner[10]
    axis = (right - left) / max(1e-3, float(np.linalg.norm(right - left)))
    down = np.array([-axis[1], axis[0]], np.float32)
    middle = 0.5 * (left + right)
    half = max(1.0, 0.5 * float(np.linalg.norm(right - left)))
    rows, columns = canvas.shape[0] * ZOOM, canvas.shape[1] * ZOOM
    x = (np.arange(columns, dtype=np.float32) + 0.5) / ZOOM - 0.5 + canvas.low[0] - middle[0]
    y = (np.arange(rows, dtype=np.float32) + 0.5) / ZOOM - 0.5 + canvas.low[1] - middle[1]
    along = x[None] * axis[0] + y[:, None] * axis[1]
    below = x[None] * down[0] + y[:, None] * down[1]
    contour = inner - middle
    lower = contour[:11]
    upper = np.concatenate([contour[10:], contour[:1]])[::-1]
    top = np.interp(along, upper @ axis, upper @ down)
    bottom = np.interp(along, lower @ axis, lower @ down)
    return (
        (along / half).astype(np.float32),
        (below - top).astype(np.float32),
        np.maximum(bottom - top, 0).astype(np.float32),
    )


def _ramp(values: NDArray[Any], start: Any, stop: Any) -> Float:
    step = np.clip((values - start) / (stop - start), 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)


def own_teeth(
    frame: NDArray[np.uint8],
    inner: Float,
    geometry: Geometry,
    index: int,
    neutral: Float,
    skin: Float,
) -> OwnTeeth | None:
    """The teeth that a picture shows between its lips, or None when it shows none.

    Read off a straightened copy of the mouth: bright, hardly red rows from the upper lip down
    belong to the skull, the rest below them to the jaw.
    """
    scale = float(geometry.scale[index])
    low = np.maximum(np.floor(inner.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(inner.max(axis=0)).astype(int) + 3, frame.shape[1::-1])
    if geometry.opening[index] < MIN_SHOWN or (high - low < 6).any():
        return None
    area = frame[low[1] : high[1], low[0] : high[0]]
    canvas = _Canvas(low=low.astype(np.float32), shape=area.shape[:2], scale=scale)
    fine = cv2.resize(area, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_LINEAR)
    across, beneath, gap = _mouth_coordinates(canvas, inner)
    share = beneath / np.maximum(gap, 1e-3)
    central = (np.abs(across) < 0.5) & (gap > 0)
    rows = np.clip((share * SHARES).astype(int), -1, SHARES)
    grey, red = np.zeros(SHARES), np.zeros(SHARES)
    for row in range(SHARES):
        pixels = fine[central & (rows == row)].astype(np.float32)
        if len(pixels):
            grey[row] = np.quantile(pixels @ GREY, 0.6)
            red[row] = float((pixels[:, 0] - pixels[:, 1]).mean()) / max(grey[row], 1.0)
    most = grey[1:].max()
    if most < 0.62 * float(skin @ GREY):
        return None
    like_teeth = (grey > 0.62 * most) & (red < red.min() + 0.25)
    shown = np.flatnonzero(like_teeth)
    if not len(shown) or shown[0] > 0.45 * SHARES:
        return None
    # The first dip after the bright rows is where the upper teeth end.
    end = shown[0]
    while end + 1 < SHARES and like_teeth[end + 1]:
        end += 1
    smooth = np.convolve(np.pad(grey, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    dips = [
        row
        for row in range(shown[0] + 2, end)
        if smooth[row] < 0.93 * min(smooth[shown[0] : row].max(), smooth[row + 1 : end + 1].max())
    ]
    split = (min(dips, key=lambda row: smooth[row]) if dips else end + 1) / SHARES
    jaws = jaws_of(geometry, index, neutral)
    middle = int(np.argmin(np.abs(inner[11:, 0] - jaws.upper_edge[0]))) + 11
    facing = inner[20 - middle]
    bite = inner[middle] + split * (facing - inner[middle])
    raised = float((jaws.upper_edge[1] - bite[1]) / scale)
    inside = canvas.blur(cv2.erode(canvas.fill([inner]), np.ones((3, 3), np.uint8)), 0.004)
    upper = inside * (1 - _ramp(share, split - 0.06, split + 0.06))
    size = area.shape[1::-1]
    return OwnTeeth(
        picture=area.copy(),
        low=low.astype(np.float32),
        upper=np.asarray(cv2.resize(upper, size, interpolation=cv2.INTER_AREA), np.float32),
        lower=np.asarray(
            cv2.resize(inside - upper, size, interpolation=cv2.INTER_AREA), np.float32
        ),
        jaws=jaws_of(geometry, index, neutral, raised),
        raised=raised,
    )


MIN_SHOWN = 2.0  # opening (per cent of the eye distance) below which no tooth can be made out
SHARES = 32


def _lend(own: OwnTeeth, jaws: Jaws, canvas: _Canvas, drawn: Float) -> Float:
    """Lay the still's own teeth over the ``drawn`` interior [h,w,3], lower ones first."""
    height, width = canvas.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    here = np.stack([columns + canvas.low[0], rows + canvas.low[1], np.ones_like(rows)], axis=-1)
    for part, target, source in (
        (own.lower, jaws.lower, own.jaws.lower),
        (own.upper, jaws.upper, own.jaws.upper),
    ):
        points = target.reshape(-1, 2)
        system = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1)
        matrix = np.linalg.lstsq(system, source.reshape(-1, 2) - own.low, rcond=None)[0]
        places = np.asarray(here @ matrix.astype(np.float32), np.float32)
        teeth = cv2.remap(own.picture, places, None, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]  # fmt: skip
        cover = cv2.remap(part, places, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
        drawn = _over(drawn, np.asarray(teeth, np.float32), np.asarray(cover, np.float32))
    return drawn
