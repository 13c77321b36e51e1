"""``python -m omnitalk_cli.evaluation.memory``: one training step of the paper's model, measured.

One process measures one setting, because the peak of a process's memory cannot be reset. Forward
and backward are measured; ``--update`` adds the optimiser, whose moments take twice the weights.
``--dtype bfloat16`` halves everything; CPUs without its instructions then take an hour instead of a
minute.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time as clock
from functools import partial
from typing import Any

import torch

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.evaluation.speed_peaks import wait
from omnitalk_cli.training.loss import LossConfig
from omnitalk_cli.training.scale.batches import ClipBatch
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.flops import Estimate, training_flops
from omnitalk_cli.training.scale.initial import fresh
from omnitalk_cli.training.scale.objective import loss_sums
from omnitalk_cli.training.scale.parallel import Engine
from omnitalk_cli.training.scale.trainer import checkpoint_blocks, optimiser
from omnitalk_cli.training.world import World


def noise_batch(config: DiTConfig, *, clips: int, frames: int) -> ClipBatch:
    """A batch of noise of the shapes of training."""
    generator = torch.Generator().manual_seed(0)

    def drawn(channels: int) -> torch.Tensor:
        return torch.randn(clips, frames, channels, generator=generator)

    real = torch.ones(clips, frames, dtype=torch.bool)
    target = real.clone()
    target[:, : frames // 5] = False
    none = torch.zeros(clips, dtype=torch.bool)
    return ClipBatch(
        audio=drawn(config.mel_bins), visual=drawn(config.code_count),
        audio_noise=drawn(config.mel_bins), visual_noise=drawn(config.code_count),
        real=real, target=target, ids=torch.randint(1, 50, (clips, frames // 6)),
        time=torch.full((clips,), 0.5), drop_text=none, drop_audio=none, drop_visual=none,
    )  # fmt: skip


def measure(
    config: DiTConfig,
    *,
    clips: int,
    frames: int,
    recompute: bool,
    dtype: torch.dtype = torch.float32,
    with_update: bool = False,
    device: str = "cpu",
) -> dict[str, Any]:
    """Seconds and memory of forward, backward and update; bytes kept between the first two."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        network = fresh(config, 0)
    finally:
        torch.set_default_dtype(before)
    if recompute:
        checkpoint_blocks(network)
    world = World.join(device)
    engine = Engine(network, world, parallel="ddp", bfloat16=dtype == torch.bfloat16)
    batch = noise_batch(config, clips=clips, frames=frames).to(world.device)
    update = optimiser(network, ScaleConfig())
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    loaded = _peak(world.device)
    wait(world.device)
    start = clock.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = engine.run(partial(loss_sums, batch=batch, config=LossConfig())).sum()
    wait(world.device)
    forward = clock.perf_counter()
    loss.backward()
    wait(world.device)
    backward = clock.perf_counter()
    if with_update:
        update.step()
    wait(world.device)
    end = clock.perf_counter()
    value = float(loss.detach()) / int(batch.target.sum())
    work = clips * training_flops(config, frames, recompute=recompute)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "clips": clips, "frames": frames, "recompute": recompute, "dtype": str(dtype),
        "loss": round(value, 4),
        "seconds": {
            "forward": round(forward - start, 2), "backward": round(backward - forward, 2),
            "update": round(end - backward, 2),
        },
        "gflops_per_second": round(work / (backward - start) / 1e9, 1),
        "kept_bytes_per_frame": round(sum(kept.values()) / clips / frames),
        "gb_with_weights": round(loaded, 2), "gb_peak": round(_peak(world.device), 2),
    }  # fmt: skip


def _peak(device: torch.device) -> float:
    """Largest memory so far, of a GPU or of this process, in gigabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Prints the measurement and, for its FLOPs, the arithmetic of a whole run as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--fusion-depth", type=int, default=22)
    parser.add_argument("--single-depth", type=int, default=4)
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--keep", action="store_true", help="keep activations instead")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--update", action="store_true", help="the optimiser, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dry", action="store_true", help="the arithmetic only")
    chosen = parser.parse_args()
    config = DiTConfig.base(fusion_depth=chosen.fusion_depth, single_depth=chosen.single_depth)
    result: dict[str, Any] = {
        "estimate": [Estimate(config=config, recompute=again).to_dict() for again in (False, True)]
    }
    if not chosen.dry:
        result["step"] = measure(
            config, clips=chosen.clips, frames=chosen.frames, recompute=not chosen.keep,
            dtype=getattr(torch, chosen.dtype), with_update=chosen.update, device=chosen.device,
        )  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
