"""Token vocabularies. Id 0 is always the filler (padding, or text that is not known)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from omnitalk_cli.text.phones import ARPABET, EXTRA, MARKS

FILLER_ID = 0


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of tokens (characters or phones); ``tokens[i]`` has id ``i + 1``."""

    tokens: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("a vocabulary cannot hold a token twice")
        ids = {token: index + 1 for index, token in enumerate(self.tokens)}
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        """Number of ids, the filler included."""
        return len(self.tokens) + 1

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of ``tokens``. Raises KeyError on a token that is not in the vocabulary."""
        return [self._ids[token] for token in tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``; fillers are left out."""
        return "".join(self.tokens[i - 1] for i in ids if i != FILLER_ID)

    @classmethod
    def letters(cls) -> Vocabulary:
        """Lower-case Latin letters, tone digits and the punctuation that is heard as a pause."""
        return cls(tokens=tuple(" '-,.?!;:0123456789abcdefghijklmnopqrstuvwxyzäëïöüßàáèéêçñ"))

    @classmethod
    def phones(cls) -> Vocabulary:
        """A space, the punctuation that is heard as a pause, and phones (``text.phones``)."""
        return cls(tokens=(" ", *MARKS, *ARPABET, *EXTRA))
