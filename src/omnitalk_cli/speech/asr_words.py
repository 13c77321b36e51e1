"""Recognised words put in order: clean text, and times that words can have."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from omnitalk_cli.types import Word

_SHORTEST = 20  # milliseconds
# Scripts in which a character is a syllable or so; they are written without spaces.
_SYLLABLES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SYLLABLE_LETTERS = 3  # letters of an alphabet that are said in the same time
_UNWANTED = re.compile(r"<\|[^|]*\|>|[\u2669-\u266f\ufffd\u200b-\u200f\ufeff]")


def clean_word(text: str) -> str:
    """``text`` without control characters, notes and tokens; empty if nothing of it is spoken.

    A space at its beginning, which separates it from the word before, is kept.
    """
    text = _UNWANTED.sub("", unicodedata.normalize("NFC", text))
    text = "".join(c if c.isprintable() or c.isspace() else "" for c in text)
    if not any(c.isalnum() for c in text):
        return ""
    return (" " if text[0].isspace() else "") + " ".join(text.split())


def letters(text: str) -> int:
    """How much there is to say: letters and digits, characters of syllabic scripts threefold."""
    return sum(_SYLLABLE_LETTERS if _SYLLABLES.match(c) else 1 for c in text if c.isalnum())


def spoken(words: Sequence[Word]) -> tuple[Word, ...]:
    """``words`` with clean text, without those that have no text or no times."""
    return tuple(
        replace(word, text=text)
        for word in words
        if (text := clean_word(word.text)) and math.isfinite(word.start + word.end)
    )


def tidy(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """``words`` in the same order, each a little long, none before the end of the one before and
    all within ``seconds``.

    Doing it twice changes nothing. No words come back if the sound is too short for so many.
    """
    total = int(1000 * seconds)
    least = min(_SHORTEST, total // len(words)) if words else 0
    if least < 1:
        return ()
    # In whole milliseconds, so that nothing is lost or gained by doing it again.
    times = [
        [min(max(round(1000 * time), 0), total) for time in (word.start, word.end)]
        for word in words
    ]
    free = 0
    for span in times:
        span[0] = max(span[0], free)
        free = span[1] = max(span[1], span[0] + least)
    free = total
    for span in reversed(times):
        span[1] = min(span[1], free)
        free = span[0] = min(span[0], span[1] - least)
    return tuple(
        replace(word, start=start / 1000, end=end / 1000)
        for word, (start, end) in zip(words, times, strict=True)
    )


def joined(words: Sequence[Word]) -> str:
    """The text that ``words`` with their own spaces make."""
    return " ".join("".join(word.text for word in words).split())
