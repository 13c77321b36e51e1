"""How the text of a clip becomes token ids: F5-TTS' way, or letters and pinyin."""

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
    from omnitalk_cli.text.f5_tokens import F5Vocabulary, f5_tokens

    vocabulary = F5Vocabulary(tokens)

    def encode(text: str, language: str) -> list[int]:
        return vocabulary.encode(f5_tokens(text))

    return Spelling(name="f5", tokens=tokens, encode=encode)
