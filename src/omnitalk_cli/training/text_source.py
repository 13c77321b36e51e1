"""Sentences to be spoken for training: from text files, a bigram chain, short ones, numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from omnitalk_cli.text.vocabulary import Vocabulary

_ALLOWED = frozenset(Vocabulary.letters().tokens) - frozenset("0123456789")
_ABBREVIATIONS = {
    "mr.": "mister", "mrs.": "missus", "dr.": "doctor", "st.": "saint", "etc.": "et cetera",
    "etc": "et cetera", "vs.": "versus", "prof.": "professor",
}  # fmt: skip
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_SHORT = (
    "yes. no. hello! thank you. good morning. good night. of course. why not? i see. not yet. "
    "come here. never mind. wait a minute. who is it? all right. excuse me. see you soon. "
    "well done. right now. maybe later. i don't know. what time? how are you? please sit down. "
    "welcome back."
)
_NUMBER_FRAMES = (
    "{} of them.", "it costs {} pounds.", "page {}.", "the answer is {}.", "{}.",
    "there were {} people.", "in {} days.", "number {}, please.", "call me at {}.",
)  # fmt: skip


def spell_number(value: int) -> str:
    """English words for 0 … 999 999. Raises ValueError outside."""
    if not 0 <= value < 1_000_000:
        raise ValueError(f"{value} is not between 0 and 999999")
    if value < 20:
        return _UNITS[value]
    if value < 100:
        return _TENS[value // 10] + (f"-{_UNITS[value % 10]}" if value % 10 else "")
    size, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    rest = f" {spell_number(value % size)}" if value % size else ""
    return f"{spell_number(value // size)} {name}{rest}"


def normalise(text: str) -> str | None:
    """``text`` as the corpus writes it: lower case, single spaces, marks attached to their word.

    None when a character remains that the vocabulary lacks, or no letter at all.
    """
    text = text.lower().replace("’", "'").replace("‘", "'")
    text = re.sub(r"\s*(--+|[–—])\s*", ", ", text)
    text = re.sub(r"[\"“”()*_]", " ", text)
    text = re.sub(r"(?<![a-z])'|'(?![a-z])", " ", text)  # quotes, not apostrophes
    text = re.sub(r"\.{2,}", ",", text)
    text = re.sub(r"\b\d{1,6}\b", lambda match: spell_number(int(match.group())), text)
    text = " ".join(_ABBREVIATIONS.get(word, word) for word in text.split())
    text = re.sub(r"\s+([,.?!;:])", r"\1", text)
    text = re.sub(r"([,.?!;:])[,.?!;:]+", r"\1", text).strip(" ,;:-")
    if not re.search("[a-z]", text) or any(character not in _ALLOWED for character in text):
        return None
    return text if all(re.search("[a-z]", word) for word in text.split()) else None


def sentences_of(text: str, *, least: int = 2, most: int = 14) -> list[str]:
    """The clean plain sentences of ``text`` (fortune files: parted by ``%`` lines), normalised."""
    found: list[str] = []
    for piece in re.split(r"(?m)^%+$|\n\s*\n|^\s*-- .*$", text):
        lines = [line for line in piece.splitlines() if not re.match(r"\s*--", line)]
        joined = " ".join(" ".join(lines).split())
        for sentence in re.split(r"(?<=[.?!])[\"')]*\s+(?=[\"'(]*[A-Z])", joined):
            sentence = sentence.strip()
            plain = re.fullmatch(r"[\"'(]*[A-Z][\w ,;:'’\"!?.()-]*[.?!][\"')]*", sentence)
            if not plain or re.search(r"\d{4,}|[A-Z]{3,}|\b[A-Za-z]\.|[a-z]\.[a-z]|_", sentence):
                continue
            clean = normalise(sentence)
            if clean and least <= len(clean.split()) <= most and max(map(len, clean.split())) < 18:
                found.append(clean)
    return found


class SentenceSource:
    """Draws texts: natural sentences, bigram sentences with rarer words, short ones, numbers.

    ``natural`` are the sentences to learn from, ``held_out`` texts never drawn. ``markov``,
    ``short`` and ``numbers`` are the shares of those kinds (the rest is natural).
    """

    def __init__(
        self,
        natural: Sequence[str],
        *,
        held_out: Iterable[str] = (),
        markov: float = 0.36,
        short: float = 0.08,
        numbers: float = 0.06,
    ) -> None:
        self.held_out = frozenset(held_out)
        self.natural = [text for text in natural if text not in self.held_out]
        if not self.natural:
            raise ValueError("no sentence is left to learn from")
        self._shares = (markov, short, numbers)
        self._chain: dict[str, list[str]] = defaultdict(list)
        for text in self.natural:
            words = ["", *text.split(), ""]
            for first, second in zip(words[:-1], words[1:], strict=True):
                self._chain[first].append(second)
        self._rare = _rare_words()
        self._shorts = re.findall(r"\S[^.?!]*[.?!]", _SHORT)

    def draw(self, rng: np.random.Generator) -> str:
        """One text of about 1–16 words."""
        while True:
            text = self._draw_one(rng)
            words = len(text.split())
            if 2 < words < 12 and rng.random() < 0.8:
                text = f"{text} {self._draw_one(rng)}"
            if rng.random() < 0.1:
                text = text.rstrip(".")
            if text not in self.held_out and not any(
                text.startswith(f"{held} ") or text.endswith(f" {held}") for held in self.held_out
            ):
                return text

    def _draw_one(self, rng: np.random.Generator) -> str:
        markov, short, numbers = self._shares
        dice = rng.random()
        if dice < markov:
            return self._bigrams(rng)
        if dice < markov + short:
            return self._short(rng)
        if dice < markov + short + numbers:
            return self._number(rng)
        return self.natural[int(rng.integers(len(self.natural)))]

    def _bigrams(self, rng: np.random.Generator) -> str:
        for _ in range(50):
            words: list[str] = []
            word = ""
            while len(words) < 16:
                following = self._chain[word]
                word = following[int(rng.integers(len(following)))]
                if not word:
                    break
                words.append(word)
            if 3 <= len(words) <= 13:
                break
        if self._rare:
            for place, old in enumerate(words):
                if len(old) > 3 and rng.random() < 0.3:
                    mark = old[-1] if old[-1] in ",.?!;:" else ""
                    words[place] = self._rare[int(rng.integers(len(self._rare)))] + mark
        text = " ".join(words[:13]).rstrip(",;:-")
        return text if text[-1] in ".?!" else f"{text}."

    def _short(self, rng: np.random.Generator) -> str:
        if rng.random() < 0.4 or not self._rare:
            return self._shorts[int(rng.integers(len(self._shorts)))]
        picked = [
            self._rare[int(i)] for i in rng.integers(len(self._rare), size=rng.integers(1, 4))
        ]
        return " ".join(picked) + "."

    def _number(self, rng: np.random.Generator) -> str:
        value = int(10 ** rng.uniform(0, 5.5))
        said = spell_number(value)
        return _NUMBER_FRAMES[int(rng.integers(len(_NUMBER_FRAMES)))].format(said)


def read_sentences(files: Iterable[Path]) -> list[str]:
    """The distinct clean sentences of ``files``, in order. Unreadable bytes are passed over."""
    seen: dict[str, None] = {}
    for file in files:
        for sentence in sentences_of(file.read_text(encoding="utf-8", errors="ignore")):
            seen.setdefault(sentence)
    return list(seen)


def _rare_words() -> list[str]:
    """Plain words of rank 300–20 000 (wordfreq), or none without that package."""
    try:
        from wordfreq import top_n_list
    except ImportError:
        return []
    ranked = top_n_list("en", 20_000)[300:]
    return [
        word
        for word in ranked
        if re.fullmatch(r"[a-z]{3,14}", word) and re.search("[aeiouy]", word)
    ]
