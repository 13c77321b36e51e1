"""Which clips make which batch of which update: a function of seed and position, of nothing else.

An epoch's batches are fixed by the corpus, the seed and the epoch's number. Epochs follow each
other without a gap, and an update takes the next ``count`` batches of that row, whoever computes
them: ``count`` = processes × accumulation. So an interrupted run finds its place again, and two
processes see what one that accumulates twice sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Position:
    """The next batch: number ``index`` of epoch ``epoch``."""

    epoch: int = 0
    index: int = 0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One batch of an update: ``clips`` (numbers in the corpus), padded to ``frames``. ``first`` is
    the place of its first sample among all samples of the update."""

    clips: tuple[int, ...]
    frames: int
    first: int


def padded(frames: int, bucket: int) -> int:
    """``frames`` rounded up to a multiple of ``bucket``."""
    return math.ceil(frames / bucket) * bucket


class BatchOrder:
    """The endless row of batches of a corpus whose clips have ``lengths`` mel frames."""

    def __init__(
        self, lengths: Sequence[int], *, frames: int, bucket: int, max_clips: int, seed: int
    ) -> None:
        """Raises ValueError when there is no clip, or one that a batch cannot hold."""
        if not len(lengths):
            raise ValueError("there are no clips to make batches of")
        self._buckets = -(-np.asarray(lengths, np.int64) // bucket)
        if int(self._buckets.max()) * bucket > frames:
            raise ValueError(
                f"a clip of {max(lengths)} frames does not fit into a batch of {frames}"
            )
        self._frames, self._bucket, self._max_clips = frames, bucket, max_clips
        self._seed = seed
        self._known: dict[int, list[tuple[int, ...]]] = {}

    def epoch(self, number: int) -> list[tuple[int, ...]]:
        """The batches of an epoch: every clip once, with others of about its length."""
        if number not in self._known:
            for old in [n for n in self._known if abs(n - number) > 1]:
                del self._known[old]
            self._known[number] = self._made(number)
        return self._known[number]

    def _made(self, number: int) -> list[tuple[int, ...]]:
        rng = np.random.default_rng([self._seed, 0xB47C, number])
        # By length, and by chance among those of one length.
        row = np.lexsort((rng.random(len(self._buckets)), self._buckets))
        batches: list[tuple[int, ...]] = []
        batch: list[int] = []
        for clip in row.tolist():
            # Clips get longer along the row: this one would be the longest of its batch.
            longest = int(self._buckets[clip]) * self._bucket
            full = (len(batch) + 1) * longest > self._frames or len(batch) == self._max_clips
            if batch and full:
                batches.append(tuple(batch))
                batch = []
            batch.append(clip)
        batches.append(tuple(batch))
        return [batches[i] for i in rng.permutation(len(batches))]

    def update(self, position: Position, count: int) -> tuple[list[Slot], Position]:
        """The ``count`` batches from ``position`` on, and the position after them."""
        epoch, index = position.epoch, position.index
        slots: list[Slot] = []
        first = 0
        while len(slots) < count:
            batches = self.epoch(epoch)
            if index >= len(batches):
                epoch, index = epoch + 1, 0
                continue
            clips = batches[index]
            longest = int(self._buckets[list(clips)].max()) * self._bucket
            slots.append(Slot(clips=clips, frames=longest, first=first))
            first += len(clips)
            index += 1
        return slots, Position(epoch, index)


def dealt(slots: Sequence[Slot], rank: int, world: int) -> list[Slot]:
    """The slots of process ``rank`` of ``world``: every ``world``-th one."""
    return list(slots[rank::world])
