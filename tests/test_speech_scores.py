"""Scores of speech: known distances and known pitches."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.evaluation.speech import (
    log_spectral_distance,
    mel_cepstral_distortion,
    mel_l1,
    pitch_statistics,
    pitch_track,
    time_warp,
)


def _mel(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, 100)).astype(np.float32)


def _voice(hertz: np.ndarray, seconds: float) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, int(seconds * 24_000))) / 24_000
    return (0.1 * sum(np.sin(k * phase + k) / k for k in range(1, 15))).astype(np.float32)


def test_speech_scores_of_mels() -> None:
    mel = _mel(50)
    assert mel_l1(mel, mel + 0.5) == pytest.approx(0.5, rel=1e-5)
    # A factor of 10 in magnitude is 20 dB in every bin.
    assert log_spectral_distance(mel, mel + np.log(10.0)) == pytest.approx(20.0, rel=1e-4)
    with pytest.raises(ValueError, match="shapes differ"):
        mel_l1(mel, mel[:-1])


def test_speech_scores_mcd_is_decibels_and_ignores_level() -> None:
    mel = _mel(40)
    assert mel_cepstral_distortion(mel, mel + 1.0) == pytest.approx(0.0, abs=1e-4)
    # One cosine ripple of amplitude a in log magnitude: rms is 20 / ln 10 * a / sqrt 2 dB.
    ripple = 0.3 * np.cos(np.pi * 3 * (np.arange(100) + 0.5) / 100)
    moved = mel_cepstral_distortion(mel, (mel + ripple).astype(np.float32), align=False)
    assert moved == pytest.approx(20 / np.log(10) * 0.3 / np.sqrt(2), rel=1e-3)


def test_speech_scores_mcd_warps_time() -> None:
    mel = _mel(60)
    slow = np.repeat(mel, 2, axis=0)
    assert mel_cepstral_distortion(mel, slow) == pytest.approx(0.0, abs=1e-4)
    assert mel_cepstral_distortion(mel, _mel(60, seed=1)) > 1.0
    rows, columns = time_warp(mel, slow)
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, 59, 119)
    assert (np.diff(rows) >= 0).all() and (np.diff(columns) >= 0).all()
    assert np.abs(columns - 2 * rows).max() <= 1


@pytest.mark.parametrize("hertz", [75.0, 118.0, 205.0, 390.0])
def test_speech_scores_pitch_of_steady_voices(hertz: float) -> None:
    rng = np.random.default_rng(0)
    audio = _voice(np.array(hertz), 1.0)
    scores = pitch_statistics(audio + 0.002 * rng.standard_normal(len(audio)).astype(np.float32))
    assert scores.median_hz == pytest.approx(hertz, rel=0.01)
    assert scores.voiced_share > 0.95
    assert scores.spread_semitones < 0.2
    assert set(scores.to_dict()) == {"median_hz", "spread_semitones", "voiced_share"}


def test_speech_scores_pitch_follows_a_glide_and_finds_no_pitch_in_noise() -> None:
    glide = np.linspace(100, 200, 24_000)
    pitch = pitch_track(_voice(glide, 1.0))
    assert pitch.shape == (24_000 // 256 + 1,)
    expected = np.interp(np.arange(len(pitch)) * 256, np.arange(24_000), glide)
    assert np.median(np.abs(pitch[4:-4] / expected[4:-4] - 1)) < 0.01
    noise = np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    assert pitch_statistics(noise).voiced_share < 0.05
    assert pitch_statistics(np.zeros(5000, np.float32)).median_hz == 0.0
