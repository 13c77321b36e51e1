"""The ablation of fusion (paper Table 4): four small models, trained alike, scored alike.

This file is the training; ``fusion_scores`` listens and looks, ``fusion_table`` puts the result
beside the paper's.
"""

from __future__ import annotations

from pathlib import Path

from omnitalk_cli.dit.config import FUSIONS, DiTConfig, Fusion
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.training.loop import TrainResult, train
from omnitalk_cli.training.train_config import TrainConfig

DEFAULT_STEPS = 1600


def variant(fusion: Fusion) -> DiTConfig:
    """The small model with this fusion; everything else is the same in all four.

    As the embedded model, but narrower and without ``given_sound``, which shows the sound to the
    visual stream past the fusion: here sound and face may meet nowhere else.
    """
    return DiTConfig.tiny(
        fusion=fusion, dim=192, visual_dim=96, heads=3, fusion_depth=4, single_depth=1,
        text_dim=128, given_sound=False,
    )  # fmt: skip


def recipe(steps: int, seed: int = 0) -> TrainConfig:
    """The embedded model's recipe, but every step trains both streams."""
    return TrainConfig(
        steps=steps, seed=seed, lengths=(96, 144, 216), audio_only=(0.0, 0.0), heldout_minutes=3.0
    )


def train_variants(
    corpus: Path,
    folder: Path,
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    fusions: tuple[Fusion, ...] = FUSIONS,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[Fusion, TrainResult]:
    """Trains the variants one after another, each in a folder of its name under ``folder``.

    A run that was stopped goes on where it was; finished ones are only scored again. Batches, their
    noise and flow times come from ``seed`` alone, so that uninterrupted runs see the same ones;
    after an interruption the rest of that variant's batches is drawn anew. Raises InputError and
    UsageError as ``training.loop.train`` does.
    """
    results: dict[Fusion, TrainResult] = {}
    for fusion in fusions:

        def told(stage: str, done: float, total: float | None, name: str = fusion) -> None:
            progress(f"{name}: {stage}", done, total)

        results[fusion] = train(
            variant(fusion),
            recipe(steps, seed),
            corpus=corpus,
            folder=folder / fusion,
            device=device,
            progress=told,
        )
    return results
