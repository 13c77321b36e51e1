"""How to train at scale. The defaults are the paper's where it says something, else F5-TTS'."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from omnitalk_cli.errors import UsageError
from omnitalk_cli.training.loss import LossConfig

Parallel = Literal["ddp", "fsdp"]
PARALLELS: tuple[Parallel, ...] = get_args(Parallel)
_COUNTS = (
    "steps", "frames", "accumulate", "max_clips", "bucket", "readers", "read_ahead", "keep",
    "log_every", "heldout_batches", "generate_steps",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """One update takes ``accumulate`` batches in every process, each of at most ``frames`` mel
    frames, padding included, and ``max_clips`` clips. Clips are padded to multiples of ``bucket``
    frames; those outside ``shortest``…``longest`` seconds are left out.

    ``span_share``: share of a clip that is masked, one span, the same in both modalities;
    ``drop``: probability with which text, audio and visual condition are dropped, each by itself.
    Flow times are ``sigmoid(N(0, 1))``. The learning rate rises over ``warmup_steps`` (None:
    20 000, of short runs a twentieth) and falls linearly over the last ``decay_share`` of the
    updates. ``minutes`` bounds this sitting, not the run. ``*_every`` counts updates, 0 is never.
    """

    steps: int = 750_000
    minutes: float | None = None
    frames: int = 12_800
    accumulate: int = 1
    max_clips: int = 64
    bucket: int = 32
    shortest: float = 1.0
    longest: float = 30.0
    span_share: tuple[float, float] = (0.7, 1.0)
    drop: float = 0.2
    learning_rate: float = 7.5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup_steps: int | None = None
    decay_share: float = 1.0
    ema: float = 0.9999
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 0
    parallel: Parallel = "ddp"
    bfloat16: bool = True
    checkpoint_activations: bool = False
    compile: bool = False
    readers: int = 4
    read_ahead: int = 4
    checkpoint_minutes: float = 30.0
    keep: int = 3
    log_every: int = 10
    heldout_every: int = 2_000
    generate_every: int = 20_000
    heldout_batches: int = 16
    generate_clips: int = 32
    generate_steps: int = 16
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.parallel not in PARALLELS:
            raise UsageError(f"unknown way of training {self.parallel!r}; use one of {PARALLELS}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        low, high = self.span_share
        if not (0 < low <= high <= 1 and 0 <= self.drop <= 1):
            raise UsageError("shares that are masked or dropped must lie within 0…1")
        if not 0 < self.shortest < self.longest or not 0 < self.decay_share <= 1:
            raise UsageError("clips' lengths and the share of decay must be positive, in order")
        if self.minutes is not None and self.minutes <= 0:
            raise UsageError("minutes must be positive")

    @property
    def warm(self) -> int:
        """Updates of the warm-up."""
        if self.warmup_steps is not None:
            return max(1, self.warmup_steps)
        return max(1, min(20_000, self.steps // 20))

    def rate(self, step: int) -> float:
        """Learning rate of update ``step``, counted from 0."""
        warm = min(1.0, (step + 1) / self.warm)
        left = (1.0 - step / self.steps) / self.decay_share
        return self.learning_rate * warm * min(1.0, max(left, 0.0))

    def keep_share(self, step: int) -> float:
        """What the EMA keeps of itself after ``step`` updates: a young one must not remember the
        start for long."""
        return min(self.ema, (1 + step) / (10 + step))
