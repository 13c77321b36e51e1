"""Engines of processes that train together: DDP or FSDP2 on plain torch.

DDP keeps the whole network, optimiser and average in every process. FSDP2 (``fully_shard``, block
by block) keeps a part of each in every process and gathers a block's weights while it is computed.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from omnitalk_cli.dit.blocks import FusionBlock, StreamBlock
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.training.scale.config import Parallel
from omnitalk_cli.training.world import World


class Job(nn.Module):
    """Runs any work on the network inside one ``forward``, where the engines' hooks are."""

    def __init__(self, network: DualBranchDiT) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[DualBranchDiT], Any]) -> Any:
        """What ``work`` makes of the network."""
        return work(self.network)


class Engine:
    """A network that ``world`` trains together. ``run`` computes, ``turn`` goes around backward."""

    def __init__(
        self, network: DualBranchDiT, world: World, *, parallel: Parallel, bfloat16: bool
    ) -> None:
        """``network`` must be the same in all processes; it is moved (and sharded) in place."""
        self.network, self.world = network, world
        self.bfloat16 = bfloat16
        self.sharded = parallel == "fsdp" and world.size > 1
        if self.sharded:
            mesh = init_device_mesh(world.device.type, (world.size,))
            policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16 if bfloat16 else None,
                reduce_dtype=torch.float32,
                cast_forward_inputs=False,  # autocast decides, as with DDP
            )
            job = Job(network)
            # Root included: weights that stayed gathered would outlive a change of the shards.
            for module in [*blocks(network), job]:
                fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
            self._job: nn.Module = job
        else:
            network.to(world.device)
            self._job = Job(network)
            if world.size > 1:
                ids = [world.device.index] if world.device.type == "cuda" else None
                self._job = DistributedDataParallel(
                    self._job, device_ids=ids, gradient_as_bucket_view=True
                )

    def run(self, work: Callable[[DualBranchDiT], Any]) -> Any:
        """``work`` on the network, in bfloat16 where asked for. Under FSDP all must do the same."""
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bfloat16):
            if isinstance(self._job, DistributedDataParallel) and not torch.is_grad_enabled():
                return self._job.module(work)
            return self._job(work)

    @contextlib.contextmanager
    def turn(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward of one of several batches: gradients meet in the last."""
        if isinstance(self._job, DistributedDataParallel) and not last:
            with self._job.no_sync():
                yield
            return
        if isinstance(self._job, FSDPModule):
            self._job.set_requires_gradient_sync(last)
        yield

    def settle(self, work: Callable[[DualBranchDiT], Tensor]) -> None:
        """Lets DDP find its order of buckets, by gradients of ``work`` that count for nothing.

        It does so after the first backward. The order decides in which order processes are summed
        up, and must be the same in a run that goes on as in one that never stopped.
        """
        if isinstance(self._job, DistributedDataParallel):
            (self.run(work).sum() * 0.0).backward()
            self.network.zero_grad(set_to_none=True)

    def close(self) -> None:
        """Lets go of the processes' group, before ``World.leave``; nothing can be run afterwards.

        If DDP's reducer were the last to hold the group, it would wait under Python's lock for a
        thread of gloo, which may be waiting for that lock to free a tensor
        (pytorch/pytorch#56297).
        """
        self._job = nn.Module()
        gc.collect()

    def clip(self, limit: float) -> Tensor:
        """Scales gradients down to the global norm ``limit``; returns the norm before."""
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm


def blocks(network: DualBranchDiT) -> list[nn.Module]:
    """The blocks that are called as modules: fused ones, and those of one stream."""
    single = [*network.audio.blocks, *network.visual.blocks]
    found: list[nn.Module] = [*network.fusion, *single]
    assert all(isinstance(block, (FusionBlock, StreamBlock)) for block in found)
    return found


def local(tensor: Tensor) -> Tensor:
    """The part of ``tensor`` that this process keeps, as a view."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def whole(tensor: Tensor) -> Tensor:
    """All of ``tensor``. Under FSDP all processes must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


@torch.no_grad()
def fill(tensor: Tensor, value: Tensor) -> None:
    """Sets ``tensor`` to ``value``, of which a process takes its part; nothing is sent."""
    if isinstance(tensor, DTensor):
        given = value.to(tensor.device, tensor.dtype)
        parts = distribute_tensor(given, tensor.device_mesh, tensor.placements, src_data_rank=None)
        tensor.to_local().copy_(parts.to_local())
    else:
        tensor.copy_(value)
