"""Mouths and eyes of a whole batch of frames, laid into their pictures on a torch device.

The parts' rectangles differ from frame to frame; a batch works on windows of one size around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.render.compositor import FINE, LEAST_WEIGHT, SPREAD, coarse_side
from omnitalk_cli.render.flow import GRID
from omnitalk_cli.render.torch_bank import DeviceBank, DeviceModel, DevicePart
from omnitalk_cli.render.torch_flow import BatchFlow, Cover, Windows
from omnitalk_cli.render.torch_ops import (
    average_map,
    gaussian_map,
    mapped,
    sample,
    stretch_map,
    stretched,
    upload,
)
from omnitalk_cli.types import Float

STEP = 4  # window sides are multiples of this many cells, so that few sizes occur


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a part lies in B frames: ``windows``, ``mask`` [B,1,H,W] 0…1 (pixels), and what carries
    the window down to coarse cells, blurs there and carries back (``AxisMaps``), per axis."""

    windows: Windows
    mask: Tensor
    rows: AxisMaps
    columns: AxisMaps

    @classmethod
    def of(cls, covers: Sequence[Cover | None], cell: int, device: torch.device) -> Place | None:
        """The place of ``covers``, one for each frame; None when all are outside their frames."""
        shown = [cover for cover in covers if cover is not None]
        if not shown:
            return None
        spans = np.zeros((len(covers), 2, 2), int)  # frame, axis, (start, stop) in cells
        for number, cover in enumerate(covers):
            if cover is not None:
                region = cover[0]
                for axis, side in enumerate((region.rows, region.columns)):
                    spans[number, axis] = side.start, side.stop
        sides = (spans[..., 1] - spans[..., 0]).max(axis=0)
        sides = np.minimum(-(-sides // STEP) * STEP, GRID)
        first = np.minimum(spans[..., 0], GRID - sides)  # [B,2]
        mask = np.zeros((len(covers), 1, *(sides * cell)), np.uint8)
        inside = (spans - first[..., None]) * cell  # (start, stop) in pixels of the window
        for number, cover in enumerate(covers):
            if cover is not None:
                (top, bottom), (left, right) = inside[number]
                mask[number, 0, top:bottom, left:right] = cover[1]
        coarse = [tuple(coarse_side(int(stop - start)) for start, stop in axes) for axes in inside]
        spread = [max(sides) / SPREAD for sides in coarse]
        maps = [
            AxisMaps.of(inside[:, axis], [one[axis] for one in coarse], spread,
                        int(sides[axis]) * cell, device)
            for axis in range(2)
        ]  # fmt: skip
        rows, columns = (
            upload(first[:, axis, None] + np.arange(sides[axis]), device) for axis in range(2)
        )
        return cls(
            windows=Windows(rows=rows, columns=columns),
            mask=upload(mask, device).float() / 255,
            rows=maps[0],
            columns=maps[1],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisMaps:
    """Along one axis of B windows of N pixels, each with M coarse cells or fewer: ``down``
    [B,1,M,N] averages the frame's own rectangle, ``blur`` [B,1,M,M], ``up`` [B,1,N,M]."""

    down: Tensor
    blur: Tensor
    up: Tensor

    @classmethod
    def of(
        cls,
        inside: NDArray[np.int_],
        coarse: Sequence[int],
        spread: Sequence[float],
        side: int,
        device: torch.device,
    ) -> AxisMaps:
        """Rectangles ``inside`` [B,2] (first pixel, end) with ``coarse`` cells, blurred by
        ``spread`` cells, in windows of ``side`` pixels."""
        count, most = len(coarse), max(coarse)
        down = np.zeros((count, 1, most, side), np.float32)
        blur = np.zeros((count, 1, most, most), np.float32)
        up = np.zeros((count, 1, side, most), np.float32)
        for number, ((start, stop), cells, sigma) in enumerate(
            zip(inside.tolist(), coarse, spread, strict=True)
        ):
            if stop == start:
                continue
            down[number, 0, :cells, start:stop] = average_map(stop - start, cells)
            blur[number, 0, :cells, :cells] = gaussian_map(cells, sigma)
            up[number, 0, start:stop, :cells] = stretch_map(cells, stop - start)
        return cls(down=upload(down, device), blur=upload(blur, device), up=upload(up, device))


def lay_part(
    pictures: Tensor,
    bank: DeviceBank,
    part: DevicePart,
    flow: BatchFlow,
    place: Place,
    sources: NDArray[np.int64],
    inputs: Float,
) -> None:
    """Lay the bank's best pictures ``sources`` [B,2] of a part into ``pictures`` [B,3,S,S] in
    place, corrected towards what ``inputs`` [B,F] lead to expect."""
    device, count = bank.device, len(sources)
    pairs = torch.arange(count, device=device).repeat_interleave(2)
    flat = upload(sources.reshape(-1), device)
    patches = _warped(part, bank, flow, place, pairs, flat)
    if part.model is not None:
        changes = _corrections(part.model, bank, flow, part, place, sources, inputs)
        patches = (patches + stretched(changes, *patches.shape[-2:])).clamp(0, 255)
    patch = _blend_coarse(patches[0::2], patches[1::2], bank.host.size / 512)

    rows, columns = place.windows.pixels(bank.cell)
    frames = torch.arange(count, device=device)[:, None, None, None]
    colours = torch.arange(pictures.shape[1], device=device)[None, :, None, None]
    here = (frames, colours, rows[:, None, :, None], columns[:, None, None, :])
    base = pictures[here]
    patch = _match_colours(base, patch, place)
    pictures[here] = base + place.mask * (patch - base)


def _warped(
    part: DevicePart,
    bank: DeviceBank,
    flow: BatchFlow,
    place: Place,
    targets: Tensor,
    sources: Tensor,
) -> Tensor:
    """Crops ``sources`` [P] warped into the windows of the frames ``targets`` [P] → [P,3,H,W]."""
    to_source = flow.to(targets, sources, place.windows, gaze=part.kind.gaze)
    rows, columns = place.windows.pixels(bank.cell)
    move = stretched(to_source, rows.shape[1], columns.shape[1])
    corner, end = part.corners[sources], part.ends[sources]
    x = move[:, 0] + columns[targets][:, None, :] - corner[:, :1, None]
    y = move[:, 1] + rows[targets][:, :, None] - corner[:, 1:, None]
    # Kept inside the crop itself, which is smaller than the tensor that holds it.
    places = [
        axis.clamp_min(0).minimum(last[:, None, None])
        for axis, last in zip((x, y), end.unbind(1), strict=True)
    ]
    return sample(part.crops[sources].float(), torch.stack(places, dim=1))


def _corrections(
    model: DeviceModel,
    bank: DeviceBank,
    flow: BatchFlow,
    part: DevicePart,
    place: Place,
    sources: NDArray[np.int64],
    inputs: Float,
) -> Tensor:
    """What to add to the patches of ``sources`` [B,2] → [2·B,3,h,w] per cell of the windows."""
    steps = model.host.appearance.step(inputs.repeat(2, axis=0), sources.reshape(-1))
    weights = upload(steps.astype(np.float32), bank.device)
    textures = (weights @ model.textures).view(len(weights), 3, *model.shape)
    frames = torch.arange(len(sources), device=bank.device)
    home = flow.to(frames, torch.full_like(frames, model.index), place.windows, gaze=part.kind.gaze)
    x, y = (place.windows.points(bank.cell) + home).unbind(1)
    height, width = model.shape
    places = torch.stack(
        [
            (x - model.low[0] + 0.5) / model.span[0] * width - 0.5,
            (y - model.low[1] + 0.5) / model.span[1] * height - 0.5,
        ],
        dim=1,
    )
    return sample(textures, places.repeat_interleave(2, dim=0))


def _blend_coarse(first: Tensor, second: Tensor, unit: float) -> Tensor:
    """``compositor.blend_coarse`` for pictures [B,3,H,W]."""
    height, width = first.shape[-2:]
    rows = upload(gaussian_map(height, FINE * unit), first.device)
    columns = upload(gaussian_map(width, FINE * unit), first.device)
    return (first + 0.5 * mapped(second - first, rows, columns)).clamp(0, 255)


def _match_colours(base: Tensor, patch: Tensor, place: Place) -> Tensor:
    """``compositor._match_colours`` for windows [B,3,H,W]."""
    rows, columns = place.rows, place.columns
    rim = mapped(4 * place.mask * (1 - place.mask), rows.down, columns.down)
    difference = mapped(base - patch, rows.down, columns.down)
    weight = mapped(rim, rows.blur, columns.blur) + LEAST_WEIGHT
    shift = mapped(difference * rim, rows.blur, columns.blur) / weight
    return (patch + mapped(shift, rows.up, columns.up)).clamp(0, 255)
