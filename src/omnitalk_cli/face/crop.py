"""The fixed square of the source picture that holds the head, and cutting it out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.mediapipe_models import Box
from omnitalk_cli.types import Crop

# Share of the square's side that the face (forehead to chin) takes in a talking-head picture.
FACE_SHARE = 0.47
# Room around the face, in face sides, above, beside and below: comfortable, and what the head
# itself takes up. Only for the latter may the square reach over the picture's border.
_ROOMY = (0.45, 0.35, 0.30)
_TIGHT = (0.35, 0.20, 0.12)


def choose_crop(boxes: list[Box], width: int, height: int) -> Crop:
    """Head-and-shoulders square for a face that takes the places ``boxes`` during a clip.

    The square holds the head in every box and stays inside the picture (``width`` × ``height``)
    as long as the head fits into the picture's shorter side; it reaches over the border otherwise.
    """
    if not boxes:
        raise ValueError("at least one face box is needed")
    sides = np.array([box.side for box in boxes])
    centres = np.array([box.centre for box in boxes])
    roomy = _extent(centres, sides, _ROOMY, width, height)
    tight = _extent(centres, sides, _TIGHT, width, height)
    wanted = max(float(np.median(sides)) / FACE_SHARE, _span(roomy))
    size = max(min(wanted, min(width, height)), _span(tight))
    kept = roomy if size >= _span(roomy) else tight
    middle = np.median(centres, axis=0) - size / 2
    corner_x = _place(float(middle[0]), size, kept[0], kept[2], width)
    corner_y = _place(float(middle[1]), size, kept[1], kept[3], height)
    # Whole pixels: then a cut is exact, without interpolation between pixels.
    return Crop(
        x=round(corner_x),
        y=round(corner_y),
        size=round(size),
        source_width=width,
        source_height=height,
    )


def _extent(
    centres: NDArray[np.floating],
    sides: NDArray[np.floating],
    room: tuple[float, float, float],
    width: int,
    height: int,
) -> tuple[float, float, float, float]:
    """What the heads cover together (left, top, right, bottom), as far as it is in the picture."""
    above, beside, below = room
    left = np.min(centres[:, 0] - (0.5 + beside) * sides)
    right = np.max(centres[:, 0] + (0.5 + beside) * sides)
    top = np.min(centres[:, 1] - (0.5 + above) * sides)
    bottom = np.max(centres[:, 1] + (0.5 + below) * sides)
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def _span(extent: tuple[float, float, float, float]) -> float:
    return max(extent[2] - extent[0], extent[3] - extent[1])


def _place(corner: float, size: float, low: float, high: float, limit: int) -> float:
    """Shift so that ``low``…``high`` is inside and, if the square fits, the picture covers it."""
    corner = min(corner, low)
    corner = max(corner, high - size)
    if size <= limit:
        return float(min(max(corner, 0.0), limit - size))
    return (limit - size) / 2


def cut(picture: NDArray[np.uint8], crop: Crop, side: int) -> NDArray[np.uint8]:
    """The square ``crop`` of ``picture`` [H,W,3] as ``[side,side,3]``, border replicated."""
    height, width = picture.shape[:2]
    scale = crop.size / side
    x, y = round(crop.x), round(crop.y)
    inside = x >= 0 and y >= 0 and x + side <= width and y + side <= height
    if inside and (crop.x, crop.y, crop.size) == (x, y, side):
        return picture[y : y + side, x : x + side]
    if scale > 1.001:
        # Shrinking: average whole pixels first, which an interpolating warp would skip.
        x1, y1 = x + round(crop.size), y + round(crop.size)
        part = picture[max(y, 0) : min(y1, height), max(x, 0) : min(x1, width)]
        pad = (max(-y, 0), max(y1 - height, 0), max(-x, 0), max(x1 - width, 0))
        whole = cv2.copyMakeBorder(part, *pad, cv2.BORDER_REPLICATE) if any(pad) else part
        return np.asarray(cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel centres: source = scale · (target + ½) + corner − ½.
    matrix = np.array(
        [[scale, 0, crop.x + scale / 2 - 0.5], [0, scale, crop.y + scale / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)
