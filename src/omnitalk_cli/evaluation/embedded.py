"""Motion of a joint model on held-out speech: lips, liveliness, and style from the reference.

``python -m omnitalk_cli.evaluation.embedded --model tiny --corpus DIR``. Faces are synthetic, in
styles never seen in training; the true words and times are given. For speech see ``cloning``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.motion import (
    expression_distance,
    lip_correlation,
    motion_statistics,
    pose_distance,
)
from omnitalk_cli.pipeline.infill import Context, Infiller, SamplingOptions
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel, load_model
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.training.dataset import MaskingConfig, Sampler, Utterance, load_utterances
from omnitalk_cli.types import MEL_BINS, MEL_RATE, Float

_TOKENS = 240  # about 10 s, of which the last utterance is to be made
_LEAST_FRAMES = 120


@dataclass(frozen=True, kw_only=True)
class MotionScores:
    """Means over samples of one source. ``lips``: correlation of lip opening with the true course,
    spoken from text; ``driven``: the same from sound alone. ``expression`` and ``pose`` are Fréchet
    distances to the same person's true motion, ``other_*`` those of the true motion of other
    people. ``motion`` describes what was made, ``true_motion`` what is true."""

    source: str
    samples: int
    lips: float
    driven: float
    expression: float
    pose: float
    other_expression: float
    other_pose: float
    motion: dict[str, float]
    true_motion: dict[str, float]


def score_motion(
    model: SpeechMotionModel,
    utterances: Sequence[Utterance],
    options: SamplingOptions,
    *,
    samples: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> list[MotionScores]:
    """Scores per source of ``utterances``, ``samples`` each. Raises InputError without any."""
    if not utterances:
        raise InputError("no held-out utterance whose phones are known")
    results = []
    for source in sorted({item.source for item in utterances}):
        sampler = Sampler(
            [item for item in utterances if item.source == source],
            None,
            MaskingConfig(),
            vocabulary=model.vocabulary,
            patch=model.network.config.patch,
            rng=np.random.default_rng(seed),
        )
        rows = []
        for number in range(samples):
            progress(f"motion, {source}", number, samples)
            rows.append(_sample(model, sampler, options, number))
        true, made, driven = zip(*rows, strict=True)
        others = (*true[1:], true[0])

        def mean(score: Callable[[Float, Float], float], one: object, two: object) -> float:
            return float(np.mean([score(a, b) for a, b in zip(one, two, strict=True)]))  # type: ignore[call-overload]

        results.append(
            MotionScores(
                source=source,
                samples=samples,
                lips=mean(lip_correlation, made, true),
                driven=mean(lip_correlation, driven, true),
                expression=mean(expression_distance, made, true),
                pose=mean(pose_distance, made, true),
                other_expression=mean(expression_distance, others, true),
                other_pose=mean(pose_distance, others, true),
                motion=_statistics(made),
                true_motion=_statistics(true),
            )
        )
    return results


def _sample(
    model: SpeechMotionModel, sampler: Sampler, options: SamplingOptions, seed: int
) -> tuple[Float, Float, Float]:
    """True codes of one utterance, those made from its text, and those made from its sound."""
    frames = _TOKENS * sampler.patch
    while True:
        streams, alignment, boundary = sampler.clip(frames)
        boundary = boundary // sampler.patch * sampler.patch
        if _LEAST_FRAMES <= boundary <= frames - _LEAST_FRAMES:
            break
    mel, codes = streams[:, :MEL_BINS], streams[:, MEL_BINS:]
    reference = Context.of(
        mel[:boundary], codes[:boundary], alignment.crop(0, boundary), model.normalisation
    )

    def infiller() -> Infiller:
        sampling = SamplingOptions(**(asdict(options) | {"seed": options.seed + seed}))
        return Infiller(model.network, model.normalisation, sampling, reference)

    _, spoken = infiller().speak(alignment.crop(boundary, frames))
    return codes[boundary:], spoken, infiller().follow(mel[boundary:])


def _statistics(pieces: Sequence[Float]) -> dict[str, float]:
    found = motion_statistics(np.concatenate(pieces), MEL_RATE)
    return {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    """Prints the scores of one model at one setting as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--steps", type=int, default=SamplingOptions.steps)
    parser.add_argument("--cfg-face", type=float, default=SamplingOptions.cfg_face)
    chosen = parser.parse_args()
    scores = score_motion(
        load_model(chosen.model, device="cpu", dtype=torch.float32),
        load_utterances(chosen.corpus, "heldout"),
        SamplingOptions(steps=chosen.steps, cfg_face=chosen.cfg_face),
        samples=chosen.samples,
    )
    print(json.dumps([asdict(row) for row in scores], indent=1))


if __name__ == "__main__":
    main()
