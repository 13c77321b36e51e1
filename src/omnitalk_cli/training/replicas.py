"""Local SGD: processes train on their own and meet now and then to average (Stich 2019).

Unlike synchronous data parallelism it costs next to nothing where processes are unequally fast or
share a machine with other work: between two meetings nobody waits.
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnitalk_cli.training.world import World


@dataclass(kw_only=True)
class Replicas:
    """The processes of ``world``; one alone never meets anybody."""

    world: World
    every: float = 45.0
    _met: int = field(init=False)

    def __post_init__(self) -> None:
        self._met = int(clock.time() / self.every)

    def due(self) -> bool:
        """Whether it is time to meet: all look at the same clock."""
        now = int(clock.time() / self.every)
        if self.world.size == 1 or now == self._met:
            return False
        self._met = now
        return True

    @torch.no_grad()
    def average(
        self, tensors: Sequence[Tensor], gained: Sequence[int], *, done: bool
    ) -> tuple[list[int], bool]:
        """Sets ``tensors`` to their mean over the replicas, each weighted by the first of
        ``gained``: the counts of what it did since the last meeting.

        Returns the sums of ``gained`` and whether anybody is ``done``: then this was the last
        meeting. All replicas must call this with the same shapes. Raises WorkError when one is
        gone.
        """
        *total, over = self.world.agree([*map(float, gained), float(done)])
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        flat *= gained[0] / max(total[0], 1.0)
        self.world.sum(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
        return [int(value) for value in total], over > 0
