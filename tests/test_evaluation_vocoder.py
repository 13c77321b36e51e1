"""Scores of copies: identical sounds, known differences, the yardstick and the table."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.vocoder import (
    _table,
    compare,
    copy_of,
    find_recordings,
    griffin_lim,
    measure,
    periodicity,
    stft_distance,
)


def _voice(hertz: float, *, noise: float = 0.0, seconds: float = 0.8) -> np.ndarray:
    time = np.arange(int(24_000 * seconds)) / 24_000
    sound = sum(np.cos(2 * np.pi * k * hertz * time + k * k) / k for k in range(1, 30))
    rough = np.random.default_rng(0).standard_normal(len(time))
    return (0.05 * sound + noise * rough).astype(np.float32)


def test_evaluation_vocoder_identical_sounds_score_perfectly() -> None:
    sound = _voice(150.0, noise=1e-4)
    scores = compare(sound, np.append(sound, np.zeros(300, np.float32)), real_time=0.5)
    assert (scores.mel_l1, scores.stft, scores.voicing, scores.roughness) == (0, 0, 0, 0)
    assert scores.pitch_cents == 0 and scores.real_time == 0.5
    assert scores.seconds == pytest.approx(0.8)
    assert set(scores.to_dict()) >= {"mel_l1", "pesq", "pitch_cents"}
    with pytest.raises(InputError, match="at least"):
        compare(sound[:200], sound)


def test_evaluation_vocoder_tells_pitch_roughness_and_distance() -> None:
    sound = _voice(150.0, noise=1e-4)
    higher = compare(sound, _voice(150.0 * 2 ** (50 / 1200), noise=1e-4))
    assert higher.pitch_cents == pytest.approx(50, abs=3)
    hoarse = compare(sound, _voice(150.0, noise=0.02))
    assert hoarse.roughness > 0.1 > abs(higher.roughness)
    assert 0 < stft_distance(sound, _voice(150.0, noise=2e-4)) < hoarse.stft


def test_evaluation_vocoder_periodicity_is_that_of_the_highs() -> None:
    pitch = np.full(76, 150.0, dtype=np.float32)
    assert periodicity(_voice(150.0), pitch).min() > 0.98
    noise = np.random.default_rng(1).standard_normal(19_200).astype(np.float32)
    assert periodicity(noise, pitch).mean() < 0.4
    assert len(periodicity(noise, np.zeros(76, np.float32))) == 0


def test_evaluation_vocoder_griffin_lim_comes_nearer_with_rounds() -> None:
    sound = _voice(180.0, noise=1e-3, seconds=0.5)
    far, near = (
        compare(sound, copy_of(sound, lambda mel, n=n: griffin_lim(mel, rounds=n))[0]).mel_l1
        for n in (1, 16)
    )
    assert near < 0.5 * far


def test_evaluation_vocoder_measures_files_with_and_without_words(tmp_path: Path) -> None:
    class Parrot:
        def transcribe(self, audio: np.ndarray) -> str:
            return "two words" if audio.std() > 0.01 else ""

    sound = _voice(150.0, noise=1e-3)
    for name in ("a.wav", "b.wav"):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", ""))
            file.writeframes((sound * 32767).astype("<i2").tobytes())
    (tmp_path / "table.csv").write_text("file,text\na.wav,Two words\n")
    found = find_recordings([tmp_path])
    assert {path.name: text for path, text in found.items()} == {
        "a.wav": "Two words", "b.wav": None,
    }  # fmt: skip
    silent = {"silent": lambda mel: torch.zeros(1, (mel.shape[1] - 1) * 256)}
    rows = measure(found, silent, recogniser=Parrot())  # type: ignore[arg-type]
    assert rows["recording"]["wer"] == 0 and rows["silent"]["wer"] == 1
    assert rows["silent"]["mel_l1"] > 1
    assert "| silent |" in _table(rows) and "wer" in _table(rows)
    with pytest.raises(InputError, match="no sound file"):
        find_recordings([tmp_path / "table.csv"])
