"""Where a voice is heard, and where anything is: what recognised words are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

Span = tuple[float, float]

_RATE = 16_000
_VOICE_STEP = 512  # samples of one answer of the Silero network
_VOICE = 0.35  # its probability from which a voice is taken to be there
_LEVEL_STEP = 320  # samples, 20 ms
_FAINTEST = -80.0  # dB of full scale: below, it is silent
_RANGE = 40.0  # dB below the loud parts in which sound counts
_BRIDGED, _SHORTEST = 0.15, 0.08  # seconds: shorter gaps are closed, shorter spans dropped


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Stretches of a sound of ``seconds``: ``voiced`` with a voice, ``sounding`` with anything.

    Both are in order and apart from each other.
    """

    seconds: float
    voiced: tuple[Span, ...]
    sounding: tuple[Span, ...]


def activity(audio: Float) -> Activity:
    """Where there is voice and sound in ``audio`` (mono float32 ``[S]`` at 16 kHz).

    Voice (speaking or singing) is what the Silero network hears, which faster-whisper carries.
    Raises ImportError or RuntimeError when that cannot be loaded.
    """
    from faster_whisper.vad import get_vad_model

    audio = np.asarray(audio, np.float32)
    seconds = len(audio) / _RATE
    padded = np.pad(audio, (0, -len(audio) % _VOICE_STEP or _VOICE_STEP))
    likely = np.asarray(get_vad_model()(padded)).reshape(-1)
    return Activity(
        seconds=seconds,
        voiced=spans(likely >= _VOICE, _VOICE_STEP / _RATE, seconds),
        sounding=spans(_audible(audio), _LEVEL_STEP / _RATE, seconds),
    )


def spans(active: NDArray[np.bool_], step: float, seconds: float) -> tuple[Span, ...]:
    """Stretches of ``active`` [n] steps of ``step`` seconds, within ``seconds``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    found: list[Span] = []
    for first, last in edges.reshape(-1, 2):
        start, end = min(first * step, seconds), min(last * step, seconds)
        if found and start - found[-1][1] < _BRIDGED:
            start = found.pop()[0]
        found.append((float(start), float(end)))
    return tuple(span for span in found if span[1] - span[0] >= _SHORTEST)


def overlap(start: float, end: float, stretches: Iterable[Span], *, reach: float = 0.0) -> float:
    """Seconds of ``start`` … ``end`` in ``stretches``, each ``reach`` longer on both sides."""
    total, free = 0.0, start
    for first, last in stretches:
        first, last = max(free, first - reach), min(end, last + reach)
        if last > first:
            total += last - first
            free = last
    return total


def _audible(audio: Float) -> NDArray[np.bool_]:
    """Whether every 20 ms of ``audio`` can be heard beside its loud parts."""
    count = max(1, -(-len(audio) // _LEVEL_STEP))
    padded = np.pad(audio, (0, count * _LEVEL_STEP - len(audio))).astype(np.float64)
    power = (padded.reshape(count, _LEVEL_STEP) ** 2).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    return level > max(_FAINTEST, float(np.quantile(level, 0.95)) - _RANGE)
