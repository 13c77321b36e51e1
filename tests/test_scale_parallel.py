"""Processes that train together, in one process: what engines hold on to."""

from __future__ import annotations

import weakref
from pathlib import Path

import torch
import torch.distributed as dist

from clip_corpus import CONFIG
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.training.scale.parallel import Engine, World


def test_a_closed_engine_has_let_go_of_the_group(tmp_path: Path) -> None:
    # A reducer that outlives the group's other holders hangs in some of its destructions.
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        # Of two processes by its own account, so that it takes DDP.
        world = World(rank=0, size=2, device=torch.device("cpu"))
        engine = Engine(DualBranchDiT(CONFIG), world, parallel="ddp", bfloat16=False)
        engine.settle(lambda network: sum(p.sum() for p in network.parameters()))
        wrapper = weakref.ref(engine._job)
        engine.close()
        assert wrapper() is None
    finally:
        dist.destroy_process_group()
