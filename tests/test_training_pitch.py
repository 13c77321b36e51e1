"""Labels of pitch and voicing: known voices."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.training.pitch import track_pitch


@pytest.mark.parametrize("hertz", [70.0, 118.0, 240.0, 400.0])
def test_training_pitch_finds_pitch_and_voicing(hertz: float) -> None:
    time = np.arange(24_000) / 24_000
    voice = sum(np.cos(2 * np.pi * k * hertz * time + k * k) / k for k in range(1, 25))
    noise = np.random.default_rng(0).standard_normal(len(time))
    # Half a second of a voice, then noise.
    half = (time < 0.5).astype(float)
    audio = (0.05 * voice * half + (0.03 - 0.0295 * half) * noise).astype(np.float32)
    track = track_pitch(audio)
    assert len(track.hertz) == len(track.voiced) == 94
    assert np.median(track.hertz[5:42]) == pytest.approx(hertz, rel=0.01)
    assert np.median(track.voiced[5:42]) > 0.9
    assert np.median(track.voiced[52:-5]) < 0.2
