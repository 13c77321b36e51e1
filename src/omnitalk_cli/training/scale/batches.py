"""Padded batches of clips, made by threads ahead of time, in the order of ``order``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.training.scale.clips import ClipRef, FeatureReader
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.draws import draw
from omnitalk_cli.training.scale.order import BatchOrder, Position, Slot, dealt
from omnitalk_cli.types import MEL_BINS, Float


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """Clips padded to ``T`` frames, with what was drawn for them.

    ``audio`` ``[B, T, 100]``, ``visual`` ``[B, T, 61]`` normalised, and their noise; ``real`` and
    ``target`` ``[B, T]``: frames that are no padding, and those of them to generate; ``ids``
    ``[B, K]`` (0 pads); ``time``, ``drop_text``, ``drop_audio``, ``drop_visual`` ``[B]``.
    """

    audio: Tensor
    visual: Tensor
    audio_noise: Tensor
    visual_noise: Tensor
    real: Tensor
    target: Tensor
    ids: Tensor
    time: Tensor
    drop_text: Tensor
    drop_audio: Tensor
    drop_visual: Tensor

    def to(self, device: torch.device) -> ClipBatch:
        """The batch on ``device``; copies from pinned memory do not wait."""
        if device.type == "cpu":
            return self
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return ClipBatch(**moved)

    def pinned(self) -> ClipBatch:
        """The batch in memory that a CUDA device copies from by itself."""
        return ClipBatch(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


class BatchMaker:
    """Makes the batch of a slot: reads its clips, normalises and pads them, adds the draws."""

    def __init__(
        self,
        refs: Sequence[ClipRef],
        normalisation: Normalisation,
        config: ScaleConfig,
        *,
        patch: int = 1,
        pin: bool = False,
    ) -> None:
        self.refs, self.config, self.patch, self.pin = refs, config, patch, pin
        self._read = FeatureReader()
        n = normalisation
        self._mean = torch.cat([n.mel_mean, n.code_mean]).cpu().numpy()
        self._std = torch.cat([n.mel_std, n.code_std]).cpu().numpy()

    def __call__(self, step: int, slot: Slot) -> ClipBatch:
        count, frames = len(slot.clips), slot.frames
        channels = len(self._mean)
        data = np.zeros((count, frames, channels), np.float32)
        noise = np.zeros_like(data)
        real, target = np.zeros((2, count, frames), bool)
        refs = [self.refs[clip] for clip in slot.clips]
        ids = np.zeros((count, max(len(ref.ids) for ref in refs)), np.int64)
        time, drops = np.zeros(count, np.float32), np.zeros((3, count), bool)
        for row, ref in enumerate(refs):
            length = ref.frames
            drawn = draw(
                self.config, step=step, sample=slot.first + row, frames=length,
                channels=channels, patch=self.patch,
            )  # fmt: skip
            data[row, :length] = (self._read(ref) - self._mean) / self._std
            noise[row, :length] = drawn.noise
            real[row, :length] = True
            target[row, drawn.begin : drawn.end] = True
            ids[row, : len(ref.ids)] = ref.ids
            time[row] = drawn.time
            drops[:, row] = drawn.drop_text, drawn.drop_audio, drawn.drop_visual
        audio, visual = _streams(data)
        audio_noise, visual_noise = _streams(noise)
        batch = ClipBatch(
            audio=audio, visual=visual, audio_noise=audio_noise, visual_noise=visual_noise,
            real=torch.from_numpy(real), target=torch.from_numpy(target),
            ids=torch.from_numpy(ids), time=torch.from_numpy(time),
            drop_text=torch.from_numpy(drops[0]), drop_audio=torch.from_numpy(drops[1]),
            drop_visual=torch.from_numpy(drops[2]),
        )  # fmt: skip
        return batch.pinned() if self.pin else batch


def _streams(both: Float) -> tuple[Tensor, Tensor]:
    """The two streams of ``[B, T, 161]``, each in one piece: a GPU fetches others through memory
    that is not pinned, and waits for it."""
    parts = both[..., :MEL_BINS], both[..., MEL_BINS:]
    return torch.from_numpy(parts[0].copy()), torch.from_numpy(parts[1].copy())


@dataclass(frozen=True, kw_only=True)
class Portion:
    """What one process computes of an update, and the position after the whole update."""

    batches: list[ClipBatch]
    after: Position


class Feed:
    """The portions of one process from an update on, made ahead by threads. A context manager."""

    def __init__(
        self,
        order: BatchOrder,
        maker: BatchMaker,
        *,
        step: int,
        position: Position,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._order, self._maker = order, maker
        self._step, self._position = step, position
        self._rank, self._world = rank, world
        self._pool = ThreadPoolExecutor(maker.config.readers, thread_name_prefix="clips")
        self._waiting: deque[tuple[list[Future[ClipBatch]], Position]] = deque()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Portion]:
        config = self._maker.config
        while True:
            while len(self._waiting) < config.read_ahead:
                slots, after = self._order.update(self._position, self._world * config.accumulate)
                futures = [
                    self._pool.submit(self._maker, self._step, slot)
                    for slot in dealt(slots, self._rank, self._world)
                ]
                self._waiting.append((futures, after))
                self._step, self._position = self._step + 1, after
            futures, after = self._waiting.popleft()
            yield Portion(batches=[future.result() for future in futures], after=after)
