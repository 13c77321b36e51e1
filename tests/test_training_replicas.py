"""Replicas that meet: weighted means over real processes, which end well."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from omnitalk_cli.errors import WorkError
from omnitalk_cli.training.loop import Trainer
from omnitalk_cli.training.replicas import Replicas
from omnitalk_cli.training.world import World
from speech_corpus import QUICK, SMALL, make_corpus


def enter(rank: int, store: str) -> None:
    """What ``torchrun`` does for a process, with a file to meet at."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    os.environ["WORLD_SIZE"] = "2"


def meet(rank: int, store: str) -> None:
    enter(rank, store)
    with World.joined("cpu") as world:
        assert (world.rank, world.size) == (rank, 2)
        weights = [torch.full((3,), float(rank)), torch.full((2, 2), 10.0 * rank)]
        # The second did three times as many steps, so it counts three times as much.
        replicas = Replicas(world=world)
        gained, over = replicas.average(weights, [1 + 2 * rank, 100], done=rank == 1)
        assert gained == [4, 200] and over
        assert torch.allclose(weights[0], torch.full((3,), 0.75))
        assert torch.allclose(weights[1], torch.full((2, 2), 7.5))
    assert not dist.is_initialized()


def test_replicas_average_by_what_they_did(tmp_path: Path) -> None:
    mp.spawn(meet, args=(str(tmp_path / "store"),), nprocs=2)


def learn(rank: int, folder: str) -> None:
    enter(rank, f"{folder}/store")
    with World.joined("cpu") as world:
        # The second has no gradients of the visual stream, but takes part in its moments.
        config = dataclasses.replace(QUICK, audio_only=(float(rank), float(rank)))
        trainer = Trainer(
            SMALL, config, corpus=Path(folder, "corpus"), folder=Path(folder, "run"), world=world
        )
        trainer.replicas = Replicas(world=world, every=1e9)  # they meet at the end only
        drawn = trainer.sampler.batch(tokens=64, lengths=(32,)).audio
        assert trainer.run().steps == 2 * QUICK.steps  # what both did counts
        save_file(
            {f"weight.{k}": v for k, v in trainer.model.state_dict().items()}
            | {f"normalisation.{k}": v for k, v in vars(trainer.normalisation).items()}
            | {
                f"moment.{k}": trainer.optimiser.state[v]["exp_avg"]
                for k, v in trainer.model.named_parameters()
            }
            | {"drawn": drawn.contiguous()},
            f"{folder}/{rank}.safetensors",
        )


def test_replicas_draw_their_own_samples_and_end_as_one_network(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus")
    mp.spawn(learn, args=(str(tmp_path),), nprocs=2)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert not torch.equal(first.pop("drawn"), second.pop("drawn"))
    assert first.keys() == second.keys() and len(first) > 20
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def part(rank: int, store: str) -> None:
    enter(rank, store)
    if rank == 1:
        with pytest.raises(KeyError), World.joined("cpu"):
            raise KeyError
        assert not dist.is_initialized()
        return
    with pytest.raises(WorkError, match="has lost another"), World.joined("cpu") as world:
        Replicas(world=world).average([torch.zeros(3)], [1], done=False)


def test_who_loses_another_says_so(tmp_path: Path) -> None:
    mp.spawn(part, args=(str(tmp_path / "store"),), nprocs=2)


def test_all_meet_by_the_same_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, pair = (
        Replicas(world=World(rank=0, size=size, device=torch.device("cpu")), every=10.0)
        for size in (1, 2)
    )
    assert not alone.due()
    monkeypatch.setattr("omnitalk_cli.training.replicas.clock.time", lambda: 1e9)
    pair.due()
    assert not pair.due()
    monkeypatch.setattr("omnitalk_cli.training.replicas.clock.time", lambda: 1e9 + 10)
    assert not alone.due()
    assert pair.due() and not pair.due()
