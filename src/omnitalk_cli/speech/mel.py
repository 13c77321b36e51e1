"""Log-mel spectrogram, exactly as Vocos and F5-TTS define it (system.md section 1 has the figures).

24 kHz mono, n_fft = window = 1024, hop 256, 100 HTK mels of the magnitude, ``log(max(x, floor))``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE

N_FFT = 1024
LOG_FLOOR = 1e-5


def _hertz_to_mel(hertz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


@lru_cache(maxsize=1)
def mel_filterbank() -> Tensor:
    """Triangular HTK filters without area normalisation, ``[513, 100]`` float32."""
    bins = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)
    edges_mel = torch.linspace(
        0.0,
        float(_hertz_to_mel(torch.tensor(SAMPLE_RATE / 2, dtype=torch.float64))),
        MEL_BINS + 2,
        dtype=torch.float64,
    )
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0.0).float()


def log_mel(audio: Tensor, *, floor: float = LOG_FLOOR) -> Tensor:
    """Log-mel of ``audio`` ``[..., S]`` (24 kHz, −1…1) as ``[..., T, 100]``, ``T = S // 256 + 1``.

    Raises ValueError when the audio is shorter than the 513 samples that reflection needs.
    """
    if audio.shape[-1] <= N_FFT // 2:
        raise ValueError(f"{audio.shape[-1]} samples are too few for a mel frame (513 at least)")
    flat = audio.reshape(-1, audio.shape[-1])
    window = torch.hann_window(N_FFT, device=audio.device, dtype=audio.dtype)
    spectrum = torch.stft(
        flat, N_FFT, HOP, N_FFT, window, center=True, pad_mode="reflect", return_complex=True
    ).abs()
    mel = spectrum.transpose(1, 2) @ mel_filterbank().to(audio)
    mel = mel.clamp_min(floor).log()
    return mel.reshape(*audio.shape[:-1], *mel.shape[1:])
