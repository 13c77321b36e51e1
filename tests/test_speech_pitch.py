"""Pitch in the mel domain: harmonics taken out, put back, and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.pitch import (
    PitchConfig,
    PitchModel,
    VoiceStatistics,
    harmonic_ripple,
    pitch_of_voice,
    restore_harmonics,
    revoice,
    smooth_envelope,
    voice_statistics,
)
from omnitalk_cli.training.pitch_model import DepthSums, PitchTraining, melodies, score, train
from omnitalk_cli.types import HOP, SAMPLE_RATE, Float


def _voice(hertz: Float, *, formant: float = 700.0) -> Float:
    """A harmonic sound [S] of the pitch course ``hertz`` [T] under one formant and a slope."""
    count = (len(hertz) - 1) * HOP
    course = np.interp(np.arange(count) / HOP, np.arange(len(hertz)), hertz)
    phase = 2 * np.pi * np.cumsum(course) / SAMPLE_RATE
    sound = np.zeros(count)
    for number in range(1, 60):
        at = number * course
        level = 1 / number + 0.6 / (1 + ((at - formant) / 150) ** 2)
        sound += np.where(at < 11_000, level, 0) * np.cos(number * phase)
    noise = np.random.default_rng(0).standard_normal(count)
    return (0.05 * sound + 1e-4 * noise).astype(np.float32)


def _mel(sound: Float) -> Float:
    mel: Float = log_mel(torch.from_numpy(sound)).numpy()
    return mel


def _course(median: float) -> Float:
    """A melody [120] of three semitones up and down around ``median`` Hz."""
    return (median * 2 ** (3 / 12 * np.sin(np.arange(120) / 15))).astype(np.float32)


def test_ripple_peaks_at_harmonics_and_fades_where_they_are_not_resolved() -> None:
    ripple = harmonic_ripple(np.array([110.0, 220.0], np.float32))
    assert ripple.shape == (2, 100)
    # Bin 9 lies at 222 Hz, bin 13 between the first and the second harmonic of 220 Hz.
    assert ripple[1, 8:10].max() > 1.5 and ripple[1, 12] < -0.5
    assert np.abs(ripple[0, 60:]).max() < 0.2 * np.abs(ripple[0, :20]).max()
    # No level of its own: the envelope carries that.
    assert abs(float(ripple[1, :60].mean())) < 0.25


@pytest.mark.parametrize("median", [95.0, 150.0, 230.0, 320.0])
def test_harmonics_can_be_removed_and_restored(median: float) -> None:
    hertz = _course(median)
    mel = _mel(_voice(hertz))
    flat = smooth_envelope(mel, hertz)
    inner = slice(6, -6)
    back = restore_harmonics(flat, hertz, np.ones(len(mel)), np.ones(100, np.float32))
    before = np.abs(flat - mel)[inner, 2:40].mean()
    after = np.abs(back - mel)[inner, 2:40].mean()
    assert after < 0.6 * before
    assert pitch_of_voice(flat)[1][inner].mean() < 0.75 * pitch_of_voice(mel)[1][inner].mean()
    found, _ = pitch_of_voice(back)
    assert np.median(np.abs(12 * np.log2(found / hertz))[inner]) < 0.3


def test_unvoiced_frames_stay_as_they_are() -> None:
    mel = np.random.default_rng(1).normal(-4, 1, (30, 100)).astype(np.float32)
    voicing = np.zeros(30, np.float32)
    voicing[10:20] = 1.0
    out = restore_harmonics(mel, np.full(30, 180.0, np.float32), voicing, np.ones(100, np.float32))
    np.testing.assert_allclose(out[:10], mel[:10], atol=1e-5)
    assert np.abs(out[10:20] - mel[10:20]).mean() > 0.3


@pytest.mark.parametrize("median", [85.0, 120.0, 200.0, 340.0])
def test_statistics_of_a_voice(median: float) -> None:
    hertz = _course(median)
    voice = voice_statistics(_mel(_voice(hertz)))
    assert voice is not None
    assert abs(12 * np.log2(voice.median_hz / np.median(hertz))) < 0.4
    assert 1.5 < voice.spread_semitones < 3.0
    assert voice.voiced_share > 0.8


def test_rumble_in_the_pauses_is_no_deep_voice() -> None:
    rng = np.random.default_rng(4)
    hertz = _course(170.0)
    speech = _voice(hertz)
    pause = np.zeros(len(speech), np.float32)
    sound = np.concatenate([speech, pause, pause, speech, pause])
    # Wind: tones and noise that wander about 80 Hz, 27 dB below the speech.
    course = 80 + np.interp(np.arange(len(sound)), np.arange(0, len(sound), 4000),
                            4 * rng.standard_normal(-(-len(sound) // 4000)))  # fmt: skip
    phase = 2 * np.pi * np.cumsum(course) / SAMPLE_RATE
    rumble = sum(np.cos(n * phase) / n for n in (1, 2, 3))
    sound = sound + 0.006 * rumble + 2e-4 * rng.standard_normal(len(sound))
    voice = voice_statistics(_mel(sound.astype(np.float32)))
    assert voice is not None
    assert abs(12 * np.log2(voice.median_hz / np.median(hertz))) < 0.3
    assert voice.spread_semitones < 3.5
    assert voice.voiced_share < 0.5


def test_a_bass_under_the_voice_is_not_its_pitch() -> None:
    hertz = _course(250.0)
    voice = np.tile(_voice(hertz), 4)
    frame = np.arange(len(voice)) // HOP
    sings = frame % 100 < 58
    heard = np.tile(hertz[:-1], 4)[sings[::HOP]]
    notes = np.array([88.0, 131.0, 99.0, 131.0])[frame // 24 % 4]  # a quarter of a second each
    tone = 2 * np.pi * np.cumsum(notes) / SAMPLE_RATE
    bass = 0.2 * (np.cos(tone) + 0.25 * np.cos(2 * tone))
    found = voice_statistics(_mel((voice * sings + bass).astype(np.float32)))
    assert found is not None
    assert abs(12 * np.log2(found.median_hz / np.median(heard))) < 0.7
    assert found.spread_semitones < 3.5


def test_no_voice_in_noise_and_silence() -> None:
    noise = np.random.default_rng(2).standard_normal(60 * HOP).astype(np.float32) * 0.1
    assert voice_statistics(_mel(noise)) is None
    assert voice_statistics(np.full((60, 100), -11.5, np.float32)) is None
    assert voice_statistics(np.zeros((2, 100), np.float32)) is None
    mel = _mel(noise)
    assert revoice(mel, mel, PitchModel(PitchConfig(width=4))) is mel


def test_model_keeps_to_the_voice_and_to_its_context(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PitchModel(PitchConfig(width=8, dilations=(1, 2))).eval()
    cepstra = torch.randn(1, 60, 16)
    voice = torch.zeros(1, 2)
    changed = cepstra.clone()
    changed[0, 0] += 1.0
    with torch.no_grad():
        moved = (model(changed, voice) - model(cepstra, voice)).abs().sum(dim=2)[0]
    assert moved[: model.config.context + 1].sum() > 0
    assert moved[model.config.context + 1 :].max() == 0
    path = tmp_path / "pitch.safetensors"
    model.save(path)
    mel = _mel(_voice(_course(150.0)))
    low, high = (
        VoiceStatistics(median_hz=f, spread_semitones=2, voiced_share=0.6) for f in (90, 250)
    )
    assert PitchModel.load(path).predict(mel, low)[0].max() < 150
    assert PitchModel.load(path).predict(mel, high)[0].min() > 150
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(SetupError):
        PitchModel.load(tmp_path / "bad.safetensors")


def test_training_learns_what_is_voiced_and_how_deep_harmonics_are() -> None:
    hertz = _course(160.0)
    sound = _voice(hertz)
    sound[: 40 * HOP] = np.random.default_rng(3).standard_normal(40 * HOP) * 0.02
    depth = DepthSums()
    rng = np.random.default_rng(0)
    found = list(melodies(sound, rng, voices=12, depth=depth))
    assert found and found[0].cepstra.shape == (len(found[0].voiced), 16)
    assert depth.depth[5:15].mean() > 2 * depth.depth[70:].mean()
    config = PitchTraining(
        model=PitchConfig(width=12, dilations=(1, 2)), minutes=1.0, steps=150, batch=4, frames=96
    )
    assert score(train(found, config), found).voicing_error < 0.3
