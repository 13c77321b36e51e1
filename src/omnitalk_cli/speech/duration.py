"""How long the phones of a text take to say: ridge regression of log durations, times a pace.

This is the paper's "time estimation module" (system.md section 1) for the embedded model. A phone's
log duration is a sum of weights, one per thing that is known to matter: which phone it is, what
stands on both sides, where in word, phrase and utterance it is (the rhyme before a pause is
lengthened), how long word and phrase are, and whether the word is one of the most frequent ones,
which are reduced. Pauses come from the marks and from how much is said on both sides of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from omnitalk_cli.text.phones import SpokenWord

Span = tuple[float, float]
Utterance = tuple[Sequence[SpokenWord], Sequence[Sequence[Span]], str]

SLOWEST, FASTEST = 1.7, 0.6
_EDGE_SECONDS = 0.08
_SHORTEST, _LONGEST = 0.02, 0.6
_BIAS = "bias"
_EDGE = "edge"  # what stands beside a phone at a pause
_KINDS: dict[str, str] = {
    phone: kind
    for kind, phones in {
        "stop": "P T K",
        "voiced stop": "B D G",
        "affricate": "CH",
        "voiced affricate": "JH",
        "fricative": "F TH S SH HH X CX",
        "voiced fricative": "V DH Z ZH",
        "nasal": "M N NG",
        "liquid": "L R RR",
        "glide": "W Y",
        "lax vowel": "AH IH UH EH",
        "vowel": "AA AE AO ER IY UW YY OE",
        "diphthong": "AW AY EY OW OY",
    }.items()
    for phone in phones.split()
}
_VOWELS = ("lax vowel", "vowel", "diphthong")
# Seconds at pace 1 that a mark is worth before any speech was heard, and in how many utterances.
_USUAL_PAUSES = {"": 0.0, ",": 0.17, ":": 0.28, ";": 0.28, ".": 0.38, "!": 0.38, "?": 0.38}
_USUAL_COUNT = 20.0
_LONG_STRETCH = 20  # phones
_SENTENCE_MARKS = ".!?"
_PAUSE_SECONDS = 0.06
_FREQUENT_WORDS = 80
_RIDGE = 3.0


@dataclass(frozen=True, kw_only=True)
class DurationModel:
    """``weights``: natural-log seconds at pace 1 by the name of what a phone is or where it is.

    ``pauses``: per mark ("" for none) the seconds at pace 1 of a pause between long stretches of
    speech, and what a short stretch before or behind it adds.
    """

    weights: dict[str, float]
    pauses: dict[str, Sequence[float]]

    def phone_seconds(self, words: Sequence[SpokenWord]) -> list[list[float]]:
        """Seconds of every phone of every word at pace 1."""
        known = self.weights
        return [
            [
                float(np.clip(np.exp(sum(known.get(n, 0.0) for n in names)), _SHORTEST, _LONGEST))
                for names in word
            ]
            for word in feature_names(words)
        ]

    def pause_seconds(self, words: Sequence[SpokenWord]) -> list[float]:
        """Silence after every word at pace 1; none after the last."""
        found = []
        for word, around in zip(words, _surroundings(words), strict=True):
            known = np.asarray(self.pauses.get(word.mark, (0.0, 0.0, 0.0)))
            found.append(max(0.0, float(known @ around)))
        return [*found[:-1], 0.0] if found else []

    def phone_times(
        self, words: Sequence[SpokenWord], *, pace: float = 1.0, start: float = _EDGE_SECONDS
    ) -> list[list[Span]]:
        """(start, end) seconds of every phone of every word, the first at ``start``.

        The phones of a word touch each other; ``pace`` is a factor on time (2 is half speed).
        """
        times: list[list[Span]] = []
        now = start
        for word, pause in zip(self.phone_seconds(words), self.pause_seconds(words), strict=True):
            edges = now + pace * np.cumsum([0.0, *word])
            times.append([(float(a), float(b)) for a, b in zip(edges, edges[1:], strict=False)])
            now = float(edges[-1]) + pace * pause
        return times

    def spoken_seconds(self, words: Sequence[SpokenWord]) -> float:
        """From the first phone to the end of the last one, at pace 1; 0 without words."""
        spoken = sum(sum(word) for word in self.phone_seconds(words))
        return spoken + sum(self.pause_seconds(words))

    def seconds(self, words: Sequence[SpokenWord], *, pace: float = 1.0) -> float:
        """Length of the whole utterance with a little silence at both ends."""
        return pace * self.spoken_seconds(words) + 2 * _EDGE_SECONDS

    def pace(self, words: Sequence[SpokenWord], spoken_seconds: float) -> float:
        """The pace of a speaker who needs ``spoken_seconds`` from the first phone to the last;
        held within 0.6…1.7, which covers human speech."""
        natural = self.spoken_seconds(words)
        return float(np.clip(spoken_seconds / natural, FASTEST, SLOWEST)) if natural else 1.0

    @classmethod
    def fit(cls, utterances: Sequence[Utterance], rounds: int = 3) -> DurationModel:
        """Fits weights to (words, (start, end) seconds per word and phone, speaker), alternating
        with one pace per speaker (their geometric mean is 1).

        Raises ValueError when there are no phones, or not one time for each.
        """
        frequent = _frequent_words(words for words, _, _ in utterances)
        speakers = {name: i for i, name in enumerate(sorted({who for _, _, who in utterances}))}
        names: list[list[str]] = []
        seconds: list[float] = []
        owners: list[int] = []
        for words, times, who in utterances:
            for features, spans in zip(feature_names(words), times, strict=True):
                for found, (start, end) in zip(features, spans, strict=True):
                    names.append([n for n in found if n[:5] != "word " or n in frequent])
                    seconds.append(end - start)
                    owners.append(speakers[who])
        if not names:
            raise ValueError("no phones to learn durations from")
        target, owner = np.clip(seconds, _SHORTEST, _LONGEST), np.asarray(owners)
        matrix, columns = _indicators(names)
        values = np.zeros(len(columns))
        paces = np.zeros(len(speakers))  # natural logarithms
        gram = (matrix.T @ matrix).toarray() + _RIDGE * np.eye(len(columns))
        for _ in range(rounds):
            values = np.linalg.solve(gram, matrix.T @ (np.log(target) - paces[owner]))
            rest = np.log(target) - matrix @ values
            paces = np.bincount(owner, rest) / np.bincount(owner)
            paces -= paces.mean()
        # The exponential of a mean of logs is too short; the sum of all durations shall be right.
        said = np.exp(matrix @ values + paces[owner])
        weights = dict(zip(columns, values.tolist(), strict=True))
        weights[_BIAS] += float(np.log(target.sum() / said.sum()))
        pace_of = {name: float(np.exp(paces[i])) for name, i in speakers.items()}
        return cls(
            weights={name: round(value, 4) for name, value in weights.items()},
            pauses=_fit_pauses(utterances, pace_of),
        )


def feature_names(words: Sequence[SpokenWord]) -> list[list[list[str]]]:
    """Per word and phone, the names of the weights whose sum is the log of its duration."""
    found: list[list[list[str]]] = []
    for number, (word, size) in enumerate(zip(words, _phrase_sizes(words), strict=True)):
        final = _final(words, number)
        before = words[number - 1] if number and not words[number - 1].mark else None
        after = None if final else words[number + 1]
        kinds = [_kind(before, -1), *(_KINDS[phone] for phone in word.phones), _kind(after, 0)]
        vowels = [i for i, kind in enumerate(kinds[1:-1]) if kind in _VOWELS]
        rhyme = vowels[-1] if vowels else 0
        count = len(word.phones)
        rows = []
        for place, phone in enumerate(word.phones):
            sort = "vowel" if place in vowels else "consonant"
            where = f"{'first ' * (place == 0)}{'last ' * (place + 1 == count)}of {min(count, 6)}"
            syllable = vowels.index(place) if place in vowels else "-"
            behind = min(place - rhyme, 2) if place >= rhyme else "before"
            rows.append(
                [
                    _BIAS,
                    f"{phone}",
                    f"{phone} after {kinds[place]}",
                    f"{phone} before {kinds[place + 2]}",
                    f"{sort} {where}",
                    f"{sort} {syllable} in {min(len(vowels), 4)} vowels",
                    f"{kinds[place + 1]} {behind} in rhyme{final}",
                    f"phrase {min(size // 6, 6)}",
                    f"word {' '.join(word.phones)}",
                ]
            )
        found.append(rows)
    return found


def _kind(word: SpokenWord | None, place: int) -> str:
    return _KINDS[word.phones[place]] if word and word.phones else _EDGE


def _final(words: Sequence[SpokenWord], number: int) -> str:
    """Which boundary is behind the word: of the utterance, a sentence, a phrase, or none ("")."""
    if number + 1 == len(words):
        return " at end"
    mark = words[number].mark
    return "" if not mark else " at sentence" if mark in _SENTENCE_MARKS else " at phrase"


def _phrase_sizes(words: Sequence[SpokenWord]) -> list[int]:
    """Per word, the number of phones between the marks around it."""
    sizes: list[int] = []
    for number in range(len(words)):
        if number and not words[number - 1].mark:
            sizes.append(sizes[-1])
            continue
        total = 0
        for other in words[number:]:
            total += len(other.phones)
            if other.mark:
                break
        sizes.append(total)
    return sizes


def _surroundings(words: Sequence[SpokenWord]) -> list[NDArray[np.float64]]:
    """Per word (1, how short the phrase before its end is, how short the one behind), 0…1."""
    sizes = _phrase_sizes(words)
    return [
        np.array([1.0, *(max(0.0, 1.0 - size / _LONG_STRETCH) for size in (here, there))])
        for here, there in zip(sizes, [*sizes, _LONG_STRETCH][1:], strict=True)
    ]


def _frequent_words(texts: Iterable[Sequence[SpokenWord]]) -> set[str]:
    counts = Counter(word.phones for words in texts for word in words)
    return {"word " + " ".join(phones) for phones, _ in counts.most_common(_FREQUENT_WORDS)}


def _indicators(names: Sequence[Sequence[str]]) -> tuple[csr_matrix, list[str]]:
    """Sparse ``[phones, weights]`` of ones where a phone has a weight, and the weights' names."""
    columns: dict[str, int] = {}
    indices = [columns.setdefault(name, len(columns)) for row in names for name in row]
    ends = np.cumsum([0, *(len(row) for row in names)])
    shape = (len(names), len(columns))
    return csr_matrix((np.ones(len(indices)), indices, ends), shape=shape), list(columns)


def _fit_pauses(
    utterances: Sequence[Utterance], pace_of: Mapping[str, float]
) -> dict[str, Sequence[float]]:
    """Least squares of the pauses at each mark, drawn to the usual ones where there are few."""
    rows: dict[str, list[tuple[NDArray[np.float64], float]]] = {mark: [] for mark in _USUAL_PAUSES}
    for words, times, who in utterances:
        for number, around in enumerate(_surroundings(words)[:-1]):
            gap = max(0.0, times[number + 1][0][0] - times[number][-1][1]) / pace_of[who]
            mark = words[number].mark
            # Where a voice ran on over the end of a sentence, it did not take it for one.
            if mark not in rows or (mark and mark in _SENTENCE_MARKS and gap < _PAUSE_SECONDS):
                continue
            rows[mark].append((around, gap))
    pauses: dict[str, Sequence[float]] = {}
    for mark, usual in _USUAL_PAUSES.items():
        features = np.array([around for around, _ in rows[mark]]).reshape(-1, 3)
        gaps = np.array([gap for _, gap in rows[mark]])
        gram = features.T @ features + _USUAL_COUNT * np.eye(3)
        change = np.linalg.solve(gram, features.T @ (gaps - usual))
        pauses[mark] = [round(float(v), 4) for v in change + np.array([usual, 0.0, 0.0])]
    return pauses
