"""New voices and rooms out of given speech: pitch, formants, tempo, tone, echo, noise.

All audio here is ``[S]`` float32 at 24 kHz unless a rate is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve, resample_poly

from omnitalk_cli.speech.mel import LOG_FLOOR, N_FFT, log_mel, mel_filterbank
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE, Float

_FRAME = 240  # 10 ms, the grid that loudness is measured on


def speech_span(audio: Float, *, threshold_db: float = -40.0) -> tuple[int, int]:
    """First and last sample louder than ``threshold_db`` under the loudest 10 ms, or (0, S)."""
    count = len(audio) // _FRAME
    power = np.square(audio[: count * _FRAME].reshape(count, _FRAME)).mean(axis=1)
    if count == 0 or power.max() <= 0:
        return 0, len(audio)
    loud = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    return int(loud[0]) * _FRAME, (int(loud[-1]) + 1) * _FRAME


def trim(audio: Float, rng: np.random.Generator) -> tuple[Float, float]:
    """Cut silence at both ends, keep 50–100 ms of it. Returns the audio and the seconds cut off
    in front. Where there is less silence than that, zeros are added: see :func:`fill_silence`."""
    start, end = speech_span(audio)
    before, after = (int(SAMPLE_RATE * rng.uniform(0.05, 0.1)) for _ in range(2))
    first, last = start - before, end + after
    padded = np.pad(audio[max(first, 0) : last], (max(-first, 0), max(last - len(audio), 0)))
    return padded.astype(np.float32), first / SAMPLE_RATE


def fill_silence(audio: Float, rng: np.random.Generator) -> Float:
    """Put noise like the recording's own quietest 40 ms where its ends are digital silence.

    A noise floor that stops at the first word would be learned as a part of speech.
    """
    sounding = np.flatnonzero(audio)
    if len(sounding) == 0:
        return audio
    first, last, size = int(sounding[0]), int(sounding[-1]) + 1, 960
    edge = 120  # what lies at a cut may be a fade
    inner = audio[first + edge : last - edge]
    count = len(inner) // size
    if count == 0 or first + len(audio) - last < size // 4:
        return audio
    pieces = inner[: count * size].reshape(count, size)
    quiet = pieces[int(np.square(pieces).mean(axis=1).argmin())]
    shape = np.abs(np.fft.rfft(quiet * np.hanning(size)))
    length = size * math.ceil(len(audio) / size)
    wide = np.interp(np.linspace(0, 1, length // 2 + 1), np.linspace(0, 1, size // 2 + 1), shape)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * wide, length)[: len(audio)]
    noise *= float(quiet.std()) / (float(noise.std()) + 1e-12)
    weight = np.ones(len(audio))
    weight[first:last] = 0.0
    # Fades that run over the cut hide it.
    weight = np.convolve(weight, np.hanning(2 * edge + 1) / edge, mode="same").clip(0, 1)
    if first == 0:
        weight[: 2 * edge] = 0.0
    return (audio + noise * weight).astype(np.float32)


def set_level(audio: Float, level: float) -> Float:
    """Scale to root mean square ``level``, held below full scale."""
    rms = float(np.sqrt(np.mean(np.square(audio)))) + 1e-9
    peak = float(np.abs(audio).max()) + 1e-9
    return (audio * min(level / rms, 0.98 / peak)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """How a speaker was recorded: tone curve, room and noise floor. Fixed per speaker.

    ``gains_db`` at 7 frequencies from 60 Hz to 12 kHz, ``echo_s`` reverberation time (0: none),
    ``echo_mix`` its level, ``noise_db`` the noise floor below the speech level, ``noise_slope``
    the exponent of its spectrum (0 white, 1 pink), ``level`` the root mean square, ``seed`` of the
    echo.
    """

    gains_db: tuple[float, ...]
    echo_s: float
    echo_mix: float
    noise_db: float
    noise_slope: float
    level: float
    seed: int

    @classmethod
    def sample(
        cls, rng: np.random.Generator, *, tone_db: float = 3.0, far_share: float = 0.2
    ) -> Channel:
        """A random channel; ``tone_db`` is the spread of the tone curve, ``far_share`` how many are
        as bad as speech filmed from afar or out of doors."""
        usual = cls(
            gains_db=tuple(float(g) for g in np.clip(rng.normal(0, tone_db, 7), -8, 8)),
            echo_s=float(rng.uniform(0.08, 0.35)) if rng.random() < 0.5 else 0.0,
            echo_mix=float(rng.uniform(0.02, 0.12)),
            noise_db=float(rng.uniform(-62, -40)),
            noise_slope=float(rng.uniform(0.3, 1.3)),
            level=float(0.06 * np.exp(rng.normal(0, 0.12))),
            seed=int(rng.integers(2**31)),
        )
        if rng.random() >= far_share:
            return usual
        return replace(
            usual,
            echo_mix=float(rng.uniform(0.12, 0.3)),
            noise_db=float(rng.uniform(-40, -22)),
        )

    @classmethod
    def plain(cls, level: float = 0.06) -> Channel:
        """No tone curve, no room and hardly any noise."""
        return cls(
            gains_db=(0.0,) * 7, echo_s=0.0, echo_mix=0.0, noise_db=-75, noise_slope=0.5,
            level=level, seed=0,
        )  # fmt: skip

    def apply(self, audio: Float, rng: np.random.Generator) -> Float:
        """``audio`` as this channel records it, of the same length."""
        size = len(audio)
        kernel = self.kernel()
        if len(kernel) > 1:
            audio = fftconvolve(audio, kernel)[:size]
        audio = set_level(audio, self.level)
        noise = self.noise(size, rng) * (self.level * 10 ** (self.noise_db / 20))
        return (audio + noise).astype(np.float32)

    def noise(self, size: int, rng: np.random.Generator) -> Float:
        """``size`` samples of the noise floor at unit level."""
        length = next_fast_len(size, real=True)
        white = rfft(rng.standard_normal(length, dtype=np.float32))
        hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 40.0).astype(np.float32)
        floor: Float = irfft(white * hertz ** (-self.noise_slope / 2), length)[:size]
        return floor / (floor.std() + 1e-9)

    @lru_cache(maxsize=64)  # noqa: B019 - a frozen value, and few of them
    def kernel(self) -> Float:
        """Impulse response: direct sound and decaying noise, seen through the tone curve."""
        size = int(self.echo_s * SAMPLE_RATE)
        response = np.zeros(2 * ((max(size, 1) + 512) // 2), np.float64)
        response[0] = 1.0
        if size:
            noise = np.random.default_rng(self.seed).standard_normal(size)
            time = np.arange(size) / SAMPLE_RATE
            tail = noise * np.exp(-6.9 * time / self.echo_s)
            tail[: int(0.003 * SAMPLE_RATE)] = 0.0
            response[:size] += tail * (self.echo_mix / (np.sqrt(np.square(tail).sum()) + 1e-9)) * 3
        if not any(self.gains_db):
            return response[: size + 1].astype(np.float32)
        grid = np.geomspace(60, SAMPLE_RATE / 2, len(self.gains_db))
        hertz = np.fft.rfftfreq(len(response), 1 / SAMPLE_RATE)
        gain = 10 ** (np.interp(np.log(hertz + 1), np.log(grid), self.gains_db) / 20)
        # Minimum phase (real cepstrum): a zero-phase curve would ring before the sound.
        cepstrum = np.fft.irfft(np.log(gain), len(response))
        half = len(response) // 2
        cepstrum[1:half] *= 2
        cepstrum[half + 1 :] = 0
        curve = np.exp(np.fft.rfft(cepstrum))
        return np.fft.irfft(np.fft.rfft(response) * curve, len(response)).astype(np.float32)


def scale_pitch(audio: Float, factor: float, *, rate: int = SAMPLE_RATE) -> tuple[Float, float]:
    """Resample ``audio`` (at ``rate``): at 24 kHz pitch and formants stand ``factor`` higher.

    Returns the audio, ``1 / factor`` as long, and the exact factor reached.
    """
    up = 160
    down = max(round(160 * factor * rate / SAMPLE_RATE), 1)
    exact = down / up * SAMPLE_RATE / rate
    if up == down:
        return audio, 1.0
    return resample_poly(audio, up, down).astype(np.float32), exact


def stretched_mel(audio: Float, stretch: float = 1.0) -> tuple[Float, float]:
    """Log-mel ``[T,100]`` with the hop changed, so that it lasts ``stretch`` times as long.

    Returns it and the exact stretch reached (hops are whole samples).
    """
    hop = max(round(HOP / stretch), 1)
    signal = torch.from_numpy(np.ascontiguousarray(audio, np.float32))
    if hop == HOP:
        return log_mel(signal).numpy(), 1.0
    spectrum = torch.stft(
        signal, N_FFT, hop, N_FFT, torch.hann_window(N_FFT),
        center=True, pad_mode="reflect", return_complex=True,
    ).abs()  # fmt: skip
    mel = (spectrum.T @ mel_filterbank()).clamp_min(LOG_FLOOR).log()
    return mel.numpy(), HOP / hop


def fill_top_bands(mel: Float, bandwidth: float) -> Float:
    """Mirror the bands below ``bandwidth`` (Hz) into the empty ones above, a little weaker.

    What came from a lower sampling rate has nothing there, and would be known by it.
    """
    if bandwidth >= 0.99 * SAMPLE_RATE / 2:
        return mel
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edge = int(2595 * np.log10(1 + 0.96 * bandwidth / 700) / top * (MEL_BINS + 1)) - 1
    filled = mel.copy()
    empty = MEL_BINS - edge
    slope = np.linspace(0.0, 0.8, empty, dtype=np.float32)
    filled[:, edge:] = np.maximum(mel[:, edge:], mel[:, edge - empty : edge][:, ::-1] - slope)
    return filled


def _scaled(
    spans: Iterable[tuple[float, float]], scale: float, shift: float, seconds: float
) -> list[tuple[float, float]]:
    def move(time: float) -> float:
        return min(max(time * scale + shift, 0.0), seconds)

    return [(move(a), move(b)) for a, b in spans]


def retimed(
    words: list[tuple[float, float]],
    phones: list[tuple[str, float, float]] | None,
    scale: float,
    shift: float,
    seconds: float,
) -> dict[str, Any]:
    """Word and phone times after stretching and cutting; phones that were cut off are gone."""
    moved = None
    if phones is not None:
        times = _scaled([(a, b) for _, a, b in phones], scale, shift, seconds)
        moved = [
            (s, a, b) for (s, _, _), (a, b) in zip(phones, times, strict=True) if b - a > 0.001
        ]
    return {"words": _scaled(words, scale, shift, seconds), "phones": moved}
