"""Scores of a joint model on held-out corpus voices: intelligibility, lips, liveliness.

``python -m omnitalk_cli.evaluation.embedded --model tiny --corpus DIR --judge FILE``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.judge import Judge, character_error_rate
from omnitalk_cli.evaluation.motion import lip_correlation, motion_statistics
from omnitalk_cli.pipeline.infill import Context, Infiller, SamplingOptions
from omnitalk_cli.pipeline.production import load_vocoder
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel, load_model
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import Vocoder
from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.training.dataset import Utterance, load_utterances
from omnitalk_cli.types import MEL_RATE, Float

_REFERENCE_FRAMES = 400  # about 4.3 s


@dataclass(frozen=True, kw_only=True)
class VoiceScores:
    """Means over the sentences of one held-out voice. Error rates are 0…1.

    ``generated`` and ``copied`` are the judge's character error rates of generated speech (its
    timing predicted) and of the corpus' own, both through the vocoder. ``lips`` is the correlation
    of lip opening with the corpus' lips at the same timing. ``head_speed``, ``gaze_speed`` and
    ``blinks_per_minute`` are of the generated motion, with ``corpus_*`` beside them.
    """

    voice: str
    sentences: int
    generated: float
    copied: float
    lips: float
    motion: dict[str, float]
    corpus_motion: dict[str, float]


def score_model(
    model: SpeechMotionModel,
    vocoder: Vocoder,
    judge: Judge,
    utterances: Sequence[Utterance],
    options: SamplingOptions,
    *,
    voices: int = 3,
    sentences: int = 20,
    progress: Progress = silent,
) -> list[VoiceScores]:
    """Scores ``voices`` held-out voices on ``sentences`` sentences each.

    Raises InputError when the held-out part has too few of them.
    """
    groups: dict[str, list[Utterance]] = {}
    for item in utterances:
        if len(item.text.split()) >= 3:
            groups.setdefault(item.speaker, []).append(item)
    usable = [name for name, items in sorted(groups.items()) if len(items) > sentences]
    if len(usable) < voices:
        raise InputError(f"{len(usable)} held-out voices with over {sentences} sentences")
    # Evenly over the list, so that both kinds of sources are heard.
    chosen = [usable[round(i * (len(usable) - 1) / max(1, voices - 1))] for i in range(voices)]
    results = []
    for number, name in enumerate(chosen):
        items = groups[name]
        rows = []
        for index in range(sentences):
            progress("scoring", number * sentences + index, voices * sentences)
            target = items[index]
            others = items[sentences:] or items[:index] + items[index + 1 :]
            reference = _reference(others, index, model)
            rows.append(_score(model, vocoder, judge, reference, others, target, options, index))
        generated, copied, lips, motion, corpus_motion = zip(*rows, strict=True)
        results.append(
            VoiceScores(
                voice=name,
                sentences=sentences,
                generated=float(np.mean(generated)),
                copied=float(np.mean(copied)),
                lips=float(np.mean(lips)),
                motion=_statistics(motion),
                corpus_motion=_statistics(corpus_motion),
            )
        )
    return results


def _reference(others: Sequence[Utterance], start: int, model: SpeechMotionModel) -> Context:
    """Utterances of the voice laid end to end, about four seconds."""
    parts: list[Utterance] = []
    while sum(len(part.mel) for part in parts) < _REFERENCE_FRAMES and len(parts) < len(others):
        parts.append(others[(start + len(parts)) % len(others)])
    return Context.of(
        np.concatenate([part.mel for part in parts]).astype(np.float32),
        np.concatenate([part.codes for part in parts]).astype(np.float32),
        Alignment.join([part.alignment for part in parts]),
        model.normalisation,
    ).end(_REFERENCE_FRAMES)


def _score(
    model: SpeechMotionModel,
    vocoder: Vocoder,
    judge: Judge,
    reference: Context,
    others: Sequence[Utterance],
    target: Utterance,
    options: SamplingOptions,
    seed: int,
) -> tuple[float, float, float, Float, Float]:
    def infiller() -> Infiller:
        sampling = SamplingOptions(**(asdict(options) | {"seed": options.seed + seed}))
        return Infiller(model.network, model.normalisation, sampling, reference)

    durations = model.durations
    paces = [durations.pace(item.text, item.words[-1][1] - item.words[0][0]) for item in others]
    pace = float(np.median(paces))
    frames = infiller().frames(durations.seconds(target.text, pace=pace))
    words = durations.word_times(target.text, pace=pace)
    predicted, _ = infiller().speak(align(target.text, words, frames, model.vocabulary))
    _, codes = infiller().speak(target.alignment)
    true_codes = target.codes.astype(np.float32)
    return (
        _heard(predicted, target.text, vocoder, judge),
        _heard(target.mel.astype(np.float32), target.text, vocoder, judge),
        lip_correlation(codes, true_codes),
        codes,
        true_codes,
    )


def _heard(mel: Float, text: str, vocoder: Vocoder, judge: Judge) -> float:
    """Character error rate of ``mel`` ``[T, 100]`` once the vocoder has made sound of it."""
    audio = vocoder(torch.from_numpy(mel)[None])[0]
    return character_error_rate(judge.transcribe(log_mel(audio).numpy()), text)


def _statistics(pieces: Sequence[Float]) -> dict[str, float]:
    found = motion_statistics(np.concatenate(pieces), MEL_RATE)
    return {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    """Prints the scores of one model at one setting as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--vocoder", default="source")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--voices", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--steps", type=int, default=SamplingOptions.steps)
    parser.add_argument("--schedule", default=SamplingOptions.schedule)
    parser.add_argument("--cfg", type=float, nargs=3, metavar=("TEXT", "AUDIO", "VIDEO"))
    chosen = parser.parse_args()
    weights = chosen.cfg or (
        SamplingOptions.cfg_text, SamplingOptions.cfg_audio, SamplingOptions.cfg_video,
    )  # fmt: skip
    model = load_model(chosen.model, device="cpu", dtype=torch.float32)
    heldout = load_utterances(
        chosen.corpus, "heldout", model.vocabulary, patch=model.network.config.patch
    )
    scores = score_model(
        model,
        load_vocoder(chosen.vocoder),
        Judge.load(chosen.judge),
        heldout,
        SamplingOptions(
            steps=chosen.steps, schedule=chosen.schedule,
            cfg_text=weights[0], cfg_audio=weights[1], cfg_video=weights[2],
        ),
        voices=chosen.voices,
        sentences=chosen.sentences,
    )  # fmt: skip
    print(json.dumps([asdict(row) for row in scores], indent=1))


if __name__ == "__main__":
    main()
