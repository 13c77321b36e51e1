"""Processes that train together, in one process: what engines hold on to."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from clip_corpus import CONFIG
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.training.scale.parallel import Engine
from omnitalk_cli.training.world import World


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


@pytest.mark.parametrize(("name", "number"), [("cuda", 0), ("cuda:1", 1)])
def test_one_process_takes_its_gpu_by_number(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    chosen: list[int] = []
    # As torch.cuda.set_device does, which refuses a device without a number.
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda d: chosen.append(torch.cuda._utils._get_device_index(d))
    )
    world = World.join(name)
    assert chosen == [number] and world.device == torch.device("cuda", number)


def test_processes_notice_that_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = [World(rank=rank, size=2, device=torch.device("cpu")) for rank in range(2)]
    for numbers, alike in (((7, 7), True), ((0, 30), False), ((2**40 - 1, 2**40 - 2), False)):
        monkeypatch.setattr(World, "agree", lambda self, values, n=numbers: [float(sum(n))])
        found = [world.alike(number) for world, number in zip(worlds, numbers, strict=True)]
        assert all(found) is alike
