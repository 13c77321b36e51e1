"""The vocoder's trainer learns, saves, resumes and uses its discriminators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import VocosConfig, load_vocoder
from omnitalk_cli.training.vocoder import (
    AudioCorpus,
    Discriminators,
    VocoderTrainer,
    VocoderTraining,
    adversarial_loss,
    discriminator_loss,
    spectral_loss,
)

TINY = VocosConfig(dim=16, intermediate_dim=32, num_layers=1, mel_mean=-5.0, mel_scale=3.0)
CONFIG = VocoderTraining(
    model=TINY, batch=2, frames=16, warmup_steps=4, learning_rate=5e-3, stft_sizes=(256, 512)
)


@pytest.fixture
def corpus(tmp_path: Path) -> AudioCorpus:
    rng = np.random.default_rng(0)
    time = np.arange(12_000) / 24_000
    voices = [np.sin(2 * np.pi * f * time * np.arange(1, 9)[:, None]).sum(0) for f in (110, 190)]
    audio = np.concatenate([3000 * v + 30 * rng.standard_normal(len(v)) for v in voices])
    path = tmp_path / "audio-0.safetensors"
    offsets = np.array([0, 12_000, 24_000], dtype=np.int64)
    save_file({"audio": audio.astype(np.int16), "offsets": offsets}, str(path))
    return AudioCorpus([path])


def _held(corpus: AudioCorpus) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return corpus.sample(rng, batch=2, samples=20 * 256, pitch_share=0.0)


def test_training_vocoder_excerpts_are_varied_and_never_clip(corpus: AudioCorpus) -> None:
    rng = np.random.default_rng(0)
    audio = corpus.sample(rng, batch=16, samples=3000, pitch_share=0.7)
    assert audio.shape == (16, 3000) and audio.dtype == torch.float32
    assert audio.abs().max() < 1.0
    levels = audio.square().mean(1).sqrt()
    assert levels.max() > 3 * levels.min()
    again = corpus.sample(np.random.default_rng(0), batch=16, samples=3000, pitch_share=0.7)
    assert torch.equal(audio, again)
    assert corpus.seconds == 1.0


def test_training_vocoder_spectral_loss_orders_sounds(corpus: AudioCorpus) -> None:
    audio = _held(corpus)
    close = spectral_loss(audio * 0.9, audio, sizes=(256, 1024))
    far = spectral_loss(torch.randn_like(audio) * 0.1, audio, sizes=(256, 1024))
    assert spectral_loss(audio, audio, sizes=(256, 1024)) == 0
    assert 0 < close < far


def test_training_vocoder_discriminators_learn_to_tell(corpus: AudioCorpus) -> None:
    torch.manual_seed(0)
    critics = Discriminators()
    real, fake = _held(corpus)[:, :2560], torch.randn(2, 2560) * 0.05
    optimiser = torch.optim.Adam(critics.parameters(), 4e-3)
    losses = []
    for _ in range(6):
        loss = discriminator_loss(critics.judge(real), critics.judge(fake))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    with torch.no_grad():
        seen = critics.judge(real)
        assert adversarial_loss(seen, seen) < adversarial_loss(seen, critics.judge(fake))


def test_training_vocoder_learns_and_exports(corpus: AudioCorpus, tmp_path: Path) -> None:
    held = _held(corpus)
    trainer = VocoderTrainer(CONFIG, corpus, held, tmp_path / "run", {"license": "CC0-1.0"})
    before = trainer.score()["held_mel_l1"]
    for _ in range(40):
        trainer._train_step(0.1)
    scores = trainer.save({})
    assert scores["held_mel_l1"] < 0.7 * before
    exported = load_vocoder(tmp_path / "run" / "vocoder.safetensors")
    mel = log_mel(held)
    assert (exported(mel) - trainer.average(mel)).abs().max() < 1e-2
    assert json.loads(exported.metadata["training"])["batch"] == 2
    assert json.loads((tmp_path / "run" / "log.jsonl").read_text())["step"] == 40


def test_training_vocoder_resumes_where_it_stopped(corpus: AudioCorpus, tmp_path: Path) -> None:
    first = VocoderTrainer(CONFIG, corpus, _held(corpus), tmp_path / "run")
    for _ in range(2):
        first._train_step(0.1)
    first.adversarial_step = 100
    config = VocoderTraining(**{**vars(CONFIG), "adversarial_from": 0.5})
    first.config = config
    first._train_step(0.6)
    first.save({})
    second = VocoderTrainer(config, corpus, _held(corpus), tmp_path / "run")
    assert (second.step, second.adversarial_step) == (3, 101)
    a, b = first._train_step(0.6), second._train_step(0.6)
    assert {"mel", "stft", "critic", "adversarial"} == set(a)
    assert a == pytest.approx(b, rel=1e-4)
    for one, two in zip(first.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_training_vocoder_stops_in_time_and_checks_its_folder(
    corpus: AudioCorpus, tmp_path: Path
) -> None:
    seen: list[float] = []
    config = VocoderTraining(**{**vars(CONFIG), "minutes": 0.005})
    trainer = VocoderTrainer(config, corpus, _held(corpus), tmp_path / "run")
    trainer.run(lambda stage, done, total: seen.append(done))
    assert seen and seen == sorted(seen) and seen[-1] >= 0.3
    other = VocoderTraining(model=VocosConfig(dim=8, intermediate_dim=8, num_layers=1))
    with pytest.raises(InputError, match="another model"):
        VocoderTrainer(other, corpus, _held(corpus), tmp_path / "run")
