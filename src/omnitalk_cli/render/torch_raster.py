"""Which triangle covers which cell, for whole batches of frames on a torch device.

Drawing some 600 small triangles one by one is what holds Python up most in ``flow.py``. Here every
cell in the bounding box of every triangle is tried at once, and the nearest triangle wins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.render.flow import GRID, FlowGrid
from omnitalk_cli.render.torch_ops import upload
from omnitalk_cli.types import Float

OUTLINE = 0.5  # cells that a triangle reaches beyond its edges: a drawn one has an outline


def cover_cells(grid: FlowGrid, vertices: Float, depth: Float, inverse: Tensor) -> Tensor:
    """Index [B,G,G] of the nearest triangle over every cell, the number of triangles for none.

    ``vertices`` [B,V,2] in pixels, ``depth`` [B,V], ``inverse`` [B,F,9] as ``inverse_corners``
    makes them, on the device.
    """
    device, triangles = inverse.device, grid.topology.triangles
    count, number = len(vertices), len(triangles)
    corners = ((vertices + 0.5) / grid.cell - 0.5)[:, triangles]  # [B,F,3,2] in cells
    low = np.ceil(corners.min(axis=2) - OUTLINE).clip(0, GRID).astype(np.int64)
    high = np.floor(corners.max(axis=2) + OUTLINE).clip(-1, GRID - 1).astype(np.int64) + 1
    sides = np.maximum(high - low, 0).reshape(-1, 2)
    tries = sides.prod(axis=1)
    order = np.argsort(-depth[:, triangles].sum(axis=2), axis=1)  # far ones first
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(number)[None], axis=1)

    # One row per triangle of all frames, then one entry per try.
    table = np.column_stack(
        [low.reshape(-1, 2), sides[:, 0], np.cumsum(tries) - tries, rank.reshape(-1)]
    )
    total = int(tries.sum())
    here = torch.repeat_interleave(
        torch.arange(count * number, device=device), upload(tries, device), output_size=total
    )
    left, top, width, start, place = upload(table, device)[here].unbind(1)
    step = torch.arange(total, device=device) - start
    row, column = top + step // width, left + step % width
    x, y = (column + 0.5) * grid.cell - 0.5, (row + 0.5) * grid.cell - 0.5
    lines = inverse.flatten(0, 1)
    # A share falls to 0 at an edge; its gradient tells how far that is.
    reach = OUTLINE * grid.cell * (lines[:, :3].square() + lines[:, 3:6].square()).sqrt()
    lines, reach = lines[here], reach[here]
    shares = lines[:, :3] * x[:, None] + lines[:, 3:6] * y[:, None] + lines[:, 6:]
    inside = (shares >= -reach).all(dim=1) & (lines[:, 6:].abs().sum(dim=1) > 0)

    nearest = torch.full((count * GRID * GRID,), -1, dtype=torch.int64, device=device)
    cell = here // number * (GRID * GRID) + row * GRID + column
    nearest.scatter_reduce_(0, cell, torch.where(inside, place, -1), reduce="amax")
    nearest = nearest.view(count, GRID * GRID)
    names = upload(np.pad(order, ((0, 0), (0, 1)), constant_values=number), device)
    found = names.gather(1, torch.where(nearest < 0, number, nearest))
    return found.view(count, GRID, GRID)
