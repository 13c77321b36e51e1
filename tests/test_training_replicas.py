"""Replicas that meet: weighted means over real processes."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from omnitalk_cli.training.replicas import Replicas


def meet(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    os.environ["WORLD_SIZE"] = "2"
    replicas = Replicas.of_environment()
    assert (replicas.rank, replicas.world) == (rank, 2)
    weights = [torch.full((3,), float(rank)), torch.full((2, 2), 10.0 * rank)]
    # The second did three times as many steps, so it counts three times as much.
    gained, over = replicas.average(weights, [1 + 2 * rank, 100], done=rank == 1)
    assert gained == [4, 200] and over
    assert torch.allclose(weights[0], torch.full((3,), 0.75))
    assert torch.allclose(weights[1], torch.full((2, 2), 7.5))


def test_replicas_average_by_what_they_did(tmp_path: Path) -> None:
    mp.spawn(meet, args=(str(tmp_path / "store"),), nprocs=2)


def test_all_meet_by_the_same_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Replicas()
    assert not alone.due()
    pair = Replicas(world=2, every=10.0)
    monkeypatch.setattr("omnitalk_cli.training.replicas.clock.time", lambda: 1e9)
    pair.due()
    assert not pair.due()
    monkeypatch.setattr("omnitalk_cli.training.replicas.clock.time", lambda: 1e9 + 10)
    assert pair.due() and not pair.due()
