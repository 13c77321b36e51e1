"""``corpus`` and ``train`` hand the right configuration to the training room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.training import corpus as corpus_module
from omnitalk_cli.training import loop
from omnitalk_cli.training.corpus import CorpusConfig
from omnitalk_cli.training.loop import TrainResult
from omnitalk_cli.training.train_config import TrainConfig


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shard-00000.safetensors").write_bytes(b"x")
    (tmp_path / "text.txt").write_text("A sentence.")
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces the training by one that keeps its configuration."""
    kept: list[Any] = []

    def train(shape: DiTConfig, config: TrainConfig, **more: Any) -> TrainResult:
        kept.append((shape, config, more))
        more["progress"]("training, loss 0.5", 1, 1)
        return TrainResult(
            checkpoint=more["folder"] / "model.safetensors", steps=5, minutes=0.5,
            hours_seen=1.0, heldout={"mel@0.3": 0.25},
        )  # fmt: skip

    monkeypatch.setattr(loop, "train", train)
    return kept


def test_train_passes_the_budget_and_what_was_given(folder: Path, runs: list[Any]) -> None:
    words = "train data -o run --minutes 3 --tokens 100 --seed 4 --device cpu --json"
    answer = json.loads(CliRunner().invoke(app, words.split()).stdout)
    ((shape, config, more),) = runs
    assert shape == DiTConfig.tiny()
    assert config == TrainConfig(minutes=3, tokens=100, seed=4)
    assert (more["corpus"], more["folder"], more["device"]) == (Path("data"), Path("run"), "cpu")
    assert answer["checkpoint"] == "run/model.safetensors" and answer["heldout"]


def test_base_preset_follows_the_paper(folder: Path, runs: list[Any]) -> None:
    words = "train data -o run --train-steps 10 --preset base --device cpu"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0 and "held out: mel@0.3 0.250" in result.stdout
    assert runs[0][0].fusion_depth == 22 and runs[0][0].vocabulary_size < 200
    assert runs[0][1] == TrainConfig.paper(steps=10)


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("train data -o run", 2, "--minutes"),
        ("train data -o run --minutes 1 --train-steps 1", 2, "--minutes"),
        ("train nowhere -o run --minutes 1", 3, "omnitalk corpus"),
        ("corpus speech new", 2, "--sentences"),
        ("corpus speech new --sentences gone.txt", 3, "gone.txt"),
        ("corpus speech new --sentences text.txt --human data", 3, "metadata.csv"),
    ],
)
def test_mistakes(folder: Path, words: str, code: int, part: str) -> None:
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == code and part in result.stderr
    assert not (folder / "new").exists() and not (folder / "run").exists()


def test_corpus_passes_its_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}

    def make_corpus(config: CorpusConfig, out: Path, **more: Any) -> float:
        kept.update(more, config=config, out=out)
        return 7200.0

    monkeypatch.setattr(corpus_module, "make_corpus", make_corpus)
    words = (
        "corpus speech data --sentences text.txt --sentences text.txt --hours 2 "
        "--audio sound --audio-hours 1 --seed 3 --workers 2 --json"
    )
    answer = json.loads(CliRunner().invoke(app, words.split()).stdout)
    assert answer == {"folder": "data", "shards": 1, "new_hours": 2.0}
    assert kept["config"] == CorpusConfig(
        text=("text.txt", "text.txt"), espeak_hours=2, audio_hours=1, seed=3
    )
    assert kept["workers"] == 2 and kept["audio_dir"] == Path("sound")
