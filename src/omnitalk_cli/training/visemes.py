"""Phones and the mouth shapes (visemes) they ask for.

Two alphabets come in: ARPAbet, as pocketsphinx's aligner gives it, and espeak-ng's own, either its
mnemonics or IPA. Both are read to one of the visemes of ``VISEMES``; a diphthong asks for two or
three in turn. The targets are blendshape values as they come out of the fit on people who talk,
not the full range that an animator would use.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.types import Float

Alphabet = Literal["arpabet", "espeak"]

# Per viseme: blendshape targets (a name without side stands for both sides), then how strongly it
# insists on them in each articulator: jaw, seal (lips together), round, spread.
_TABLE: dict[str, tuple[dict[str, float], tuple[float, float, float, float]]] = {
    "rest": (
        {"jawOpen": 0.02, "mouthShrugLower": 0.03, "mouthShrugUpper": 0.02, "mouthPress": 0.02,
         "mouthRollLower": 0.01, "mouthSmile": 0.02},
        (0.8, 0.8, 0.8, 0.8),
    ),
    "bilabial": (
        {"jawOpen": 0.02, "mouthPress": 0.06, "mouthRollLower": 0.05, "mouthRollUpper": 0.03,
         "mouthShrugLower": 0.06, "mouthPucker": 0.02},
        (1.0, 3.0, 0.3, 1.6),
    ),
    "labiodental": (
        {"jawOpen": 0.05, "mouthRollLower": 0.07, "mouthUpperUp": 0.06, "mouthShrugUpper": 0.06,
         "mouthShrugLower": 0.05, "mouthPress": 0.02},
        (1.0, 2.5, 0.4, 1.4),
    ),
    "dental": (
        {"jawOpen": 0.12, "mouthLowerDown": 0.09, "mouthUpperUp": 0.06, "mouthShrugUpper": 0.06},
        (0.8, 0.8, 0.3, 0.8),
    ),
    "alveolar": (
        {"jawOpen": 0.12, "mouthLowerDown": 0.15, "mouthUpperUp": 0.09, "mouthShrugUpper": 0.05},
        (0.7, 0.7, 0.25, 0.6),
    ),
    "lateral": (
        {"jawOpen": 0.17, "mouthLowerDown": 0.08, "mouthUpperUp": 0.05, "mouthShrugUpper": 0.06},
        (0.6, 0.6, 0.25, 0.5),
    ),
    "sibilant": (
        {"jawOpen": 0.08, "mouthLowerDown": 0.32, "mouthUpperUp": 0.20, "mouthStretch": 0.10,
         "mouthSmile": 0.08, "mouthShrugUpper": 0.03},
        (1.3, 0.9, 0.5, 1.0),
    ),
    "postalveolar": (
        {"jawOpen": 0.06, "mouthFunnel": 0.24, "mouthPucker": 0.08, "mouthLowerDown": 0.24,
         "mouthUpperUp": 0.16, "mouthShrugUpper": 0.16},
        (1.2, 0.9, 1.5, 0.8),
    ),
    "velar": (
        {"jawOpen": 0.18, "mouthLowerDown": 0.08, "mouthUpperUp": 0.04, "mouthShrugUpper": 0.06},
        (0.35, 0.5, 0.15, 0.3),
    ),
    "neutral": (
        {"jawOpen": 0.18, "mouthLowerDown": 0.08, "mouthUpperUp": 0.04, "mouthShrugUpper": 0.06},
        (0.25, 0.4, 0.10, 0.2),
    ),
    "rhotic": (
        {"jawOpen": 0.15, "mouthFunnel": 0.12, "mouthPucker": 0.06, "mouthLowerDown": 0.17,
         "mouthUpperUp": 0.09, "mouthShrugUpper": 0.08},
        (0.6, 0.6, 0.9, 0.5),
    ),
    "glide_round": (
        {"jawOpen": 0.07, "mouthFunnel": 0.15, "mouthPucker": 0.32, "mouthShrugUpper": 0.10},
        (0.9, 0.8, 1.8, 0.8),
    ),
    "open": (
        {"jawOpen": 0.58, "mouthLowerDown": 0.12, "mouthUpperUp": 0.07, "mouthStretch": 0.04,
         "mouthShrugUpper": 0.12},
        (1.2, 1.0, 0.6, 0.9),
    ),
    "open_front": (
        {"jawOpen": 0.50, "mouthLowerDown": 0.17, "mouthUpperUp": 0.10, "mouthStretch": 0.09,
         "mouthSmile": 0.07, "mouthShrugUpper": 0.09},
        (1.2, 1.0, 0.6, 1.0),
    ),
    "mid_front": (
        {"jawOpen": 0.32, "mouthLowerDown": 0.16, "mouthUpperUp": 0.09, "mouthSmile": 0.12,
         "mouthStretch": 0.10, "mouthShrugUpper": 0.07},
        (1.0, 1.0, 0.6, 1.0),
    ),
    "close_front": (
        {"jawOpen": 0.15, "mouthLowerDown": 0.21, "mouthUpperUp": 0.13, "mouthSmile": 0.18,
         "mouthStretch": 0.14, "mouthDimple": 0.06, "mouthShrugUpper": 0.04},
        (1.0, 1.0, 0.8, 1.1),
    ),
    "central": (
        {"jawOpen": 0.27, "mouthLowerDown": 0.10, "mouthUpperUp": 0.05, "mouthShrugUpper": 0.08},
        (0.7, 0.8, 0.4, 0.6),
    ),
    "mid_back": (
        {"jawOpen": 0.40, "mouthFunnel": 0.18, "mouthPucker": 0.08, "mouthLowerDown": 0.06,
         "mouthShrugUpper": 0.14},
        (1.1, 1.0, 1.3, 0.8),
    ),
    "close_back": (
        {"jawOpen": 0.14, "mouthFunnel": 0.18, "mouthPucker": 0.26, "mouthShrugUpper": 0.12},
        (1.0, 0.9, 1.6, 0.9),
    ),
    "front_round": (
        {"jawOpen": 0.14, "mouthFunnel": 0.22, "mouthPucker": 0.20, "mouthLowerDown": 0.05,
         "mouthShrugUpper": 0.12},
        (1.0, 0.9, 1.6, 0.9),
    ),
}  # fmt: skip

VISEMES: tuple[str, ...] = tuple(_TABLE)
VOWELS: frozenset[str] = frozenset(
    {"open", "open_front", "mid_front", "close_front", "central", "mid_back", "close_back",
     "front_round"}
)  # fmt: skip
GROUPS: tuple[str, ...] = ("jaw", "seal", "round", "spread")
# Which articulator moves a blendshape; those not named here do not belong to speech.
GROUP_OF: dict[str, str] = {
    "jawOpen": "jaw", "mouthPress": "seal", "mouthRollLower": "seal", "mouthRollUpper": "seal",
    "mouthShrugLower": "seal", "mouthShrugUpper": "round", "mouthFunnel": "round",
    "mouthPucker": "round", "mouthLowerDown": "spread", "mouthUpperUp": "spread",
    "mouthSmile": "spread", "mouthStretch": "spread", "mouthDimple": "spread",
}  # fmt: skip


@dataclass(frozen=True)
class Phone:
    """One phone of an utterance: its symbol in the aligner's or synthesiser's alphabet, when it
    starts and ends (seconds)."""

    symbol: str
    start: float
    end: float


def sides(name: str) -> tuple[int, ...]:
    """Indices in the codes of a blendshape given without side: both sides, or the one channel."""
    if name in CODE_INDEX:
        return (CODE_INDEX[name],)
    return (CODE_INDEX[name + "Left"], CODE_INDEX[name + "Right"])


@lru_cache(maxsize=1)
def viseme_targets() -> Float:
    """Targets ``[len(VISEMES), 51]`` of every viseme over the expression channels, 0…1."""
    targets = np.zeros((len(VISEMES), 51), np.float32)
    for row, (shape, _) in enumerate(_TABLE.values()):
        for name, value in shape.items():
            targets[row, list(sides(name))] = value
    return targets


@lru_cache(maxsize=1)
def viseme_dominance() -> Float:
    """How strongly each viseme insists, ``[len(VISEMES), 4]`` over ``GROUPS``, ≥ 0."""
    return np.array([weights for _, weights in _TABLE.values()], np.float32)


_ARPABET: dict[str, tuple[str, ...]] = {
    "AA": ("open",), "AE": ("open_front",), "AH": ("central",), "AO": ("mid_back",),
    "AW": ("open", "close_back"), "AX": ("central",), "AXR": ("rhotic",),
    "AY": ("open", "close_front"),
    "B": ("bilabial",), "CH": ("postalveolar",), "D": ("alveolar",), "DH": ("dental",),
    "DX": ("alveolar",), "EH": ("mid_front",), "EL": ("lateral",), "EM": ("bilabial",),
    "EN": ("alveolar",), "ER": ("rhotic",), "EY": ("mid_front", "close_front"),
    "F": ("labiodental",), "G": ("velar",), "HH": ("neutral",), "IH": ("close_front",),
    "IX": ("close_front",), "IY": ("close_front",), "JH": ("postalveolar",), "K": ("velar",),
    "L": ("lateral",), "M": ("bilabial",), "N": ("alveolar",), "NG": ("velar",),
    "OW": ("mid_back", "close_back"), "OY": ("mid_back", "close_front"), "P": ("bilabial",),
    "Q": ("neutral",), "R": ("rhotic",), "S": ("sibilant",), "SH": ("postalveolar",),
    "T": ("alveolar",), "TH": ("dental",), "UH": ("close_back",), "UW": ("close_back",),
    "UX": ("front_round",), "V": ("labiodental",), "W": ("glide_round",), "WH": ("glide_round",),
    "Y": ("close_front",), "Z": ("sibilant",), "ZH": ("postalveolar",),
    "YY": ("front_round",), "OE": ("front_round",), "X": ("velar",), "CX": ("close_front",),
    "RR": ("velar",),
}  # fmt: skip
_SILENCES = frozenset({"", "SIL", "SPN", "NSN", "SP", "S", "PAU", "NULL", "BREATH", "NOISE"})

# Units of espeak-ng's mnemonics and of IPA; where a letter means two things, the languages of the
# corpus decide (English, German, Dutch, French, Spanish, Swedish, Mandarin).
_ESPEAK_UNITS: dict[str, str] = {
    unit: viseme
    for viseme, units in {
        "bilabial": "p b m B P ɓ β ɸ pf",
        "labiodental": "f v ʋ ɱ ⱱ v#",
        "dental": "T D θ ð",
        "alveolar": "t d n ɾ ɗ ʔn t. d. n. ʈ ɖ ɳ t2 n^ ɲ *",
        "lateral": "l L ɫ ɬ ɭ ʎ l^ ɮ",
        "sibilant": "s z ts dz ɕ ʑ S; Z; tS; dZ; tɕ dʑ",
        "postalveolar": "S Z ʃ ʒ tS dZ tʃ dʒ ʂ ʐ s. z. ts. tʂ S^ tS^ ɧ",
        "velar": "k g ɡ x N ŋ X q Q ɣ χ ɠ c ɟ C ç K ɴ x^ R2 R ʁ ʀ",
        "neutral": "h H ʔ ? ɦ ħ ʕ h# ɥ̊",
        "rhotic": "r ɹ ɻ r- r. ɚ ɝ 3 ɜ 3: R# ɽ r2 @r",
        "glide_round": "w ʍ W# w# ɥ",
        "close_front": "i I j ɪ ɨ ᵻ i. I2 I# ɿ ʅ ʲ",
        "mid_front": "e E ɛ ɘ E# e# E2",
        "open_front": "a æ a# & aa",
        "open": "A ɑ 0 ɒ A# a: A2",
        "central": "@ ə @2 @5 ᵊ @- I3 ɤ o- V ʌ ɐ",
        "mid_back": "o O ɔ o# O2 O#",
        "close_back": "u U ʊ ɯ u# U# ʷ",
        "front_round": 'y Y ø œ W ʏ ɶ ʉ u- 8 ɵ y: Y: œ̃ ɥ# u"',
    }.items()
    for unit in units.split()
}
_LONGEST = max(len(unit) for unit in _ESPEAK_UNITS)
# When one symbol holds several consonants (affricates, clusters), the most visible one shows.
_VISIBILITY = ("bilabial", "labiodental", "glide_round", "postalveolar", "rhotic", "sibilant",
               "dental", "lateral", "alveolar", "velar", "neutral")  # fmt: skip


def _read_espeak(symbol: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFD", symbol)
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = text.translate({ord(c): None for c in "'ˈˌ,%=_|!~ː:ˑ \u200d"})
    if not text:
        return ("rest",)
    if symbol.startswith("("):
        return ("neutral",)  # a switch of language: "(en)"
    if text[0] in "1245679" and text.strip("0123456789") == "":
        return ("rest",)  # a tone number alone
    found: list[str] = []
    at = 0
    while at < len(text):
        for size in range(min(_LONGEST, len(text) - at), 0, -1):
            viseme = _ESPEAK_UNITS.get(text[at : at + size])
            # After the first unit a digit is a tone or a variant, not the vowel 3, 0 or 8.
            if viseme and not (at and text[at].isdigit()):
                found.append(viseme)
                break
        else:
            size = 1
        at += size
    vowels = [viseme for viseme in found if viseme in VOWELS]
    if vowels:
        kept = [v for n, v in enumerate(vowels) if n == 0 or v != vowels[n - 1]]
        return tuple(kept[:3])
    if found:
        return (min(found, key=_VISIBILITY.index),)
    return ("neutral",)


@lru_cache(maxsize=4096)
def visemes_of(symbol: str, alphabet: Alphabet) -> tuple[str, ...]:
    """The visemes that a phone passes through: one, or two or three for a diphthong.

    Stress marks and digits, length, tones and noise words (``+SPN+``, ``<sil>``) are understood;
    an unknown symbol is a neutral consonant. Raises ValueError for an unknown alphabet.
    """
    if alphabet == "espeak":
        return _read_espeak(symbol)
    if alphabet != "arpabet":
        raise ValueError(f"unknown phone alphabet {alphabet!r} (arpabet or espeak)")
    bare = symbol.strip()
    if bare[:1] in ("+", "<", "(", "[", "") or bare.upper() in _SILENCES - {"S"}:
        return ("rest",)
    return _ARPABET.get(bare.upper().rstrip("012"), ("neutral",))


def viseme_of(symbol: str, alphabet: Alphabet) -> str:
    """The (first) viseme of a phone; see ``visemes_of``."""
    return visemes_of(symbol, alphabet)[0]


def is_stressed(symbol: str, alphabet: Alphabet) -> bool:
    """Whether the symbol itself marks primary stress (``AH1``; ``'a`` or ``ˈa``)."""
    if alphabet == "arpabet":
        return symbol.endswith("1")
    return "'" in symbol or "ˈ" in symbol
