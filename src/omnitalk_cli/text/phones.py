"""Phones that the embedded model reads: ARPAbet without stress, and a few of other languages.

A spelling has to be learnt word by word; its phones do not. So the small model gets what a
dictionary knows, and its voice can learn from speech of other languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

ARPABET: tuple[str, ...] = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
# Rounded front vowels, close and mid; the fricatives of German "ach" and "ich"; an R that is not
# the English one.
EXTRA: tuple[str, ...] = ("YY", "OE", "X", "CX", "RR")
SILENCE = "SIL"
MARKS = ",.?!;:"


@dataclass(frozen=True)
class SpokenWord:
    """A word as it is said: its ``phones``, and the ``mark`` behind it (one of ``MARKS`` or "")."""

    phones: tuple[str, ...]
    mark: str = ""


_ESPEAK: dict[str, tuple[str, ...]] = {
    mnemonic: tuple(phones.split())
    for phones, mnemonics in {
        "AA": "A A: a: 0 A# A2 a2",
        "AE": "a aa &",
        "AH": "@ V a# @2 @5 @- V# 3# I3",
        "AO": "O O: O2 o",
        "AW": "aU VU",
        "AY": "aI aI2",
        "AY AH": "aI@",
        "AY ER": "aI3",
        "EH": "E E2 E:",
        "ER": "3 3: VR IR",
        "EY": "eI e e: EI",
        "IH": "I I2 I#",
        "IY": "i i:",
        "IY AH": "i@",
        "IY ER": "i@3",
        "OW": "oU o:",
        "OY": "OI OY",
        "UH": "U",
        "UW": "u u:",
        "AA R": "A@",
        "AO R": "O@ o@",
        "EH R": "e@",
        "UH R": "U@",
        "UH AH": "UR",
        "EY UW": "eU",
        "YY UW": "yU",
        "OE YY": "Wy",
        "AA NG": "A~",
        "AO NG": "O~",
        "OE NG": "W~",
        "AH L": "@L l-",
        "N Y": "n^",
        "P F": "pF",
        "T S": "ts",
        "B": "b", "CH": "tS", "D": "d", "DH": "D", "F": "f", "G": "g", "HH": "h", "JH": "dZ",
        "K": "k", "L": "l", "M": "m", "N": "n n-", "NG": "N", "P": "p", "R": "r r- R *", "S": "s",
        "SH": "S", "T": "t t# t2 t[ ?", "TH": "T", "V": "v v#", "W": "w w#", "Y": "j ;", "Z": "z",
        "ZH": "Z", "X": "x Q",
        "YY": "y y: Y", "OE": "Y: W 8 ø œ", "CX": "C",
    }.items()
    for mnemonic in mnemonics.split()
}  # fmt: skip
# What a mnemonic means in other languages than English, where that is another sound.
_ESPEAK_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "de": {"3": ("AH",), "a": ("AA",)},
    "nl": {"EI": ("EH", "IY")},
}


@lru_cache(maxsize=4096)
def from_espeak(mnemonic: str, language: str = "en") -> tuple[str, ...]:
    """Our phones for a mnemonic of espeak-ng, its stress mark left out; ``("SIL",)`` for a pause.

    ``language`` ``en``, ``de`` or ``nl``. Raises KeyError on a mnemonic that is not known.
    """
    bare = mnemonic.lstrip("',%=|")
    if bare.strip("_:!") == "":
        return (SILENCE,)
    return _ESPEAK_OF.get(language, {}).get(bare) or _ESPEAK[bare]
