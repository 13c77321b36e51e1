"""From times of phones to "which phone does each mel frame speak" (the aligned text layout).

The tokens of a text are one leading space, then per word its phones and one token for what follows
the word: its punctuation mark, or a space. The leading space lasts until the first phone, and what
follows a word until the next word; it often lasts for no frame at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import MEL_RATE


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """``ids`` ``[K]`` int64; ``index`` ``[T]`` int64, a position in ``ids`` or −1 where no text is
    known; ``phase`` ``[T, 2]`` float32, how far a frame is through its token and through its word
    or silence, −0.5…0.5 (0 where no text is known)."""

    ids: NDArray[np.int64]
    index: NDArray[np.int64]
    phase: NDArray[np.float32]

    @classmethod
    def unknown(cls, frames: int) -> Alignment:
        """``frames`` frames of speech whose text is not known."""
        return cls(
            ids=np.zeros(0, np.int64),
            index=np.full(frames, -1, np.int64),
            phase=np.zeros((frames, 2), np.float32),
        )

    def crop(self, start: int, end: int) -> Alignment:
        """Frames ``start`` to ``end`` with only the tokens that they speak."""
        index = self.index[start:end]
        known = index[index >= 0]
        if not len(known):
            return Alignment.unknown(end - start)
        first, last = int(known.min()), int(known.max())
        return Alignment(
            ids=self.ids[first : last + 1],
            index=np.where(index >= 0, index - first, -1),
            phase=self.phase[start:end],
        )

    @classmethod
    def join(cls, parts: Sequence[Alignment]) -> Alignment:
        """Parts spoken one after another, as one sequence."""
        shift = np.cumsum([0] + [len(part.ids) for part in parts])
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            index=np.concatenate(
                [
                    np.where(part.index >= 0, part.index + offset, -1)
                    for part, offset in zip(parts, shift, strict=False)
                ]
            ),
            phase=np.concatenate([part.phase for part in parts]),
        )


def align(
    words: Sequence[SpokenWord],
    times: Sequence[Sequence[tuple[float, float]]],
    frames: int,
    vocabulary: Vocabulary,
) -> Alignment:
    """Aligns ``words`` by the (start, end) seconds of their phones to ``frames`` mel frames.

    Raises ValueError when the numbers of phones and of times differ.
    """
    if [len(word.phones) for word in words] != [len(spans) for spans in times]:
        raise ValueError("every phone needs its time")
    words, times = _spoken(words, times)
    if not words:
        return Alignment.unknown(frames)
    total = frames / MEL_RATE
    tokens = [" "]
    # The start of every token, and of the word or silence that it is a part of.
    starts, group_starts, group_ends = [0.0], [0.0], [times[0][0][0]]
    for number, (word, spans) in enumerate(zip(words, times, strict=True)):
        begin, end = spans[0][0], spans[-1][1]
        after = times[number + 1][0][0] if number + 1 < len(times) else total
        tokens += [*word.phones, word.mark or " "]
        starts += [start for start, _ in spans] + [end]
        group_starts += [begin] * len(spans) + [end]
        group_ends += [end] * len(spans) + [max(after, end)]
    ids = np.asarray(vocabulary.encode(tokens), np.int64)
    left = np.maximum.accumulate(np.asarray(starts))
    right = np.append(left[1:], max(total, left[-1]))
    first, last = np.asarray(group_starts), np.asarray(group_ends)
    # Mel frames are centred: frame i stands for the time i / rate.
    time = np.arange(frames) / MEL_RATE
    index = np.clip(np.searchsorted(left, time, side="right") - 1, 0, len(ids) - 1)

    def progress(begin: NDArray[np.float64], finish: NDArray[np.float64]) -> NDArray[np.float64]:
        length = np.maximum(finish - begin, 1e-3)
        return np.clip((time - begin[index]) / length[index], 0.0, 1.0) - 0.5

    phase = np.stack([progress(left, right), progress(first, last)], axis=1)
    return Alignment(ids=ids, index=index.astype(np.int64), phase=phase.astype(np.float32))


def _spoken(
    words: Sequence[SpokenWord], times: Sequence[Sequence[tuple[float, float]]]
) -> tuple[list[SpokenWord], list[Sequence[tuple[float, float]]]]:
    """Without the words that have no phone."""
    kept = [(word, spans) for word, spans in zip(words, times, strict=True) if word.phones]
    return [word for word, _ in kept], [spans for _, spans in kept]
