"""Phone times of recordings for which there is no recogniser: German and Dutch.

espeak-ng speaks the same text and tells when. For some of the recordings time warping of cepstra
carries its times over; phone models of the speaker, trained on these, then align all recordings
(:mod:`omnitalk_cli.training.phone_models`). A pause between words is the speaker's choice, so one
is possible between any two words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from omnitalk_cli.errors import WorkError
from omnitalk_cli.evaluation.speech import CEPSTRA, mel_cepstra, time_warp
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.text.phones import SILENCE, from_espeak
from omnitalk_cli.training.augment import stretched_mel
from omnitalk_cli.training.espeak import ESPEAK_RATE, Espeak, EspeakVoice, Spoken
from omnitalk_cli.training.phone_models import Chain, PhoneModels
from omnitalk_cli.types import MEL_RATE, SAMPLE_RATE, Float

VOICES = {"de": "de", "nl": "nl", "en": "en-us"}  # English to test the method
LEAST_S = 0.02
LEAST_PAUSE_S = 0.04
LONGEST_PHONE_S = 0.7  # longer ones tell that something else was said
REJECTED_SHARE = 0.03
WARPED, MODELLED, ROUNDS = 50, 160, 2  # recordings warped, and used for the models; their rounds
_RATE = 165  # words per minute of the rendering
_MODEL_RATE = 2 * MEL_RATE
_VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW YY OE".split())
_PAUSE_FRAMES = 2
_BANDS = 88  # up to 8.6 kHz: espeak's rendering ends at 11 kHz
# Noise floor below the louder frames: high for warping, the same on both sides.
_WARP_FLOOR_DB, _MODEL_FLOOR_DB, _LOUD_DB = 45.0, 60.0, 30.0
_LEVEL_WEIGHT, _SLOPE_WEIGHT = 1.5, 2.0

Phone = tuple[str, float, float]
Edges = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """``words`` [(start, end)] s, one per ``text.split()`` item; ``phones`` [(symbol, start, end)]
    s without gaps, pauses ``SIL``; ``doubt``: how much likelier other phones were."""

    words: list[tuple[float, float]]
    phones: list[Phone]
    doubt: float = 0.0

    @property
    def longest(self) -> float:
        """Seconds of the longest phone that is no pause."""
        return max(end - start for symbol, start, end in self.phones if symbol != SILENCE)


@dataclass(frozen=True, kw_only=True)
class Saying:
    """A rendering's ``chain`` of segments [P]; ``word`` [P], the item of ``text.split()`` each
    belongs to (−1: a pause); ``spans`` [P] s, where the rendering says it (pauses that may be left
    out: no length)."""

    chain: Chain
    word: list[int]
    spans: list[tuple[float, float]]


def normalise_foreign(text: str) -> str | None:
    """``text`` with single spaces and marks attached to their word; case is kept (espeak reads it).

    None where digits or other signs are left, which are not spoken as they are written.
    """
    text = text.replace("’", "'").replace("‘", "'").replace("ʻ", "'")
    text = re.sub(r"\s*(--+|[–—])\s*", ", ", text)
    text = re.sub(r"[\"“”„«»()*_]", " ", text)
    text = re.sub(r"\.{2,}", ",", text)
    text = re.sub(r"\s+([,.?!;:])", r"\1", " ".join(text.split()))
    text = re.sub(r"([,.?!;:])[,.?!;:]+", r"\1", text).strip(" ,;:-")
    items = text.split()
    if not items or not all(re.fullmatch(r"['\w-]*[^\W\d_]['\w-]*[,.?!;:]?", i) for i in items):
        return None
    return None if re.search(r"\d", text) else text


def saying(spoken: Spoken, language: str) -> Saying | None:
    """The phones of a rendering by word; None where a word has no phone of its own.

    Pauses within words (closures, glottal stops) go to the phone before them.
    """
    begins = [start for start, _ in spoken.words]
    found: list[tuple[str, int, float, float]] = []
    tongue = language
    for mnemonic, start, end in spoken.phones:
        switch = re.fullmatch(r"\((\w+)\)", mnemonic)
        if switch:  # "(en)" before and "(de)" after a foreign word, a few milliseconds long
            tongue = switch.group(1)[:2]
            continue
        mine = from_espeak(mnemonic, tongue)
        item = max(int(np.searchsorted(begins, (start + end) / 2, side="right")) - 1, 0)
        if mine == (SILENCE,):
            if found and end < spoken.words[item][1] - 0.005:
                symbol, owner, first, _ = found[-1]
                found[-1] = (symbol, owner, first, end)
            continue
        step = (end - start) / len(mine)
        found += [(s, item, start + k * step, start + (k + 1) * step) for k, s in enumerate(mine)]
    if {item for _, item, _, _ in found} != set(range(len(begins))):
        return None
    symbols = [symbol for symbol, _, _, _ in found]
    if language == "de":
        symbols = _vocalised(symbols, [item for _, item, _, _ in found])
    parts: list[tuple[str, int, float, float, bool]] = [(SILENCE, -1, 0.0, found[0][2], False)]
    for symbol, (_, item, start, end) in zip(symbols, found, strict=True):
        if parts[-1][1] >= 0 and parts[-1][1] != item:
            parts.append((SILENCE, -1, start, start, True))
        parts.append((symbol, item, start, end, False))
    parts.append((SILENCE, -1, found[-1][3], len(spoken.audio) / ESPEAK_RATE, False))
    return Saying(
        chain=Chain(symbols=[p[0] for p in parts], optional=[p[4] for p in parts]),
        word=[p[1] for p in parts],
        spans=[(p[2], p[3]) for p in parts],
    )


def _vocalised(symbols: Sequence[str], word: Sequence[int]) -> list[str]:
    """German r after a vowel and not before one is a vowel itself."""
    found = list(symbols)
    for k in range(1, len(symbols)):
        within = k + 1 < len(symbols) and word[k + 1] == word[k]
        before_vowel = within and symbols[k + 1] in _VOWELS
        after_vowel = word[k - 1] == word[k] and symbols[k - 1] in _VOWELS
        if symbols[k] == "R" and after_vowel and not before_vowel:
            found[k] = "AH"
    return found


def _statics(mel: Float, floor_db: float) -> tuple[Float, NDArray[np.bool_]]:
    """Cepstra and level ``[T,14]`` of ``mel`` [T,100] above a noise floor, and the loud frames."""
    mel = mel[:, :_BANDS]
    level = np.log(np.exp(2 * mel).mean(axis=1)) / 2
    top = float(np.percentile(level, 95))
    floor = top - floor_db / 20 * np.log(10)
    mel, level = np.logaddexp(mel, floor), np.logaddexp(level, floor)
    loud = level > top - _LOUD_DB / 20 * np.log(10)
    return np.concatenate([mel_cepstra(mel), (level - top)[:, None]], axis=1), loud


def _slopes(statics: Float, reach: int) -> Float:
    """Regression over ``2 reach + 1`` frames (Furui 1986), per frame."""
    count = len(statics)
    padded = np.pad(statics, ((reach, reach), (0, 0)), mode="edge")
    rise = np.zeros_like(statics)
    for k in range(1, reach + 1):
        later, earlier = reach + k, reach - k
        rise += k * (padded[later : later + count] - padded[earlier : earlier + count])
    return rise / (2 * sum(k * k for k in range(1, reach + 1)))


def warp_features(audio: Float) -> Float:
    """``[T,28]`` of ``audio`` [S] (24 kHz) at the mel rate, comparable between two voices:
    normalised over the loud frames, with the same noise floor for everyone."""
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(audio, np.float32))).numpy()
    statics, loud = _statics(mel, _WARP_FLOOR_DB)
    statics = (statics - statics[loud].mean(axis=0)) / (statics[loud].std(axis=0) + 1e-6)
    statics[:, CEPSTRA] *= _LEVEL_WEIGHT
    slopes = _SLOPE_WEIGHT * _slopes(statics, 2)
    return np.asarray(np.concatenate([statics, slopes], axis=1), np.float32)


def model_features(audio: Float) -> Float:
    """``[T,28]`` of ``audio`` [S] (24 kHz) at twice the mel rate, for models of one voice."""
    mel, _ = stretched_mel(audio, 2.0)
    statics, loud = _statics(mel, _MODEL_FLOOR_DB)
    statics[:, :CEPSTRA] -= statics[loud, :CEPSTRA].mean(axis=0)
    slopes = 5 * _slopes(statics, 4)  # about the spread of the statics
    return np.asarray(np.concatenate([statics, slopes], axis=1), np.float32)


def carry_over(recording: Float, rendering: Float, said: Saying) -> Edges:
    """Where the segments of ``said`` lie in ``recording``: seconds ``[P+1]``.

    By warping ``rendering`` [R,D] onto ``recording`` [T,D], both at the mel rate. All pauses of the
    rendering are made as long, two frames, which a pause in the recording can fill.
    """
    centres = np.arange(len(rendering)) / MEL_RATE
    quiet = rendering[int(rendering[:, CEPSTRA].argmin())]
    pause = np.repeat(quiet[None], _PAUSE_FRAMES, axis=0)
    rows: list[Float] = []
    for item, (start, end) in zip(said.word, said.spans, strict=True):
        first, last = np.searchsorted(centres, [start, end])
        rows.append(rendering[first:last] if item >= 0 else pause)
    i, j = time_warp(recording, np.concatenate(rows))
    total = int(j[-1]) + 1
    lowest, highest = np.full(total, len(recording)), np.zeros(total, np.int64)
    np.minimum.at(lowest, j, i)
    np.maximum.at(highest, j, i)
    cuts = np.cumsum([len(part) for part in rows])[:-1]
    inner = (highest[cuts - 1] + lowest[cuts]) / 2 / MEL_RATE
    return np.concatenate([[0.0], inner, [(len(recording) - 1) / MEL_RATE]])


def spread_edges(edges: Sequence[float], least: float) -> list[float]:
    """The rising ``edges``, moved so that every span lasts ``least`` seconds.

    The first and the last stay; spans get less where there is no room.
    """
    count = len(edges) - 1
    least = min(least, (edges[-1] - edges[0]) / count)
    moved = list(edges)
    for k in range(1, count):
        moved[k] = max(moved[k], moved[k - 1] + least)
    for k in range(count - 1, 0, -1):
        moved[k] = min(moved[k], moved[k + 1] - least)
    return moved


def settle(said: Saying, edges: Edges, seconds: float, doubt: float = 0.0) -> Timing:
    """``said`` at ``edges`` [P+1] s as the timing of a recording of ``seconds``: short pauses
    dissolve, every phone gets its least time."""
    kept: list[tuple[str, int]] = []
    times: list[float] = [0.0]
    for place, (symbol, item) in enumerate(zip(said.chain.symbols, said.word, strict=True)):
        start, end = float(edges[place]), float(edges[place + 1])
        if said.chain.optional[place] and end - start < LEAST_PAUSE_S:
            times[-1] = (start + end) / 2
            continue
        kept.append((symbol, item))
        times.append(end)
    times[-1] = seconds
    times = spread_edges(times, LEAST_S)
    phones = [
        (symbol, round(a, 4), round(b, 4))
        for (symbol, _), a, b in zip(kept, times[:-1], times[1:], strict=True)
    ]
    words: list[tuple[float, float]] = []
    for item in range(max(said.word) + 1):
        mine = [k for k, (_, owner) in enumerate(kept) if owner == item]
        words.append((phones[mine[0]][1], phones[mine[-1]][2]))
    return Timing(words=words, phones=phones, doubt=doubt)


def warp(audio: Float, spoken: Spoken, said: Saying) -> Edges:
    """The first alignment: edges ``[P+1]`` s in ``audio`` [S] (24 kHz) by time warping alone."""
    common = gcd(SAMPLE_RATE, ESPEAK_RATE)
    rendered = resample_poly(spoken.audio, SAMPLE_RATE // common, ESPEAK_RATE // common)
    return carry_over(warp_features(audio), warp_features(rendered), said)


def align_all(
    audios: Sequence[Float], texts: Sequence[str], language: str, *, espeak: Espeak | None = None
) -> list[Timing | None]:
    """Times of ``texts`` (see :func:`normalise_foreign`) in ``audios`` [S] (24 kHz) of one speaker.

    None where espeak-ng does not speak a text word by word. Needs some dozens of recordings.
    ``espeak`` is the one of this process, if it has one. Raises SetupError without espeak-ng.
    """
    voice = EspeakVoice(name=VOICES[language], rate=_RATE)
    sayings: list[Saying | None] = []
    warped: dict[int, Edges] = {}
    with nullcontext(espeak) if espeak else Espeak() as speaker:
        for place, (audio, text) in enumerate(zip(audios, texts, strict=True)):
            try:
                spoken = speaker.say(text, voice)
                said = saying(spoken, language)
            except WorkError:
                said = None
            sayings.append(said)
            if said is not None and len(warped) < WARPED:
                warped[place] = warp(audio, spoken, said)
    frames = [model_features(audio) for audio in audios]
    used = [(place, said) for place, said in enumerate(sayings) if said is not None]
    models = PhoneModels.train(
        [
            (frames[k], said.chain, np.round(warped[k] * _MODEL_RATE).astype(np.int64))
            for k, said in used
            if k in warped
        ]
    )
    for _ in range(ROUNDS):
        routes = [(k, said, models.align(frames[k], said.chain)) for k, said in used[:MODELLED]]
        models = PhoneModels.train([(frames[k], s.chain, r.edges) for k, s, r in routes if r])
    timings: list[Timing | None] = [None] * len(audios)
    for k, said in used:
        route = models.align(frames[k], said.chain)
        if route is not None:
            # Frames are centred on their times, so a frame begins half of one before.
            edges = np.maximum(route.edges - 0.5, 0.0) / _MODEL_RATE
            timings[k] = settle(said, edges, len(audios[k]) / SAMPLE_RATE, route.doubt)
    return timings


def trusted(timings: Sequence[Timing | None]) -> list[bool]:
    """Which of the timings of one speaker to use: not the most doubtful few, and none with a phone
    that is too long."""
    doubts = [timing.doubt for timing in timings if timing is not None]
    limit = float(np.quantile(doubts, 1 - REJECTED_SHARE)) if doubts else 0.0
    return [
        timing is not None and timing.doubt <= limit and timing.longest <= LONGEST_PHONE_S
        for timing in timings
    ]
