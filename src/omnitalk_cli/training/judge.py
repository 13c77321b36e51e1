"""Trains the judge of ``evaluation.judge`` on corpus mels and on what the vocoder makes of them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.judge import (
    Judge,
    JudgeConfig,
    edit_distance,
    encode,
    normalise,
)
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import LOG_FLOOR, log_mel
from omnitalk_cli.speech.vocoder import Vocoder
from omnitalk_cli.types import MEL_RATE, Float

_UNKNOWN = -100


@dataclass(frozen=True, kw_only=True)
class JudgeTraining:
    """Settings of a run, bounded by ``minutes`` and by ``steps``.

    A batch holds about ``batch_seconds`` of speech, no recording over ``longest_seconds``.

    ``guide`` weighs a second loss that places letters by word timing and
    fades out at the fraction ``guide_until``: CTC alone begins with a long plateau.
    ``masks`` stretches of time and of mel bins are blanked per recording (SpecAugment, arXiv
    1904.08779, lightly); ``gain`` and ``tilt`` are the standard deviations of a random level and of
    a random slope over the bins, both in natural-log units.
    """

    model: JudgeConfig = field(default_factory=JudgeConfig)
    minutes: float = 10.0
    steps: int = 1_000_000
    guide: float = 1.0
    guide_until: float = 0.5
    batch_seconds: float = 80.0
    longest_seconds: float = 12.0
    learning_rate: float = 2e-3
    warmup_steps: int = 80
    ema: float = 0.99
    masks: int = 2
    gain: float = 0.7
    tilt: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch_seconds < self.longest_seconds:
            raise ValueError(f"minutes > 0 and batch_seconds >= longest_seconds needed: {self}")


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A recording to listen to: log-mel [T,100] of any float type and its text.

    ``words`` are (start, end) in seconds of the words of ``text``, where they are known.
    """

    mel: np.ndarray
    text: str
    words: tuple[tuple[float, float], ...] = ()


def through_vocoder(item: Spoken, vocoder: Vocoder) -> Spoken:
    """The same recording as the vocoder gives it: decoded and analysed again, [T,100]."""
    mel = torch.from_numpy(np.asarray(item.mel, dtype=np.float32))[None]
    with torch.inference_mode():
        again = log_mel(vocoder(mel))[0]
    return Spoken(mel=again.numpy().astype(np.float16), text=item.text, words=item.words)


def train_judge(
    config: JudgeTraining,
    items: Sequence[Spoken],
    path: Path,
    *,
    progress: Progress = silent,
    until: float = math.inf,
    metadata: dict[str, str] | None = None,
) -> Judge:
    """Train on ``items`` until the minutes are used up or the clock passes ``until``; save.

    Items that are too long, without letters or too fast for CTC are left out. Returns the judge
    with averaged weights. Raises InputError when nothing is left.
    """
    usable = [item for item in items if _fits(item, config.longest_seconds)]
    if not usable:
        raise InputError("no recording to train the judge on: all too long or without text")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    judge = Judge(config.model).train()
    average = {name: value.detach().clone() for name, value in judge.named_parameters()}
    optimiser = torch.optim.AdamW(
        judge.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    ctc = nn.CTCLoss(blank=0, reduction="sum", zero_infinity=True)
    begin, step, heard, loss_mean = time.monotonic(), 0, 0.0, float("nan")
    queue: list[list[int]] = []
    fraction = 0.0
    while fraction < 1 and time.time() < until:
        if not queue:
            queue = _batches(usable, config.batch_seconds, rng)
        batch = [usable[i] for i in queue.pop()]
        mel = torch.stack([_augmented(item, batch, config, rng) for item in batch])
        targets = [encode(item.text) for item in batch]
        rate = config.learning_rate * min(1.0, (step + 1) / config.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * max(0.0, fraction - 0.3) / 0.7))
        logits = judge(mel).log_softmax(-1).transpose(0, 1)
        frames = torch.tensor([(len(item.mel) + 1) // 2 for item in batch])
        lengths = torch.tensor([len(target) for target in targets])
        flat = torch.tensor([i for target in targets for i in target])
        loss = ctc(logits, flat, frames, lengths) / lengths.sum()
        guide = config.guide * max(0.0, 1 - fraction / config.guide_until)
        if guide:
            places = torch.stack([_places(item, logits.shape[0]) for item in batch], dim=1)
            loss = loss + guide * nn.functional.nll_loss(
                logits.flatten(0, 1), places.flatten(), ignore_index=_UNKNOWN
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 2.0)
        optimiser.step()
        step += 1
        heard += mel.shape[0] * mel.shape[1] / MEL_RATE
        loss_mean = float(loss.detach())
        keep = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in judge.named_parameters():
                average[name].lerp_(value, 1 - keep)
        spent = time.monotonic() - begin
        fraction = max(spent / (config.minutes * 60), step / config.steps)
        progress("judge", spent, config.minutes * 60)
    judge.load_state_dict(average)
    facts = {"steps": step, "hours_heard": heard / 3600, "last_loss": loss_mean}
    header = {**(metadata or {}), "training": json.dumps(asdict(config)),
              "facts": json.dumps(facts)}  # fmt: skip
    judge.eval().save(path, metadata=header)
    return judge


def error_rate(judge: Judge, items: Sequence[Spoken]) -> float:
    """Character error rate over all ``items`` together."""
    edits = characters = 0
    for item in items:
        expected = normalise(item.text)
        edits += edit_distance(judge.transcribe(item.mel), expected)
        characters += len(expected)
    if not characters:
        raise InputError("no text to compare with")
    return edits / characters


def _places(item: Spoken, count: int) -> Tensor:
    """Letter of each of ``count`` network frames by word timing, ``_UNKNOWN`` where not known."""
    places = torch.full((count,), _UNKNOWN)
    texts = item.text.split()
    if not item.words or len(texts) != len(item.words):
        return places
    places[: (len(item.mel) + 1) // 2] = 0  # blank between words
    for text, (start, end) in zip(texts, item.words, strict=True):
        letters = encode(text)
        if letters:
            edges = np.linspace(start, end, len(letters) + 1) * MEL_RATE / 2
            # One frame in the middle of each letter, blanks around, as CTC will have it.
            for letter, low, high in zip(letters, edges[:-1], edges[1:], strict=True):
                places[min(round((low + high) / 2), count - 1)] = letter
    return places


def _fits(item: Spoken, longest: float) -> bool:
    letters = encode(item.text)
    # CTC needs a frame per character and a blank between equal neighbours.
    needed = len(letters) + sum(a == b for a, b in zip(letters, letters[1:], strict=False))
    return bool(letters) and needed <= len(item.mel) // 2 and len(item.mel) <= longest * MEL_RATE


def _batches(items: Sequence[Spoken], seconds: float, rng: np.random.Generator) -> list[list[int]]:
    """One pass over the items in random batches of similar length."""
    lengths = np.array([len(item.mel) for item in items])
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(items)))
    batches: list[list[int]] = [[]]
    for index in order:
        longest = max([int(lengths[index]), *(int(lengths[i]) for i in batches[-1])])
        if batches[-1] and longest * (len(batches[-1]) + 1) > seconds * MEL_RATE:
            batches.append([])
        batches[-1].append(int(index))
    return [batches[i] for i in rng.permutation(len(batches))]


def _augmented(
    item: Spoken, batch: Sequence[Spoken], config: JudgeTraining, rng: np.random.Generator
) -> Tensor:
    """The item's mel, padded to the longest of the batch with its own floor, and disturbed."""
    mel: Float = np.array(item.mel, dtype=np.float32)
    bins = np.linspace(-1, 1, mel.shape[1], dtype=np.float32)
    gain, tilt = rng.standard_normal(2) * (config.gain, config.tilt)
    mel = (mel + gain + tilt * bins).astype(np.float32).clip(min=math.log(LOG_FLOOR))
    floor, mean = float(mel.min()), float(mel.mean())
    for _ in range(config.masks):
        width = int(rng.integers(0, 14))
        start = int(rng.integers(0, mel.shape[1] - width))
        mel[:, start : start + width] = mean
        width = int(rng.integers(0, max(2, min(16, len(mel) // 8))))
        start = int(rng.integers(0, len(mel) - width))
        mel[start : start + width] = mean
    missing = max(len(other.mel) for other in batch) - len(mel)
    return torch.from_numpy(np.pad(mel, ((0, missing), (0, 0)), constant_values=floor))
