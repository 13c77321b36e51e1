"""What the four ways of fusion reach: speech and motion of held-out sentences, whole and cut.

Every variant says the same sentences after the same references with the same noise. Then the link
between its streams is cut, to see what it carried: the face that follows given sound hears of it
through the fusion alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnitalk_cli.dit.blocks import FusionBlock, StreamContext
from omnitalk_cli.dit.config import Fusion
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.fusion_items import HeldOut, held_out, scoring_batches
from omnitalk_cli.evaluation.judge import Judge, edit_distance, normalise
from omnitalk_cli.evaluation.motion import expression_distance, lip_correlation, pose_distance
from omnitalk_cli.evaluation.recogniser import spelled
from omnitalk_cli.evaluation.scores.footage import Decoder, product_vocoder
from omnitalk_cli.evaluation.scores.models import JUDGE
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.evaluation.scores.summary import Mean, bootstrap
from omnitalk_cli.evaluation.scores.voice import VoiceJudge
from omnitalk_cli.evaluation.scores.words import Transcriber, word_scores
from omnitalk_cli.evaluation.speaker import cosine
from omnitalk_cli.pipeline.infill import Context, Infiller, SamplingOptions
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel, load_model
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.training.dataset import Utterance, load_utterances
from omnitalk_cli.training.loop import TrainResult
from omnitalk_cli.training.scoring import held_out_scores
from omnitalk_cli.types import Float

# In the order of tables; "letters" is the judge's error rate.
MEASURES = ("wer", "letters", "sim", "e_fid", "p_fid", "mel", "lips", "driven")


class SeveredBlock(FusionBlock):
    """A fusion block whose streams no longer hear of each other; shares its weights."""

    def __init__(self, block: FusionBlock) -> None:
        nn.Module.__init__(self)
        self.fusion = block.fusion
        self.audio, self.visual = block.audio, block.visual

    def forward(
        self, audio: Tensor, visual: Tensor, at: StreamContext, vt: StreamContext
    ) -> tuple[Tensor, Tensor]:
        return self.audio(audio, at), self.visual(visual, vt)


def severed(network: DualBranchDiT) -> DualBranchDiT:
    """The same network (and weights) without any link between its streams.

    The summary of the reference, which both streams are given, stays.
    """
    cut = DualBranchDiT.__new__(DualBranchDiT)
    nn.Module.__init__(cut)
    cut.config = network.config
    cut.text, cut.audio, cut.visual = network.text, network.audio, network.visual
    cut.fusion = nn.ModuleList(
        SeveredBlock(block) for block in network.fusion if isinstance(block, FusionBlock)
    )
    return cut.eval()


@dataclass(frozen=True, kw_only=True)
class FusionJudges:
    """The letters' judge (None: where ``eval-judge`` has one) and the recogniser's name."""

    judge: Path | None = None
    asr_model: str | None = None


@dataclass(frozen=True, kw_only=True)
class VariantScores:
    """One variant, whole or cut: means by measure (those that were measured), held-out losses.

    ``means`` of wer, letters (the judge's character errors), sim, e_fid, p_fid, mel (mean absolute
    difference of log-mel), lips (correlation of lip opening, spoken from text) and driven (the
    same from sound alone). ``heldout``: L1 of the prediction in deviations at three flow times,
    ``given`` the codes' where the sound is given and the text is not.
    """

    means: dict[str, Mean]
    heldout: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class FusionScores:
    """Everything that ``score_variants`` found; ``recordings`` are the true sentences through the
    same vocoder and judges. ``models`` names the judges, ``missing`` says what was not measured."""

    sentences: int
    parameters: dict[Fusion, int]
    whole: dict[Fusion, VariantScores]
    cut: dict[Fusion, VariantScores]
    recordings: dict[str, Mean]
    models: dict[str, str]
    missing: dict[str, str]


class _Ears:
    """Judges of sound; values and weights of a sentence by measure."""

    def __init__(self, judges: FusionJudges) -> None:
        self.words = Transcriber(judges.asr_model)
        self.voice = VoiceJudge()
        self.decode: Decoder = product_vocoder()
        path = judges.judge or JUDGE.find()
        self.letters = Judge.load(path) if path is not None else None
        self._voices: dict[HeldOut, Float | None] = {}
        self.models: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        if self.letters is None:
            self.missing["letters"] = JUDGE.how()
        else:
            self.models["letters"] = "judge of letters, trained by this project"

    def hear(self, mel: Float, item: HeldOut) -> dict[str, tuple[float, float]]:
        """wer, letters and sim of a log-mel ``[T,100]`` that should be the item's sentence."""
        audio, text = self.decode(mel), item.text
        found: dict[str, tuple[float, float]] = {}
        word = word_scores(audio, text, self.words, language="en")["wer"]
        self._take(found, "wer", word)
        if self.letters is not None:
            said = spelled(text)
            heard = normalise(self.letters.transcribe(log_mel(torch.from_numpy(audio)).numpy()))
            found["letters"] = edit_distance(heard, said) / len(said), float(len(said))
        if self.voice.why:
            self.missing["sim"] = self.voice.why
            return found
        if item not in self._voices:
            self._voices[item] = self.voice.embed(self.decode(item.mel[: item.boundary]))
        made, true = self.voice.embed(audio), self._voices[item]
        # No voice at all is like nobody's.
        found["sim"] = (0.0 if made is None or true is None else cosine(made, true)), 1.0
        self.models["sim"] = self.voice.model + (" (substitute)" if self.voice.substitute else "")
        return found

    def _take(self, found: dict[str, tuple[float, float]], name: str, score: Score) -> None:
        if score.value is None or score.counts is None:
            self.missing[name] = score.note
            return
        self.models[name] = score.model + (" (substitute)" if score.substitute else "")
        found[name] = score.value, score.counts[1]


def score_variants(
    trained: dict[Fusion, TrainResult],
    corpus: Path,
    judges: FusionJudges,
    *,
    sentences: int = 30,
    seed: int = 0,
    progress: Progress = silent,
) -> FusionScores:
    """Scores trained variants on the same held-out sentences, whole and with the link cut.

    Raises InputError when the corpus has too few such sentences.
    """
    utterances = load_utterances(corpus, "heldout")
    if not utterances:
        raise InputError(f"{corpus}: holds no held-out utterances")
    ears = _Ears(judges)
    models = {
        fusion: load_model(str(result.checkpoint), device="cpu", dtype=torch.float32)
        for fusion, result in trained.items()
    }
    one = next(iter(models.values()))
    items = held_out(
        utterances, sentences, vocabulary=one.vocabulary, patch=one.network.config.patch, seed=seed
    )
    recordings = [ears.hear(item.mel[item.boundary :], item) for item in items]
    whole: dict[Fusion, VariantScores] = {}
    cut: dict[Fusion, VariantScores] = {}
    for fusion, model in models.items():

        def scored(network: DualBranchDiT, stage: str, model: SpeechMotionModel = model) -> Any:
            return _score(
                replace(model, network=network), items, utterances, ears, seed=seed,
                progress=lambda done: progress(stage, done, len(items)),
            )  # fmt: skip

        whole[fusion] = scored(model.network, fusion)
        cut[fusion] = scored(severed(model.network), f"{fusion}, cut")
    return FusionScores(
        sentences=len(items),
        parameters={
            fusion: sum(p.numel() for p in model.network.parameters())
            for fusion, model in models.items()
        },
        whole=whole,
        cut=cut,
        recordings=_means(recordings),
        models=ears.models,
        missing=ears.missing,
    )


def _score(
    model: SpeechMotionModel,
    items: Sequence[HeldOut],
    utterances: Sequence[Utterance],
    ears: _Ears,
    *,
    seed: int,
    progress: Callable[[int], None],
) -> VariantScores:
    rows = []
    for number, item in enumerate(items):
        progress(number)
        rows.append(_sentence(model, item, ears, seed=seed + number))
    return VariantScores(means=_means(rows), heldout=held_out_losses(model, utterances))


def _sentence(
    model: SpeechMotionModel, item: HeldOut, ears: _Ears, *, seed: int
) -> dict[str, tuple[float, float]]:
    """Value and weight of every measure for one sentence."""
    first, frames = item.boundary, len(item.mel)
    reference = Context.of(
        item.mel[:first], item.codes[:first], item.alignment.crop(0, first), model.normalisation
    )
    options = SamplingOptions(**(asdict(SamplingOptions()) | {"seed": seed}))
    mel, codes = Infiller(model.network, model.normalisation, options, reference).speak(
        item.alignment.crop(first, frames)
    )
    driven = Infiller(model.network, model.normalisation, options, reference).follow(
        item.mel[first:]
    )
    true_mel, true_codes = item.mel[first:], item.codes[first:]
    found = ears.hear(mel, item)
    found["e_fid"] = expression_distance(codes, item.codes), 1.0
    found["p_fid"] = pose_distance(codes, item.codes), 1.0
    found["mel"] = float(np.abs(mel - true_mel).mean()), 1.0
    found["lips"] = lip_correlation(codes, true_codes), 1.0
    found["driven"] = lip_correlation(driven, true_codes), 1.0
    return found


def _means(rows: Sequence[dict[str, tuple[float, float]]]) -> dict[str, Mean]:
    """Over sentences, with bootstrap intervals; the same draws for every variant."""
    return {
        name: bootstrap([row[name][0] for row in rows], [row[name][1] for row in rows])
        for name in MEASURES
        if all(name in row for row in rows)
    }


def held_out_losses(model: SpeechMotionModel, utterances: Sequence[Utterance]) -> dict[str, float]:
    """L1 of the prediction per stream at fixed flow times, in deviations; ``given`` with the sound
    given, the text unknown, so that the face has nothing but the sound to go by."""
    network = model.network

    def losses(audio_given: float) -> dict[str, float]:
        batches = scoring_batches(
            utterances, model.normalisation, vocabulary=model.vocabulary,
            patch=network.config.patch, audio_given=audio_given,
        )  # fmt: skip
        return held_out_scores(network, batches, torch.device("cpu"), bfloat16=False)

    given = {name.replace("codes", "given"): value for name, value in losses(1.0).items()}
    return losses(0.0) | given
