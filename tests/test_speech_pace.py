"""The pace heard from sound: syllables that come faster or slower, and wrong transcripts."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.speech.pace import (
    fit_pace,
    pace_features,
    pace_from_mel,
    reliable_pace,
    speech_frames,
    stretched,
)
from omnitalk_cli.types import MEL_RATE


def babble(syllables: int, per_second: float, seed: int = 0) -> np.ndarray:
    """Log-mel ``[T, 100]`` of vowel-like spectra that rise and fall, with noise in between."""
    rng = np.random.default_rng(seed)
    bins = np.arange(100)
    length = round(MEL_RATE / per_second)
    rows = []
    for _ in range(syllables):
        peaks = rng.uniform((5, 25, 50), (20, 45, 80))
        vowel = sum(3.0 * np.exp(-0.5 * ((bins - peak) / 6) ** 2) for peak in peaks) - 4.0
        hiss = -5.0 + 2.5 * bins / 100
        rise = np.sin(np.pi * (np.arange(length) + 0.5) / length)[:, None]
        rows.append(hiss + (vowel - hiss) * rise + 0.1 * rng.normal(size=(length, 100)))
    return np.concatenate(rows)


def test_faster_syllables_mean_a_smaller_pace() -> None:
    slow, quick = pace_from_mel(babble(12, 3.0)), pace_from_mel(babble(24, 6.0))
    assert slow is not None and quick is not None
    assert slow > 1.15 * quick


def test_stretched_speech_is_heard_as_slower() -> None:
    mel = babble(20, 4.5)
    paces = [pace_from_mel(stretched(mel, factor)) for factor in (0.8, 1.0, 1.3)]
    assert paces[0] < paces[1] < paces[2]  # type: ignore[operator]


@pytest.mark.parametrize("gain", [-2.0, 2.0])
def test_loudness_and_colour_do_not_matter(gain: float) -> None:
    mel = babble(20, 4.5)
    coloured = mel + gain + 0.5 * np.sin(np.arange(100) / 15)
    assert pace_from_mel(coloured) == pytest.approx(pace_from_mel(mel), rel=0.08)


def test_silence_around_speech_hardly_changes_the_pace() -> None:
    mel = babble(20, 4.5)
    pause = np.full((90, 100), -11.0) + 0.1 * np.random.default_rng(1).normal(size=(90, 100))
    padded = np.concatenate([pause, mel, pause])
    spoken = speech_frames(padded)
    assert spoken[100:-100].mean() > 0.9 and spoken[:80].mean() < 0.1
    assert pace_from_mel(padded) == pytest.approx(pace_from_mel(mel), rel=0.15)


def test_too_little_speech_tells_nothing() -> None:
    assert pace_from_mel(babble(2, 4.0)) is None
    assert pace_from_mel(np.zeros((0, 100))) is None


def test_a_constant_sound_gives_a_pace_within_the_limits() -> None:
    pace = pace_from_mel(np.zeros((300, 100)))
    assert pace is None or 0.6 <= pace <= 1.7


def test_a_wrong_transcript_is_not_believed() -> None:
    assert reliable_pace(1.6, 1.0) == 1.0
    assert reliable_pace(0.6, 1.0) == 1.0
    assert 1.0 < reliable_pace(1.2, 1.0) < 1.2
    assert reliable_pace(None, 1.2) == 1.2
    assert reliable_pace(0.9, None) == 0.9
    assert reliable_pace(None, None) == 1.0


def test_the_regression_finds_a_linear_rule() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(2.0, 0.5, (4000, 3))
    truth = 0.1 + 0.3 * (features[:, 0] - 2.0)
    bias, rows = fit_pace(features, truth, np.ones(len(features)))
    assert bias == pytest.approx(0.1, abs=0.01)
    assert rows[0][2] == pytest.approx(0.15, rel=0.15)
    assert abs(rows[1][2]) < 0.01 and abs(rows[2][2]) < 0.01


def test_stretching_keeps_the_ends() -> None:
    mel = babble(4, 4.0)
    longer = stretched(mel, 1.5)
    assert len(longer) == round(1.5 * len(mel))
    assert np.allclose(longer[[0, -1]], mel[[0, -1]])
    features = pace_features(longer)
    assert features is None or np.isfinite(features).all()
