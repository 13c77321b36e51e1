"""Local SGD: processes train on their own and meet now and then to average (Stich 2019).

Unlike synchronous data parallelism it costs next to nothing where processes are unequally fast or
share a machine with other work: between two meetings nobody waits.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

_MEETING_SECONDS = 45.0


@dataclass(kw_only=True)
class Replicas:
    """This process among ``world`` others; a world of 1 never meets anybody."""

    rank: int = 0
    world: int = 1
    every: float = _MEETING_SECONDS
    _met: int = field(default_factory=lambda: int(clock.time() / _MEETING_SECONDS))

    @classmethod
    def of_environment(cls) -> Replicas:
        """The world that ``torchrun`` describes in the environment, or this process alone."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        return cls(rank=dist.get_rank(), world=world)

    def due(self) -> bool:
        """Whether it is time to meet: all look at the same clock."""
        now = int(clock.time() / self.every)
        if self.world == 1 or now == self._met:
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
        meeting. All replicas must call this with the same shapes.
        """
        total = torch.tensor([*map(float, gained), float(done)], dtype=torch.float64)
        dist.all_reduce(total)
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        flat *= gained[0] / max(float(total[0]), 1.0)
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
        return [int(value) for value in total[:-1]], bool(total[-1])
