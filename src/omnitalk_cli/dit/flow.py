"""Flow matching: the optimal-transport path, time schedules and ODE solvers (paper section 3.3).

``x_t = (1 − t)·x_0 + t·x_1`` with noise ``x_0`` and data ``x_1``; its velocity is ``x_1 − x_0``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Schedule = Literal["uniform", "sway", "epss"]
Solver = Literal["euler", "midpoint"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
SOLVERS: tuple[Solver, ...] = get_args(Solver)

# The state is a tuple of tensors (audio, visual), integrated together.
State = tuple[Tensor, ...]
Field = Callable[[State, float], State]

# F5-TTS' empirically pruned steps, in 32nds of the unswayed time, per number of steps.
_EPSS: dict[int, tuple[int, ...]] = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
EPSS_STEPS: tuple[int, ...] = tuple(_EPSS)


def interpolate(noise: Tensor, data: Tensor, time: Tensor) -> Tensor:
    """``x_t`` of the optimal-transport path; ``time`` broadcasts over ``[B, T, c]``."""
    return (1 - time) * noise + time * data


def velocity_from_data(data: Tensor, state: Tensor, time: float) -> Tensor:
    """Velocity that leads from ``state`` at ``time`` < 1 straight to the predicted ``data``."""
    return (data - state) / max(1.0 - time, 1e-5)


def logit_normal_time(
    count: int, *, mean: float, std: float, uniform_share: float, generator: torch.Generator
) -> Tensor:
    """Training times ``[B]``: logistic of a normal, a share of them uniform instead."""
    normal = torch.randn(count, generator=generator) * std + mean
    flat = torch.rand(count, generator=generator)
    pick = torch.rand(count, generator=generator) < uniform_share
    return torch.where(pick, flat, normal.sigmoid())


def sway(time: Tensor, coefficient: float = -1.0) -> Tensor:
    """Sway sampling: ``t + s·(cos(π·t/2) − 1 + t)``; s = −1 puts more steps near the noise."""
    return time + coefficient * (torch.cos(math.pi / 2 * time) - 1 + time)


def time_grid(schedule: Schedule, steps: int) -> list[float]:
    """``steps + 1`` rising times from 0 to 1.

    Raises ValueError for fewer than one step, an unknown schedule, or an EPSS length that F5-TTS
    does not define.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps; at least one is needed")
    if schedule == "uniform":
        return torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
    if schedule == "sway":
        return sway(torch.linspace(0, 1, steps + 1, dtype=torch.float64)).clamp(0, 1).tolist()
    if schedule == "epss":
        if steps not in _EPSS:
            raise ValueError(f"the epss schedule has {sorted(_EPSS)} steps, not {steps}")
        grid = torch.tensor(_EPSS[steps], dtype=torch.float64) / 32
        return sway(grid).clamp(0, 1).tolist()
    raise ValueError(f"unknown schedule {schedule!r}; use one of {SCHEDULES}")


def evaluation_times(grid: Sequence[float], solver: Solver) -> list[float]:
    """The times at which ``integrate`` asks for the field, in order."""
    if solver == "euler":
        return list(grid[:-1])
    pairs = zip(grid[:-1], grid[1:], strict=True)
    return [time for start, end in pairs for time in (start, (start + end) / 2)]


def _step(state: State, velocity: State, dt: float) -> State:
    return tuple(x + dt * v for x, v in zip(state, velocity, strict=True))


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator)
    return drawn.to(like.device, like.dtype)


def integrate(
    field: Field,
    state: State,
    grid: list[float],
    *,
    solver: Solver = "euler",
    refresh: Sequence[Tensor] = (),
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] | None = None,
) -> State:
    """Solves ``dx/dt = field(x, t)`` from ``grid[0]`` to ``grid[-1]``.

    ``midpoint`` evaluates the field twice a step. ``refresh``, one tensor of 0…1 for each of the
    state that broadcasts to it, replaces that share of the noise that is left after a step (but for
    the last) by new noise of ``generator``, the same variance kept: errors of early steps are not
    carried along then, as in ancestral sampling (eta of DDIM, arXiv 2010.02502). ``on_step`` hears
    the number of steps done.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; use one of {SOLVERS}")
    for index, (start, end) in enumerate(zip(grid[:-1], grid[1:], strict=True)):
        velocity = field(state, start)
        if solver == "midpoint":
            middle = (start + end) / 2
            velocity = field(_step(state, velocity, middle - start), middle)
        noise = tuple(x - start * v for x, v in zip(state, velocity, strict=True))
        state = _step(state, velocity, end - start)
        if refresh and end < 1:
            state = tuple(
                x + (1 - end) * (((1 - share**2).sqrt() - 1) * z + share * _normal(z, generator))
                for x, z, share in zip(state, noise, refresh, strict=True)
            )
        if on_step is not None:
            on_step(index + 1)
    return state
