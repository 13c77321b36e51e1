"""Words that a public recogniser hears, and how they differ from those that were to be said.

pocketsphinx with its own US English model: a weak listener, of use only side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.evaluation.judge import normalise
from omnitalk_cli.text.normalise import normalise_english
from omnitalk_cli.types import SAMPLE_RATE, Float

_RATE = 16_000
_PEAK = 0.9


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Edits that turn ``words`` words that were to be said into those that were heard.

    ``longest_gap`` is the longest run of deleted words, ``longest_excess`` that of inserted ones: a
    recogniser drops and adds single short words of its own, a synthesiser that skips or repeats
    shows as a run.
    """

    words: int
    substituted: int
    deleted: int
    inserted: int
    longest_gap: int
    longest_excess: int

    @property
    def edits(self) -> int:
        """All edits together; over ``words`` it is the word error rate."""
        return self.substituted + self.deleted + self.inserted

    def to_dict(self) -> dict[str, int]:
        """JSON-able form."""
        return asdict(self)


def word_errors(heard: str, said: str) -> WordErrors:
    """Least edits between two texts, word by word, case and marks left out.

    Among paths of equal length substitutions are preferred. Raises InputError without a word in
    ``said``.
    """
    expected, found = normalise(said).split(), normalise(heard).split()
    if not expected:
        raise InputError(f"no word to compare with in {said!r}")
    steps = _path(expected, found)
    return WordErrors(
        words=len(expected),
        substituted=steps.count("s"),
        deleted=steps.count("d"),
        inserted=steps.count("i"),
        longest_gap=_longest(steps, "d"),
        longest_excess=_longest(steps, "i"),
    )


def _path(expected: Sequence[str], found: Sequence[str]) -> str:
    """Levenshtein's path as letters: ``=`` right, ``s``ubstituted, ``d``eleted, ``i``nserted."""
    rows, columns = len(expected) + 1, len(found) + 1
    cost = np.zeros((rows, columns), np.int64)
    cost[:, 0], cost[0, :] = np.arange(rows), np.arange(columns)
    for i in range(1, rows):
        for j in range(1, columns):
            same = expected[i - 1] == found[j - 1]
            cost[i, j] = min(
                cost[i - 1, j - 1] + (not same), cost[i - 1, j] + 1, cost[i, j - 1] + 1
            )
    i, j, steps = rows - 1, columns - 1, ""
    while i or j:
        if i and j:
            wrong = int(expected[i - 1] != found[j - 1])
            if cost[i, j] == cost[i - 1, j - 1] + wrong:
                i, j, steps = i - 1, j - 1, ("s" if wrong else "=") + steps
                continue
        if i and cost[i, j] == cost[i - 1, j] + 1:
            i, steps = i - 1, "d" + steps
        else:
            j, steps = j - 1, "i" + steps
    return steps


def _longest(steps: str, kind: str) -> int:
    return max((len(run) for run in "".join(s if s == kind else " " for s in steps).split()),
               default=0)  # fmt: skip


def spelled(text: str) -> str:
    """Text with its numbers and abbreviations read out, as a recogniser writes it."""
    return normalise(normalise_english(text))


class Recogniser:
    """pocketsphinx with its default US English models. Raises SetupError when it is missing."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise SetupError(
                "word errors need pocketsphinx; pip install omnitalk-cli[eval]"
            ) from error
        # Batch normalisation: a result must not depend on what was heard before.
        self._decoder: Any = Decoder(loglevel="FATAL", cmn="batch")

    def transcribe(self, audio: Float, *, sample_rate: int = SAMPLE_RATE) -> str:
        """Words in mono ``audio`` [S], lower case; empty when none are recognised."""
        common = int(np.gcd(sample_rate, _RATE))
        sound = resample_poly(np.asarray(audio, np.float64), _RATE // common, sample_rate // common)
        sound = sound * (_PEAK / max(float(np.abs(sound).max(initial=0.0)), 1e-6)) * 32767
        self._decoder.start_utt()
        self._decoder.process_raw(sound.astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return str(found.hypstr) if found else ""
