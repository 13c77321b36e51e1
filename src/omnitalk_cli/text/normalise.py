"""Text as it is spoken: the form that the model was trained on.

English comes out in lower case, in the characters of ``Vocabulary.letters()`` without digits, words
apart by single spaces, marks attached to the word before them. Chinese keeps its characters and
``{行|hang2}``; numbers are written out, foreign words become lower case.
"""

from __future__ import annotations

import re
from typing import Literal

from omnitalk_cli.errors import InputError
from omnitalk_cli.text import chinese, english
from omnitalk_cli.text.characters import fold, plain, refuse_foreign
from omnitalk_cli.text.vocabulary import Vocabulary

Language = Literal["en", "zh"]

_DIGITS = frozenset("0123456789")
_KNOWN = frozenset(Vocabulary.letters().tokens)
_SPOKEN = _KNOWN - _DIGITS
_LETTERS = "".join(sorted(c for c in _SPOKEN if c.isalpha()))
_STRENGTH = ".?!;:,"  # which mark stays when several meet; "?" and "!" stand before the others
_LONGEST_OVERRIDE = 12
OVERRIDE = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


def normalise(text: str, language: Language = "en") -> str:
    """``text`` as it is spoken. Empty when it holds nothing that can be spoken.

    Raises InputError for letters of an alphabet that cannot be spoken.
    """
    return normalise_chinese(text) if language == "zh" else normalise_english(text)


def normalise_english(text: str) -> str:
    """English text read out: "Dr. Li paid $5 in 1999" → "doctor li paid five dollars in …".

    ``{read|red}`` is read as its second half.
    """
    text = plain(OVERRIDE.sub(lambda match: match.group(2), text))
    text = _marks(english.read_out(text))
    text = fold(text, _SPOKEN)
    refuse_foreign(text, _SPOKEN, han=False)
    return english.spell_letters(_tidy(_only(text, _SPOKEN)))


def normalise_chinese(text: str) -> str:
    """Chinese text, possibly with English words, with its numbers written out."""
    parts: list[str] = []
    position = 0
    for match in OVERRIDE.finditer(text):
        parts.append(_chinese_part(text[position : match.start()]))
        parts.append(f"{{{match.group(1).strip()}|{match.group(2).strip().lower()}}}")
        position = match.end()
    parts.append(_chinese_part(text[position:]))
    return _tidy("".join(parts))


def _chinese_part(text: str) -> str:
    before = " " if text[:1].isspace() else ""
    after = " " if text[-1:].isspace() else ""
    text = fold(_marks(chinese.read_out(plain(text))), _SPOKEN)
    refuse_foreign(text, _SPOKEN, han=True)
    return before + _only(text, _SPOKEN, han=True) + after


def _marks(text: str) -> str:
    """Marks that are no pause become one, or go."""
    text = re.sub(r"\s*(?:—|–|--+|\s-\s)\s*", ", ", text)
    text = re.sub(r"\s*[()\[\]{}]\s*", ", ", text)
    text = re.sub(r"\.{2,}", ",", text)
    return text.replace('"', " ")


def _only(text: str, known: frozenset[str], *, han: bool = False) -> str:
    """Anything that is neither known nor Chinese is a symbol that nobody reads: a space."""
    return "".join(
        c if c in known or (han and not c.isascii() and c.isalpha()) else " " for c in text
    )


def _tidy(text: str) -> str:
    """Single spaces, one mark at a time attached to its word, apostrophes and hyphens in words."""
    text = re.sub(rf"(?<![{_LETTERS}])'|'(?![{_LETTERS}])", " ", text)
    text = re.sub(rf"(?<![{_LETTERS}])-+|-+(?![{_LETTERS}])", " ", text)
    text = re.sub(r"[.,?!;:][\s.,?!;:]*", lambda match: _strongest(match.group()) + " ", text)
    text = re.sub(r"\s+([.,?!;:])", r"\1", text)
    return " ".join(text.split()).lstrip(".,?!;: ")


def _strongest(marks: str) -> str:
    for mark in ("?", "!"):
        if mark in marks:
            return mark
    return min((c for c in marks if c in _STRENGTH), key=_STRENGTH.index)


def check_override(characters: str, reading: str) -> None:
    """Raise InputError unless there is one syllable like "hang2" for each Chinese character."""
    syllables = reading.split()
    wrong = [s for s in syllables if not re.fullmatch(r"[a-zü]+[1-5]", s)]
    fits = 0 < len(characters) == len(syllables) <= _LONGEST_OVERRIDE
    if wrong or not fits:
        raise InputError(
            f"{{{characters}|{reading}}}: give one syllable with its tone for each character, "
            "such as {行|hang2} or {银行|yin2 hang2}"
        )
