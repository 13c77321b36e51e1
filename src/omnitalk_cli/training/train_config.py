"""How to train: budget, batch, rate, masking, mix; the embedded model's and the paper's recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omnitalk_cli.errors import UsageError
from omnitalk_cli.training.dataset import MaskingConfig, MixConfig
from omnitalk_cli.training.loss import LossConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train. Exactly one of ``steps`` and ``minutes`` (of training time) is the budget.

    ``tokens`` per step; ``lengths`` of the samples in tokens; flow times are
    ``sigmoid(N(time_mean, time_std))``, a share of them uniform; the learning rate is constant
    after the warm-up and falls linearly to zero over the last ``decay_share`` of the budget.
    ``audio_only`` is the share of steps on the audio branch alone, which is cheaper: before, and
    during that last part. ``bfloat16`` pays only where the hardware multiplies it.
    """

    steps: int | None = None
    minutes: float | None = None
    tokens: int = 400
    lengths: tuple[int, ...] = (96, 144, 216, 320)
    learning_rate: float = 1.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    clip: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.4
    ema: float = 0.999
    time_mean: float = -0.6
    time_std: float = 1.0
    uniform_time_share: float = 0.1
    audio_only: tuple[float, float] = (0.6, 0.3)
    bfloat16: bool = False
    checkpoint_minutes: float = 4.0
    heldout_minutes: float = 4.0
    seed: int = 0
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(norm="l2"))

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UsageError("give the training budget either as steps or as minutes")

    @classmethod
    def paper(cls, **changes: Any) -> TrainConfig:
        """The paper's recipe for one GPU: L1, logit-normal(0, 1) times, 12 800 frames a step."""
        values: dict[str, Any] = {
            "tokens": 12_800, "lengths": (800, 1200, 1600), "learning_rate": 7.5e-5,
            "betas": (0.9, 0.999), "weight_decay": 0.01, "warmup_steps": 20_000, "ema": 0.9999,
            "time_mean": 0.0, "uniform_time_share": 0.0, "audio_only": (0.0, 0.0),
            "bfloat16": True, "masking": MaskingConfig.paper(), "mix": MixConfig(shares={}),
            "loss": LossConfig(norm="l1"),
        }  # fmt: skip
        return cls(**(values | changes))
