"""How text becomes token ids of a network that takes it as one sequence: F5-TTS' way, or letters
and pinyin. ``{行|hang2}`` sets the reading of characters in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from omnitalk_cli.text.tokenise import letters_tokens, pinyin_tokens
from omnitalk_cli.text.vocabulary import Vocabulary

VocabularyName = Literal["f5", "letters"]


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """``encode(text, language)`` gives ids from 1 on (0 is the filler); ``size`` counts all ids.

    It raises InputError for text that cannot be written in the vocabulary.
    """

    name: VocabularyName
    tokens: tuple[str, ...]
    encode: Callable[[str, str], list[int]]

    @property
    def size(self) -> int:
        """Number of ids, the filler included."""
        return len(self.tokens) + 1


def letters() -> Spelling:
    """Lower-case letters, and pinyin where the language is Chinese."""
    vocabulary = Vocabulary.letters()

    def encode(text: str, language: str) -> list[int]:
        spell = pinyin_tokens if language.startswith("zh") else letters_tokens
        return vocabulary.encode(spell(text))

    return Spelling(name="letters", tokens=vocabulary.tokens, encode=encode)


def f5(tokens: tuple[str, ...]) -> Spelling:
    """F5-TTS' tokens of any language; ``tokens`` are the lines of its ``vocab.txt``."""
    from omnitalk_cli.text.f5_tokens import F5Vocabulary, script_tokens

    vocabulary = F5Vocabulary(tokens)

    def encode(text: str, language: str) -> list[int]:
        return vocabulary.encode(script_tokens(text))

    return Spelling(name="f5", tokens=tokens, encode=encode)


def spelling_of(name: str, tokens: tuple[str, ...]) -> Spelling:
    """The spelling of a checkpoint that names its vocabulary ``name`` and lists its ``tokens``.

    Raises ValueError for a vocabulary that is not known, or other tokens than its own.
    """
    if name == "f5":
        return f5(tokens)
    if name == "letters" and tokens == (spelling := letters()).tokens:
        return spelling
    raise ValueError(f"vocabulary {name!r} of {len(tokens)} tokens")
