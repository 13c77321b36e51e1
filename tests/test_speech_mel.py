"""The mel is Vocos' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import log_mel, mel_filterbank
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE


def test_speech_mel_counts_frames_and_floors() -> None:
    mel = log_mel(torch.zeros(2, 3, 10 * HOP))
    assert mel.shape == (2, 3, 11, MEL_BINS)
    assert torch.allclose(mel, torch.full_like(mel, float(np.log(1e-5))))


def test_speech_mel_of_a_tone_peaks_where_the_scale_says() -> None:
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    for hertz in (300.0, 1000.0, 5000.0):
        mel = log_mel(0.5 * torch.sin(2 * torch.pi * hertz * time))
        step = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700) / (MEL_BINS + 1)
        expected = 2595 * np.log10(1 + hertz / 700) / step - 1
        assert abs(int(mel[40].argmax()) - expected) <= 1.0


def test_speech_mel_refuses_too_little_audio() -> None:
    with pytest.raises(ValueError, match="too few"):
        log_mel(torch.zeros(512))


def test_speech_mel_equals_the_vocos_package() -> None:
    try:
        VocosVocoder(VocosConfig(dim=8, intermediate_dim=8, num_layers=1))
        from vocos.feature_extractors import MelSpectrogramFeatures
    except (ImportError, OSError, SetupError) as error:
        pytest.skip(f"vocos or its torchaudio does not load here: {error}")
    theirs = MelSpectrogramFeatures()
    generator = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(2, SAMPLE_RATE, generator=generator)
    ours = log_mel(audio, floor=1e-7)  # vocos' safe_log clips at 1e-7; F5-TTS and we at 1e-5
    torch.testing.assert_close(theirs(audio).transpose(1, 2), ours, atol=2e-4, rtol=0)
    bank = theirs.mel_spec.mel_scale.fb
    torch.testing.assert_close(bank, mel_filterbank(), atol=2e-5, rtol=0)
