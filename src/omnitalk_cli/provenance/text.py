"""Strings from strangers' files, made fit to print."""

from __future__ import annotations

import unicodedata

# Control and format characters (also those that turn the direction of writing), surrogates,
# private use, line and paragraph separators.
_UNPRINTED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def cleaned(text: str, limit: int) -> str:
    """``text`` on one line without unprintable characters, at most ``limit`` characters long."""
    part = text[: 4 * limit]  # bounded work; spaces and what is not printed may go
    kept = (" " if unicodedata.category(c) in _UNPRINTED else c for c in part)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
