"""The inside of a mouth, drawn where the reference's own pictures do not show it.

From back to front: a dark throat, the tongue, both rows of teeth (``teeth.py``) with their gums,
the wet rim of the lips. Hues come from the person's lips, the white of the eyes and the skin; the
light falls in through the opening, so that what lies deep or behind a narrow gap is dark. A still
picture that shows teeth lends them: they stay fixed to skull and jaw, and are not drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
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
PARTED = (0.8, 2.4)  # the opening at which the lips of a still part: nothing, all is drawn
LIT = np.array([1.0, 0.93, 0.86, 0.72, 0.58, 0.44], np.float32)  # crowns from the front backwards
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnRow:
    """A row of teeth that a still shows: ``picture`` [h,w,3], spread beyond what is seen, and its
    ``cover`` [h,w] 0…1; the top left pixel was at ``low`` [2] of the frame. ``crowns`` [K,P,2]
    (pixels) are where the model's teeth are there.
    """

    picture: NDArray[np.uint8]
    cover: Float
    low: Float
    crowns: Float

    def laid_over(self, drawn: Float, canvas: Canvas, crowns: Float, light: Float) -> Float:
        """``drawn`` [h,w,3] with this row, moved as the model's ``crowns`` have moved."""
        points = crowns.reshape(-1, 2)
        system = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1)
        wanted = self.crowns.reshape(-1, 2) - self.low
        matrix = np.linalg.lstsq(system, wanted, rcond=None)[0]
        shift = np.array([[1, 0, canvas.low[0]], [0, 1, canvas.low[1]], [0, 0, 1]])
        back = (matrix.T @ shift).astype(np.float32)
        size, flags = canvas.shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        teeth = cv2.warpAffine(
            self.picture, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        cover = cv2.warpAffine(self.cover, back, size, flags=flags)
        shaded = teeth * (0.55 + 0.45 * np.clip(2.5 * light, 0, 1))[..., None]
        return _over(drawn, shaded, np.asarray(cover, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTeeth:
    """The teeth of a still; ``raised`` (eye distances): its upper edge above the model's."""

    upper: OwnRow
    lower: OwnRow | None
    raised: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MouthLook:
    """Colours [3] of lips and teeth (RGB); ``softness``: blur in eye distances like the picture's;
    ``still``: there is but one picture, whose lips cannot lend their inside; ``own`` teeth."""

    lips: Float
    teeth: Float
    softness: float = 0.006
    still: bool = False
    own: OwnTeeth | None = None


def shortage(target_opening: float, source_opening: float) -> float:
    """0…1: how much of the interior must be drawn, because the source does not show it."""
    missing = target_opening - STRETCH * source_opening - SLACK
    return float(np.clip(missing / RAMP, 0, 1))


def opacity(look: MouthLook, target_opening: float, source_opening: float) -> float:
    """0…1: how opaque the drawn interior is (openings in per cent of the eye distance)."""
    if look.still and (look.own is not None or source_opening < PARTED[1]):
        return float(ramp(np.array(target_opening), *PARTED))
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
    canvas = Canvas(low=low.astype(np.float32), shape=area.shape[:2], scale=scale)
    drawn = _paint(canvas, inner, jaws, look)
    if look.softness * scale > 0.8:
        drawn = canvas.blur(drawn, 0.7 * look.softness)
    inside = np.clip(drawn, 0, 255).astype(np.uint8)
    soft = canvas.blur(canvas.fill([inner]), look.softness) * amount
    area[...] = cv2.blendLinear(inside, np.ascontiguousarray(area), soft, 1 - soft)


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """The area of ``shape`` [h,w] pixels at ``low`` of the picture."""

    low: Float
    shape: tuple[int, ...]
    scale: float

    def fill(self, outlines: Sequence[Float] | Float, values: Sequence[float] = ()) -> Float:
        """[h,w] 0…1: the polygons [P,2] (picture pixels), later ones over earlier ones,
        filled with ``values`` (1 unless given)."""
        mask = np.zeros(self.shape[:2], np.uint8)
        for outline, value in zip(outlines, values or [1.0] * len(outlines), strict=True):
            places = (outline - self.low) * 16
            cv2.fillPoly(mask, [np.rint(places).astype(np.int32)], (round(255 * value),),
                         cv2.LINE_AA, 4)  # fmt: skip
        return mask.astype(np.float32) * np.float32(1 / 255)

    def blur(self, values: Float, reach: float) -> Float:
        """Gaussian blur by ``reach`` eye distances."""
        sigma = max(0.3, reach * self.scale)
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _paint(canvas: Canvas, inner: Float, jaws: Jaws, look: MouthLook) -> Float:
    """The interior [h,w,3], as if there were no lips in front of it."""
    lips = look.lips
    across, beneath, gap = mouth_coordinates(canvas, inner)
    opening = canvas.fill([inner])
    # Light enters through the gap: a wide one lets in more, rims and corners lie in shadow.
    light = np.clip(1.15 * canvas.blur(opening, 0.035) - 0.1, 0, 1)
    light = light * (0.6 + 0.4 * ramp(gap, 0.0, 0.12 * canvas.scale))

    throat = (0.16 + 0.14 * light)[..., None] * lips * np.array([1.0, 0.86, 0.86], np.float32)
    colour = throat

    # The tongue lies behind the lower teeth and rises towards the middle of the mouth.
    axis = (inner[10] - inner[0]) / max(1e-3, float(np.linalg.norm(inner[10] - inner[0])))
    tongue = _tongue(jaws, axis, canvas.scale)
    depth = np.clip(beneath / np.maximum(gap, 1), 0, 1)
    flesh = (0.36 + 0.52 * light * ramp(depth, 0.15, 1.0))[..., None] * (
        lips * np.array([0.98, 0.80, 0.82], np.float32)
    )
    colour = _over(colour, flesh, canvas.blur(canvas.fill([tongue]), 0.03))

    own = look.own
    rows = (
        (jaws.lower, arches()[1].rank, 0.80, jaws.lower_edge, own.lower if own else None),
        (jaws.upper, arches()[0].rank, 1.0, jaws.upper_edge, own.upper if own else None),
    )
    for crowns, ranks, part, edge, lent in rows:
        if lent is not None:
            colour = lent.laid_over(colour, canvas, crowns, light)
            continue
        away = crowns[:, 0].mean(axis=0) - edge  # from the edge to the gum
        gum = np.concatenate([crowns[0::2, 0], crowns[::-2, 0]])
        band = canvas.fill([_thick(gum, away)])
        pink = lips * (0.45 + 0.35 * light)[..., None] * np.array([1.0, 0.8, 0.8], np.float32)
        colour = _over(colour, pink, canvas.blur(band, 0.006))
        # Neighbours meet in a faint line: a crown is a little darker at its sides.
        middles = crowns.mean(axis=1, keepdims=True)
        lit = part * LIT[list(ranks)]
        shade = canvas.fill(
            [*crowns, *(middles + 0.75 * (crowns - middles))], [*(0.87 * lit), *lit]
        )
        cover = canvas.blur(canvas.fill(crowns), 0.004)
        shade = canvas.blur(shade, 0.008) / np.maximum(canvas.blur(cover, 0.008), 0.1)
        enamel = (shade * (0.45 + 0.55 * light))[..., None] * look.teeth
        colour = _over(colour, enamel, cover)

    # Lips turn inwards, redder and wet; the lower one shows more of that than the upper.
    rim = 1 - ramp(gap - beneath, 0.0, np.maximum(0.022 * canvas.scale, 1))
    colour = _over(colour, lips * np.array([0.84, 0.68, 0.70], np.float32), 0.75 * rim)
    under = 1 - ramp(beneath, 0.0, 0.035 * canvas.scale)
    colour = colour * (1 - (0.25 if own else 0.45) * under)[..., None]
    corner = ramp(np.abs(across), 0.72, 1.0)
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
    middle = jaws.lower_edge + 0.02 * scale * down
    ring = 0.19 * np.cos(turn)[:, None] * axis + 0.15 * np.sin(turn)[:, None] * down
    return np.asarray(middle + scale * ring, np.float32)


def mouth_coordinates(canvas: Canvas, inner: Float) -> tuple[Float, Float, Float]:
    """Per pixel [h,w]: place between the corners -1…1, pixels below the upper lip, gap there."""
    left, right = inner[0], inner[10]
    axis = (right - left) / max(1e-3, float(np.linalg.norm(right - left)))
    down = np.array([-axis[1], axis[0]], np.float32)
    middle = 0.5 * (left + right)
    half = max(1.0, 0.5 * float(np.linalg.norm(right - left)))
    rows, columns = canvas.shape[:2]
    x = np.arange(columns, dtype=np.float32) + canvas.low[0] - middle[0]
    y = np.arange(rows, dtype=np.float32) + canvas.low[1] - middle[1]
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


def ramp(values: NDArray[Any], start: Any, stop: Any) -> Float:
    step = np.clip((values - start) / (stop - start), 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)
