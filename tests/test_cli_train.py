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
from omnitalk_cli.training.scale import run as at_scale
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.trainer import ScaleResult
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


@pytest.fixture
def on_clips(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A folder of clips in place of speech; the trainer keeps what it is given."""
    kept: list[Any] = []

    def train_clips(shape: DiTConfig, config: ScaleConfig, **more: Any) -> ScaleResult:
        kept.append((shape, config, more))
        return ScaleResult(
            checkpoint=more["folder"] / "model.safetensors", steps=7, epochs=2, minutes=0.5,
            hours_seen=3.0, processes=1, heldout={"total": 1.5}, interrupted=config.steps == 13,
        )  # fmt: skip

    monkeypatch.setattr(at_scale, "train_clips", train_clips)
    (folder / "data" / "clips-00000.safetensors").write_bytes(b"x")
    (folder / "shape.json").write_text('{"fusion": "add", "fusion_depth": 2}')
    (folder / "vocab.txt").write_text(" \na\n")
    return kept


def test_clips_take_the_paper_s_trainer(folder: Path, on_clips: list[Any]) -> None:
    words = (
        "train data -o run --preset base --shape shape.json --vocab vocab.txt --init-audio f5-tts "
        "--parallel fsdp --accumulate 2 --frames 6400 --checkpoint-activations --minutes 30 "
        "--train-steps 100 --warmup-steps 5 --heldout-every 0 --dtype bfloat16 --device cpu --json"
    )
    answer = json.loads(CliRunner().invoke(app, words.split()).stdout)
    ((shape, config, more),) = on_clips
    assert shape == DiTConfig.base(fusion="add", fusion_depth=2)
    assert config == ScaleConfig(
        parallel="fsdp", accumulate=2, frames=6400, checkpoint_activations=True, minutes=30,
        steps=100, warmup_steps=5, heldout_every=0, bfloat16=True,
    )  # fmt: skip
    assert (more["vocabulary"], more["init_audio"]) == (Path("vocab.txt"), "f5-tts")
    assert answer["processes"] == 1 and answer["heldout"] == {"total": 1.5}


def test_clips_need_no_budget_and_the_cpu_takes_fp32(folder: Path, on_clips: list[Any]) -> None:
    result = CliRunner().invoke(app, "train data -o run --device cpu".split())
    assert "7 updates, 2 epochs" in result.stdout and "held out: total 1.500" in result.stdout
    ((shape, config, _),) = on_clips
    assert shape == DiTConfig.tiny(text_layout="filler")
    assert config.steps == 750_000 and not config.bfloat16 and config.learning_rate == 1e-3


def test_only_the_first_process_answers(
    folder: Path, on_clips: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    result = CliRunner().invoke(app, "train data -o run --device cpu --json".split())
    assert result.exit_code == 0 and not result.stdout and not result.stderr


def test_a_run_that_was_stopped_says_how_to_go_on(folder: Path, on_clips: list[Any]) -> None:
    result = CliRunner().invoke(app, "train data -o run --device cpu --train-steps 13".split())
    assert result.exit_code == 130 and "the same command goes on" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("--tokens 20", 2, "--frames"),
        ("--dtype float16", 2, "bfloat16"),
        ("--shape gone.json", 3, "gone.json"),
        ("--shape text.txt", 3, "not JSON"),
        ("--shape list.json", 3, "one object"),
        ("--shape odd.json", 2, "depht"),
        ("--shape bad.json", 2, "fusion"),
        ("--vocab gone.txt", 3, "gone.txt"),
        ("--init gone.safetensors", 3, "gone"),
        ("--accumulate 0", 2, "--accumulate"),
    ],
)
def test_mistakes_with_clips(
    folder: Path, on_clips: list[Any], words: str, code: int, part: str
) -> None:
    (folder / "list.json").write_text("[1]")
    (folder / "odd.json").write_text('{"depht": 3}')
    (folder / "bad.json").write_text('{"fusion": "magic"}')
    result = CliRunner().invoke(app, f"train data -o run --device cpu {words}".split())
    assert result.exit_code == code and part in result.stderr and not on_clips


@pytest.mark.parametrize(
    "words", ["--accumulate 2", "--vocab text.txt", "--init-audio f5-tts", "--tensorboard"]
)
def test_speech_refuses_what_is_for_clips(folder: Path, words: str) -> None:
    result = CliRunner().invoke(app, f"train data -o run --minutes 1 {words}".split())
    assert result.exit_code == 2 and words.split()[0] in result.stderr


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
