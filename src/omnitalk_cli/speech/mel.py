"""Log-mel spectrograms, exactly as the vocoders that read them define them.

Both kinds: 24 kHz mono, n_fft = window = 1024, hop 256, 100 mels of the magnitude,
``log(max(x, floor))``.

* ``vocos`` (Vocos and F5-TTS, by torchaudio): centred frames, HTK scale, no area normalisation.
* ``bigvgan`` (BigVGAN and F5-TTS' variants for it, by librosa): frames that begin 384 samples
  before their hop, Slaney scale with area normalisation, ``sqrt(re² + im² + 1e-9)``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as nnf

from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE

MelKind = Literal["vocos", "bigvgan"]

N_FFT = 1024
LOG_FLOOR = 1e-5

_PADDING = {"vocos": N_FFT // 2, "bigvgan": (N_FFT - HOP) // 2}  # mirrored samples at either end
_LINEAR_STEP = 200.0 / 3.0  # Hz per Slaney mel below 1 kHz
_LOG_BEGIN = 1000.0
_LOG_STEP = math.log(6.4) / 27.0  # of the logarithm per Slaney mel above


def frames_in(samples: int, kind: MelKind = "vocos") -> int:
    """How many frames ``log_mel`` makes of so many samples."""
    return samples // HOP + (kind == "vocos")


def samples_in(frames: int, kind: MelKind = "vocos") -> int:
    """How many samples a vocoder makes of so many frames: a centred frame is also the last."""
    return (frames - (kind == "vocos")) * HOP


@cache
@torch.inference_mode(False)  # kept for all: also for those who want gradients
def mel_filterbank(kind: MelKind = "vocos") -> Tensor:
    """Triangular filters ``[513, 100]`` float32, with the rounding of the library they are from."""
    if kind == "vocos":
        return _htk_filters()
    if kind == "bigvgan":
        return _slaney_filters()
    raise ValueError(f"no mel kind {kind!r}")


def _htk_filters() -> Tensor:
    """torchaudio's, which rounds every step to float32: elsewhere the sixth digit differs."""
    hertz = torch.linspace(0, SAMPLE_RATE // 2, N_FFT // 2 + 1)
    top = 2595.0 * math.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, top, MEL_BINS + 2) / 2595.0) - 1.0)
    width = edges[1:] - edges[:-1]
    distance = edges - hertz[:, None]
    rising = -distance[:, :-2] / width[:-1]
    falling = distance[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp_min(0.0)


def _slaney_filters() -> Tensor:
    """librosa's, which computes in float64 and rounds before and after normalising the area."""
    double = torch.float64
    hertz = torch.arange(N_FFT // 2 + 1, dtype=double) * (SAMPLE_RATE / N_FFT)
    log_begin = _LOG_BEGIN / _LINEAR_STEP
    top = log_begin + math.log(SAMPLE_RATE / 2 / _LOG_BEGIN) / _LOG_STEP
    mels = torch.linspace(0.0, top, MEL_BINS + 2, dtype=double)
    bent = _LOG_BEGIN * torch.exp(_LOG_STEP * (mels - log_begin))
    edges = torch.where(mels < log_begin, _LINEAR_STEP * mels, bent)
    rising = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp_min(0.0).float()
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).float()


def log_mel(audio: Tensor, kind: MelKind = "vocos", *, floor: float = LOG_FLOOR) -> Tensor:
    """Log-mel of ``audio`` ``[..., S]`` (24 kHz, −1…1) as ``[..., T, 100]``.

    ``T`` is ``S // 256 + 1`` for ``vocos``, ``S // 256`` for ``bigvgan``. Raises ValueError when
    the audio is shorter than the 513 (385) samples that reflection needs.
    """
    padding = _PADDING[kind]
    if audio.shape[-1] <= padding:
        raise ValueError(
            f"{audio.shape[-1]} samples are too few for a mel frame ({padding + 1} at least)"
        )
    flat = nnf.pad(audio.reshape(-1, audio.shape[-1]), (padding, padding), mode="reflect")
    window = torch.hann_window(N_FFT, device=audio.device, dtype=audio.dtype)
    spectrum = torch.stft(flat, N_FFT, HOP, N_FFT, window, center=False, return_complex=True)
    if kind == "vocos":
        magnitude = spectrum.abs()
    else:
        magnitude = (torch.view_as_real(spectrum).square().sum(-1) + 1e-9).sqrt()
    mel = magnitude.transpose(1, 2) @ mel_filterbank(kind).to(audio)
    mel = mel.clamp_min(floor).log()
    return mel.reshape(*audio.shape[:-1], *mel.shape[1:])
