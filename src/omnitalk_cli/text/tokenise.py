"""Text as the tokens of ``Vocabulary.letters()``: letters for Latin scripts, pinyin for Chinese."""

from __future__ import annotations

import re

from omnitalk_cli.errors import InputError
from omnitalk_cli.text.characters import fold, is_han, plain, refuse_foreign
from omnitalk_cli.text.normalise import OVERRIDE, check_override
from omnitalk_cli.text.vocabulary import Vocabulary

_KNOWN = frozenset(Vocabulary.letters().tokens)
_MARKS = ",.?!;:"


def letters_tokens(text: str) -> tuple[str, ...]:
    """The characters of ``text``, one token each; symbols that are not spoken become spaces.

    Raises InputError, naming alphabet and characters, when letters are not Latin.
    """
    text = fold(plain(text), _KNOWN)
    refuse_foreign(text, _KNOWN, han=False)
    return tuple(_squeezed("".join(c if c in _KNOWN else " " for c in text)))


def pinyin_words(text: str) -> tuple[str, ...]:
    """Syllables with their tone ("hang2"; neutral tone 5) and Latin words, marks attached.

    Tone changes between neighbours are applied (一, 不, two third tones). ``{行|hang2}`` sets the
    reading by hand. Raises InputError for other alphabets, unknown characters and bad readings.
    """
    words: list[str] = []
    position = 0
    for match in OVERRIDE.finditer(text):
        words += _words(text[position : match.start()])
        characters, reading = match.group(1).strip(), match.group(2).strip().lower()
        check_override(characters, reading)
        words += [syllable.replace("ü", "v") for syllable in reading.split()]
        position = match.end()
    words += _words(text[position:])
    joined: list[str] = []
    for word in words:
        if joined and not word.strip(_MARKS):
            joined[-1] += word
        elif word.strip(_MARKS):
            joined.append(word)
    return tuple(joined)


def pinyin_tokens(text: str) -> tuple[str, ...]:
    """The characters of ``pinyin_words(text)`` with spaces between the words."""
    return tuple(" ".join(pinyin_words(text)))


def _words(text: str) -> list[str]:
    text = fold(plain(text), _KNOWN)
    refuse_foreign(text, _KNOWN, han=True)
    words: list[str] = []
    for run in re.findall(r"[^\x00-\x7fß-ÿ]+|[\x00-\x7fß-ÿ]+", text):
        han = "".join(filter(is_han, run))
        words += _syllables(han) if han else _latin(run)
    return words


def _latin(run: str) -> list[str]:
    kept = "".join(c if c in _KNOWN else " " for c in run)
    return re.sub(rf"([{re.escape(_MARKS)}]+)", r"\1 ", kept).split()


def _syllables(run: str) -> list[str]:
    # Its tables take a second to load, which only Chinese scripts should pay.
    from pypinyin import Style, lazy_pinyin

    syllables: list[str] = lazy_pinyin(
        run, style=Style.TONE3, tone_sandhi=True, neutral_tone_with_five=True
    )
    if len(syllables) != len(run) or any(not s.isascii() and "ê" not in s for s in syllables):
        unknown = [c for c in run if lazy_pinyin(c) == [c]]
        raise InputError(
            f"no reading is known for {' '.join(unknown)}; give it, such as {{行|hang2}}"
        )
    return syllables


def _squeezed(text: str) -> str:
    return " ".join(text.split())
