"""The audio mark: an id that lies in the small differences between neighbouring frequency bands.

The plane of time (32 ms) and frequency (62.5 Hz pairs of bands, 500 to 3800 Hz) is cut into cells.
A cell says +1 or -1 by which of its two bands is the louder one. Speech decides that by itself
about half of the time; where it is wrong by only a little, the embedder pushes the two bands apart
in opposite directions, and where it is wrong by a lot, it leaves the cell alone: the code (see
``coding``) corrects what is left. So most of the sound is untouched, quiet and loud alike.

All cells of a period of 1.5 s carry the whole id: some of them a known pattern that gives the
position, the others the code symbols, both in an order and with signs that only the key tells. A
reader searches over position, tempo and speed; longer sound repeats the period and reads better.

Legend: ``S`` samples, ``F`` analysis frames, ``P`` pairs of bands, ``L`` cells of a period in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import resample_poly

from omnitalk_cli.provenance.coding import (
    PAYLOAD_BITS,
    agreement,
    code_length,
    decode,
    encode,
    shuffle,
    spread,
)
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.types import SAMPLE_RATE, Float

DEFAULT_KEY = b"omnitalk audio mark 1"
FULL_SECONDS = 8.0  # from here on sound carries all 32 bits of an id, below its 16 low ones
EXCERPT_SECONDS = 12.0  # longer pieces are read in parts, so that tempo errors do not add up
MAX_EXCERPTS = 12

_FRAME = 768  # 32 ms at 24 kHz: bins of 31.25 Hz
_HOP = _FRAME // 2
_FIRST_BIN = 16  # 500 Hz; below, single harmonics are heard one by one
_BAND = 2  # bins; a cell compares two bands of this width
_PAIRS = 26  # up to 3750 Hz: telephone sound (8 kHz) keeps all of it
_LAST_BIN = _FIRST_BIN + 2 * _BAND * _PAIRS
_CELL = 2  # frames that a cell lasts
_PERIOD = 48  # cells, 1.536 s
_SYNC_SHARE = 0.25

# dB between the bands of a pair; cells that need more are left alone. Critical bands are wider at
# high frequencies, and hold both bands of a pair there: what is pushed apart is not heard apart.
_MAX_PUSH = np.linspace(7, 11, _PAIRS, dtype=np.float32)
_MARGIN = 4.0  # dB by which a cell shall be right
_ROUNDS = 2  # windows overlap, so a push arrives only in part: look again and correct
_CONTEXT = 4  # cells on both sides of a period that are analysed with it
_QUIET = 1e-6  # power of a cell below which there is nothing to mark (about -90 dBFS)

_CLIP = 3.0  # dB; what a cell says at most
_FLOOR_DB = 75.0  # cells this far below the loud ones (digital silence, mostly) say nothing ...
_KNEE_DB = 15.0  # ... and those that are above by this much say all they can
_FINE = 8  # positions per cell that are searched
_TEMPOS = np.arange(-5, 6) * 0.0025  # without change of pitch
_SPEEDS = (1.0, 1.005, 0.995, 1.01, 0.99)  # with change of pitch; tempos search around them
# In standard deviations; the best of all tries without a mark is about 4.
_PRESENT = 5.5
_WORTH_READING = 4.8
_AGREEMENT = 0.6  # what a reading must at least agree with its id, besides the CRC
_CANDIDATES = 3  # best positions that are decoded


@dataclass(frozen=True, kw_only=True)
class _Pattern:
    """What the key says: signs ``[L, P]``, flat numbers of sync cells and of the others."""

    signs: Float
    sync: NDArray[np.intp]
    data: NDArray[np.intp]


@lru_cache(maxsize=8)
def _pattern(key: bytes) -> _Pattern:
    count = _PERIOD * _PAIRS
    order = shuffle(key + b" audio order", count)
    sync = round(_SYNC_SHARE * count)
    return _Pattern(
        signs=spread(key + b" audio signs", count).reshape(_PERIOD, _PAIRS).astype(np.float32),
        sync=order[:sync],
        data=order[sync:],
    )


def payload_bits(seconds: float) -> int:
    """How many low bits of its id sound of this length carries: 16, or 32 from 8 s on."""
    return 32 if seconds >= FULL_SECONDS else 16


_WINDOW = np.sqrt(np.hanning(_FRAME + 1)[:_FRAME]).astype(np.float32)


class AudioMarker:
    """Embeds an id into mono sound at 24 kHz, piece by piece.

    What ``push`` and ``finish`` return has, together, the length of what was pushed; it does not
    depend on how the sound was cut. Output lags by up to 2 s; memory is fixed. Only the low
    ``bits`` (16 or 32) of ``mark_id`` are embedded. Raises ValueError for other ``bits``.
    """

    def __init__(self, mark_id: int, bits: int, key: bytes = DEFAULT_KEY) -> None:
        pattern = _pattern(key)
        symbols = encode(mark_id & ((1 << bits) - 1), bits)
        wanted = np.ones(_PERIOD * _PAIRS, np.float32)
        wanted[pattern.data] = symbols[np.arange(len(pattern.data)) % len(symbols)]
        wanted = wanted.reshape(_PERIOD, _PAIRS) * pattern.signs
        cells = np.arange(-_CONTEXT, _PERIOD + _CONTEXT) % _PERIOD
        self._wanted = wanted[cells]
        self._lead = np.zeros(_HOP, np.float32)  # second half of the last frame that was made
        # The clock of the cells begins half a frame early: the first sample lies in two frames.
        self._buffer = np.zeros(_CONTEXT * _CELL * _HOP + _HOP, np.float32)
        self._skip = _HOP
        self._pending = 0  # samples that were pushed and not given back

    def push(self, samples: Float) -> Float:
        """Take ``samples [S]``; return the marked samples that are ready."""
        self._pending += len(samples)
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        ready = list(self._periods())
        return self._give(np.concatenate(ready) if ready else np.zeros(0, np.float32))

    def finish(self) -> Float:
        """The rest of the marked samples."""
        parts = [np.zeros(0, np.float32)]
        left = self._pending
        while sum(map(len, parts)) < left:
            missing = _SEGMENT - len(self._buffer)
            self._buffer = np.concatenate([self._buffer, np.zeros(max(0, missing), np.float32)])
            parts.append(self._give(np.concatenate(list(self._periods()))))
        return np.concatenate(parts)[:left]

    def _give(self, samples: Float) -> Float:
        samples, self._skip = samples[self._skip :], max(0, self._skip - len(samples))
        samples = samples[: self._pending]
        self._pending -= len(samples)
        return samples

    def _periods(self) -> Iterator[Float]:
        while len(self._buffer) >= _SEGMENT:
            frames = self._pushed_apart(self._buffer[:_SEGMENT])
            first, last = frames[:, :_HOP], frames[:, _HOP:]
            first[0] += self._lead
            first[1:] += last[:-1]
            self._lead = last[-1].copy()
            yield first.reshape(-1)
            self._buffer = self._buffer[_PERIOD * _CELL * _HOP :]

    def _pushed_apart(self, sound: Float) -> Float:
        """The frames of one period ``[F, _FRAME]``, windowed twice, out of ``[_SEGMENT]``."""
        inside = slice(_CONTEXT * _CELL, (_CONTEXT + _PERIOD) * _CELL)
        original = _spectra(sound)
        band = original[:, _FIRST_BIN:_LAST_BIN]
        spectra = original.copy()
        push = np.zeros_like(self._wanted)
        alive = np.ones(push.shape, bool)
        for number in range(_ROUNDS):
            levels = _band_levels(spectra[:, _FIRST_BIN:_LAST_BIN])
            levels = levels.reshape(-1, _CELL, *levels.shape[1:]).sum(axis=1)
            need = _MARGIN - self._wanted * _contrast(levels)
            if number == 0:
                alive = (need < _MAX_PUSH) & (levels.sum(axis=-1) > _QUIET)
            push = np.where(alive, np.clip(push + need, 0, _MAX_PUSH), 0)
            spectra[:, _FIRST_BIN:_LAST_BIN] = band * self._gains(push)
            if number + 1 < _ROUNDS:
                spectra = _spectra(_overlapped(_frames(spectra)))
        return _frames(spectra[inside])

    def _gains(self, push: Float) -> Float:
        """Factors of the bins ``[F, bins]`` for pushes ``[cells, P]`` in dB."""
        up = 10 ** (self._wanted * push / 40)
        pair = np.stack([1 / up, up], axis=-1).astype(np.float32)
        return pair.reshape(len(push), -1).repeat(_BAND, axis=1).repeat(_CELL, axis=0)


_SEGMENT = ((_PERIOD + 2 * _CONTEXT) * _CELL + 1) * _HOP  # samples


def _spectra(sound: Float) -> NDArray[np.complex64]:
    """Complex spectra ``[F, bins]`` of half-overlapping frames of ``sound [(F + 1) * _HOP]``."""
    halves = sound.reshape(-1, _HOP)
    return rfft(np.concatenate([halves[:-1], halves[1:]], axis=1) * _WINDOW, axis=1)


def _frames(spectra: NDArray[np.complex64]) -> Float:
    frames: Float = irfft(spectra, n=_FRAME, axis=1)
    frames *= _WINDOW
    return frames


def _overlapped(frames: Float) -> Float:
    sound = np.zeros((len(frames) + 1, _HOP), np.float32)
    sound[:-1] += frames[:, :_HOP]
    sound[1:] += frames[:, _HOP:]
    return sound.reshape(-1)


def _band_levels(bins: NDArray[np.complex64]) -> Float:
    """Power ``[F, P, 2]`` of the lower and the upper band of every pair."""
    power = bins.real**2 + bins.imag**2
    return power.reshape(len(power), _PAIRS, 2, _BAND).sum(axis=-1)


def _contrast(levels: Float) -> Float:
    """By how many dB the upper bands are louder, ``[..., P]`` of ``[..., P, 2]``."""
    safe = levels + np.float32(1e-10)
    return 10 * (np.log10(safe[..., 1]) - np.log10(safe[..., 0]))


def embed(audio: Float, mark_id: int, bits: int, key: bytes = DEFAULT_KEY) -> Float:
    """``audio [S]`` (mono, 24 kHz) with the low ``bits`` of ``mark_id`` in it, of equal length."""
    marker = AudioMarker(mark_id, bits, key)
    return np.concatenate([marker.push(audio), marker.finish()])


def excerpts(seconds: float) -> list[tuple[float, float]]:
    """Which parts (start, length) of a sound are read: all of it, or parts spread over a long one.

    A file of hours costs no more than one of two minutes; each part is a read of ``detect``.
    """
    if seconds <= 1.5 * EXCERPT_SECONDS:
        return [(0.0, seconds)]
    count = min(MAX_EXCERPTS, int(-(-seconds // EXCERPT_SECONDS)))
    starts = np.linspace(0, seconds - EXCERPT_SECONDS, count)
    return [(float(start), EXCERPT_SECONDS) for start in starts]


def detect(audio: Float, rate: int, key: bytes = DEFAULT_KEY) -> Detection:
    """Look for the mark in mono ``audio [S]`` at ``rate`` Hz (8000 or more).

    Long sound is read in ``excerpts``, until one gives an id; what they say is added up as well.
    """
    if rate <= 0:
        raise ValueError(f"a sample rate is positive, not {rate}")
    best = Detection(id=None, bits=0, confidence=0.0, present=False)
    total = _Hit(
        deviations=0.0,
        strength=0.0,
        soft={bits: np.zeros(code_length(bits), np.float32) for bits in PAYLOAD_BITS},
    )
    parts = excerpts(len(audio) / rate)
    for start, seconds in parts:
        part = audio[round(start * rate) : round((start + seconds) * rate)]
        sound = _at_own_rate(part, rate)
        clearest: _Hit | None = None
        for speed in _SPEEDS:
            for hit in _search(_at_speed(sound, speed), _pattern(key)):
                found = _read(hit)
                if found.id is not None:
                    return found
                if found.confidence > best.confidence:
                    best = found
                if clearest is None or hit.deviations > clearest.deviations:
                    clearest = hit
        if clearest is not None:
            for bits in PAYLOAD_BITS:
                total.soft[bits][:] += clearest.soft[bits]
    if len(parts) > 1 and best.present:
        found = _read(total)
        if found.id is not None:
            return found
    return best


def _at_own_rate(audio: Float, rate: int) -> Float:
    sound = np.nan_to_num(np.asarray(audio, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if rate == SAMPLE_RATE or not len(sound):
        return sound
    shared = gcd(rate, SAMPLE_RATE)
    return resample_poly(sound, SAMPLE_RATE // shared, rate // shared).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _Hit:
    """A position where the pattern fits: strength 0 to 1, and what the cells say of each code."""

    deviations: float
    strength: float
    soft: dict[int, Float]


def _read(hit: _Hit) -> Detection:
    for bits in sorted(PAYLOAD_BITS, reverse=True):
        value = decode(hit.soft[bits], bits)
        if value is not None:
            fit = agreement(hit.soft[bits], value, bits)
            if fit >= _AGREEMENT:
                return Detection(id=value, bits=bits, confidence=fit, present=True)
    present = hit.deviations > _PRESENT
    return Detection(id=None, bits=0, confidence=hit.strength if present else 0.0, present=present)


def _search(sound: Float, pattern: _Pattern) -> list[_Hit]:
    """The best positions of the pattern in ``sound [S]`` that are worth reading, best first."""
    mask = np.zeros(_PERIOD * _PAIRS, np.float32)
    mask[pattern.sync] = 1
    template = np.conj(rfft(mask.reshape(_PERIOD, _PAIRS) * pattern.signs, axis=0))  # [L/2+1, P]
    expected = len(pattern.sync)
    found: list[tuple[float, Float]] = []
    said = _said(sound)
    for tempo in _TEMPOS:
        folded = _folded(said, 1 + tempo)  # [fine, L, P]
        if folded is None:
            continue
        fit = irfft((rfft(folded, axis=1) * template).sum(axis=2), n=_PERIOD, axis=1)
        chance = np.sqrt(expected * (folded**2).mean(axis=(1, 2)) + 1e-12)
        deviations = fit / chance[:, None]
        fine, shift = np.unravel_index(int(deviations.argmax()), deviations.shape)
        value = float(deviations[fine, shift])
        if value > _WORTH_READING:
            found.append((value, np.roll(folded[fine], -int(shift), axis=0)))
    found.sort(key=lambda pair: -pair[0])
    return [
        _Hit(
            deviations=value,
            strength=min(1.0, value / expected**0.5),
            soft=_soft(cells * pattern.signs, pattern),
        )
        for value, cells in found[:_CANDIDATES]
    ]


def _at_speed(sound: Float, speed: float) -> Float:
    if speed == 1.0 or not len(sound):
        return sound
    at = np.arange(0, len(sound) - 1, 1 / speed)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def _said(sound: Float) -> Float:
    """What a cell that begins there would say, -1 to 1, ``[positions, P]``; 8 positions a cell."""
    step = _CELL * _HOP // _FINE
    # Half a frame of silence at both ends, as for the embedder, plus whole cells to roll in.
    sound = np.concatenate([np.zeros(_HOP, np.float32), sound, np.zeros(_FRAME, np.float32)])
    if len(sound) < _FRAME + _CELL * _HOP:
        return np.zeros((0, _PAIRS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, _FRAME)[::step]
    # In parts: the frames overlap eightfold, and all of them at once would need much memory.
    bins = np.concatenate(
        [
            rfft(frames[at : at + 512] * _WINDOW, axis=1)[:, _FIRST_BIN:_LAST_BIN]
            for at in range(0, len(frames), 512)
        ]
    )
    levels = _band_levels(bins)
    later = _HOP // step
    levels = levels[:-later] + levels[later:]
    power = 10 * np.log10(levels.sum(axis=-1) + 1e-12)
    loud = np.percentile(power, 95)
    weight = np.clip((power - loud + _FLOOR_DB) / _KNEE_DB, 0, 1)
    return np.asarray(np.clip(_contrast(levels) / _CLIP, -1, 1) * weight, np.float32)


def _folded(said: Float, tempo: float) -> Float | None:
    """Sums over all periods ``[fine positions, L, P]`` when cells last ``1 / tempo`` as long."""
    count = int((len(said) - _FINE) * tempo / _FINE)
    if count < 1:
        return None
    cells = np.round(np.arange(count) * _FINE / tempo).astype(np.intp)
    picked = said[cells[None, :] + np.arange(_FINE)[:, None]]  # [fine, cells, P]
    whole = np.zeros((_FINE, -(-count // _PERIOD) * _PERIOD, _PAIRS), np.float32)
    whole[:, :count] = picked
    return whole.reshape(_FINE, -1, _PERIOD, _PAIRS).sum(axis=1)


def _soft(cells: Float, pattern: _Pattern) -> dict[int, Float]:
    """Soft values of the symbols of both codes, from the cells ``[L, P]`` with signs undone."""
    said = cells.reshape(-1)[pattern.data]
    soft = {}
    for bits in PAYLOAD_BITS:
        length = code_length(bits)
        sums = np.bincount(np.arange(len(said)) % length, weights=said, minlength=length)
        soft[bits] = sums.astype(np.float32)
    return soft
