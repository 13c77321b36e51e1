"""A run in one process: going on exactly, accumulation, scores, checkpoint, mistakes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clip_corpus import CONFIG, log_rows, make_corpus, stirred_checkpoint
from omnitalk_cli.dit.checkpoint import load_checkpoint
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, SetupError, UsageError, WorkError
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.training.loss import LossConfig
from omnitalk_cli.training.scale import scores, signals, trainer
from omnitalk_cli.training.scale.batches import ClipBatch
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.journal import Journal
from omnitalk_cli.training.scale.run import train_clips
from omnitalk_cli.training.scale.state import states
from omnitalk_cli.training.scale.trainer import ScaleResult
from omnitalk_cli.training.world import World

QUICK = ScaleConfig(
    steps=6, frames=640, bfloat16=False, log_every=1, learning_rate=3e-3, warmup_steps=2,
    heldout_every=0, generate_every=0, heldout_batches=3, generate_clips=2, generate_steps=2,
    readers=1, checkpoint_minutes=1e9,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("clips") / "corpus")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stirred_checkpoint(tmp_path_factory.mktemp("start") / "start.safetensors")


def run(corpus: Path, folder: Path, *, start: Path | None = None, **changes: Any) -> ScaleResult:
    more = {k: changes.pop(k) for k in ("shape", "note", "progress", "init_audio") if k in changes}
    return train_clips(
        more.pop("shape", CONFIG), dataclasses.replace(QUICK, **changes), corpus=corpus,
        folder=folder, device="cpu", init=start, **more,
    )  # fmt: skip


def last_state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(states(folder)[0])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_learns_and_leaves_a_checkpoint_that_explains_itself(
    corpus: Path, tmp_path: Path, start: Path
) -> None:
    told: list[str] = []
    result = run(
        corpus, tmp_path / "run", start=start, steps=30, heldout_every=10, generate_every=30,
        learning_rate=0.02, note=told.append,
    )  # fmt: skip
    totals = [row["total"] for row in log_rows(tmp_path / "run")]
    assert len(totals) == 30 and sum(totals[-5:]) < 0.85 * sum(totals[:5])
    held = log_rows(tmp_path / "run", "heldout")
    assert [row["step"] for row in held] == [10, 20, 30]
    assert held[2]["total"] < held[1]["total"] < held[0]["total"]
    assert held[-1]["e_fid"] > 0 and held[-1]["p_fid"] > 0 and "wer" in "".join(held[-1])
    assert result.heldout["total"] == held[-1]["total"] and result.epochs > 1
    assert told[0].startswith("35 clips") and "5 held out" in told[0]
    made = load_checkpoint(result.checkpoint, device="cpu", dtype=torch.float32)
    assert made.extras["family"] == "omnitalker" and made.extras["layout"] == "filler"
    assert made.extras["vocabulary"] == "letters" and made.extras["languages"] == ["en"]
    assert len(made.extras["tokens"]) + 1 == made.model.config.vocabulary_size
    training = made.extras["training"]
    assert training["steps"] == 30 and "start.safetensors" in training["inherited"]
    average = last_state(tmp_path / "run")["average.audio.proj.weight"]
    assert torch.equal(made.model.audio.proj.weight, average.bfloat16().float())


def test_going_on_equals_no_interruption(
    corpus: Path, tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, tmp_path / "whole", start=start, accumulate=2)
    real = trainer.ScaleTrainer._update

    def interrupted(self: trainer.ScaleTrainer, *given: Any) -> None:
        real(self, *given)
        if self.tally.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer.ScaleTrainer, "_update", interrupted)
    stopped = run(corpus, tmp_path / "parts", start=start, accumulate=2)
    assert stopped.interrupted and stopped.steps == 4
    monkeypatch.setattr(trainer.ScaleTrainer, "_update", real)
    told: list[str] = []
    finished = run(corpus, tmp_path / "parts", start=start, accumulate=2, note=told.append)
    assert not finished.interrupted and "after update 4" in told[1]
    assert same(last_state(tmp_path / "whole"), last_state(tmp_path / "parts"))
    assert log_rows(tmp_path / "whole") == log_rows(tmp_path / "parts")
    # Without its place in the data a run would not end there.
    monkeypatch.setattr(trainer, "BatchOrder", lambda *a, seed, **k: _order(*a, seed=seed + 1, **k))
    run(corpus, tmp_path / "other", start=start, accumulate=2)
    assert not same(last_state(tmp_path / "whole"), last_state(tmp_path / "other"))


_order = trainer.BatchOrder


def test_accumulating_equals_a_larger_batch(tmp_path: Path, start: Path) -> None:
    """Clips of one length: padding, which the text encoder sees, is then the same in both."""
    corpus = make_corpus(tmp_path / "corpus", clips=32, frames=160)
    # One shard of the epoch's batches: 28 clips in 14 batches of 2, or 7 of 4, in the same order.
    one_row = [tuple(range(i, i + 2)) for i in range(0, 28, 2)]
    two_rows = [tuple(range(i, i + 4)) for i in range(0, 28, 4)]

    def fixed(rows: list[tuple[int, ...]]) -> Any:
        class Fixed(_order):
            def _made(self, number: int) -> list[tuple[int, ...]]:
                return rows

        return Fixed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "BatchOrder", fixed(one_row))
        run(corpus, tmp_path / "small", start=start, frames=320, accumulate=2, steps=10)
        patch.setattr(trainer, "BatchOrder", fixed(two_rows))
        run(corpus, tmp_path / "large", start=start, frames=640, accumulate=1, steps=10)
    small, large = (log_rows(tmp_path / name) for name in ("small", "large"))
    assert len(small) == 10 and small[0]["total"] - small[-1]["total"] > 0.02
    for a, b in zip(small, large, strict=True):
        assert a["total"] == pytest.approx(b["total"], abs=1e-5)
    a, b = last_state(tmp_path / "small"), last_state(tmp_path / "large")
    assert max(float((a[k] - b[k]).abs().max()) for k in a if k.startswith("model.")) < 1e-3


def test_states_are_kept_in_number_and_rubbish_is_swept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".state-000000001.safetensors.77.tmp").write_bytes(b"half")
    run(corpus, folder, checkpoint_minutes=0.0, keep=2)
    assert [path.name for path in states(folder)] == [
        "state-000000006.safetensors", "state-000000005.safetensors",
    ]  # fmt: skip
    assert sorted(p.name for p in folder.iterdir())[:2] == [".lock", "log.jsonl"]


def test_minutes_bound_the_sitting(corpus: Path, tmp_path: Path) -> None:
    result = run(corpus, tmp_path / "run", steps=10_000, minutes=0.01)
    assert 0 < result.steps < 10_000 and not result.interrupted
    assert run(corpus, tmp_path / "run", steps=10_000, minutes=0.01).steps > result.steps


def test_a_changed_corpus_begins_an_epoch(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "run")
    told: list[str] = []
    larger = make_corpus(tmp_path / "larger", clips=48)
    result = run(larger, tmp_path / "run", steps=7, note=told.append)
    assert "a new epoch begins" in told[-1] and result.steps == 7


def test_other_networks_and_vocabularies_are_refused(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "run", steps=1)
    with pytest.raises(UsageError, match="another network"):
        run(corpus, tmp_path / "run", shape=dataclasses.replace(CONFIG, fusion_depth=1))
    with pytest.raises(UsageError, match="filler"):
        run(corpus, tmp_path / "new", shape=dataclasses.replace(CONFIG, text_layout="aligned"))
    with pytest.raises(UsageError, match="audio_only"):
        run(corpus, tmp_path / "new", shape=dataclasses.replace(CONFIG, audio_only=True))
    with pytest.raises(UsageError, match="either"):
        run(corpus, tmp_path / "new", start=tmp_path, init_audio="f5-tts")
    with pytest.raises(SetupError, match="nowhere"):
        run(corpus, tmp_path / "new", init_audio="nowhere")
    with pytest.raises(UsageError, match="patches"):
        run(corpus, tmp_path / "new", shape=dataclasses.replace(CONFIG, patch=3))
    states(tmp_path / "run")[0].write_bytes(b"damaged")
    with pytest.raises(InputError, match="state-"):
        run(corpus, tmp_path / "run")
    assert not (tmp_path / "new").exists()


def test_a_loss_that_is_no_number_ends_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: DualBranchDiT, batch: ClipBatch, config: LossConfig) -> torch.Tensor:
        return network.audio.out.bias.sum() * torch.full((4,), torch.nan)

    monkeypatch.setattr(trainer, "loss_sums", broken)
    with pytest.raises(WorkError, match="update 1"):
        run(corpus, tmp_path / "run")
    assert not states(tmp_path / "run")


@pytest.mark.parametrize("preset", ["patched", "bfloat16"])
def test_other_ways_of_computing(corpus: Path, tmp_path: Path, preset: str, start: Path) -> None:
    if preset == "patched":
        shape = dataclasses.replace(
            CONFIG, patch=4, prediction="data", modulation="shared", given_sound=True,
            reference_summary=True, visible_flag=True,
        )  # fmt: skip
        run(corpus, tmp_path / "run", shape=shape, steps=12, generate_every=12,
            learning_rate=0.02)  # fmt: skip
    else:
        run(corpus, tmp_path / "run", start=start, steps=12, bfloat16=True,
            learning_rate=0.02, checkpoint_activations=True)  # fmt: skip
    totals = [row["total"] for row in log_rows(tmp_path / "run")]
    assert sum(totals[-3:]) < sum(totals[:3])


def test_the_journal_forgets_what_comes_after(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 5):
        journal.write({"step": step, "loss": {"total": 1.0 / step}})
    with journal.path.open("a") as file:
        file.write('{"step": 5, "lo')
    journal.rewind(2)
    rows = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    journal.rewind(9)
    assert len(journal.path.read_text().splitlines()) == 2


def test_curves_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SetupError, match="train-scale"):
        Journal(tmp_path, tensorboard=True)
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    journal = Journal(tmp_path, tensorboard=True)
    journal.write({"step": 3, "rate": 0.5, "loss": {"total": 1.0}})
    journal.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(curves.Tags()["scalars"]) == {"rate", "loss/total"}
    assert [(e.step, e.value) for e in curves.Scalars("loss/total")] == [(3, 1.0)]


def test_curves_go_on_where_the_run_does(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for reached, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        journal = Journal(tmp_path, tensorboard=True)
        journal.rewind(reached)
        for step in steps:
            journal.write({"step": step, "rate": float(reached)})
        journal.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curve = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("rate")
    assert [(e.step, e.value) for e in curve] == [(1, 0), (2, 0), (3, 2), (4, 2)]


def test_a_judge_that_fails_does_not_end_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(spoken: object) -> dict[str, float | str]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(scores, "word_error_rate", broken)
    assert run(corpus, tmp_path / "run", generate_every=6).steps == 6
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["heldout"]["generation_missing"] == "RuntimeError: out of memory"


def test_two_runs_do_not_share_a_folder(corpus: Path, tmp_path: Path) -> None:
    with sole_user(tmp_path / "run"), pytest.raises(UsageError, match="another run"):
        run(corpus, tmp_path / "run")
    assert run(corpus, tmp_path / "run").steps == 6


def test_processes_with_other_files_part_with_a_word(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "alike", lambda self, number: number == 0)
    with pytest.raises(WorkError, match="do not see the same clips"):
        run(corpus, tmp_path / "run")


def test_an_echo_of_the_first_signal_does_not_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    with signals.stop_requests() as request:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
            now[0] += 1
        assert request.asked
        now[0] += 10
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_missing_listeners_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mel = torch.zeros(20, 100).numpy()
    assert "held out" in scores.word_error_rate([(mel, "你好", "zh")])["wer_missing"]
    monkeypatch.setattr("omnitalk_cli.speech.asr_models.find_model", lambda: None)
    assert "no speech recognition" in scores.word_error_rate([(mel, "hi", "en")])["wer_missing"]
