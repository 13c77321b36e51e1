"""Virtual speakers: pitch, formants and tempo move as told, each on its own."""

import numpy as np
import pytest
import torch

from omnitalk_cli.training.augment import Channel
from omnitalk_cli.training.voices import VirtualVoice, warp_envelope
from omnitalk_cli.types import HOP, SAMPLE_RATE


def vowel(hertz: float, formant: float, seconds: float = 0.8) -> np.ndarray:
    """Harmonics of ``hertz`` under one broad peak."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    numbers = np.arange(1, int(10_000 / hertz))
    weights = np.exp(-(((numbers * hertz - formant) / 500.0) ** 2)) + 1e-3
    sound = (weights[:, None] * np.sin(2 * np.pi * hertz * numbers[:, None] * time)).sum(0)
    return (0.1 * sound / np.abs(sound).max()).astype(np.float32)


def voice(pitch: float = 1.0, formants: float = 1.0, tempo: float = 1.0) -> VirtualVoice:
    return VirtualVoice(pitch=pitch, formants=formants, tempo=tempo, channel=Channel.plain())


def peak_bin(mel: np.ndarray) -> float:
    """Centre of the strongest mel bins."""
    power = np.exp(2 * mel[5:-5].mean(0))
    return float((power * np.arange(100)).sum() / power.sum())


def test_a_neutral_voice_only_sets_the_level() -> None:
    audio = vowel(200, 1500)
    mel, scale = voice().log_mel(audio, np.random.default_rng(0))
    assert scale == 1.0 and len(mel) == len(audio) // HOP + 1


@pytest.mark.parametrize("tempo", [0.87, 1.15])
def test_tempo_scales_time(tempo: float) -> None:
    audio = vowel(200, 1500)
    mel, scale = voice(tempo=tempo, pitch=1.1).log_mel(audio, np.random.default_rng(0))
    assert scale == pytest.approx(tempo, rel=0.02)
    assert len(mel) == pytest.approx(scale * len(audio) / HOP, abs=2)


def test_formants_move_without_the_pitch_and_stay_when_pitch_moves() -> None:
    audio = vowel(150, 2000)
    rng = np.random.default_rng(0)
    plain = peak_bin(voice().log_mel(audio, rng)[0])
    higher = peak_bin(voice(formants=1.2).log_mel(audio, rng)[0])
    pitched = peak_bin(voice(pitch=1.3).log_mel(audio, rng)[0])
    assert higher > plain + 3
    assert pitched == pytest.approx(plain, abs=1.5)


def test_warping_keeps_harmonics_where_they_are() -> None:
    frame = torch.from_numpy(vowel(300, 1500)[:1024] * np.hanning(1024))
    spectrum = torch.fft.rfft(frame).abs().float()[None]
    warped = warp_envelope(spectrum, 1.2)
    low = slice(8, 60)
    tops = [s[0, low].diff().sign().diff().lt(0).nonzero().flatten() for s in (spectrum, warped)]
    matched = [int((tops[1] - top).abs().min()) for top in tops[0]]
    assert np.median(matched) == 0


def test_voices_differ_widely() -> None:
    rng = np.random.default_rng(0)
    drawn = [VirtualVoice.sample(rng) for _ in range(300)]
    pitches = np.array([one.pitch for one in drawn])
    ratio = np.array([one.formants / one.pitch for one in drawn])
    assert pitches.min() < 0.75 and pitches.max() > 1.25
    assert ratio.std() > 0.05


def test_a_narrow_band_is_filled_up_to_the_top() -> None:
    audio = vowel(150, 2000)
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE) > 8000] = 0
    narrow = np.fft.irfft(spectrum, len(audio)).astype(np.float32)
    mels = [
        voice().log_mel(narrow, np.random.default_rng(0), bandwidth=width)[0][10:-10].mean(0)
        for width in (8000.0, SAMPLE_RATE / 2)
    ]
    assert np.allclose(mels[0][:70], mels[1][:70])
    assert mels[0][92:].mean() > mels[1][92:].mean() + 1


def test_one_channel_in_five_is_far_and_noisy() -> None:
    rng = np.random.default_rng(0)
    far = [Channel.sample(rng).noise_db > -40 for _ in range(400)]
    assert 0.12 < np.mean(far) < 0.28
    assert all(Channel.sample(rng, far_share=0.0).noise_db <= -40 for _ in range(50))
