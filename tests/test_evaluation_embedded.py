"""Scoring a joint model: which voices are taken, what is compared with what."""

import dataclasses

import numpy as np
import pytest
import torch

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.embedded import score_model
from omnitalk_cli.evaluation.judge import Judge, JudgeConfig
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.pipeline.infill import SamplingOptions
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.text.alignment import align
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import Utterance

TEXT, WORDS = "one two three.", ((0.1, 0.4), (0.5, 0.8), (0.9, 1.4))


class AnyVocoder:
    """A vocoder whose sound does not matter: the judge below hears what it should."""

    sample_rate = 24_000

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        return torch.randn(1, (mel.shape[1] - 1) * 256)


class PerfectJudge(Judge):
    def transcribe(self, mel: object) -> str:
        return TEXT


def utterance(voice: str, seed: int) -> Utterance:
    rng = np.random.default_rng(seed)
    codes = np.zeros((140, 61), np.float16)
    codes[:, CODE_INDEX["jawOpen"]] = 0.3 + 0.3 * np.sin(np.arange(140) / 9)
    return Utterance(
        mel=rng.normal(size=(140, 100)).astype(np.float16),
        codes=codes,
        alignment=align(TEXT, WORDS, 140, Vocabulary.letters()),
        text=TEXT,
        words=WORDS,
        speaker=voice,
        source="test",
    )


@pytest.fixture(scope="module")
def model() -> SpeechMotionModel:
    torch.manual_seed(0)
    config = DiTConfig.tiny(
        dim=32, visual_dim=16, heads=2, head_dim=8, fusion_depth=1, single_depth=0, text_dim=16,
        position_kernel=3, position_groups=2,
    )  # fmt: skip
    return SpeechMotionModel(
        network=DualBranchDiT(config).eval(),
        normalisation=Normalisation(
            mel_mean=torch.zeros(100), mel_std=torch.ones(100),
            code_mean=torch.zeros(61), code_std=torch.ones(61),
        ),
        vocabulary=Vocabulary.letters(),
        durations=DurationModel(letters=tuple([0.02] + [0.06] * 28), pauses={"": 0.1}),
        languages=("en",),
        name="small",
        sha256="0",
    )  # fmt: skip


def test_scores_name_their_voices_and_a_perfect_judge_hears_no_error(
    model: SpeechMotionModel,
) -> None:
    items = [utterance(voice, seed) for voice in ("a", "b", "c") for seed in range(4)]
    judge = PerfectJudge(JudgeConfig(width=8, layers=1))
    scores = score_model(
        model, AnyVocoder(), judge, items, SamplingOptions(steps=1), voices=2, sentences=3
    )
    assert [row.voice for row in scores] == ["a", "c"]
    for row in scores:
        assert row.generated == row.copied == 0.0
        assert -1.0 <= row.lips <= 1.0
        assert row.corpus_motion["lip_range"] > 0
        assert row.sentences == 3


def test_too_few_sentences_are_told(model: SpeechMotionModel) -> None:
    judge = PerfectJudge(JudgeConfig(width=8, layers=1))
    items = [utterance("a", seed) for seed in range(3)]
    short = [dataclasses.replace(items[0], text="one two", words=WORDS[:2])] * 20
    with pytest.raises(InputError, match="0 held-out voices"):
        score_model(model, AnyVocoder(), judge, items + short, SamplingOptions(), sentences=5)
