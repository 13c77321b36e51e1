"""The judge: its arithmetic, its file, and that training teaches it to hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.evaluation.judge import (
    Judge,
    JudgeConfig,
    character_error_rate,
    encode,
    greedy,
    normalise,
)
from omnitalk_cli.training.judge import (
    JudgeTraining,
    Spoken,
    error_rate,
    through_vocoder,
    train_judge,
)

TINY = JudgeConfig(width=32, layers=1, kernel=5, dropout=0.0)


def _spell(text: str, rng: np.random.Generator) -> Spoken:
    """A mel in which every letter is twelve frames of a bin of its own, after a pause."""
    frames = []
    for letter in text:
        frame = np.full((12, 100), -9.0)
        frame[2:, 3 * encode(letter)[0] : 3 * encode(letter)[0] + 3] = -1.0
        frames.append(frame)
    mel = np.concatenate(frames) + 0.1 * rng.standard_normal((12 * len(text), 100))
    return Spoken(mel=mel.astype(np.float16), text=text)


def test_speech_judge_error_rate() -> None:
    assert character_error_rate("Kitten!", "sitting") == pytest.approx(3 / 7)
    assert character_error_rate("", "abc") == 1.0
    assert character_error_rate("so schoen", "So schön") == pytest.approx(1 / 8)
    assert normalise("It’s  “Über”, 3 Straße.") == "it's uber strasse"
    with pytest.raises(ValueError, match="no letter"):
        character_error_rate("a", "123")


def test_speech_judge_greedy_path() -> None:
    a, b, space = encode("ab")[0], encode("ab")[1], 1
    assert greedy([0, a, a, 0, a, b, space, space, 0, b, space]) == "aab b"


def test_speech_judge_learns_and_reloads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [_spell("".join(rng.choice(list("abcde"), size=6)), rng) for _ in range(40)]
    config = JudgeTraining(
        model=TINY, steps=80, batch_seconds=12.0, learning_rate=1e-2, masks=0, warmup_steps=5
    )
    path = tmp_path / "judge.safetensors"
    judge = train_judge(config, items, path, metadata={"license": "CC0-1.0"})
    fresh = [_spell("".join(rng.choice(list("abcde"), size=6)), rng) for _ in range(10)]
    assert error_rate(judge, fresh) < 0.5
    loaded = Judge.load(path)
    assert loaded.config == TINY
    assert abs(error_rate(loaded, fresh) - error_rate(judge, fresh)) < 0.1


def test_speech_judge_refuses_bad_input(tmp_path: Path) -> None:
    judge = Judge(TINY).eval()
    with pytest.raises(ValueError, match="mel must be"):
        judge.transcribe(np.zeros((4, 80), np.float32))
    with pytest.raises(SetupError, match="not found"):
        Judge.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(SetupError, match="no usable judge"):
        Judge.load(tmp_path / "bad.safetensors")
    silent = Spoken(mel=np.zeros((90, 100), np.float16), text="...")
    with pytest.raises(InputError, match="no recording"):
        train_judge(JudgeTraining(model=TINY), [silent], tmp_path / "j.safetensors")


def test_speech_judge_hears_the_vocoder_too() -> None:
    class Flat:
        sample_rate = 24_000

        def __call__(self, mel: torch.Tensor) -> torch.Tensor:
            return torch.zeros(1, (mel.shape[1] - 1) * 256)

    item = Spoken(mel=np.zeros((20, 100), np.float16), text="a")
    again = through_vocoder(item, Flat())  # type: ignore[arg-type]
    assert again.mel.shape == (20, 100) and again.text == "a"
    assert np.allclose(again.mel, np.log(1e-5), atol=0.01)
