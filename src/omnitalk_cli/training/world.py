"""The processes that train together, as ``torchrun`` starts them: who is who, sums, the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from omnitalk_cli.errors import SetupError, WorkError


@dataclass(frozen=True, kw_only=True)
class World:
    """This process: ``rank`` of ``size``, and the device that it computes on."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> World:
        """The world that ``torchrun`` describes in the environment, or this process alone.

        Raises SetupError when there are more processes than CUDA devices.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        chosen = torch.device(device)
        if chosen.type == "cuda":
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if size > 1:
                if local >= torch.cuda.device_count():
                    raise SetupError(
                        f"process {local} of this machine has no GPU of its own: there are "
                        f"{torch.cuda.device_count()}; lower --nproc-per-node"
                    )
                chosen = torch.device("cuda", local)
            elif chosen.index is None:  # torch takes a device by its number only
                chosen = torch.device("cuda", 0)
            torch.cuda.set_device(chosen)
        if size > 1 and not dist.is_initialized():
            # Two backends: what processes agree on must not wait for the GPU's queue.
            dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo")
        rank = dist.get_rank() if size > 1 else 0
        return cls(rank=rank, size=size, device=chosen)

    @classmethod
    @contextlib.contextmanager
    def joined(cls, device: str) -> Iterator[World]:
        """``join`` around a block, which is left in the way that the block ends.

        Who joins must leave: gloo's threads that outlive the interpreter abort the process.
        """
        world = cls.join(device)
        try:
            yield world
        except BaseException:
            world.leave(failed=True)
            raise
        world.leave()

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """``tensor`` summed over all processes, in place. Raises WorkError when one is gone."""
        if self.size > 1:
            try:
                dist.all_reduce(tensor)
            except RuntimeError as error:
                raise WorkError(
                    f"process {self.rank} has lost another one, which says why it ended ({error})"
                ) from error
        return tensor

    def agree(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes, without asking the device."""
        return self.sum(torch.tensor(values, dtype=torch.float64)).tolist()

    def alike(self, number: int) -> bool:
        """Whether ``number`` (below 2⁴⁰) is the same everywhere; where it is not, at least one
        process gets False."""
        return self.agree([float(number)])[0] == float(number) * self.size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self.agree([0.0])

    def leave(self, *, failed: bool = False) -> None:
        """Ends the group that ``join`` made; ``failed``: this process may be alone in that.

        NCCL's orderly end is one of all processes: who failed alone would wait there for the
        others, and they would wait for it somewhere else.
        """
        if self.size > 1 and dist.is_initialized():
            if failed and dist.group.WORLD is not None:
                dist.group.WORLD.abort()
            dist.destroy_process_group()
