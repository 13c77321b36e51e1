"""English words as phones: a dictionary, rules for endings, a network for what it lacks.

The dictionary is the CMU one that the ``pocketsphinx`` wheel carries. The network
(``training.pronunciation`` makes it) is small enough to run in numpy, so nothing here needs torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors import safe_open

from omnitalk_cli.errors import SetupError
from omnitalk_cli.text.characters import fold
from omnitalk_cli.text.heteronyms import Phones, phone_table, reading
from omnitalk_cli.text.phones import ARPABET, MARKS, SpokenWord
from omnitalk_cli.types import Float
from omnitalk_cli.weights.store import embedded_folders

LETTERS = "'abcdefghijklmnopqrstuvwxyz"
_DICTIONARY = "model/en-us/cmudict-en-us.dict"
_WEIGHTS = "pronunciation.safetensors"
_STRENGTH = "?!.;:,"  # which mark counts when several stand together
_VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
_HISSING = frozenset("S Z SH ZH CH JH".split())
_VOICELESS = frozenset("P T K F TH S SH CH HH".split())


# Where the dictionary's first reading is not the usual one, and what it lacks.
_OVERRIDES = phone_table("""
    a AH; an AH N; to T AH; was W AH Z; wasn't W AH Z AH N T; cause K AO Z; de D AH; re R IY
    dr D AA K T ER; st S EY N T; vs V ER S AH S; on AA N; really R IY L IY; lives L IH V Z
    bass B EY S; wind W IH N D; wound W UW N D; tear T IH R; tears T IH R Z; yeah Y EH AH
    interesting IH N T R AH S T IH NG; every EH V R IY; several S EH V R AH L
    family F AE M L IY; different D IH F R AH N T; actually AE K CH UW AH L IY
    remember R IH M EH M B ER; return R IH T ER N; result R IH Z AH L T; august AO G AH S T
    government G AH V ER N M AH N T; average AE V R IH JH; director D ER EH K T ER
    eff EH F; aitch EY CH; yous Y UW Z; ays EY Z; effs EH F S; gees JH IY Z; okays OW K EY Z
    psst P S T; brr B ER; pfft P F T; tsk T IH S K; hm HH M; mm M; shh SH; mhm AH M HH AH M
    grr G ER; hrm HH ER M; zzz Z; soo S OW; noo N OW
    www D AH B AH L Y UW D AH B AH L Y UW D AH B AH L Y UW
    chatgpt CH AE T JH IY P IY T IY; openai OW P AH N EY AY; tiktok T IH K T AA K; vlog V L AO G
    vlogs V L AO G Z; mysql M AY EH S K Y UW EH L; postgresql P OW S T G R EH S K Y UW EH L
    nginx EH N JH IH N EH K S; ubuntu UH B UH N T UW; kubernetes K UW B ER N EH T IY Z
    jpeg JH EY P EH G; gif G IH F; croissant K R AH S AA N T; croissants K R AH S AA N T S
    quinoa K IY N W AA; acai AH S AA IY; kombucha K AH M B UW CH AH; gnocchi N Y OW K IY
    huawei W AA W EY; nguyen W IH N; siobhan SH AH V AO N; saoirse S ER SH AH
    hermione HH ER M AY AH N IY; scholz SH OW L T S; ethereum IH TH IH R IY AH M
    tchaikovsky CH AY K AO F S K IY; schwarzenegger SH W AO R T S AH N EH G ER
    ai EY AY; wifi W AY F AY; emoji IH M OW JH IY; selfie S EH L F IY; naive N AA IY V
    resume R IH Z UW M; resumes R IH Z UW M Z; fiance F IY AA N S EY; cliche K L IY SH EY
""")
_NAMES = phone_table("""
    a EY; b B IY; c S IY; d D IY; e IY; f EH F; g JH IY; h EY CH; i AY; j JH EY; k K EY; l EH L
    m EH M; n EH N; o OW; p P IY; q K Y UW; r AA R; s EH S; t T IY; u Y UW; v V IY
    w D AH B AH L Y UW; x EH K S; y W AY; z Z IY
""")


@dataclass(frozen=True, kw_only=True)
class LetterToSoundConfig:
    """Sizes of the network: ``slots`` outputs per letter, ``width`` per direction."""

    embedding: int = 48
    width: int = 112
    layers: int = 2
    slots: int = 2

    def __post_init__(self) -> None:
        if min(self.embedding, self.width, self.layers, self.slots) < 1:
            raise ValueError(f"sizes must be positive: {self}")


@dataclass(frozen=True)
class LetterToSound:
    """A bidirectional GRU over letters with ``slots`` CTC frames per letter."""

    config: LetterToSoundConfig
    tensors: dict[str, Float]

    @classmethod
    def load(cls, path: Path) -> LetterToSound:
        """From a safetensors file. Raises SetupError when it is no letter-to-sound network."""
        try:
            with safe_open(path, framework="numpy") as file:
                config = LetterToSoundConfig(**json.loads(file.metadata()["config"]))
                tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}
        except Exception as error:
            raise SetupError(f"{path} holds no letter-to-sound network ({error})") from error
        return cls(config, tensors)

    def read(self, word: str) -> Phones:
        """Phones of ``word``; characters that are not in ``LETTERS`` are passed over."""
        letters = [LETTERS.index(c) for c in word if c in LETTERS]
        if not letters:
            return ()
        state = self.tensors["embed.weight"][letters]  # (K, D)
        for layer in range(self.config.layers):
            onward = self._layer(state, f"l{layer}")
            back = self._layer(state[::-1], f"l{layer}_reverse")[::-1]
            state = np.concatenate([onward, back], axis=1)
        scores = state @ self.tensors["head.weight"].T + self.tensors["head.bias"]
        best = scores.reshape(-1, len(ARPABET) + 1).argmax(-1)
        kept = [int(b) for a, b in zip([0, *best], best, strict=False) if b and a != b]
        return tuple(ARPABET[b - 1] for b in kept)

    def _layer(self, inputs: Float, name: str) -> Float:
        """One direction of a GRU (Cho et al., 2014), its gates in the order reset, update, new."""
        hidden_weight = self.tensors[f"gru.weight_hh_{name}"].T
        hidden_bias = self.tensors[f"gru.bias_hh_{name}"]
        given = (
            inputs @ self.tensors[f"gru.weight_ih_{name}"].T + self.tensors[f"gru.bias_ih_{name}"]
        )
        width = self.config.width
        state = np.zeros(width, np.float32)
        states = []
        for step in given:
            own = state @ hidden_weight + hidden_bias
            gates = 1 / (1 + np.exp(-(step[: 2 * width] + own[: 2 * width])))
            reset, update = gates[:width], gates[width:]
            new = np.tanh(step[2 * width :] + reset * own[2 * width :])
            state = (1 - update) * new + update * state
            states.append(state)
        return np.stack(states)


def pronounce(text: str) -> list[SpokenWord]:
    """How each word of ``text.split()`` is said. ``text`` comes from ``text.normalise``.

    A word with a letter has at least one phone; a word without has none. Raises SetupError when
    the dictionary, or the network for a word that needs it, is not installed.
    """
    marked = [_divide(item) for item in text.split()]
    words = [word for word, _ in marked]
    # A word on the other side of a pause tells nothing about this one.
    nears = ["" if mark else word for word, mark in marked]
    before = ["", *nears][:-1]
    after = [
        "" if mark else near for (_, mark), near in zip(marked, words[1:] + [""], strict=False)
    ]
    spoken: list[SpokenWord] = []
    next_starts_with = ""
    for index in reversed(range(len(marked))):
        word, mark = marked[index]
        vowel = next_starts_with in _VOWELS and bool(after[index])
        phones = reading(word, before[index], after[index], words, vowel=vowel) or read_word(word)
        next_starts_with = phones[0] if phones else ""
        spoken.append(SpokenWord(phones, mark))
    return spoken[::-1]


@lru_cache(maxsize=65536)
def read_word(word: str) -> Phones:
    """Phones of a lower-case word by itself; hyphenated words are said part by part.

    Empty for a word without a letter. Raises SetupError as ``pronounce``.
    """
    word = _fold(word)
    known = _listed(word)
    if known:
        return known
    if "-" in word:
        parts = [part for part in word.split("-") if part]
        return tuple(phone for part in parts for phone in _NAMES.get(part) or read_word(part))
    word = "".join(c for c in word if c in LETTERS)
    if not word.strip("'"):
        return ()
    if word.endswith("'s") and len(word) > 2:
        stem = read_word(word[:-2])
        return stem + _sound_of_ending("s", stem[-1]) if stem else ("EH", "S")
    # "sooo", "yesss": drawn-out letters.
    for shorter in dict.fromkeys((word, re.sub(r"(.)\1{2,}", r"\1\1", word),
                                  re.sub(r"(.)\1{2,}", r"\1", word))):  # fmt: skip
        known = _listed(shorter) or _derived(shorter)
        if known:
            return known
    bare = word.replace("'", "")
    if not set(bare) & set("aeiouy"):
        return tuple(phone for letter in bare for phone in _NAMES[letter])
    return _network().read(re.sub(r"(.)\1{2,}", r"\1\1", word)) or _letters(bare)


def dictionary_entries() -> dict[str, tuple[Phones, ...]]:
    """Every word of the dictionary with its readings, the usual one first. Takes 0.3 s."""
    found: dict[str, list[Phones]] = {}
    for line in _dictionary().decode().splitlines():
        word, _, phones = line.partition(" ")
        if word:
            found.setdefault(word.partition("(")[0], []).append(tuple(phones.split()))
    return {word: tuple(readings) for word, readings in found.items()}


def _divide(item: str) -> tuple[str, str]:
    """A word and the strongest of the marks behind it."""
    word = item.rstrip(MARKS)
    marks = item[len(word) :]
    return word, min(marks, key=_STRENGTH.index, default="")


@lru_cache(maxsize=1)
def _dictionary() -> bytes:
    """The dictionary's text. The package is not imported: that loads its recogniser."""
    spec = find_spec("pocketsphinx")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _DICTIONARY
        if path.is_file():
            return b"\n" + path.read_bytes() + b"\n"
    raise SetupError(
        "the pronunciation dictionary is missing; install pocketsphinx, which carries it"
    )


@lru_cache(maxsize=32)
def _section(letter: str) -> bytes:
    """The lines of the words with that first letter, which stand together in the dictionary."""
    text, key = _dictionary(), b"\n" + letter.encode()
    start = text.find(key)
    end = text.find(b"\n", text.rfind(key) + 1)
    return text[start : end + 1] if start >= 0 else b""


def _listed(word: str) -> Phones | None:
    """The reading of ``word`` by override, or the first one of the dictionary."""
    if word in _OVERRIDES:
        return _OVERRIDES[word]
    section, key = _section(word[:1]), f"\n{word} ".encode()
    start = section.find(key)
    if start < 0:
        return None
    return tuple(section[start + len(key) : section.index(b"\n", start + 1)].decode().split())


def _derived(word: str) -> Phones | None:
    """The reading of a word whose stem is known, or that is made of two known words."""
    known = _inflected(word)
    if known:
        return known
    for prefix, sound in _PREFIXES.items():
        rest = word.removeprefix(prefix)
        if rest != word and len(rest) >= (4 if len(prefix) > 2 else 5):
            phones = _listed(rest) or _inflected(rest)
            if phones:
                return _joined(sound, phones)
    # Shorter parts are mostly found in names that are no compounds: the network says those better.
    for cut in range(5, len(word) - 4):
        first, second = _listed(word[:cut]), _listed(word[cut:])
        if first and second:
            return _joined(first, second)
    return None


def _inflected(word: str) -> Phones | None:
    for stem, ending in _endings(word):
        phones = _listed(stem)
        if phones:
            return _joined(phones, _sound_of_ending(ending, phones[-1]))
    return None


_ENDINGS = phone_table("""
    ing IH NG; ly L IY; er ER; ers ER Z; est AH S T; ness N AH S; less L AH S; ful F AH L
    ment M AH N T; ments M AH N T S; like L AY K; able AH B AH L; ish IH SH; ist IH S T
    ists IH S T S; ship SH IH P; ings IH NG Z; 'll AH L; 've AH V; 're ER; 'm M
    n't AH N T; in' IH N; wise W AY Z; proof P R UW F; free F R IY
""")
_PREFIXES = phone_table("""
    un AH N; re R IY; non N AA N; over OW V ER; under AH N D ER; out AW T; anti AE N T AY
    pre P R IY; multi M AH L T IY; micro M AY K R OW; inter IH N T ER; super S UW P ER
    mid M IH D; self S EH L F; dis D IH S; mis M IH S; hyper HH AY P ER; cyber S AY B ER
    auto AO T OW; bio B AY OW; eco IY K OW; geo JH IY OW; meta M EH T AH; nano N AE N OW
    neuro N UH R OW; photo F OW T OW; post P OW S T; pseudo S UW D OW; tele T EH L AH
    trans T R AE N Z; ultra AH L T R AH; semi S EH M IY; omni AA M N IY; mega M EH G AH
    crypto K R IH P T OW; live L AY V; electro IH L EH K T R OW
""")


def _endings(word: str) -> Iterator[tuple[str, str]]:
    """Ways to take an ending off: (stem, ending), the surest first."""
    if word.endswith("s'"):
        yield word[:-1], ""
        yield word[:-2], "s"
    elif word.endswith("s") and not word.endswith("ss"):
        yield word[:-1], "s"
        if word.endswith("ies"):
            yield word[:-3] + "y", "s"
        elif word.endswith("es"):
            yield word[:-2], "s"
    if word.endswith("'d"):
        yield word[:-2], "d"
    if word.endswith("ed"):
        yield from ((stem, "d") for stem in _stems(word[:-2], "ed"))
        yield word[:-1], "d"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) >= len(ending) + 3:
            yield from ((stem, ending) for stem in _stems(word[: -len(ending)], ending))


def _stems(cut: str, ending: str) -> Iterator[str]:
    """What a word may have been before its ending: happi → happy, runn → run, mak → make."""
    # Before a vowel, one consonant after one vowel would have been doubled: an "e" must have gone.
    alone = re.search("[^aeiou][aeiou][^aeiouwxy]$|u$", cut)
    hidden = ending[0] in "aeiy" and alone is not None
    if hidden:
        yield cut + "e"
    yield cut
    if len(cut) < 3:
        return
    if cut.endswith("i"):
        yield cut[:-1] + "y"
    if cut[-1] == cut[-2]:
        yield cut[:-1]
    if not hidden:
        yield cut + "e"


def _sound_of_ending(ending: str, last: str) -> Phones:
    """Phones of ``ending`` behind the phone ``last``."""
    if ending == "s":
        if last in _HISSING:
            return ("IH", "Z")
        return ("S",) if last in _VOICELESS else ("Z",)
    if ending == "d":
        if last in ("T", "D"):
            return ("IH", "D")
        return ("T",) if last in _VOICELESS else ("D",)
    if ending in ("'ll", "'ve", "'re") and last in _VOWELS:
        return _ENDINGS[ending][-1:]
    return _ENDINGS.get(ending, ())


def _joined(first: Phones, second: Phones) -> Phones:
    """Two parts of a word; the same consonant on both sides is said once (real-ly, un-natural)."""
    return first + (second[1:] if first[-1] == second[0] else second) if second else first


def _letters(word: str) -> Phones:
    return tuple(phone for letter in word for phone in _NAMES[letter])


def _fold(word: str) -> str:
    """Accents off; a final é of a word that is not listed is heard ("olé" → "olay")."""
    bare = fold(word.replace("ß", "ss"), frozenset())
    return bare[:-1] + "ay" if word.endswith("é") and not _listed(bare) else bare


@lru_cache(maxsize=1)
def _network() -> LetterToSound:
    """The embedded letter-to-sound network. Raises SetupError when it is not there."""
    for folder in embedded_folders():
        if (folder / _WEIGHTS).is_file():
            return LetterToSound.load(folder / _WEIGHTS)
    raise SetupError(
        f"the letter-to-sound weights ({_WEIGHTS}) are not installed; install the omnitalk-cli "
        "wheel again, which carries them, or run from a complete checkout"
    )
