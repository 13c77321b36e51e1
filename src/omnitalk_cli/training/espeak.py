"""espeak-ng through its shared library: synthetic speech with word and phoneme times.

The library is found in this order: ``$OMNITALK_ESPEAK`` (a file), the ``espeakng-loader`` wheel,
the system. It keeps global state, so there is one :class:`Espeak` per process.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.types import Float

ESPEAK_RATE = 22_050
PAUSE = "_"  # how a pause is named among the phones, whatever its length

# Figures of speak_lib.h (espeak-ng 1.51): output mode, init options, parameters, event types.
_RETRIEVAL = 1
_PHONEME_EVENTS = 0x0001
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_LIST_TERMINATED, _WORD, _PHONEME = 0, 1, 7


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, kw_only=True)
class EspeakVoice:
    """A voice setting: ``name`` such as ``en-us+f3``; rate in words/min, the rest 0–99."""

    name: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Speech with its times in seconds.

    ``audio`` [S] float32 −1…1 at 22.05 kHz; ``words`` [(start, end)] one per ``text.split()``
    item; ``phones`` [(mnemonic, start, end)], pauses named ``_``.
    """

    audio: Float
    words: list[tuple[float, float]]
    phones: list[tuple[str, float, float]]


def _candidates() -> list[tuple[str, str | None]]:
    named = os.environ.get("OMNITALK_ESPEAK")
    if named:
        return [(named, None)]
    found: list[tuple[str, str | None]] = []
    try:
        import espeakng_loader

        found.append((espeakng_loader.get_library_path(), espeakng_loader.get_data_path()))
    except ImportError:
        pass
    system = ctypes.util.find_library("espeak-ng")
    if system:
        found.append((system, None))
    return found


class Espeak:
    """The loaded library; a context manager. Raises SetupError when there is none."""

    def __init__(self) -> None:
        self._samples: list[bytes] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._voice: EspeakVoice | None = None
        self._callback = _Callback(self._receive)
        self._lib = self._load()

    def _load(self) -> Any:
        for path, data in _candidates():
            try:
                lib = ctypes.CDLL(path)
            except OSError:
                continue
            folder = str(Path(data)).encode() if data else None
            rate = lib.espeak_Initialize(_RETRIEVAL, 500, folder, _PHONEME_EVENTS | _DONT_EXIT)
            if rate == ESPEAK_RATE:
                lib.espeak_SetSynthCallback(self._callback)
                lib.espeak_Synth.argtypes = [
                    ctypes.c_char_p,
                    ctypes.c_size_t,
                    ctypes.c_uint,
                    ctypes.c_int,
                    ctypes.c_uint,
                    ctypes.c_uint,
                    ctypes.c_void_p,
                    ctypes.c_void_p,
                ]
                return lib
        raise SetupError(
            "no usable espeak-ng library: install the espeakng-loader package or espeak-ng, "
            "or name its file in OMNITALK_ESPEAK"
        )

    def __enter__(self) -> Espeak:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lib.espeak_Terminate()

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._samples.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != _LIST_TERMINATED:
            event = events[index]
            if event.type in (_WORD, _PHONEME):
                symbol = (
                    event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
                )
                self._events.append((event.type, event.sample, event.text_position, symbol))
            index += 1
        return 0

    def _select(self, voice: EspeakVoice) -> None:
        if voice == self._voice:
            return
        same = self._voice is not None and self._voice.name == voice.name
        if not same and self._lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise WorkError(f"espeak-ng has no voice {voice.name}")
        for parameter, value in (
            (_RATE, voice.rate),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
            (_WORD_GAP, voice.word_gap),
        ):
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._voice = voice

    def say(self, text: str, voice: EspeakVoice) -> Spoken:
        """Speak one line of ``text``. Raises WorkError when nothing usable comes out."""
        self._select(voice)
        self._samples, self._events = [], []
        data = text.encode() + b"\0"
        if self._lib.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None) != 0:
            raise WorkError(f"espeak-ng could not speak {text!r}")
        self._lib.espeak_Synchronize()
        audio = np.frombuffer(b"".join(self._samples), np.int16).astype(np.float32) / 32768.0
        phones = _phones(self._events, len(audio))
        return Spoken(audio=audio, words=_words(text, self._events, phones), phones=phones)


def _phones(
    events: list[tuple[int, int, int, str]], samples: int
) -> list[tuple[str, float, float]]:
    """Phones with ends (an event only tells the beginning); runs of pauses become one."""
    marks = [
        (min(sample, samples), symbol) for kind, sample, _, symbol in events if kind == _PHONEME
    ]
    phones: list[tuple[str, float, float]] = []
    for index, (sample, symbol) in enumerate(marks):
        end = marks[index + 1][0] if index + 1 < len(marks) else samples
        name = PAUSE if not symbol or symbol.startswith(PAUSE) else symbol
        if name == PAUSE and phones and phones[-1][0] == PAUSE:
            phones[-1] = (PAUSE, phones[-1][1], end / ESPEAK_RATE)
        elif end > sample:
            phones.append((name, sample / ESPEAK_RATE, end / ESPEAK_RATE))
    return phones


def _words(
    text: str, events: list[tuple[int, int, int, str]], phones: list[tuple[str, float, float]]
) -> list[tuple[float, float]]:
    """Times of ``text.split()``; an item without an event of its own shares its neighbour's span.

    espeak speaks some pairs ("of the") as one word and hyphenated items as several.
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    begins = [start for start, _ in spans]
    first: dict[int, float] = {}
    for kind, sample, position, _ in events:
        if kind == _WORD:
            item = bisect_right(begins, max(position - 1, 0)) - 1
            first.setdefault(max(item, 0), sample / ESPEAK_RATE)
    if 0 not in first or not phones:
        raise WorkError(f"espeak-ng told no word times for {text!r}")
    known = sorted(first)
    times: list[tuple[float, float]] = []
    for place, item in enumerate(known):
        after = known[place + 1] if place + 1 < len(known) else len(spans)
        limit = first[after] if after < len(spans) else phones[-1][2]
        inside = [p for p in phones if p[0] != PAUSE and first[item] - 1e-3 <= p[1] < limit - 1e-3]
        start, end = first[item], max((p[2] for p in inside), default=limit)
        end = min(max(end, start + 0.01), limit) if limit > start else start
        lengths = np.cumsum([0.0] + [float(b - a) for a, b in spans[item:after]])
        edges = start + (end - start) * lengths / lengths[-1]
        times += [(float(a), float(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return times


ACCENTS = (
    "en-us", "gmw/en", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc",
    "gmw/en-GB-x-gbclan", "gmw/en-GB-x-gbcwmd",
)  # fmt: skip
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f4", "klatt", "klatt2",
    "klatt3", "klatt5", "klatt6", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo",
    "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike",
    "Nguyen", "Reed", "RicishayMax2", "RicishayMax3", "Storm", "adam", "anika", "announcer",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward",
    "edward2", "grandma", "grandpa", "gustave", "ian", "iven", "iven2", "iven3", "iven4", "john",
    "marcelo", "max", "michel", "miguel", "mike2", "norbert", "pablo", "pedro", "quincy", "rob",
    "robert", "sandro", "shelby", "steph", "steph3", "victor", "zac",
)  # fmt: skip
# Never in training: what a model makes of them tells how well it takes to a new voice.
HELD_OUT_VARIANTS = ("m6", "f5", "linda", "paul", "klatt4", "travis")


def sample_voice(rng: np.random.Generator, *, variant: str | None = None) -> EspeakVoice:
    """A random English voice (``variant``: of that one). American and British accents lead."""
    accent = ACCENTS[
        int(rng.choice(len(ACCENTS), p=(0.4, 0.16, 0.12, 0.08, 0.06, 0.08, 0.05, 0.05)))
    ]
    chosen = VARIANTS[int(rng.integers(len(VARIANTS)))] if variant is None else variant
    return EspeakVoice(
        name=f"{accent}+{chosen}" if chosen else accent,
        rate=int(rng.integers(125, 215)),
        pitch=int(np.clip(rng.normal(50, 22), 0, 99)),
        pitch_range=int(np.clip(rng.normal(55, 18), 10, 99)),
        word_gap=int(rng.integers(1, 4)) if rng.random() < 0.2 else 0,
    )
