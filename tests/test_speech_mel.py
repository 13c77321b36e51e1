"""The mels are Vocos' and BigVGAN's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import MelKind, frames_in, log_mel, mel_filterbank, samples_in
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


@pytest.mark.parametrize(("kind", "least"), [("vocos", 513), ("bigvgan", 385)])
def test_speech_mel_lengths_are_the_kinds_own(kind: MelKind, least: int) -> None:
    for samples in (least, 1000, 1023, 1024, 4000):
        frames = log_mel(torch.zeros(samples), kind).shape[0]
        assert frames == frames_in(samples, kind)
        assert 0 <= samples - samples_in(frames, kind) < HOP
    with pytest.raises(ValueError, match=f"too few for a mel frame .{least} at least"):
        log_mel(torch.zeros(least - 1), kind)
    with pytest.raises(ValueError, match="no mel kind"):
        mel_filterbank("librosa")  # type: ignore[arg-type]


def _slaney_filters() -> np.ndarray:
    """The bank [513,100] filter by filter, from Slaney's definition of the scale."""
    top = 15 + 27 * np.log(12) / np.log(6.4)
    edges = [
        200 / 3 * m if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in np.linspace(0, top, 102)
    ]
    bank = np.zeros((513, 100))
    for m in range(100):
        low, middle, high = edges[m : m + 3]
        for k in range(513):
            hertz = k * 24_000 / 1024
            side = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
            bank[k, m] = max(0.0, min(side)) * 2 / (high - low)
    return bank


def test_speech_mel_of_bigvgan_has_slaneys_filters_of_unit_area() -> None:
    bank = mel_filterbank("bigvgan").numpy()
    np.testing.assert_allclose(bank, _slaney_filters(), rtol=2e-5, atol=1e-9)
    # librosa.filters.mel(sr=24000, n_fft=1024, n_mels=100): place and height of some peaks.
    for band, place, height in ((0, 1, 0.02056655), (45, 75, 0.01336018), (99, 494, 0.00240738)):
        assert int(bank[:, band].argmax()) == place
        assert float(bank[place, band]) == pytest.approx(height, abs=1e-8)


def test_speech_mel_of_bigvgan_frame_by_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(2000, generator=generator, dtype=torch.float64)
    mel = log_mel(audio, "bigvgan").numpy()
    padded = np.pad(audio.numpy(), 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    for frame in range(7):
        spectrum = np.fft.rfft(window * padded[frame * 256 : frame * 256 + 1024])
        expected = np.log(np.sqrt(np.abs(spectrum) ** 2 + 1e-9) @ _slaney_filters())
        np.testing.assert_allclose(mel[frame], expected, atol=3e-5)
    assert len(mel) == 7
    assert log_mel(torch.zeros(1000), "bigvgan").max() == pytest.approx(np.log(1e-5))


def test_speech_mel_equals_the_vocos_package() -> None:
    try:
        VocosVocoder(VocosConfig(dim=8, intermediate_dim=8, num_layers=1))
        from vocos.feature_extractors import MelSpectrogramFeatures
    except (ImportError, OSError, SetupError) as error:
        pytest.skip(f"vocos or its torchaudio does not load here: {error}")
    theirs = MelSpectrogramFeatures()
    generator = torch.Generator().manual_seed(0)
    for level in (1e-4, 0.1, 3.0):
        audio = level * torch.randn(2, SAMPLE_RATE, generator=generator)
        ours = log_mel(audio, floor=1e-7)  # vocos' safe_log clips at 1e-7; F5-TTS and we at 1e-5
        torch.testing.assert_close(theirs(audio).transpose(1, 2), ours, atol=1e-5, rtol=0)
    bank = theirs.mel_spec.mel_scale.fb
    torch.testing.assert_close(bank, mel_filterbank(), atol=1e-7, rtol=0)
