"""The count of operations against torch's own counter."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from clip_corpus import CONFIG
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.evaluation.memory import measure, noise_batch
from omnitalk_cli.training.loss import LossConfig
from omnitalk_cli.training.scale.flops import Estimate, forward_flops, training_flops
from omnitalk_cli.training.scale.initial import fresh
from omnitalk_cli.training.scale.objective import loss_sums


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"fusion": "cross_attention"}, {"fusion": "linear"}, {"fusion": "add"},
        {"fusion": "add", "visual_dim": 16, "dim": 64},
        {"patch": 4, "modulation": "shared", "given_sound": True, "reference_summary": True,
         "visible_flag": True},
    ],
)  # fmt: skip
def test_the_count_is_torch_s(changes: dict) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    batch = noise_batch(config, clips=2, frames=96)
    network = fresh(config, 0)
    # Plain matrix products: torch does not count the CPU's fused attention.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            loss_sums(network, batch, LossConfig())
        with FlopCounterMode(display=False) as whole:
            loss_sums(network, batch, LossConfig()).sum().backward()
    assert forward.get_total_flops() == 2 * forward_flops(config, 96)
    # Inputs need no gradient, which saves a little.
    # Inputs need no gradient, which saves a little; torch counts the weights' gradients of grouped
    # convolutions as if they were not grouped, which adds a little.
    ratio = whole.get_total_flops() / (2 * training_flops(config, 96))
    assert 0.93 < ratio < 1.05


def test_the_paper_s_run_by_arithmetic() -> None:
    config = DiTConfig.base()
    kept = Estimate(config=config)
    assert 3.3e9 < kept.flops_per_frame < 3.9e9
    again = dataclasses.replace(kept, recompute=True)
    assert again.hours == pytest.approx(kept.hours * 4 / 3)
    assert kept.to_dict()["hours"] == pytest.approx(
        750_000 * 12_800 * 8 * kept.flops_per_frame / (8 * 0.4 * 989e12) / 3600, abs=0.1
    )


def test_a_step_is_measured() -> None:
    small = measure(CONFIG, clips=1, frames=96, recompute=True)
    large = measure(CONFIG, clips=1, frames=96, recompute=False)
    assert small["loss"] == pytest.approx(large["loss"], rel=1e-2)
    assert small["kept_bytes_per_frame"] < 0.6 * large["kept_bytes_per_frame"]
