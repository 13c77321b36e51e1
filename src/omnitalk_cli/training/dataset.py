"""Batches for in-context infilling: streams of one speaker, partly masked (paper section 3.3).

A sample is a stretch of exactly ``L`` tokens cut from utterances of one speaker laid end to end,
so that a batch needs no padding. Half of the samples are a reference and a target (everything
after an utterance boundary is masked), half have one random span of 70–100 % masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.model import Condition, TextInput
from omnitalk_cli.errors import InputError
from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.corpus import read_shard


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """How samples are masked. Shares are probabilities, 0…1.

    ``drop_all``, ``drop_reference`` (audio and visual), ``drop_visual`` and ``drop_audio`` are
    exclusive: the embedded model is trained on just what guidance asks for. ``drop_each`` drops
    text, audio and visual independently, as the paper does.
    """

    pair_share: float = 0.6
    span_share: tuple[float, float] = (0.7, 1.0)
    hide_reference_text: float = 0.5
    audio_given: float = 0.12
    drop_all: float = 0.1
    drop_reference: float = 0.06
    drop_visual: float = 0.06
    drop_audio: float = 0.03
    drop_each: float = 0.0

    @classmethod
    def paper(cls) -> MaskingConfig:
        """The paper's masking: one span of 70–100 %, each condition dropped with 0.2."""
        return cls(
            pair_share=0.0, hide_reference_text=0.0, audio_given=0.0,
            drop_all=0.0, drop_reference=0.0, drop_visual=0.0, drop_audio=0.0, drop_each=0.2,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's worth: clean streams, what is visible of them, text.

    ``audio`` ``[B, T, 100]`` and ``visual`` ``[B, T, 61]``, normalised; ``audio_target`` and
    ``visual_target`` ``[B, T]`` mark the frames to generate; ``drop_text`` ``[B]``.
    """

    audio: Tensor
    visual: Tensor
    audio_target: Tensor
    visual_target: Tensor
    condition: Condition
    text: TextInput
    drop_text: Tensor


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One recording: ``mel`` ``[T, 100]`` and ``codes`` ``[T, 61]`` (float16), aligned text."""

    mel: NDArray[np.float16]
    codes: NDArray[np.float16]
    alignment: Alignment
    text: str
    words: tuple[tuple[float, float], ...]
    speaker: str
    source: str


def load_utterances(
    folder: Path, split: str, vocabulary: Vocabulary, *, patch: int
) -> list[Utterance]:
    """All utterances of one split, cut to a multiple of ``patch`` frames.

    Raises InputError when the folder holds no shard.
    """
    paths = sorted(folder.glob("shard-*.safetensors"))
    if not paths:
        raise InputError(f"no corpus shards in {folder}; make them with `omnitalk corpus`")
    found = []
    for path in paths:
        for item in read_shard(path):
            frames = len(item.mel) // patch * patch
            if item.split != split or frames < 8 * patch or item.codes is None:
                continue
            words = tuple((float(a), float(b)) for a, b in item.words)
            found.append(
                Utterance(
                    mel=item.mel[:frames],
                    codes=item.codes[:frames],
                    alignment=align(item.text, words, frames, vocabulary),
                    text=item.text,
                    words=words,
                    speaker=item.speaker,
                    source=item.source,
                )
            )
    return found


def measure_normalisation(
    utterances: Sequence[Utterance], rng: np.random.Generator
) -> Normalisation:
    """Mean and deviation per channel over a sample of the corpus; dead channels get deviation 1."""
    chosen = rng.permutation(len(utterances))[:1500]
    mel = np.concatenate([utterances[i].mel[::4] for i in chosen]).astype(np.float32)
    codes = np.concatenate([utterances[i].codes[::4] for i in chosen]).astype(np.float32)
    deviation = codes.std(0)
    return Normalisation(
        mel_mean=torch.from_numpy(mel.mean(0)),
        mel_std=torch.from_numpy(np.maximum(mel.std(0), 1e-2)),
        code_mean=torch.from_numpy(np.where(deviation > 1e-4, codes.mean(0), 0.0).astype("f4")),
        code_std=torch.from_numpy(np.where(deviation > 1e-4, deviation, 1.0).astype("f4")),
    )


class Sampler:
    """Draws batches from utterances; everything random comes from ``rng``."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        normalisation: Normalisation,
        masking: MaskingConfig,
        *,
        patch: int,
        rng: np.random.Generator,
    ) -> None:
        self.utterances = utterances
        self.masking = masking
        self.patch = patch
        self.rng = rng
        self._mean = torch.cat([normalisation.mel_mean, normalisation.code_mean]).cpu()
        self._std = torch.cat([normalisation.mel_std, normalisation.code_std]).cpu()
        self._by_speaker: dict[str, list[int]] = {}
        for number, item in enumerate(utterances):
            self._by_speaker.setdefault(item.speaker, []).append(number)
        frames = np.array([len(item.mel) for item in utterances], float)
        self._weights = np.cumsum(frames / frames.sum())

    def batch(self, *, tokens: int, lengths: Sequence[int]) -> Batch:
        """About ``tokens`` tokens in samples of one length, drawn from ``lengths`` (tokens)."""
        length = int(self.rng.choice(lengths))
        count = max(1, round(tokens / length))
        samples = [self._sample(length * self.patch) for _ in range(count)]
        frames, alignments, audio_targets, visual_targets = zip(*samples, strict=True)
        both = (torch.from_numpy(np.stack(frames)) - self._mean) / self._std
        audio, visual = both.split([100, both.shape[-1] - 100], dim=-1)
        audio_target = torch.from_numpy(np.stack(audio_targets))
        visual_target = torch.from_numpy(np.stack(visual_targets))
        m = self.masking
        edges = np.cumsum([m.drop_all, m.drop_reference, m.drop_visual, m.drop_audio])
        kind = torch.from_numpy(np.searchsorted(edges, self.rng.random(count), side="right"))
        each = torch.from_numpy(self.rng.random((3, count)) < m.drop_each)
        condition = Condition.of(audio, visual, ~audio_target, ~visual_target).drop(
            audio=(kind == 0) | (kind == 1) | (kind == 3) | each[0],
            visual=(kind == 0) | (kind == 1) | (kind == 2) | each[1],
        )
        return Batch(
            audio=audio,
            visual=visual,
            audio_target=audio_target,
            visual_target=visual_target,
            condition=condition,
            text=stack_text(alignments),
            drop_text=(kind == 0) | each[2],
        )

    def _stream(self, frames: int) -> tuple[list[Utterance], int]:
        """Utterances of one speaker, at least ``frames`` frames together; and their total."""
        last = int(np.searchsorted(self._weights, self.rng.random()))
        last = min(last, len(self.utterances) - 1)
        mates = self._by_speaker[self.utterances[last].speaker]
        # The target must not stand in its own reference.
        mates = [number for number in mates if number != last] or mates
        chosen, total = [self.utterances[last]], len(self.utterances[last].mel)
        while total < frames:
            item = self.utterances[mates[int(self.rng.integers(len(mates)))]]
            chosen.insert(0, item)
            total += len(item.mel)
        return chosen, total

    def _sample(
        self, frames: int
    ) -> tuple[NDArray[np.float32], Alignment, NDArray[np.bool_], NDArray[np.bool_]]:
        items, total = self._stream(frames)
        pair = self.rng.random() < self.masking.pair_share
        cut = total - frames if pair else int(self.rng.integers(0, total - frames + 1))
        cut = cut // self.patch * self.patch
        streams = np.concatenate(
            [
                np.concatenate([item.mel for item in items])[cut : cut + frames],
                np.concatenate([item.codes for item in items])[cut : cut + frames],
            ],
            axis=1,
        ).astype(np.float32)
        alignment = Alignment.join([item.alignment for item in items]).crop(cut, cut + frames)
        target = np.zeros(frames, bool)
        boundary = frames - len(items[-1].mel)
        if pair and boundary >= 12 * self.patch:
            target[boundary:] = True
        else:
            low, high = self.masking.span_share
            span = int(frames * self.rng.uniform(low, high)) // self.patch * self.patch
            begin = int(self.rng.integers(0, frames - span + 1)) // self.patch * self.patch
            target[begin : begin + span] = True
        if self.rng.random() < self.masking.hide_reference_text:
            alignment = _forget(alignment, ~target)
        audio_target = target
        if self.rng.random() < self.masking.audio_given:
            audio_target = np.zeros_like(target)
        return streams, alignment, audio_target, target


def _forget(alignment: Alignment, frames: NDArray[np.bool_]) -> Alignment:
    """The alignment with the text of the marked frames unknown; its tokens go too."""
    index = np.where(frames, -1, alignment.index)
    known = index[index >= 0]
    if not len(known):
        return Alignment.unknown(len(index))
    first, last = int(known.min()), int(known.max())
    return Alignment(
        ids=alignment.ids[first : last + 1],
        index=np.where(index >= 0, index - first, -1),
        phase=np.where(frames[:, None], 0.0, alignment.phase).astype(np.float32),
    )


def stack_text(alignments: Sequence[Alignment]) -> TextInput:
    """Alignments of equally many frames as one batch; ids are padded with the filler."""
    longest = max(1, *(len(item.ids) for item in alignments))
    ids = np.zeros((len(alignments), longest), np.int64)
    for row, item in zip(ids, alignments, strict=True):
        row[: len(item.ids)] = item.ids
    return TextInput(
        ids=torch.from_numpy(ids),
        index=torch.from_numpy(np.stack([item.index for item in alignments])),
        phase=torch.from_numpy(np.stack([item.phase for item in alignments])),
    )
