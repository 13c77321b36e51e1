"""Everything random of a sample, from (seed, update, place in the update) alone.

So it depends neither on how many processes there are nor on whether the run was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.types import Float


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Flow ``time`` 0…1, masked frames ``begin``…``end``, what of text, audio and visual condition
    is dropped, and noise ``[T, channels]`` of both streams side by side."""

    time: float
    begin: int
    end: int
    drop_text: bool
    drop_audio: bool
    drop_visual: bool
    noise: Float


def draw(
    config: ScaleConfig, *, step: int, sample: int, frames: int, channels: int, patch: int = 1
) -> Draw:
    """The draw of sample ``sample`` of update ``step`` for a clip of ``frames`` frames.

    Paper section 3.3: logit-normal(0, 1) time, one span of ``span_share`` of the frames (whole
    patches), each condition dropped by itself.
    """
    rng = np.random.default_rng([config.seed, 0xD4A5, step, sample])
    time = 1.0 / (1.0 + np.exp(-rng.standard_normal()))
    low, high = config.span_share
    tokens = frames // patch
    span = max(1, round(tokens * rng.uniform(low, high)))
    begin = int(rng.integers(0, tokens - span + 1))
    dropped = rng.random(3) < config.drop
    return Draw(
        time=float(time),
        begin=begin * patch,
        end=(begin + span) * patch,
        drop_text=bool(dropped[0]),
        drop_audio=bool(dropped[1]),
        drop_visual=bool(dropped[2]),
        noise=rng.standard_normal((frames, channels), dtype=np.float32),
    )
