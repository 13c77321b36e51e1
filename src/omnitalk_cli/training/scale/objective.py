"""The flow-matching loss as sums over masked frames (paper section 3.3).

Sums, because an update's batches lie in several processes and in turns: dividing by the number of
masked frames of all of them gives every frame the same weight, which means of means would not.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from omnitalk_cli.dit.flow import interpolate
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.face.codes import CODE_NAMES, DEAD_NAMES, EXPRESSION, GAZE, POSE
from omnitalk_cli.training.loss import LossConfig
from omnitalk_cli.training.scale.batches import ClipBatch

TERMS = ("mel", "pose", "expression", "gaze")


def weights(config: LossConfig) -> tuple[float, ...]:
    """The λ's in the order of ``TERMS``."""
    return config.mel, config.pose, config.expression, config.gaze


@lru_cache(maxsize=8)
def _live(device: torch.device) -> Tensor:
    """1 for codes that a fit observes, else 0, ``[61]``; sent once, as sending waits for a GPU."""
    return torch.tensor([n not in DEAD_NAMES for n in CODE_NAMES], device=device).float()


def loss_sums(network: DualBranchDiT, batch: ClipBatch, config: LossConfig) -> Tensor:
    """Sums over masked frames of the mean error of each group of channels, ``[4]`` as ``TERMS``.

    Channels of codes that no fit observes count for nothing.
    """
    frames = batch.audio.shape[1]
    t = batch.time[:, None, None]
    visible = batch.real & ~batch.target
    condition = Condition.of(batch.audio, batch.visual, visible, visible).drop(
        audio=batch.drop_audio, visual=batch.drop_visual
    )
    text = network.text(TextInput(ids=batch.ids), frames, batch.drop_text)
    outputs = network(
        interpolate(batch.audio_noise, batch.audio, t),
        interpolate(batch.visual_noise, batch.visual, t),
        condition=condition,
        text=text,
        time=batch.time,
        mask=batch.real,
    )
    target = batch.target.float()
    errors = []
    pairs = ((batch.audio, batch.audio_noise), (batch.visual, batch.visual_noise))
    for output, (data, noise) in zip(outputs, pairs, strict=True):
        assert output is not None
        if network.config.prediction == "data":
            error = (output.float() - data) / (1 - t).clamp_min(config.floor)
        else:
            error = output.float() - (data - noise)
        errors.append(error.abs() if config.norm == "l1" else error.square())
    live = _live(target.device)
    sums = [(errors[0].mean(-1) * target).sum()]
    for part in (POSE, EXPRESSION, GAZE):
        mean = (errors[1][..., part] * live[part]).sum(-1) / live[part].sum()
        sums.append((mean * target).sum())
    return torch.stack(sums)
