"""The generated square back in its place in the whole source picture, without a seam.

The source picture stands still; the torso in the square does not. So just inside the square's
border, picture and square are compared: how the body (and, in hand-held clips, the background) has
moved, and how the light has changed. Motion and light are carried on outwards, fading, and then
the two agree where they are blended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.render.base import Matte, Picture
from omnitalk_cli.render.sampling import pixel_grid
from omnitalk_cli.types import Crop, Float, Reference

# In sides of the square: width of the blended band, how far motion and light reach outside.
BAND, REACH = 0.08, 0.5
CELLS = 48  # of the coarse grid over the reach
FLOW_SIDE = 160  # pixels of the square in which motion is measured
LARGEST_MOVE = 0.08  # sides; what is measured beyond is a mistake
LARGEST_LIGHT = 40.0  # grey levels
FOLLOW = 0.5  # how much of a new measurement is taken per frame of a 25th second
SPREADS = (1.0, 2.5, 6.0)  # cells
LEAST_MOVE, LEAST_LIGHT = 0.2, 0.7  # pixels, grey levels: less is not carried outwards


@dataclass(frozen=True, kw_only=True)
class Still:
    """A source picture [H,W,3], its person's matte [H,W], and the square's place in it."""

    picture: Picture
    matte: Matte
    crop: Crop


def still_of(reference: Reference, *, short_side: int | None = None) -> Still:
    """The reference's source picture, even-sized, its shorter side ``short_side`` (None: as kept).

    Raises InputError when the features were made without it.
    """
    around = reference.surroundings
    if around is None:
        raise InputError(
            f"{reference.source_name}: these features hold no whole picture of the source (an "
            "older omnitalk made them), which --view full needs; extract the clip again"
        )
    coded = cv2.imdecode(np.frombuffer(around.picture, np.uint8), cv2.IMREAD_COLOR)
    matte = cv2.imdecode(np.frombuffer(around.matte, np.uint8), cv2.IMREAD_GRAYSCALE)
    if coded is None or matte is None or coded.shape[:2] != matte.shape:
        raise InputError(
            f"the whole picture in the features of {reference.source_name} is damaged: "
            "extract the clip again"
        )
    picture = cv2.cvtColor(coded, cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    scale = (short_side or min(height, width)) / min(height, width)
    size = tuple(2 * max(8, round(side * scale / 2)) for side in (width, height))
    if size != (width, height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(picture, size, interpolation=method)
        matte = cv2.resize(matte, size, interpolation=cv2.INTER_AREA)
    crop = around.crop
    return Still(
        picture=np.asarray(picture, np.uint8),
        matte=np.asarray(matte, np.uint8),
        crop=Crop(
            x=crop.x * size[0] / width,
            y=crop.y * size[1] / height,
            size=crop.size * size[0] / width,
            source_width=size[0],
            source_height=size[1],
        ),
    )


class FullView:
    """Pastes generated squares into one source picture, in order of time.

    Motion and light at the seam are smoothed over time: one object serves one video.
    """

    def __init__(self, still: Still, *, fps: float = 25.0) -> None:
        self.still = still
        self._keep = (1 - FOLLOW) ** (25.0 / fps)
        crop = still.crop
        side = max(2, round(crop.size))
        left, top = round(crop.x), round(crop.y)
        # The square's part inside the picture, in both coordinates.
        self._side = side
        x0, x1 = max(left, 0), min(left + side, crop.source_width)
        y0, y1 = max(top, 0), min(top + side, crop.source_height)
        self._inside = (slice(y0, y1), slice(x0, x1))
        self._shown = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        self._seams = (x0 > 0, y0 > 0, x1 < crop.source_width, y1 < crop.source_height)
        reach = round(REACH * side)
        r0, r1 = max(left - reach, 0), min(left + side + reach, crop.source_width)
        q0, q1 = max(top - reach, 0), min(top + side + reach, crop.source_height)
        self._region = (slice(q0, q1), slice(r0, r1))
        self._within = (slice(y0 - q0, y1 - q0), slice(x0 - r0, x1 - r0))
        self._origin = (left - r0, top - q0)
        self._mask = self._blend_mask()[self._shown]
        self._prepare()

    @property
    def covers_all(self) -> bool:
        """Whether the square covers the whole picture: there is nothing around it."""
        return not any(self._seams)

    def paste(self, square: Picture, matte: Matte | None = None) -> tuple[Picture, Matte]:
        """The source picture [H,W,3] with ``square`` [S,S,3] in it, and its person's matte [H,W].

        ``matte`` [S,S] goes with the square; without it the person inside is as in the source.
        """
        size = (self._side, self._side)
        larger = square.shape[0] > 1.4 * self._side  # cubic is enough, and faster, near 1
        fitted = resize(square, size, cv2.INTER_AREA if larger else cv2.INTER_CUBIC)
        picture, person = self.still.picture.copy(), self.still.matte
        layers = [picture[self._region]]
        if matte is not None:
            person = person.copy()
            layers.append(person[self._region])
        if not self.covers_all:
            self._measure(square)
            self._move(layers)
            self._light(layers[0])
        if matte is not None:
            fit = resize(matte, size, cv2.INTER_LINEAR)[self._shown]
            layers[1][self._within] = self._blend(fit, layers[1][self._within])
        layers[0][self._within] = self._blend(fitted[self._shown], layers[0][self._within])
        return picture, person

    def _blend(self, new: NDArray[np.uint8], old: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.covers_all:
            return new
        return np.asarray(cv2.blendLinear(new, old, self._mask, 1 - self._mask), np.uint8)

    def _blend_mask(self) -> Float:
        """[side,side] 1 inside, falling to 0 over the band at those sides that have a seam."""
        ramp = (np.arange(self._side, dtype=np.float32) + 0.5) / (BAND * self._side)
        rise = np.clip(ramp, 0, 1)
        rise = rise * rise * (3 - 2 * rise)
        ones = np.ones_like(rise)
        left, top, right, bottom = self._seams
        across = (rise if left else ones) * (rise[::-1] if right else ones)
        down = (rise if top else ones) * (rise[::-1] if bottom else ones)
        return np.asarray(down[:, None] * across[None], np.float32)

    # Motion and light at the seam

    def _prepare(self) -> None:
        """What the measurements need of the still picture, computed once."""
        rows, columns = self._region
        still, person = self.still.picture[rows, columns], self.still.matte[rows, columns]
        height, width = person.shape
        self._cell = max(height, width) / CELLS
        grid = (max(2, round(width / self._cell)), max(2, round(height / self._cell)))
        self._grid = grid
        # The square in grid cells: measurements at FLOW_SIDE are averaged into them.
        self._to_grid = np.array(
            [
                [self._side / FLOW_SIDE / self._cell, 0, self._origin[0] / self._cell],
                [0, self._side / FLOW_SIDE / self._cell, self._origin[1] / self._cell],
            ]
        )
        shift = np.array([[1, 0, -self._origin[0]], [0, 1, -self._origin[1]]], np.float64)
        zoom = FLOW_SIDE / self._side

        def square_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
            whole = cv2.warpAffine(
                picture, shift, (self._side, self._side), borderMode=cv2.BORDER_REPLICATE
            )
            method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
            return np.asarray(
                cv2.resize(whole, (FLOW_SIDE, FLOW_SIDE), interpolation=method), np.uint8
            )

        self._still_square = square_of(still)
        self._still_grey = cv2.cvtColor(self._still_square, cv2.COLOR_RGB2GRAY)
        inner = square_of(person).astype(np.float32) / 255
        band = self._band_weight()
        self._band = band
        self._body_share, self._ground_share = inner**2, (1 - inner) ** 2
        # Fades outside, in distance from the square; body and background move each on their own.
        y, x = np.mgrid[0 : grid[1], 0 : grid[0]].astype(np.float32)
        end = (self._side / self._cell, self._side / self._cell)
        ox, oy = self._origin[0] / self._cell, self._origin[1] / self._cell
        far_x = np.maximum(np.maximum(ox - x, x - ox - end[0] + 1), 0)
        far_y = np.maximum(np.maximum(oy - y, y - oy - end[1] + 1), 0)
        far = np.hypot(far_x, far_y) * self._cell / (REACH * self._side)
        fade = np.clip(1 - far, 0, 1)
        self._fade = (fade * fade * (3 - 2 * fade)).astype(np.float32)[..., None]
        soft = cv2.resize(person, grid, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        self._body = cv2.GaussianBlur(soft, (0, 0), 0.7)[..., None]
        self._state: tuple[Float, Float] | None = None
        axes = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._pixels = np.stack(axes, axis=-1)
        self._square_pixels = pixel_grid(FLOW_SIDE)
        self._finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def _band_weight(self) -> Float:
        """[F,F] where the square is measured: twice the band's width along the seams."""
        place = (np.arange(FLOW_SIDE, dtype=np.float32) + 0.5) / FLOW_SIDE / (2 * BAND)
        near = np.clip(1.5 * (1 - place), 0, 1)
        left, top, right, bottom = self._seams
        across = np.maximum(near if left else 0 * near, near[::-1] if right else 0 * near)
        down = np.maximum(near if top else 0 * near, near[::-1] if bottom else 0 * near)
        return np.maximum(down[:, None], across[None]).astype(np.float32)

    def _gather(self, values: Float) -> Float:
        """Values [F,F,K] of the square as means on the coarse grid [h,w,K], 0 outside."""
        # Smoothed to the size of a cell first: the warp reads single places.
        cell = 2 * round(0.5 * self._cell * FLOW_SIDE / self._side) + 1
        smooth = cv2.blur(values, (cell, cell), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(
            cv2.warpAffine(smooth, self._to_grid, self._grid, flags=cv2.INTER_LINEAR), np.float32
        )

    def _measure(self, square: Picture) -> None:
        """Update displacement and light [h,w,2], [h,w,3] on the grid from a generated square."""
        method = cv2.INTER_AREA if square.shape[0] > FLOW_SIDE else cv2.INTER_LINEAR
        small = resize(square, (FLOW_SIDE, FLOW_SIDE), method)
        start = np.zeros((FLOW_SIDE, FLOW_SIDE, 2), np.float32)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found = self._finder.calc(grey, self._still_grey, start)
        most = LARGEST_MOVE * FLOW_SIDE
        flow: Float = np.asarray(np.clip(found, -most, most), np.float32)
        places = self._square_pixels + flow
        there = cv2.remap(  # type: ignore[call-overload]  # the stub forbids leaving out map2
            self._still_square, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        change = cv2.subtract(small, there, dtype=cv2.CV_32F)
        # Where they still differ much, motion was not found: such places count less.
        wrong = cv2.blur(cv2.cvtColor(np.abs(change), cv2.COLOR_RGB2GRAY), (9, 9)) / 20
        trust = np.asarray(self._band / (1 + wrong * wrong), np.float32)
        body = self._spread(flow, trust * self._body_share)
        ground = self._spread(flow, trust * self._ground_share)
        move = (ground + self._body * (body - ground)) * (self._side / FLOW_SIDE) * self._fade
        lighter = np.clip(change, -LARGEST_LIGHT, LARGEST_LIGHT).astype(np.float32)
        light = self._spread(lighter, trust) * self._fade
        if self._state is not None:
            keep = self._keep
            move = keep * self._state[0] + (1 - keep) * move
            light = keep * self._state[1] + (1 - keep) * light
        self._state = (move, light)

    def _spread(self, values: Float, weight: Float) -> Float:
        """Carry ``values`` [F,F,K], known where ``weight`` [F,F] is, over the grid [h,w,K]."""
        gathered = self._gather(np.dstack([values * weight[..., None], weight]))
        known = max(1e-6, float(gathered[..., -1].max()))
        result = np.zeros((*gathered.shape[:2], values.shape[2]), np.float32)
        for spread in reversed(SPREADS):
            blurred = cv2.GaussianBlur(gathered, (0, 0), spread) / known
            mass = blurred[..., -1:]
            sure = np.clip(mass / 0.1, 0, 1)
            result += sure * (blurred[..., :-1] / (mass + 1e-4) - result)
        return result

    def _move(self, layers: list[NDArray[np.uint8]]) -> None:
        """Put layers [h,w,3], [h,w] of the region under the present motion, in place."""
        assert self._state is not None
        move = self._state[0]
        part = self._active(np.abs(move).max(axis=2) > LEAST_MOVE)
        if part is None:
            return
        places = cv2.add(self._pixels[part], self._enlarged(move, part))
        # At the picture's own border something must come in: a mirror shows no streaks.
        for layer in layers:
            layer[part] = cv2.remap(  # type: ignore[call-overload]  # as above
                layer, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
            )

    def _light(self, around: NDArray[np.uint8]) -> None:
        """Put the region [h,w,3] under the present light, in place."""
        assert self._state is not None
        light = self._state[1]
        part = self._active(np.abs(light).max(axis=2) > LEAST_LIGHT)
        if part is None:
            return
        # In bytes with 128 for no change: four times faster than in floating point.
        coded = np.clip(light + 128.5, 0, 255).astype(np.uint8)
        around[part] = cv2.addWeighted(around[part], 1, self._enlarged(coded, part), 1, -128)

    def _active(self, cells: NDArray[np.bool_]) -> tuple[slice, slice] | None:
        """The rectangle of the region, in pixels, around those cells [h,w] and their neighbours."""
        if not cells.any():
            return None
        height, width = self._pixels.shape[:2]
        slices = []
        for axis, size in ((1, height), (0, width)):
            hit = np.flatnonzero(cells.any(axis=axis))
            scale = size / cells.shape[1 - axis]
            low, high = int((hit[0] - 1) * scale), int(np.ceil((hit[-1] + 2) * scale))
            slices.append(slice(max(0, low), min(size, high)))
        return slices[0], slices[1]

    def _enlarged(self, values: NDArray[Any], part: tuple[slice, slice]) -> NDArray[Any]:
        """A part of the region, in pixels, of ``values`` [h,w,K] on the grid."""
        return cv2.resize(values, self._pixels.shape[1::-1])[part]


def resize(picture: NDArray[np.uint8], size: tuple[int, int], method: int) -> NDArray[np.uint8]:
    """``picture`` in another ``size`` (width, height); itself when it has it."""
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
