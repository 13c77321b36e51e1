"""Held-out scores during training: the loss, and what the model makes of clips it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.flow import integrate, time_grid
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.evaluation.motion import expression_distance, pose_distance
from omnitalk_cli.training.scale.batches import BatchMaker
from omnitalk_cli.training.scale.clips import ClipRef, FeatureReader
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.objective import TERMS, loss_sums, weights
from omnitalk_cli.training.scale.order import BatchOrder, Position
from omnitalk_cli.training.scale.parallel import Engine
from omnitalk_cli.training.scale.speech_score import word_error_rate
from omnitalk_cli.types import MEL_BINS, Float

_REFERENCE_SHARE = 0.3


class HeldOutLoss:
    """The loss on the same batches and the same draws every time."""

    def __init__(
        self, refs: Sequence[ClipRef], normalisation: Normalisation, config: ScaleConfig, patch: int
    ) -> None:
        order = BatchOrder(
            [ref.frames for ref in refs], frames=config.frames, bucket=config.bucket,
            max_clips=config.max_clips, seed=config.seed,
        )  # fmt: skip
        count = min(config.heldout_batches, len(order.epoch(0)))
        self._slots = [order.update(Position(0, i), 1)[0][0] for i in range(count)]
        self._maker = BatchMaker(refs, normalisation, config, patch=patch)
        self._config = config

    @torch.no_grad()
    def __call__(self, engine: Engine) -> dict[str, float]:
        """Loss by ``TERMS`` and in ``total``; all processes must ask together."""
        world, config = engine.world, self._config
        sums = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
        # Everybody computes equally often, as FSDP needs; a turn too many counts for nothing.
        for turn in range(math.ceil(len(self._slots) / world.size)):
            number = turn * world.size + world.rank
            counts = number < len(self._slots)
            slot = self._slots[number if counts else 0]
            # No run has so many updates: these draws are the scores' own.
            batch = self._maker(2**31 + number, slot).to(world.device)
            found = engine.run(partial(loss_sums, batch=batch, config=config.loss))
            if counts:
                sums[:-1] += found.double().cpu()
                sums[-1] += int(batch.target.sum())
        world.sum(sums)
        means = (sums[:-1] / sums[-1].clamp_min(1)).tolist()
        total = sum(w * m for w, m in zip(weights(config.loss), means, strict=True))
        return {"total": total} | dict(zip(TERMS, means, strict=True))


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A held-out clip and what the model made after its beginning: log-mels ``[t, 100]`` and codes
    ``[t, 61]`` of the same frames, and the text of the whole clip."""

    mel: Float
    codes: Float
    true_codes: Float
    whole_mel: Float
    ref: ClipRef


@torch.no_grad()
def generate(
    engine: Engine, refs: Sequence[ClipRef], normalisation: Normalisation, config: ScaleConfig
) -> list[Generated]:
    """Goes on after the first 30 % of each clip, 16 guided steps; the list in every process."""
    world = engine.world
    n = normalisation
    mean = torch.cat([n.mel_mean, n.code_mean]).cpu()
    std = torch.cat([n.mel_std, n.code_std]).cpu()
    read = FeatureReader()
    truths = [torch.from_numpy(read(ref)) for ref in refs]
    longest = max(len(truth) for truth in truths)
    made = torch.zeros(len(refs), longest, len(mean))
    for turn in range(math.ceil(len(refs) / world.size)):
        number = turn * world.size + world.rank
        chosen = min(number, len(refs) - 1)
        data = ((truths[chosen] - mean) / std).to(world.device)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + chosen)
        noise = torch.randn(data.shape, generator=generator).to(world.device)
        ids = torch.tensor([refs[chosen].ids], device=world.device)
        given = _given(len(data), engine.network.config.patch)
        work = partial(
            _infill, data=data, noise=noise, ids=ids, given=given, steps=config.generate_steps
        )
        found = engine.run(work)
        if number < len(refs):
            made[number, : len(data)] = found.float().cpu() * std + mean
    world.sum(made)
    results = []
    for ref, truth, row in zip(refs, truths, made, strict=True):
        start = _given(len(truth), engine.network.config.patch)
        new = row[start : len(truth)].numpy()
        results.append(
            Generated(
                mel=new[:, :MEL_BINS], codes=new[:, MEL_BINS:],
                true_codes=truth[start:, MEL_BINS:].numpy(),
                whole_mel=row[: len(truth), :MEL_BINS].numpy(), ref=ref,
            )
        )  # fmt: skip
    return results


def generation_scores(generated: Sequence[Generated]) -> dict[str, float | str]:
    """E-FID and P-FID of all generated frames against the filmed ones, and WER, or why not."""
    codes = np.concatenate([item.codes for item in generated])
    truth = np.concatenate([item.true_codes for item in generated])
    scores: dict[str, float | str] = {
        "e_fid": expression_distance(codes, truth),
        "p_fid": pose_distance(codes, truth),
    }
    spoken = [(item.whole_mel, item.ref.facts) for item in generated]
    return scores | word_error_rate([(m, f.text, f.language) for m, f in spoken])


def scores_or_why(generated: Sequence[Generated]) -> dict[str, float | str]:
    """``generation_scores``, or why there are none: a judge that fails must not end a long run."""
    try:
        return generation_scores(generated)
    except Exception as error:
        return {"generation_missing": f"{type(error).__name__}: {error}"}


def _given(frames: int, patch: int) -> int:
    return max(patch, int(frames * _REFERENCE_SHARE) // patch * patch)


def _infill(
    network: DualBranchDiT, *, data: Tensor, noise: Tensor, ids: Tensor, given: int, steps: int
) -> Tensor:
    """``data`` ``[T, 161]`` with everything after ``given`` frames made anew."""
    both, start = data[None], noise[None]
    visible = (torch.arange(len(data), device=data.device) < given)[None]
    audio, visual = both.split([MEL_BINS, both.shape[-1] - MEL_BINS], dim=-1)
    field = guided_field(
        network,
        text=TextInput(ids=ids),
        condition=Condition.of(audio, visual, visible, visible),
        guidance=Guidance(),
    )
    state = (start[..., :MEL_BINS], start[..., MEL_BINS:])
    made = torch.cat(integrate(field, state, time_grid("uniform", steps)), dim=-1)
    return torch.where(visible[..., None], both, made)[0]
