"""The flow-matching loss of both streams (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import interpolate
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.face.codes import CODE_COUNT, CODE_NAMES, DEAD_NAMES, EXPRESSION, GAZE, POSE
from omnitalk_cli.training.dataset import Batch


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """``L = λ_a·mel + λ_p·pose + λ_e·expression + λ_g·gaze`` on masked frames.

    The paper uses L1 and does not publish the λ's. With data prediction the error is divided by
    ``max(1 − t, floor)``, which makes it the error of the velocity.
    """

    norm: Literal["l1", "l2"] = "l1"
    mel: float = 1.0
    pose: float = 0.2
    expression: float = 0.6
    gaze: float = 0.1
    floor: float = 0.2


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Mean errors per group over masked frames (scalars), and their weighted sum."""

    total: Tensor
    mel: Tensor
    pose: Tensor
    expression: Tensor
    gaze: Tensor


def _masked_mean(error: Tensor, target: Tensor) -> Tensor:
    """Mean of ``[B, T, c]`` over the frames marked in ``[B, T]``; 0 when there are none."""
    weight = target[..., None].to(error.dtype)
    return (error * weight).sum() / (weight.sum() * error.shape[-1]).clamp_min(1.0)


def flow_loss(
    model: DualBranchDiT,
    batch: Batch,
    config: LossConfig,
    *,
    time: Tensor,
    noise: tuple[Tensor, Tensor],
    audio_only: bool = False,
) -> LossTerms:
    """Loss of ``model`` at flow times ``[B]`` from ``noise`` of the streams' shapes.

    ``audio_only`` trains the audio branch alone (the visual terms are then zero).
    """
    settings: DiTConfig = model.config
    t = time[:, None, None]
    audio = interpolate(noise[0], batch.audio, t)
    visual = interpolate(noise[1], batch.visual, t)
    text = model.text(batch.text, audio.shape[1], batch.drop_text)
    condition = batch.condition
    if audio_only:
        everyone = torch.ones_like(batch.drop_text)
        condition = condition.drop(audio=~everyone, visual=everyone)
    outputs = model(
        audio, None if audio_only else visual, condition=condition, text=text, time=time
    )
    errors = []
    pairs = ((batch.audio, noise[0]), (batch.visual, noise[1]))
    for output, (data, start) in zip(outputs, pairs, strict=True):
        if output is None:
            errors.append(torch.zeros_like(visual))
            continue
        if settings.prediction == "data":
            error = (output.float() - data) / (1 - t).clamp_min(config.floor)
        else:
            error = output.float() - (data - start)
        errors.append(error.abs() if config.norm == "l1" else error.square())
    live = torch.tensor([name not in DEAD_NAMES for name in CODE_NAMES], device=audio.device)
    visual_error = errors[1] * (live * (CODE_COUNT / live.sum()))
    mel = _masked_mean(errors[0], batch.audio_target)
    expression, pose, gaze = (
        _masked_mean(visual_error[..., part], batch.visual_target)
        for part in (EXPRESSION, POSE, GAZE)
    )
    total = (
        config.mel * mel + config.expression * expression + config.pose * pose + config.gaze * gaze
    )
    return LossTerms(total=total, mel=mel, pose=pose, expression=expression, gaze=gaze)
