"""The benchmark of the audio mark: attacks do what their names say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from omnitalk_cli.evaluation import audio_marks
from omnitalk_cli.evaluation.audio_marks import apply, gather, noise_to_mask, spread_pieces

RATE = 24_000


def _sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, int(seconds * RATE))
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(len(noise)) / RATE)
    return (noise * beat).astype(np.float32)


def test_attacks_do_what_they_say(tmp_path: Path) -> None:
    sound = _sound(8.0)
    seconds = {
        name: len(apply(name, sound, tmp_path)) / RATE
        for name in ("none", "trim 1.24 s", "tempo +1 %", "speed -1 %", "AAC 64k, middle 5 s")
    }
    expected = (8.0, 6.76, 8 / 1.01, 8 / 0.99, 5.0)
    assert list(seconds.values()) == pytest.approx(expected, abs=0.05)
    louder = apply("-6 dB", sound, tmp_path)
    assert 20 * np.log10(louder.std() / sound.std()) == pytest.approx(-6, abs=0.1)
    narrow = np.abs(np.fft.rfft(apply("8 kHz", sound, tmp_path)[: len(sound)]))
    assert narrow[len(narrow) // 2 :].mean() < 0.01 * narrow[: len(narrow) // 4].mean()


def test_masking_weighs_the_difference() -> None:
    sound = _sound(2.0)
    half, tenth = (noise_to_mask(sound, sound * (1 + part)) for part in (0.5, 0.05))
    np.testing.assert_allclose(half - tenth, 20, atol=0.1)
    # 26 dB below the sound in its own band is masked, and 6 dB below is not, by noise.
    assert tenth.mean() < -10 and half.mean() > -5
    shifted = np.roll(_sound(2.0), 100) * 0.05
    assert noise_to_mask(sound, sound + shifted).mean() == pytest.approx(tenth.mean(), abs=2)


def test_pieces_are_spread_over_the_sound(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        wavfile.write(tmp_path / name, RATE, _sound(1.0))
    (tmp_path / "note.txt").write_text("not sound")
    sound = gather([tmp_path, tmp_path / "a.wav"])
    assert len(sound) == 3 * RATE
    pieces = spread_pieces(sound, 3, 2.0)
    assert [len(piece) for piece in pieces] == [2 * RATE] * 3
    np.testing.assert_array_equal(pieces[-1], sound[RATE:])


@pytest.mark.slow
def test_the_whole_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wavfile.write(tmp_path / "a.wav", RATE, _sound(8.0))
    kept = {name: audio_marks.ATTACKS[name] for name in ("none", "Opus 24k")}
    monkeypatch.setattr(audio_marks, "ATTACKS", kept)
    arguments = [str(tmp_path / "a.wav"), "--pieces", "1", "--unmarked", "2"]
    assert audio_marks.main([*arguments, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["attacks"]["Opus 24k"]["full"] == 1.0
    assert (scores["wrong"], scores["false_ids"], scores["unmarked_tries"]) == (0, 0, 2)
    assert audio_marks.main(arguments) == 0
    assert "| Opus 24k | 100% |" in capsys.readouterr().out
    assert audio_marks.main([str(tmp_path)[:-1]]) == 3
