"""Scoring a joint model's motion: what is compared with what."""

import dataclasses

import numpy as np
import pytest
import torch

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.embedded import score_motion
from omnitalk_cli.pipeline.infill import SamplingOptions
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import Utterance
from omnitalk_cli.training.shards import CorpusItem


def utterance(voice: str, seed: int) -> Utterance:
    rng = np.random.default_rng(seed)
    made = Utterance.of(
        CorpusItem(
            mel=rng.normal(-3, 2, size=(220, 100)).astype(np.float16), text="one two",
            words=[(0.1, 0.8), (1.0, 2.0)], speaker=voice, source="test", alphabet="arpabet",
            phones=[("W", 0.1, 0.3), ("AH", 0.3, 0.6), ("N", 0.6, 0.8), ("T", 1, 1.2),
                    ("UW", 1.2, 2.0)],
        )
    )  # fmt: skip
    assert made is not None
    return made


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
            code_mean=torch.zeros(61), code_std=torch.full((61,), 0.1),
        ),
        vocabulary=Vocabulary.phones(),
        durations=DurationModel(weights={"bias": -2.5}, pauses={}),
        languages=("en",),
        name="small",
        sha256="0",
    )  # fmt: skip


def test_scores_compare_with_the_true_motion_of_the_same_person(model: SpeechMotionModel) -> None:
    items = [utterance("a", seed) for seed in range(4)]
    items += [dataclasses.replace(utterance("b", 9), source="other")] * 2
    scores = score_motion(model, items, SamplingOptions(steps=1), samples=2)
    assert [row.source for row in scores] == ["other", "test"]
    for row in scores:
        assert -1.0 <= row.lips <= 1.0 and -1.0 <= row.driven <= 1.0
        assert row.samples == 2
        assert row.true_motion["lip_range"] > 0
        # An untrained model moves like nobody; two people differ, too.
        assert row.expression > 0 and row.other_pose > 0


def test_nothing_to_score_is_told(model: SpeechMotionModel) -> None:
    with pytest.raises(InputError, match="held-out"):
        score_motion(model, [], SamplingOptions())
