"""Held-out scores of a model in training, and batches on their way to the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.training.dataset import Batch

TIMES = (0.02, 0.3, 0.6)


@torch.no_grad()
def held_out_scores(
    model: DualBranchDiT, batches: Sequence[Batch], device: torch.device, *, bfloat16: bool
) -> dict[str, float]:
    """L1 of the data prediction at fixed flow times, per stream, in deviations."""
    scores: dict[str, list[float]] = {}
    generator = torch.Generator().manual_seed(7)
    for cpu_batch in batches:
        noise = noise_like(cpu_batch, generator)
        batch = to_device(cpu_batch, device)
        text = model.text(batch.text, batch.audio.shape[1], batch.drop_text)
        for t in TIMES:
            state = [
                (1 - t) * z.to(device) + t * x
                for z, x in zip(noise, (batch.audio, batch.visual), strict=True)
            ]
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                outputs = model(
                    *state, condition=batch.condition, text=text,
                    time=torch.full((len(batch.audio),), t, device=device),
                )  # fmt: skip
            truth = (batch.audio, batch.visual)
            targets = (batch.audio_target, batch.visual_target)
            for name, x, out, data, target in zip(
                ("mel", "codes"), state, outputs, truth, targets, strict=True
            ):
                assert out is not None
                if not target.any():
                    continue  # the sound is given in all samples
                guess = out.float()
                if model.config.prediction == "velocity":
                    guess = x + (1 - t) * guess
                error = (guess - data).abs()[target].mean()
                scores.setdefault(f"{name}@{t}", []).append(float(error))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def noise_like(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise of the shapes of both streams, drawn on the CPU: the same on every device."""
    audio = torch.randn(batch.audio.shape, generator=generator)
    visual = torch.randn(batch.visual.shape, generator=generator)
    return audio.to(batch.audio.device), visual.to(batch.visual.device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with all its tensors on ``device``."""
    if device.type == "cpu":
        return batch

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, (Condition, TextInput)):
            return type(value)(**{name: move(part) for name, part in vars(value).items()})
        return value

    return Batch(**{name: move(part) for name, part in vars(batch).items()})
