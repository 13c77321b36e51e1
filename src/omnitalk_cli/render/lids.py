"""Eyes of a person of whom there is one picture: lids that close, irises that look around.

A warp of the whole eye squeezes the iris when the lids meet and cannot uncover any white. Here the
eye is held as the still shows it, and then drawn over: the eyeball behind the lids keeps its shape
while skin comes down over it, lashes first; the iris, completed where a lid hid it, moves over the
white, which is filled in where the iris was; the catch-light follows it half-way, like the mirror
image in a real cornea.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.codes import CODE_INDEX, GAZE
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.plate import fill_smoothly
from omnitalk_cli.render.sampling import sample
from omnitalk_cli.render.topology import LIDS, Topology
from omnitalk_cli.types import Float

IRIS_RADIUS = 0.066  # eye distances: 11.8 mm across
GAZE_GAIN = 0.8  # the tracker exaggerates: less than all of it comes closest to filmed eyes
CATCH_LIGHT_FOLLOWS = 0.55
# Eye distances: the lid's rim with its lashes, which is not stretched; how far the skin above and
# below gives way; beyond the corners.
RIM, ABOVE, BELOW, BESIDE = 0.02, 0.24, 0.14, 0.08
EDGE = 0.008  # skin is taken this far from the lid's line, which may lie on the eyeball
CATCH_LIGHT = 45  # grey levels above the iris
# Eye distances that the iris is looked for around its tracked place, and from which on the lids
# are taken to be off as well; how much darker than the white it must be.
MOST_AWAY, SURELY_AWAY, LEAST_CONTRAST = 0.07, 0.03, 0.06
HELD = [
    CODE_INDEX[name + side]
    for name in ("eyeBlink", "eyeSquint", "eyeWide")
    for side in ("Left", "Right")
] + list(range(GAZE.start, GAZE.stop))


@dataclass(frozen=True, kw_only=True, eq=False)
class EyeLook:
    """One eye of a still: ``ball`` [h,w,3] without iris or lids, the whole ``iris`` [h,w,3] with
    its ``disc`` [h,w] 0…1, and the ``light`` [h,w,3] that the cornea mirrors (to be added).

    All are cut from the frame at ``low``; ``lids`` [16,2] is the ring of lid points there,
    ``scale`` pixels per eye distance, ``offset`` [2] (eye distances) how far the tracked lids were
    off and ``lash`` [3] the lashes' colour.
    """

    ball: NDArray[np.uint8]
    iris: NDArray[np.uint8]
    disc: NDArray[np.uint8]
    light: NDArray[np.uint8]
    low: Float
    lids: Float
    offset: Float
    scale: float
    lash: Float


def hold_eyes(codes: Float, still: Float) -> Float:
    """``codes`` [N,61] whose lids and gaze are those of the ``still`` [61]."""
    held = np.array(codes, np.float32)
    held[:, HELD] = still[HELD]
    return held


def learn_eyes(
    frame: NDArray[np.uint8], geometry: Geometry, topology: Topology
) -> tuple[EyeLook, ...]:
    """Take both eyes of a still [S,S,3] apart; ``geometry`` has one frame."""
    scale = float(geometry.scale[0])
    return tuple(
        _learn_eye(frame, geometry.vertices[0, topology.places(ring)], iris, scale)
        for ring, iris in zip(LIDS, geometry.irises[0], strict=True)
    )


def _learn_eye(frame: NDArray[np.uint8], lids: Float, iris: Float, scale: float) -> EyeLook:
    height, width = frame.shape[:2]
    margin = 0.12 * scale
    low = np.clip(np.floor(lids.min(axis=0) - margin), 0, [width - 2, height - 2]).astype(int)
    high = np.clip(np.ceil(lids.max(axis=0) + margin), low + 2, [width, height]).astype(int)
    area = frame[low[1] : high[1], low[0] : high[0]]
    grey = cv2.cvtColor(area, cv2.COLOR_RGB2GRAY).astype(np.float32)
    radius = IRIS_RADIUS * scale
    found: Float | None = iris - low
    wide_open = float(np.ptp((lids - low)[[3, 4, 5, 11, 12, 13]], axis=0).min()) > 1.2 * radius
    if wide_open:  # else lashes would be taken for the iris
        found = find_iris(grey, iris - low, radius, MOST_AWAY * scale)
    away = np.zeros(2, np.float32) if found is None else found - (iris - low)
    if np.linalg.norm(away) < SURELY_AWAY * scale:  # the tracker's place will do for the lids
        offset = np.zeros(2, np.float32)
    else:
        offset = away
    ring, centre = lids + offset - low, iris + away - low

    opening = np.zeros(area.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.rint(ring * 16).astype(np.int32)], (255,), cv2.LINE_8, 4)
    rows, columns = np.mgrid[: area.shape[0], : area.shape[1]].astype(np.float32)
    distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
    seen = cv2.erode(opening, np.ones((3, 3), np.uint8)) > 0
    in_iris = seen & (distance < 1.08)
    disc, light = np.zeros_like(opening), np.zeros_like(area)
    ball, whole = fill_smoothly(area, seen.astype(np.float32)), area
    if found is not None and in_iris.sum() > 8:
        white = seen & (distance > 1.2)
        if white.sum() >= 8:  # lashes and the shadow of the lid are no white
            white &= grey >= 0.75 * np.median(grey[white])
        if white.any():
            ball = fill_smoothly(area, white.astype(np.float32))
        bright = (
            in_iris
            & wide_open
            & (distance < 0.95)
            & (grey > np.median(grey[in_iris]) + CATCH_LIGHT)
        )
        bright = cv2.dilate(bright.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        whole = _complete(area, in_iris & ~bright, centre)
        extra = np.where((bright & seen)[..., None], area.astype(np.int16) - whole, 0)
        light = np.clip(extra, 0, 255).astype(np.uint8)
        disc = (np.clip((1.06 - distance) / 0.16, 0, 1) * 255).astype(np.uint8)
    rim = cv2.dilate(opening, np.ones((5, 5), np.uint8)) > 0
    rim &= ~seen & (rows < ring[[0, 8], 1].mean())
    lash = np.quantile(area[rim], 0.1, axis=0) if rim.any() else np.array([40.0, 30, 30])
    return EyeLook(
        ball=ball,
        iris=whole,
        disc=disc,
        light=light,
        low=low.astype(np.float32),
        lids=lids + offset,
        offset=offset / np.float32(scale),
        scale=scale,
        lash=lash.astype(np.float32),
    )


def find_iris(grey: Float, guess: Float, radius: float, most: float) -> Float | None:
    """Place [2] of the dark disc of ``radius`` pixels in ``grey`` [h,w], at most ``most`` pixels
    from ``guess`` [2]; None when nothing there is darker than its surroundings.

    Behind strong glasses the tracker can be half an eye off.
    """
    reach = int(np.ceil(1.7 * radius))
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    distance = np.hypot(axis[None], axis[:, None]) / radius
    inner = (distance <= 0.9).astype(np.float32)
    # Only the sides: above and below the iris there are lids.
    beside = ((distance >= 1.15) & (distance <= 1.6)).astype(np.float32)
    beside *= np.abs(axis)[:, None] < 0.5 * radius
    dark = cv2.filter2D(grey, -1, inner / inner.sum(), borderType=cv2.BORDER_REPLICATE)
    around = cv2.filter2D(grey, -1, beside / beside.sum(), borderType=cv2.BORDER_REPLICATE)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    away = np.hypot(columns - guess[0], rows - guess[1])
    contrast = np.where(away <= most, (around - dark) / np.maximum(around, 1), -1)
    contrast = contrast - 0.15 * (away / most) ** 2
    row, column = np.unravel_index(int(contrast.argmax()), contrast.shape)
    if contrast[row, column] < LEAST_CONTRAST:
        return None
    place = np.array([column, row], np.float32)
    return guess if np.linalg.norm(place - guess) < 0.75 else place


def _complete(
    area: NDArray[np.uint8], known: NDArray[np.bool_], centre: Float
) -> NDArray[np.uint8]:
    """``area`` whose iris is filled, where it is not ``known``, by its own mirror images."""
    rows, columns = np.mgrid[: area.shape[0], : area.shape[1]].astype(np.float32)
    filled, have = area.copy(), known.copy()
    x, y = float(centre[0]), float(centre[1])
    for places in (
        np.stack([columns, 2 * y - rows], axis=-1),
        np.stack([2 * x - columns, 2 * y - rows], axis=-1),
        np.stack([2 * x - columns, rows], axis=-1),
    ):
        mirrored = sample(area, places)
        valid = sample(np.where(known, 255, 0).astype(np.uint8), places) > 200
        fresh = valid & ~have
        filled[fresh] = mirrored[fresh]
        have |= fresh
    return fill_smoothly(filled, have.astype(np.float32)) if have.any() else filled


def draw_eyes(
    picture: NDArray[np.uint8],
    held: Geometry,
    target: Geometry,
    index: int,
    looks: tuple[EyeLook, ...],
    topology: Topology,
) -> None:
    """Bring the eyes of ``picture`` [S,S,3] from the ``held`` geometry to the ``target``, in place.

    Both have frame ``index``; the picture shows the first.
    """
    scale = float(target.scale[index])
    for number, (look, ring) in enumerate(zip(looks, LIDS, strict=True)):
        places = topology.places(ring)
        shift = GAZE_GAIN * (target.irises[index, number] - held.irises[index, number])
        before, after = held.vertices[index, places], target.vertices[index, places]
        off = look.offset * scale
        _draw_eye(picture, before + off, after + off, shift, look, scale)


def _draw_eye(
    picture: NDArray[np.uint8], held: Float, lids: Float, shift: Float, look: EyeLook, scale: float
) -> None:
    """``held`` and ``lids`` [16,2]: where the lids are and where they go; ``shift`` [2] of the iris
    (pixels)."""
    left, right = held[0], held[8]
    length = max(1.0, float(np.linalg.norm(right - left)))
    axis = (right - left) / length
    up = np.array([axis[1], -axis[0]], np.float32)

    def curve(ring: Float, part: slice | list[int]) -> tuple[Float, Float]:
        points = ring[part] - left
        return points @ axis, points @ up

    upper, lower = [0, 15, 14, 13, 12, 11, 10, 9, 8], slice(0, 9)
    reach = np.array([[BESIDE, BESIDE], [BELOW, ABOVE]]) * scale
    box = np.concatenate([held, lids])
    height, width = picture.shape[:2]
    low = np.clip(np.floor(box.min(axis=0) - [reach[0, 0], reach[1, 1]]), 0, [width, height])
    high = np.clip(np.ceil(box.max(axis=0) + [reach[0, 1], reach[1, 0]]), 0, [width, height])
    low, high = low.astype(int), high.astype(int)
    if (high - low < 4).any():
        return
    area = picture[low[1] : high[1], low[0] : high[0]]
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    x, y = columns - left[0], rows - left[1]
    along, over = x * axis[0] + y * axis[1], x * up[0] + y * up[1]

    top, top_before = (_height(along, *curve(ring, upper)) for ring in (lids, held))
    bottom, bottom_before = (_height(along, *curve(ring, lower)) for ring in (lids, held))
    outside = np.maximum(np.maximum(-along, along - length), 0) / (BESIDE * scale)
    fade = np.clip(1 - outside, 0, 1)
    falling, rising = (top_before - top) * fade, (bottom_before - bottom) * fade

    # Skin: above the upper lid it comes down with it, below the lower one it goes up.
    above, below = over - top, bottom - over
    closing = np.clip(falling / (0.03 * scale), 0, 1)
    skin_up = falling * _give(above, ABOVE * scale, scale) + EDGE * scale * closing * _give(
        above, 0.06 * scale, scale
    )
    skin_down = rising * _give(below, BELOW * scale, scale)
    lift = np.where(above >= 0, skin_up, np.where(below >= 0, skin_down, 0)).astype(np.float32)
    own = np.stack([columns - low[0], rows - low[1]], axis=-1)
    skin = sample(np.ascontiguousarray(area), own + lift[..., None] * up)

    open_ = np.clip(np.minimum(above * -1, below * -1) + 0.5, 0, 1) * (fade >= 1)
    change = max(
        float(np.abs(falling).max()) / (0.02 * scale),
        float(np.abs(rising).max()) / (0.02 * scale),
        float(np.linalg.norm(shift)) / (0.012 * scale),
    )
    if open_.any() and change > 0:
        ball = _eyeball(look, along, over, length, scale, float(shift @ axis), float(shift @ up))
        shade = np.exp(-np.maximum(-above, 0) / (0.025 * scale)) * closing
        ball = ball * (1 - 0.4 * shade)[..., None]
        weight = (open_ * min(1.0, change))[..., None]
        mixed = skin + weight * (ball - skin)
    else:
        mixed = skin.astype(np.float32)
    # Lashes close the gap with a dark line.
    line = np.exp(-0.5 * ((over - top) / (0.010 * scale)) ** 2) * (fade >= 1)
    taper = np.clip(4 * along * (length - along) / length**2, 0, 1) ** 0.5
    mixed = mixed + (0.55 * closing * line * taper)[..., None] * (look.lash - mixed)
    area[...] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _height(along: Float, places: Float, heights: Float) -> Float:
    order = np.argsort(places)
    return np.interp(along, places[order], heights[order]).astype(np.float32)


def _give(distance: Float, reach: float, scale: float) -> Float:
    """1 on the lid's rim, falling to 0 at ``reach`` pixels from its line."""
    rim = RIM * scale
    return np.clip((reach - distance) / max(reach - rim, 1e-3), 0, 1)


def _eyeball(
    look: EyeLook,
    along: Float,
    over: Float,
    length: float,
    scale: float,
    shift_along: float,
    shift_up: float,
) -> Float:
    """The eye without its lids [h,w,3], at places given along the eye's axis and up from it."""
    left, right = look.lids[0], look.lids[8]
    own_length = max(1.0, float(np.linalg.norm(right - left)))
    axis = (right - left) / own_length
    up = np.array([axis[1], -axis[0]], np.float32)
    wide, tall = own_length / length, look.scale / scale

    def at(share: float) -> Float:
        a = (along - share * shift_along) * wide
        o = (over - share * shift_up) * tall
        places = a[..., None] * axis + o[..., None] * up + (left - look.low)
        return np.asarray(places, np.float32)

    ball = sample(look.ball, at(0.0)).astype(np.float32)
    moved = at(1.0)
    disc = sample(look.disc, moved).astype(np.float32)[..., None] / 255
    ball += disc * (sample(look.iris, moved) - ball)
    return ball + sample(look.light, at(CATCH_LIGHT_FOLLOWS))
