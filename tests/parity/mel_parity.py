"""omnitalk's two mels against torchaudio and librosa, on made and, where given, recorded sound."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from reporting import Report, chirps
from torch import Tensor

from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.speech.mel import log_mel, mel_filterbank
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder

BOUND = 1e-5


def torchaudio_mel() -> torch.nn.Module:
    """The transform with the arguments that F5-TTS and Vocos give it."""
    VocosVocoder(VocosConfig(dim=8, intermediate_dim=8, num_layers=1))  # makes torchaudio load
    import torchaudio

    transform: torch.nn.Module = torchaudio.transforms.MelSpectrogram(
        sample_rate=24_000, n_fft=1024, win_length=1024, hop_length=256, n_mels=100, power=1,
        center=True, normalized=False, norm=None,
    )  # fmt: skip
    return transform


def bigvgan_mel(audio: Tensor, bank: Tensor) -> Tensor:
    """[B,S] to [B,T,100], step by step as in NVIDIA's ``meldataset.mel_spectrogram``."""
    padded = torch.nn.functional.pad(audio[:, None], (384, 384), mode="reflect")[:, 0]
    spectrum = torch.view_as_real(
        torch.stft(
            padded, 1024, hop_length=256, win_length=1024, window=torch.hann_window(1024),
            center=False, onesided=True, return_complex=True,
        )
    )  # fmt: skip
    magnitude = torch.sqrt(spectrum.pow(2).sum(-1) + 1e-9)
    return torch.log(torch.clamp(torch.matmul(bank, magnitude), min=1e-5)).transpose(1, 2)


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    from librosa.filters import mel as librosa_filters

    theirs = torchaudio_mel()
    bank = torch.from_numpy(librosa_filters(sr=24_000, n_fft=1024, n_mels=100, fmin=0, fmax=None))
    report = Report()
    report.compare("filters, vocos", mel_filterbank(), theirs.mel_scale.fb, bound=1e-6)
    report.compare("filters, bigvgan", mel_filterbank("bigvgan"), bank.T, bound=1e-6)
    made = chirps(2.0, rows=2)
    sounds = {
        "chirps": made, "loud": made * 30, "quiet": made * 1e-4, "short": made[:, 1000:1600],
        "silence": made * 0, "odd length": made[:, :12_345],
    }  # fmt: skip
    for path in chosen.recordings:
        sounds[path.name] = torch.from_numpy(decode_audio(path))[None]
    for name, sound in sounds.items():
        expected = theirs(sound).clamp(min=1e-5).log().transpose(1, 2)
        report.compare(f"vocos mel, {name}", log_mel(sound), expected, bound=BOUND)
        expected = bigvgan_mel(sound, bank.float())
        report.compare(f"bigvgan mel, {name}", log_mel(sound, "bigvgan"), expected, bound=BOUND)
    report.finish()


if __name__ == "__main__":
    main()
