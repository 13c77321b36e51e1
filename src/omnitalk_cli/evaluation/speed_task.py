"""What ``bench synth`` times: a task, and the ways of doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import torch

from omnitalk_cli.dit.accelerate import ATTENTIONS, GRAPH_BUCKET, Accelerated, Attention, Runner
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import Schedule, evaluation_times, time_grid
from omnitalk_cli.dit.guidance import Guidance
from omnitalk_cli.errors import UsageError
from omnitalk_cli.evaluation.speed_costs import Problem
from omnitalk_cli.types import MEL_RATE

Way = Literal["plain", "tables", "compiled", "graphs", "graphs-padded"]
WAYS: tuple[Way, ...] = get_args(Way)
Shape = Literal["tiny", "base", "f5"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# All conditions apart (four evaluations in one batch), all together as F5-TTS has it, or none.
GUIDANCE = {
    "full": Guidance(text=3.0, audio=2.0, visual=1.5),
    "joint": Guidance(text=3.0, audio=3.0, visual=3.0),
    "none": Guidance(text=1.0, audio=1.0, visual=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is timed: ``target`` seconds made after ``reference`` seconds by a network of ``shape``
    with ``guidance``, ``runs`` times for each setting; ``own_config`` is another network."""

    shape: Shape
    target: float = 10.0
    reference: float = 5.0
    guidance: str = "full"
    runs: int = 3
    interval: tuple[float, float] = (0.0, 1.0)
    own_config: DiTConfig | None = None

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError(f"--config {self.shape}: use one of {', '.join(SHAPES)}")
        if self.guidance not in GUIDANCE:
            raise UsageError(f"--guidance {self.guidance}: use one of {', '.join(GUIDANCE)}")
        if self.target <= 0 or self.reference <= 0 or self.runs < 1:
            raise UsageError("target, reference and runs must be positive")

    @property
    def config(self) -> DiTConfig:
        """Of the network."""
        if self.own_config is not None:
            return self.own_config
        if self.shape == "tiny":
            return DiTConfig.tiny()
        if self.shape == "f5":
            return DiTConfig.base(audio_only=True, single_depth=0)
        return DiTConfig.base()

    @property
    def weights(self) -> Guidance:
        """Of guidance, without the visual part for a network that has none."""
        chosen = replace(GUIDANCE[self.guidance], interval=self.interval)
        return replace(chosen, visual=chosen.audio) if self.config.audio_only else chosen

    @property
    def frames(self) -> int:
        """Of the whole sequence, whole patches."""
        patch = self.config.patch
        return round((self.target + self.reference) * MEL_RATE / patch) * patch

    @property
    def schedule(self) -> Schedule:
        """Of flow times."""
        return "sway"

    def problems(self, steps: int) -> list[Problem]:
        """As its cost is counted, for Euler's method: evaluations with guidance, and those outside
        its interval."""
        low, high = self.weights.interval
        times = evaluation_times(time_grid(self.schedule, steps), "euler")
        guided = sum(low <= time <= high for time in times)
        found = ((self.weights, guided), (self.weights.plain(), len(times) - guided))
        return [
            Problem(frames=self.frames, rows=len(weights.terms()), evaluations=count)
            for weights, count in found
            if count
        ]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way of doing it."""

    way: Way
    dtype: str
    steps: int
    attention: Attention = "auto"

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise UsageError(f"--ways {self.way}: use one of {', '.join(WAYS)}")
        if self.dtype not in DTYPES:
            raise UsageError(f"--dtypes {self.dtype}: use one of {', '.join(DTYPES)}")
        if self.steps < 1:
            raise UsageError(f"--steps {self.steps}: at least one is needed")

    def runner(self, cache: Path | None) -> Runner:
        """What runs the network so."""
        if self.way in ("plain", "tables") and self.attention == "auto":
            return Runner()
        return Accelerated(
            compiled=self.way not in ("plain", "tables"),
            graphs=self.way.startswith("graphs"),
            bucket=GRAPH_BUCKET if self.way == "graphs-padded" else 1,
            attention=self.attention,
            cache=cache,
        )


def settings_of(
    *, ways: Sequence[str], dtypes: Sequence[str], steps: Sequence[str], attentions: Sequence[str]
) -> list[Setting]:
    """Every combination. Raises UsageError for words and numbers that are none."""
    for number in steps:
        if not number.isdecimal():
            raise UsageError(f"--steps {number}: is no number of steps")
    for kind in attentions:
        if kind not in ATTENTIONS:
            raise UsageError(f"--attention {kind}: use one of {', '.join(ATTENTIONS)}")
    return [
        Setting(way=cast(Way, way), dtype=dtype, steps=int(number), attention=cast(Attention, kind))
        for number in steps
        for dtype in dtypes
        for way in ways
        for kind in attentions
    ]
