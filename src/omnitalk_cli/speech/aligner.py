"""When each word and phone of a known English text is said: forced alignment by pocketsphinx."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pocketsphinx import Decoder
from scipy.signal import resample_poly

from omnitalk_cli.text.phones import SILENCE
from omnitalk_cli.text.pronunciation import read_word
from omnitalk_cli.types import SAMPLE_RATE, Float

_ALIGN_RATE = 16_000
_FRAME_S = 0.01
# (beam, word beam) and seconds of room tone put around the speech, until one succeeds. Decoding
# must end in silence; wider beams help some utterances and lose others.
_ATTEMPTS = (
    ((1e-48, 7e-29), 0.2),
    ((1e-48, 7e-29), 0.0),
    ((1e-48, 7e-29), 0.1),
    ((1e-80, 1e-60), 0.3),
    ((1e-80, 1e-60), 0.0),
)


class Aligner:
    """Forced alignment of English by pocketsphinx; wider beams are tried on failure."""

    def __init__(self) -> None:
        self._decoders: dict[tuple[float, float], Any] = {}

    def _decoder(self, beams: tuple[float, float]) -> Any:
        if beams not in self._decoders:
            self._decoders[beams] = Decoder(
                lm=None, loglevel="FATAL", beam=beams[0], pbeam=beams[0], wbeam=beams[1]
            )
        return self._decoders[beams]

    def align(
        self, audio: Float, text: str
    ) -> tuple[list[tuple[float, float]], list[tuple[str, float, float]]] | None:
        """Word times (one per ``text.split()`` item) and phones of ``audio``; None if it fails."""
        parts = [re.findall(r"[a-z']*[a-z][a-z']*", item) for item in text.split()]
        spoken = [part for item in parts for part in item]
        if not spoken or not all(parts):
            return None
        for beams, pad in _ATTEMPTS:
            decoder = self._decoder(beams)
            for word in spoken:
                if decoder.lookup_word(word) is None:
                    decoder.add_word(word, " ".join(read_word(word)))
            found = _force(decoder, _padded(audio, pad), pad, " ".join(spoken))
            if found and len(found[0]) == len(spoken):
                spans = iter(found[0])
                words = []
                for item in parts:
                    mine = [next(spans) for _ in item]
                    words.append((mine[0][0], mine[-1][1]))
                return words, found[1]
        return None


def _padded(audio: Float, pad: float) -> bytes:
    """16 kHz samples with ``pad`` seconds of the recording's own room tone on both sides."""
    count = round(pad * SAMPLE_RATE)
    edges = np.concatenate([audio[:960], audio[:960][::-1]])
    tone = np.tile(edges, count // len(edges) + 1)[:count]
    sound = resample_poly(np.concatenate([tone, audio, tone]), 2, 3)
    sound *= min(1.0, 0.9 / (np.abs(sound).max() + 1e-9)) * 32767
    data: bytes = sound.astype(np.int16).tobytes()
    return data


def _force(
    decoder: Any, data: bytes, pad: float, text: str
) -> tuple[list[tuple[float, float]], list[tuple[str, float, float]]] | None:
    seconds = len(data) / 2 / _ALIGN_RATE - 2 * pad

    def time(frame: int) -> float:
        return round(min(max(frame * _FRAME_S - pad, 0.0), seconds), 3)

    try:
        decoder.set_align_text(text)
        for stage in range(2):  # words first, then phones within them
            if stage:
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(data, full_utt=True)
            decoder.end_utt()
        words: list[tuple[float, float]] = []
        phones: list[tuple[str, float, float]] = []
        for word in decoder.get_alignment():
            if not re.match(r"<|\[|\+", word.name):
                words.append((time(word.start), time(word.start + word.duration)))
            for phone in word:
                name = SILENCE if phone.name.startswith("+") else phone.name
                start, end = time(phone.start), time(phone.start + phone.duration)
                if end > start:
                    phones.append((name, start, end))
        return words, phones
    except RuntimeError:
        return None
