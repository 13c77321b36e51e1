"""Mira's voice: espeak-ng, made a little warmer and put into a small room."""

from __future__ import annotations

import numpy as np
from scipy import signal

from omnitalk_cli.training.espeak import Espeak, EspeakVoice
from omnitalk_cli.types import SAMPLE_RATE

VOICE = EspeakVoice(name="en-us+anika", rate=158, pitch=52, pitch_range=58)
LEAD, TAIL = 0.35, 0.55  # silence before and after, seconds


def speak(text: str, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Say ``text``: audio ``[S]`` float32 at 24 kHz and phones (espeak's names, seconds)."""
    with Espeak() as espeak:
        spoken = espeak.say(text, VOICE)
    audio = signal.resample_poly(spoken.audio, 160, 147)  # 22.05 to 24 kHz
    lead, tail = int(LEAD * SAMPLE_RATE), int(TAIL * SAMPLE_RATE)
    audio = np.concatenate([np.zeros(lead), audio, np.zeros(tail)])
    phones = [(name, start + LEAD, end + LEAD) for name, start, end in spoken.phones]
    return warm(audio, rng), phones


def _shelf(frequency: float, gain_db: float, kind: str) -> np.ndarray:
    """A second-order shelf (R. Bristow-Johnson's cookbook, slope 1)."""
    a = 10 ** (gain_db / 40)
    w = 2 * np.pi * frequency / SAMPLE_RATE
    alpha = np.sin(w) / np.sqrt(2)
    sign = 1.0 if kind == "low" else -1.0
    c, root = sign * np.cos(w), 2 * np.sqrt(a) * alpha
    b0 = a * ((a + 1) - (a - 1) * c + root)
    b1 = sign * 2 * a * ((a - 1) - (a + 1) * c)
    b2 = a * ((a + 1) - (a - 1) * c - root)
    a0 = (a + 1) + (a - 1) * c + root
    a1 = sign * -2 * ((a - 1) + (a + 1) * c)
    a2 = (a + 1) + (a - 1) * c - root
    return np.array([b0, b1, b2, a0, a1, a2]) / a0


def warm(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less buzz, more chest, a small room and its quiet noise; peak at -3 dB."""
    chain = np.stack([_shelf(220, 2.5, "low"), _shelf(3200, -4.5, "high")])
    audio = signal.sosfilt(chain, audio)
    audio = signal.sosfilt(signal.butter(2, 70, "high", fs=SAMPLE_RATE, output="sos"), audio)
    length = int(0.22 * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    room = rng.standard_normal(length) * np.exp(-time / 0.035)
    room = signal.sosfilt(signal.butter(1, [180, 4200], "band", fs=SAMPLE_RATE, output="sos"), room)
    room *= 0.16 / np.sqrt((room**2).sum())
    room[: int(0.004 * SAMPLE_RATE)] = 0.0
    room[0] = 1.0
    audio = signal.fftconvolve(audio, room)[: len(audio)]
    hiss = signal.lfilter([1.0], [1.0, -0.95], rng.standard_normal(len(audio)))
    audio = audio / np.abs(audio).max() * 0.7 + hiss / np.abs(hiss).max() * 10 ** (-58 / 20)
    return audio.astype(np.float32)
