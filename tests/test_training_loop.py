"""Masking, loss and the training loop on a tiny corpus of noise."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.dit.checkpoint import load_checkpoint
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import (
    MaskingConfig,
    MixConfig,
    Sampler,
    load_utterances,
    measure_normalisation,
)
from omnitalk_cli.training.loop import Trainer, train
from omnitalk_cli.training.loss import LossConfig, flow_loss
from omnitalk_cli.training.train_config import TrainConfig
from omnitalk_cli.training.world import World
from speech_corpus import QUICK, SMALL, make_corpus

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def sampler(
    corpus: Path, masking: MaskingConfig, seed: int = 0, mix: MixConfig | None = None
) -> Sampler:
    rng = np.random.default_rng(seed)
    made = Sampler(
        load_utterances(corpus, "train"), None, masking, mix=mix, vocabulary=Vocabulary.phones(),
        patch=4, rng=rng,
    )  # fmt: skip
    measure_normalisation(made, batches=2)
    return made


def test_samples_have_one_length_and_masks_lie_on_patches(corpus: Path) -> None:
    for seed in range(5):
        batch = sampler(corpus, MaskingConfig(), seed).batch(tokens=200, lengths=(40,))
        assert batch.audio.shape == (5, 160, 100) and batch.visual.shape == (5, 160, 61)
        patches = batch.visual_target.reshape(5, 40, 4)
        assert torch.equal(patches.any(-1), patches.all(-1))
        hidden = batch.audio_target
        assert float(batch.condition.audio[hidden].abs().max()) == 0.0


def test_shares_decide_which_source_is_drawn(corpus: Path) -> None:
    only = sampler(corpus, MaskingConfig(), mix=MixConfig(shares={"human:anna": 1.0}))
    drawn = [only.utterances[np.searchsorted(only._weights, u)].source for u in (0.01, 0.5, 0.99)]
    assert drawn == ["human:anna"] * 3
    half = sampler(corpus, MaskingConfig(), mix=MixConfig(shares={"human:anna": 0.5}))
    share = np.diff(half._weights, prepend=0.0)
    human = [item.source == "human:anna" for item in half.utterances]
    assert share[human].sum() == pytest.approx(0.5)


def test_recordings_get_a_new_voice_and_a_face_every_time(corpus: Path) -> None:
    mix = MixConfig(shares={"human:anna": 1.0})
    one, two = (
        sampler(corpus, MaskingConfig(), seed, mix).batch(tokens=32, lengths=(32,))
        for seed in (1, 2)
    )
    for batch in (one, two):
        assert torch.isfinite(batch.audio).all() and float(batch.visual.std()) > 0
    assert not torch.allclose(one.audio, two.audio)


def test_without_motion_nothing_of_the_face_is_asked_for(corpus: Path) -> None:
    batch = sampler(corpus, MaskingConfig()).batch(tokens=64, lengths=(32,), motion=False)
    assert not batch.visual_target.any() and batch.audio_target.any()


def test_a_pause_sounds_like_the_quietest_frames(corpus: Path) -> None:
    source = sampler(corpus, MaskingConfig())
    mel = np.full((50, 100), -1.0, np.float32)
    mel[20:26] = -9.0
    pause = source._pause(mel, 5)
    assert pause.mel.shape == (20, 100) and np.allclose(pause.mel, -9.0)
    assert len(pause.alignment.index) == 20 and not pause.phones


def test_span_masking_covers_its_share(corpus: Path) -> None:
    masking = MaskingConfig(pair_share=0.0, audio_given=0.0)
    batch = sampler(corpus, masking).batch(tokens=400, lengths=(40,))
    shares = batch.audio_target.float().mean(1)
    assert float(shares.min()) >= 0.65 and float(shares.max()) <= 1.0


def test_given_audio_leaves_only_the_face_to_generate(corpus: Path) -> None:
    masking = MaskingConfig(
        audio_given=1.0, drop_all=0, drop_reference=0, drop_visual=0, drop_audio=0, drop_text=0
    )
    batch = sampler(corpus, masking).batch(tokens=64, lengths=(32,))
    assert not batch.audio_target.any() and batch.visual_target.any()
    assert batch.condition.audio_visible.all()
    silent = MaskingConfig(audio_given=1.0, given_text=0.0)
    assert sampler(corpus, silent).batch(tokens=64, lengths=(32,)).drop_text.all()


def test_hidden_reference_text_is_unknown_on_visible_frames(corpus: Path) -> None:
    masking = MaskingConfig(pair_share=1.0, hide_reference_text=1.0, audio_given=0.0)
    batch = sampler(corpus, masking).batch(tokens=200, lengths=(50,))
    assert batch.text.index is not None
    assert (batch.text.index[~batch.audio_target] == -1).all()
    assert (batch.text.index[batch.audio_target] >= 0).all()


@pytest.mark.parametrize("prediction", ["data", "velocity"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_perfect_prediction_has_no_loss_and_dead_channels_do_not_count(
    corpus: Path, prediction: str, norm: str
) -> None:
    batch = sampler(corpus, MaskingConfig()).batch(tokens=64, lengths=(32,))
    noise = (torch.randn_like(batch.audio), torch.randn_like(batch.visual))
    wrong_dead = torch.zeros(61)
    wrong_dead[CODE_INDEX["cheekPuff"]] = 5.0

    class Oracle(torch.nn.Module):
        config = dataclasses.replace(SMALL, prediction=prediction)

        def text(self, *_: object) -> None:
            return None

        def forward(self, audio, visual, **_: object):  # noqa: ANN001, ANN202
            if prediction == "data":
                return batch.audio, batch.visual + wrong_dead
            return batch.audio - noise[0], batch.visual - noise[1] + wrong_dead

    terms = flow_loss(
        Oracle(), batch, LossConfig(norm=norm), time=torch.full((2,), 0.4), noise=noise
    )
    assert float(terms.total) == pytest.approx(0.0, abs=1e-5)


def test_training_learns_and_leaves_a_loadable_checkpoint(corpus: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, steps=60, learning_rate=5e-3, ema=0.9)
    trainer = Trainer(SMALL, config, corpus=corpus, folder=tmp_path, world=ALONE)
    before = trainer.score()
    result = trainer.run()
    assert result.steps == 60
    # The data are noise, so all that can be learned is to keep what shines through at late times.
    assert result.heldout["codes@0.6"] < before["codes@0.6"]
    assert result.heldout["mel@0.6"] < before["mel@0.6"]
    loaded = load_checkpoint(result.checkpoint, device="cpu", dtype=torch.float32)
    assert loaded.extras["training"]["sources"] == ["human:anna", "test"]
    durations = DurationModel(**loaded.extras["durations"])
    assert 0.5 < durations.seconds([SpokenWord(("HH", "AH", "L", "OW"))] * 3) < 6


def test_a_run_may_start_from_another_models_weights(corpus: Path, tmp_path: Path) -> None:
    first = train(SMALL, QUICK, corpus=corpus, folder=tmp_path / "first")
    longer = dataclasses.replace(SMALL, text_conv_layers=3)
    trainer = Trainer(
        longer, QUICK, corpus=corpus, folder=tmp_path / "second", world=ALONE,
        init=first.checkpoint,
    )  # fmt: skip
    old = load_checkpoint(first.checkpoint, device="cpu", dtype=torch.float32)
    assert torch.equal(trainer.model.audio.out.weight, old.model.audio.out.weight)
    assert "after 4 steps" in trainer.inherited[-1]
    assert trainer.run().steps == 4
    again = Trainer(longer, QUICK, corpus=corpus, folder=tmp_path / "second", world=ALONE)
    assert again.inherited == trainer.inherited


def test_resuming_goes_on_where_it_stopped(corpus: Path, tmp_path: Path) -> None:
    train(SMALL, QUICK, corpus=corpus, folder=tmp_path)
    again = Trainer(
        SMALL, dataclasses.replace(QUICK, steps=6), corpus=corpus, folder=tmp_path, world=ALONE
    )
    assert again.step == 4
    moments = [s["exp_avg"] for s in again.optimiser.state.values()]
    assert moments and any(float(m.abs().sum()) > 0 for m in moments)
    assert again.run().steps == 6


def test_learning_rate_warms_up_and_falls_to_zero(corpus: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, steps=100, warmup_steps=10)
    trainer = Trainer(SMALL, config, corpus=corpus, folder=tmp_path, world=ALONE)
    rates = []
    for step in range(100):
        trainer.step = step
        rates.append(trainer.learning_rate())
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert max(rates) == rates[50] == config.learning_rate
    assert rates[-1] < 0.05 * config.learning_rate


def test_mistakes_are_told(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="omnitalk corpus"):
        train(SMALL, QUICK, corpus=tmp_path, folder=tmp_path / "run")
    with pytest.raises(UsageError, match="steps or as minutes"):
        TrainConfig()
    train(SMALL, QUICK, corpus=corpus, folder=tmp_path / "other")
    wider = dataclasses.replace(SMALL, visual_dim=32)
    with pytest.raises(UsageError, match="another model configuration"):
        train(wider, QUICK, corpus=corpus, folder=tmp_path / "other")
    with sole_user(tmp_path / "busy"), pytest.raises(UsageError, match="another run is at work"):
        train(SMALL, QUICK, corpus=corpus, folder=tmp_path / "busy")
