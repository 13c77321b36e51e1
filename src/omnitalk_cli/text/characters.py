"""Characters before and after reading: typography to plain marks, accents, foreign alphabets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from omnitalk_cli.errors import InputError

_TYPOGRAPHY = {
    "‘": "'", "’": "'", "‚": "'", "‛": "'", "`": "'", "´": "'", "ʼ": "'", "ʻ": "'", "′": "'",
    "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "「": '"', "」": '"', "『": '"',
    "』": '"', "《": '"', "》": '"', "″": '"',
    "‐": "-", "‑": "-", "‒": "-", "−": "-", "―": "—", "⸺": "—",
    "…": "...", "。": ".", "、": ",", "·": " ", "•": " ", "¿": "", "¡": "",
    "¼": " 1⁄4", "½": " 1⁄2", "¾": " 3⁄4", "²": " squared", "³": " cubed",
}  # fmt: skip
_FOLDED = {
    "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ı": "i",
    "ŋ": "ng", "ĸ": "k", "ŧ": "t", "ə": "e", "ȷ": "j", "ƒ": "f",
}  # fmt: skip
_TABLE = str.maketrans(_TYPOGRAPHY)
_SHOWN = 8


def plain(text: str) -> str:
    """``text`` with typographic marks, widths and invisible characters made plain, case kept."""
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Nd" and not character.isascii():
            character = str(unicodedata.decimal(character))
        elif category in ("Cc", "Zs", "Zl", "Zp"):
            character = " "
        elif category in ("Cf", "Co", "Cn", "Cs"):  # soft hyphens, zero widths, direction marks
            continue
        kept.append(character)
    return re.sub(r" +", " ", "".join(kept)).strip()


def fold(text: str, known: Container[str]) -> str:
    """Lower case; accented letters that ``known`` lacks become their base letters."""
    folded = []
    for character in text.lower():
        if character in known or character.isascii() or alphabet_of(character) != "Latin":
            folded.append("" if unicodedata.category(character) == "Mn" else character)
            continue
        base = _FOLDED.get(character) or unicodedata.normalize("NFKD", character)
        folded.append("".join(_FOLDED.get(c, c) for c in base if not unicodedata.combining(c)))
    return "".join(folded)


def is_han(character: str) -> bool:
    """Whether it is a Chinese character."""
    return alphabet_of(character) == "Han"


def alphabet_of(character: str) -> str:
    """The alphabet of a letter by its Unicode name, such as "Latin" or "Cyrillic"; else "".

    Marks that belong to an alphabet (vowel signs) count as its letters.
    """
    if unicodedata.category(character)[0] not in "LM":
        return ""
    name = unicodedata.name(character, "")
    if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEO", "IDEOGRAPHIC ITERATION")):
        return "Han"
    first = name.split(" ")[0].split("-")[0]
    if first in ("", "COMBINING", "MODIFIER", "VARIATION", "FULLWIDTH", "HALFWIDTH"):
        return ""
    return first.capitalize()


def refuse_foreign(text: str, known: Container[str], *, han: bool, where: str = "") -> None:
    """Raise InputError, naming alphabet and characters, if a letter cannot be spoken.

    ``known`` are the letters that can be; ``han`` says whether Chinese characters can be too.
    """
    foreign: dict[str, dict[str, None]] = {}
    for character in text:
        if character in known:
            continue
        alphabet = alphabet_of(character)
        if alphabet and not (han and alphabet == "Han"):
            foreign.setdefault(alphabet, {})[character] = None
    if not foreign:
        return
    parts = []
    for alphabet, characters in foreign.items():
        shown = " ".join(list(characters)[:_SHOWN]) + (" …" if len(characters) > _SHOWN else "")
        parts.append(f"{'Chinese' if alphabet == 'Han' else alphabet} characters ({shown})")
    hint = "use --lang zh" if set(foreign) == {"Han"} else "write it in Latin letters or Chinese"
    raise InputError(f"{where}{' and '.join(parts)} cannot be spoken; {hint}")
