"""Virtual speakers: a recording in another voice, pace and room, straight to a log-mel.

Fast enough (about 250 times real time on a core) to be drawn anew for every training sample, so
that no virtual voice is ever heard twice.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.speech.mel import LOG_FLOOR, N_FFT, mel_filterbank
from omnitalk_cli.training.augment import Channel, fill_top_bands, scale_pitch
from omnitalk_cli.types import HOP, SAMPLE_RATE, Float

# The envelope of the spectrum is what its cepstrum has below this quefrency (samples): 2 ms, under
# the pitch period of all but the highest voices.
_LIFTER = 44


@dataclass(frozen=True, kw_only=True)
class VirtualVoice:
    """``pitch`` and ``formants`` are factors on the recording's own, ``tempo`` on its length."""

    pitch: float
    formants: float
    tempo: float
    channel: Channel

    @classmethod
    def sample(
        cls, rng: np.random.Generator, *, pitch: tuple[float, float] = (0.68, 1.35)
    ) -> VirtualVoice:
        """A random voice. Formants follow the pitch in part, as they do between people: a voice an
        octave higher has formants a sixth higher."""
        plain = rng.random() < 0.12
        log_pitch = 0.0 if plain else rng.uniform(np.log(pitch[0]), np.log(pitch[1]))
        log_formants = 0.0 if plain else 0.45 * log_pitch + rng.normal(0.0, 0.055)
        return cls(
            pitch=float(np.exp(log_pitch)),
            formants=float(np.exp(np.clip(log_formants, np.log(0.78), np.log(1.28)))),
            tempo=float(np.exp(rng.uniform(np.log(0.86), np.log(1.16)))),
            channel=Channel.plain() if rng.random() < 0.15 else Channel.sample(rng),
        )

    def log_mel(
        self, audio: Float, rng: np.random.Generator, *, bandwidth: float = SAMPLE_RATE / 2
    ) -> tuple[Float, float]:
        """Log-mel ``[T,100]`` of ``audio`` ``[S]`` (24 kHz, empty above ``bandwidth``) in this
        voice, and the factor on all times of the recording."""
        # Resampling moves formants with the pitch; warping the envelope then takes them where they
        # belong, and the hop restores the length.
        raw, pitch = scale_pitch(audio, self.pitch)
        raw = self.channel.apply(raw, rng)
        hop = max(round(HOP / (self.tempo * pitch)), 1)
        spectrum = torch.stft(
            torch.from_numpy(np.ascontiguousarray(raw, np.float32)),
            N_FFT, hop, N_FFT, torch.hann_window(N_FFT),
            center=True, pad_mode="reflect", return_complex=True,
        ).abs().T  # fmt: skip
        warp = self.formants / pitch
        if abs(warp - 1.0) > 0.01:
            spectrum = warp_envelope(spectrum, warp)
        mel = (spectrum @ mel_filterbank()).clamp_min(LOG_FLOOR).log().numpy()
        top = bandwidth * min(pitch, warp * pitch)
        mel = fill_top_bands(mel, min(top, SAMPLE_RATE / 2))
        return mel, HOP / hop / pitch


def warp_envelope(spectrum: Tensor, factor: float) -> Tensor:
    """Magnitudes ``[T,F]`` with their envelope stretched by ``factor`` along frequency, the
    harmonics left where they are."""
    level = spectrum.clamp_min(1e-6).log()
    cepstrum = torch.fft.irfft(level, dim=1)
    count = cepstrum.shape[1]
    window = torch.zeros(count)
    window[:_LIFTER] = 0.5 + 0.5 * torch.cos(torch.linspace(0.0, torch.pi, _LIFTER))
    window[count - _LIFTER + 1 :] = window[1:_LIFTER].flip(0)
    envelope = torch.fft.rfft(cepstrum * window, dim=1).real
    bins = envelope.shape[1]
    place = (torch.arange(bins) / factor).clamp(max=bins - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=bins - 1)
    share = place - low
    moved = (1 - share) * envelope[:, low] + share * envelope[:, high]
    return (level + moved - envelope).exp()


def seed_of(name: str) -> int:
    """A number for a name, the same everywhere."""
    return zlib.crc32(name.encode())
