"""How long a text takes to say: a least-squares weight per character, times the speaker's pace.

This is the paper's "time estimation module" (system.md section 1) for the embedded model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnitalk_cli.text.alignment import PAUSE_MARKS

CHARACTERS = " '-abcdefghijklmnopqrstuvwxyz"
_EDGE_SECONDS = 0.08


def _counts(word: str) -> np.ndarray:
    """How often each of ``CHARACTERS`` is in a word; its space stands for "one more word"."""
    counts = np.zeros(len(CHARACTERS))
    counts[0] = 1.0
    for character in word:
        position = CHARACTERS.find(character)
        counts[position if position > 0 else CHARACTERS.index("e")] += 1.0
    return counts


@dataclass(frozen=True, kw_only=True)
class DurationModel:
    """``letters`` seconds per character of ``CHARACTERS`` at pace 1 (the first: per word),
    ``pauses`` seconds of silence after a word by the punctuation behind it ("" for none)."""

    letters: tuple[float, ...]
    pauses: dict[str, float]

    def word_seconds(self, word: str) -> float:
        """Seconds of one word at pace 1, its punctuation left out."""
        bare = word.rstrip(PAUSE_MARKS) or word
        return max(0.04, float(_counts(bare) @ np.asarray(self.letters)))

    def pause_seconds(self, word: str) -> float:
        """Silence after ``word`` at pace 1."""
        mark = word[-1] if word and word[-1] in PAUSE_MARKS else ""
        return self.pauses.get(mark, 0.0)

    def word_times(
        self, text: str, *, pace: float = 1.0, start: float = _EDGE_SECONDS
    ) -> list[tuple[float, float]]:
        """(start, end) seconds of every word; ``pace`` is a factor on time (2 is half speed)."""
        times, now = [], start
        for word in text.split():
            end = now + pace * self.word_seconds(word)
            times.append((now, end))
            now = end + pace * self.pause_seconds(word)
        return times

    def seconds(self, text: str, *, pace: float = 1.0) -> float:
        """Length of the whole utterance with a little silence at both ends."""
        return pace * self.spoken_seconds(text) + 2 * _EDGE_SECONDS

    def spoken_seconds(self, text: str) -> float:
        """From the first word to the end of the last one, at pace 1; 0 without words."""
        times = self.word_times(text, start=0.0)
        return times[-1][1] if times else 0.0

    def pace(self, text: str, spoken_seconds: float) -> float:
        """The pace of a speaker who needs ``spoken_seconds`` from the first word to the last;
        held within 0.6…1.7, which covers human speech."""
        natural = self.spoken_seconds(text)
        return float(np.clip(spoken_seconds / natural, 0.6, 1.7)) if natural else 1.0

    @classmethod
    def fit(
        cls, utterances: Sequence[tuple[str, Sequence[tuple[float, float]], str]], rounds: int = 4
    ) -> DurationModel:
        """Fits weights to (text, word times, speaker), alternating with one pace per speaker.

        Raises ValueError when there are no words.
        """
        rows, seconds, speakers, gaps = [], [], [], []
        names = {name: i for i, name in enumerate(sorted({item[2] for item in utterances}))}
        for text, times, speaker in utterances:
            spelled = text.split()
            for number, (word, (begin, end)) in enumerate(zip(spelled, times, strict=True)):
                rows.append(_counts(word.rstrip(PAUSE_MARKS) or word))
                seconds.append(end - begin)
                speakers.append(names[speaker])
                if number + 1 < len(times):
                    mark = word[-1] if word[-1] in PAUSE_MARKS else ""
                    gaps.append((mark, times[number + 1][0] - end, names[speaker]))
        if not rows:
            raise ValueError("no words to learn durations from")
        features, target = np.asarray(rows), np.asarray(seconds)
        speaker_of = np.asarray(speakers)
        pace = np.ones(len(names))
        weights = np.zeros(len(CHARACTERS))
        for _ in range(rounds):
            scaled = features * pace[speaker_of][:, None]
            gram = scaled.T @ scaled + 1.0 * np.eye(len(CHARACTERS))
            weights = np.linalg.solve(gram, scaled.T @ target)
            predicted = features @ weights
            top = np.bincount(speaker_of, weights=target * predicted, minlength=len(names))
            bottom = np.bincount(speaker_of, weights=predicted**2, minlength=len(names))
            pace = top / np.maximum(bottom, 1e-9)
            pace /= pace.mean()
        pauses = {}
        for mark in ["", *PAUSE_MARKS]:
            found = [max(gap, 0.0) / pace[who] for name, gap, who in gaps if name == mark]
            pauses[mark] = float(np.mean(found)) if len(found) > 20 else 0.2 * bool(mark)
        return cls(letters=tuple(float(w) for w in weights), pauses=pauses)
