"""From word times to "which character does each mel frame speak" (the aligned text layout).

A text is words divided by single spaces, punctuation attached to the word before it. Its tokens
are one leading space and then its characters. The leading space lasts until the first word; a
word's letters share the word's time evenly; punctuation and the space after a word share the
silence up to the next word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import MEL_RATE

PAUSE_MARKS = ",.?!;:"


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
    text: str, words: Sequence[tuple[float, float]], frames: int, vocabulary: Vocabulary
) -> Alignment:
    """Aligns ``text`` by the (start, end) seconds of its words to ``frames`` mel frames.

    Raises ValueError when the number of words and of times differ.
    """
    spelled = text.split()
    if len(spelled) != len(words):
        raise ValueError(f"{len(spelled)} words but {len(words)} word times")
    if not spelled:
        return Alignment.unknown(frames)
    total = frames / MEL_RATE
    tokens: list[str] = [" "]
    # Every group (leading silence, word, silence, word, …) is one stretch of time.
    edges: list[float] = [0.0]
    group_start: list[float] = [0.0]
    group_end: list[float] = [words[0][0]]

    def add(characters: str, start: float, end: float) -> None:
        step = (end - start) / len(characters)
        for position, character in enumerate(characters):
            tokens.append(character)
            edges.append(start + position * step)
            group_start.append(start)
            group_end.append(end)

    for number, (word, (start, end)) in enumerate(zip(spelled, words, strict=True)):
        letters = word.rstrip(PAUSE_MARKS) or word
        add(letters, start, end)
        after = word[len(letters) :] + (" " if number + 1 < len(spelled) else "")
        if after:
            following = words[number + 1][0] if number + 1 < len(words) else total
            add(after, end, max(following, end))
    ids = np.asarray(vocabulary.encode(tokens), np.int64)
    left = np.maximum.accumulate(np.asarray(edges))
    right = np.append(left[1:], max(total, left[-1]))
    first, last = np.asarray(group_start), np.asarray(group_end)
    # Mel frames are centred: frame i stands for the time i / rate.
    time = np.arange(frames) / MEL_RATE
    index = np.clip(np.searchsorted(left, time, side="right") - 1, 0, len(ids) - 1)

    def progress(begin: NDArray[np.float64], finish: NDArray[np.float64]) -> NDArray[np.float64]:
        length = np.maximum(finish - begin, 1e-3)
        return np.clip((time - begin[index]) / length[index], 0.0, 1.0) - 0.5

    phase = np.stack([progress(left, right), progress(first, last)], axis=1)
    return Alignment(ids=ids, index=index.astype(np.int64), phase=phase.astype(np.float32))
