"""Text as the tokens of F5-TTS: characters, and pinyin with tone for Chinese ones.

The order of the tokens must be that of its training to the letter: ``rjieba`` cuts words, of which
Latin ones get a space before them, and ``pypinyin`` reads Chinese ones as wholes, so that tones
change as they do in speech.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnitalk_cli.errors import InputError
from omnitalk_cli.text.normalise import OVERRIDE

_PLAIN = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_NO_SPACE_AFTER = " :'\""
_UTF8_HAN = 3  # bytes of a character that words of Chinese consist of


@dataclass(frozen=True)
class F5Vocabulary:
    """F5-TTS' table of tokens: ``tokens[i]`` has id ``i + 1``, 0 is the filler, and what is not in
    the table is read as its first token, the space."""

    tokens: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[0] != " ":
            raise ValueError("the first token must be the space")
        # Of a token that stands there twice, the last one counts.
        object.__setattr__(self, "_ids", {token: i + 1 for i, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        """Number of ids, the filler included."""
        return len(self.tokens) + 1

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of ``tokens``, 1…len − 1."""
        return [self._ids.get(token, 1) for token in tokens]

    @classmethod
    def read(cls, path: Path) -> F5Vocabulary:
        """The table in a ``vocab.txt``: a token a line. Raises InputError when it is none."""
        try:
            text = path.read_text(encoding="utf-8")
            # Not splitlines: some tokens are line separators of other alphabets.
            return cls(tuple(text.removesuffix("\n").split("\n")))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is not a table of tokens ({error})") from error


def f5_tokens(text: str) -> list[str]:
    """The tokens of ``text`` as F5-TTS' own ``convert_char_to_pinyin`` makes them."""
    import rjieba
    from pypinyin import Style, lazy_pinyin

    def read(characters: str) -> Sequence[str]:
        syllables: Sequence[str] = lazy_pinyin(characters, style=Style.TONE3, tone_sandhi=True)
        return syllables

    tokens: list[str] = []
    for word in rjieba.cut(text.translate(_PLAIN)):
        size = len(word.encode("utf-8"))
        if size == len(word):
            if tokens and size > 1 and tokens[-1] not in _NO_SPACE_AFTER:
                tokens.append(" ")
            tokens += word
        elif size == _UTF8_HAN * len(word) == _UTF8_HAN * len(syllables := read(word)):
            for character, syllable in zip(word, syllables, strict=True):
                tokens += [" ", syllable] if _is_ideograph(character) else [syllable]
        else:
            for character in word:
                if _is_ideograph(character):
                    tokens += [" ", *read(character)]
                else:
                    tokens.append(character)
    return tokens


def script_tokens(text: str) -> list[str]:
    """As ``f5_tokens``, of a text in which ``{行|hang2}`` sets the reading of characters."""
    tokens: list[str] = []
    position = 0
    for match in OVERRIDE.finditer(text):
        tokens += f5_tokens(text[position : match.start()])
        for syllable in match.group(2).split():
            tokens += [" ", syllable.replace("ü", "v").removesuffix("5")]
        position = match.end()
    return tokens + f5_tokens(text[position:])


def spoken_bytes(text: str) -> int:
    """Length of ``text`` in bytes of UTF-8, which F5-TTS measures speech by; ``{行|hang2}`` counts
    as the character alone."""
    return len(OVERRIDE.sub(r"\1", text).encode("utf-8"))


def _is_ideograph(character: str) -> bool:
    """F5-TTS' own range, which also holds some symbols."""
    return "\u3100" <= character <= "\u9fff"
