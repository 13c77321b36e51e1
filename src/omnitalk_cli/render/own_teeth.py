"""The teeth that a still picture shows between its lips, cut out to be shown again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.cavity import (
    GREY,
    Canvas,
    OwnRow,
    OwnTeeth,
    mouth_coordinates,
    ramp,
)
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.plate import fill_smoothly
from omnitalk_cli.render.teeth import jaws_of
from omnitalk_cli.types import Float

MIN_SHOWN = 4.0  # opening (per cent of the eye distance) below which no tooth can be made out
SHARES = 32  # rows from the upper to the lower lip
BRIGHT = 0.62  # of the skin, and of the brightest row: teeth
MARGIN = 0.10  # eye distances that a row is continued beyond what is seen


def own_teeth(
    frame: NDArray[np.uint8],
    inner: Float,
    geometry: Geometry,
    neutral: Float,
    skin: Float,
) -> OwnTeeth | None:
    """Cut the teeth out of ``frame`` [S,S,3], the only one of ``geometry``; None without teeth.

    ``inner`` [20,2] is its inner lip contour in pixels, ``skin`` [3] the skin's colour.
    """
    scale = float(geometry.scale[0])
    size = np.array(frame.shape[1::-1])
    low = np.clip(np.floor(inner.min(axis=0) - MARGIN * scale), 0, size - 2).astype(int)
    high = np.clip(np.ceil(inner.max(axis=0) + MARGIN * scale), low + 2, size).astype(int)
    if geometry.opening[0] < MIN_SHOWN or (np.ptp(inner, axis=0) < 6).any():
        return None
    area = np.ascontiguousarray(frame[low[1] : high[1], low[0] : high[0]])
    canvas = Canvas(low=low.astype(np.float32), shape=area.shape[:2], scale=scale)
    across, beneath, gap = mouth_coordinates(canvas, inner)
    share = beneath / np.maximum(gap, 1)
    split = _where_rows_meet(area, np.where(np.abs(across) < 0.5, share, -1), skin)
    if split is None:
        return None
    end, lower_shown = split
    jaws = jaws_of(geometry, 0, neutral)
    middle = 11 + int(np.argmin(np.abs(inner[11:, 0] - jaws.upper_edge[0])))
    bite = inner[middle] + end * (inner[20 - middle] - inner[middle])
    raised = float((jaws.upper_edge[1] - bite[1]) / scale)
    jaws = jaws_of(geometry, 0, neutral, raised)

    inside = cv2.erode(canvas.fill([inner]), np.ones((3, 3), np.uint8)) > 0.9
    below = beneath - end * gap  # pixels under the upper edges
    soft = 0.015 * scale
    sides = 1 - ramp(np.abs(across), 0.95, 1.1)

    def row(cover: Float, crowns: Float) -> OwnRow:
        seen = inside & (cover > 0.6)
        return OwnRow(
            picture=fill_smoothly(area, seen.astype(np.float32)),
            cover=cover * sides,
            low=canvas.low,
            crowns=crowns,
        )

    return OwnTeeth(
        upper=row(1 - ramp(below, -soft, soft), jaws.upper),
        lower=row(ramp(below, -soft, soft), jaws.lower) if lower_shown else None,
        raised=raised,
    )


def _where_rows_meet(
    area: NDArray[np.uint8], share: Float, skin: Float
) -> tuple[float, bool] | None:
    """Share of the gap at which the upper teeth end, and whether lower ones follow.

    ``share`` [h,w] is every pixel's place from the upper lip (0) to the lower one (1). Bright rows
    from the upper lip down are teeth; a dark line may part them from the lower ones.
    """
    rows = np.floor(share * SHARES).astype(int)
    grey = np.zeros(SHARES)
    for number in range(SHARES):
        pixels = area[rows == number].astype(np.float32)
        if len(pixels):
            grey[number] = np.quantile(pixels @ GREY, 0.6)
        elif number:
            grey[number] = grey[number - 1]
    most = float(grey[1:].max())
    teeth = np.flatnonzero(grey > BRIGHT * most)
    if most < BRIGHT * float(skin @ GREY) or teeth[0] > 0.45 * SHARES:
        return None
    smooth = np.convolve(np.pad(grey, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    first, last = int(teeth[0]), int(teeth[-1])
    depth = [
        1 - smooth[row] / min(smooth[first : row + 1].max(), smooth[row : last + 1].max())
        for row in range(first, last + 1)
    ]
    if max(depth) > 0.07:
        return (first + int(np.argmax(depth)) + 0.5) / SHARES, True
    return (last + 1) / SHARES, False
