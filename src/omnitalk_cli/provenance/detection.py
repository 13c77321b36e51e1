"""What a search for an invisible mark found, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Detection:
    """``id`` (None: not readable) of ``bits`` (0 without an id). ``present``: the key's pattern is
    there beyond chance, with or without a readable id. ``confidence`` 0 to 1: how well the file
    agrees with the id, or with the pattern where there is none."""

    id: int | None
    bits: int
    confidence: float
    present: bool

    def to_dict(self) -> dict[str, object]:
        """The fields by name."""
        return dict(vars(self))
