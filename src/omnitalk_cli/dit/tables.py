"""What the steps of one sampling have in common, computed once before the first step.

Time is known beforehand, so that the modulations of all blocks at all times are a table: one matrix
product per block instead of one per block, step and row of the batch. Of the input projection, what
is given, the text and the bias stay the same; a step adds the noise's part, which all rows that
differ in their conditions only share. Rotary positions and the reference's summary stay, too.

Letters: ``S`` times, ``N`` blocks of a stream, ``R`` rows of the table: 1 (time is the same for the
whole batch), or ``B`` where the reference's summary is part of the time embedding. ``b`` rows of
state, of which ``B`` is a multiple.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from omnitalk_cli.dit.blocks import FusionBlock, StreamBlock, StreamContext
from omnitalk_cli.dit.layers import rotary_angles
from omnitalk_cli.dit.model import Condition, DualBranchDiT, Stream, patches

State = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class StreamStep:
    """One stream at one time: ``still`` ``[B, L, D]``, what is projected beside the noise;
    ``modulations`` ``[N, R, 6·D]`` of its blocks; ``final`` ``[R, 2·D]`` of its end."""

    still: Tensor
    modulations: Tensor
    final: Tensor


@dataclass(frozen=True, kw_only=True)
class Step:
    """All that an evaluation at one time needs beside the state. ``mask`` ``[B, L]`` or None;
    ``visual`` None: the audio branch alone."""

    audio: StreamStep
    visual: StreamStep | None
    angles: Tensor
    mask: Tensor | None

    def tensors(self) -> list[Tensor]:
        """Everything in a fixed order, for ``refilled``."""
        streams = [stream for stream in (self.audio, self.visual) if stream is not None]
        parts = [getattr(stream, field.name) for stream in streams for field in fields(stream)]
        return [*parts, self.angles] + ([] if self.mask is None else [self.mask])

    def refilled(self, tensors: Sequence[Tensor]) -> Step:
        """The same with other tensors in the order of ``tensors``."""
        left = iter(tensors)

        def stream() -> StreamStep:
            return StreamStep(still=next(left), modulations=next(left), final=next(left))

        return Step(
            audio=stream(),
            visual=None if self.visual is None else stream(),
            angles=next(left),
            mask=None if self.mask is None else next(left),
        )


@dataclass(frozen=True, kw_only=True)
class StreamTable:
    """One stream at all times: ``still`` ``[B, L, D]``, ``modulations`` ``[N, S, R, 6·D]``,
    ``final`` ``[S, R, 2·D]``."""

    still: Tensor
    modulations: Tensor
    final: Tensor

    @classmethod
    def of(
        cls,
        stream: Stream,
        blocks: Sequence[StreamBlock],
        *,
        still: Tensor,
        times: Tensor,
        summary: Tensor | None,
    ) -> StreamTable:
        """Of the stream's ``blocks`` (fused ones first) at ``times`` ``[S]``; ``summary``
        ``[B, …]`` as the model makes it."""
        steps, rows = len(times), 1 if summary is None else len(summary)
        embedded = stream.time(times).repeat_interleave(rows, dim=0)
        repeated = None if summary is None else summary.repeat(steps, 1)
        embedded, shared = stream.moment(embedded, repeated)
        made = [block.modulator(embedded, shared) for block in blocks]
        return cls(
            still=still,
            modulations=torch.stack(made).unflatten(1, (steps, rows)),
            final=stream.final(F.silu(embedded)).unflatten(0, (steps, rows)),
        )

    def at(self, index: int) -> StreamStep:
        """At time ``index``."""
        return StreamStep(
            still=self.still, modulations=self.modulations[:, index], final=self.final[index]
        )


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Both streams at ``times``."""

    times: tuple[float, ...]
    audio: StreamTable
    visual: StreamTable | None
    angles: Tensor
    mask: Tensor | None

    @classmethod
    def of(
        cls,
        model: DualBranchDiT,
        *,
        condition: Condition,
        text: Tensor,
        times: Sequence[float],
        mask: Tensor | None,
        audio_alone: bool,
    ) -> Tables:
        """Of ``condition`` and embedded ``text`` ``[B, L, text_dim]``; ``mask`` ``[B, T]``."""
        patch, length = model.config.patch, text.shape[1]
        moments = torch.tensor(times, dtype=torch.float32, device=text.device)
        summary = model.summary(condition)
        fused = [block for block in model.fusion if isinstance(block, FusionBlock)]
        audio = StreamTable.of(
            model.audio,
            [*(block.audio for block in fused), *_own(model.audio)],
            still=_still(model.audio, condition.audio, condition.audio_visible, text, None),
            times=moments,
            summary=summary,
        )
        visual = None
        if not audio_alone:
            visual = StreamTable.of(
                model.visual,
                [*(block.visual for block in fused), *_own(model.visual)],
                still=_still(
                    model.visual, condition.visual, condition.visual_visible, text, condition.audio
                ),
                times=moments,
                summary=summary,
            )
        return cls(
            times=tuple(times),
            audio=audio,
            visual=visual,
            angles=rotary_angles(length, model.config.head_dim, text.device),
            mask=None if mask is None else mask[:, ::patch],
        )

    def at(self, time: float) -> Step:
        """At ``time``, which must be one of ``times``."""
        index = self.times.index(time)
        return Step(
            audio=self.audio.at(index),
            visual=None if self.visual is None else self.visual.at(index),
            angles=self.angles,
            mask=self.mask,
        )


def _own(stream: Stream) -> list[StreamBlock]:
    return [block for block in stream.blocks if isinstance(block, StreamBlock)]


def _still(
    stream: Stream, given: Tensor, visible: Tensor, text: Tensor, sound: Tensor | None
) -> Tensor:
    """The projection of what is no noise ``[B, L, D]``, bias included."""
    noise_width = stream.channels * stream.config.patch
    known = torch.cat(stream.known(given, visible, text), dim=-1)
    still = F.linear(known, stream.proj.weight[:, noise_width:], stream.proj.bias)
    if stream.sound is not None and sound is not None:
        still = still + stream.sound(patches(sound, stream.config.patch).to(text.dtype))
    return still


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How blocks are called: as they are, or compiled (``dit.accelerate``)."""

    fused: Callable[..., tuple[Tensor, Tensor]] = FusionBlock.__call__
    single: Callable[..., Tensor] = StreamBlock.__call__


def evaluate(model: DualBranchDiT, state: State, step: Step, blocks: Blocks) -> State:
    """What ``model`` predicts for ``B`` rows of conditions that share ``b`` rows of ``state``
    (audio, or audio and visual, ``[b, T, c]``): as its ``forward`` for repeated states."""

    def start(stream: Stream, noisy: Tensor, still: Tensor) -> Tensor:
        noise = patches(noisy, stream.config.patch).to(still.dtype)
        moving = F.linear(noise, stream.proj.weight[:, : noise.shape[-1]])
        x = (still.unflatten(0, (-1, len(noisy))) + moving).flatten(0, 1)
        return stream.positions(x, step.mask)

    def context(stream: StreamStep, block: int) -> StreamContext:
        return StreamContext(
            angles=step.angles, mask=step.mask, modulation=stream.modulations[block]
        )

    def finish(stream: Stream, x: Tensor, part: StreamStep) -> Tensor:
        for number, block in enumerate(stream.blocks, len(model.fusion)):
            x = blocks.single(block, x, context(part, number))
        return stream.output(x, part.final)

    a = start(model.audio, state[0], step.audio.still)
    if step.visual is None:
        for number, block in enumerate(model.fusion):
            a = blocks.single(block.audio, a, context(step.audio, number))
        return (finish(model.audio, a, step.audio),)
    v = start(model.visual, state[1], step.visual.still)
    for number, block in enumerate(model.fusion):
        a, v = blocks.fused(block, a, v, context(step.audio, number), context(step.visual, number))
    return finish(model.audio, a, step.audio), finish(model.visual, v, step.visual)
