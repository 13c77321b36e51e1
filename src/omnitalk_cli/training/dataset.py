"""Batches for in-context infilling: streams of one speaker, partly masked (paper section 3.3).

A sample is a stretch of exactly ``L`` tokens cut from utterances of one speaker laid end to end,
so that a batch needs no padding. Most samples are a reference and a target (everything after an
utterance boundary is masked), the others have one random span of 70–100 % masked.

Recordings become a virtual voice and every face moves in a style drawn for the sample alone: what
the model needs to know of either stands in the reference and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.model import Condition, TextInput
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_COUNT
from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.augment import fill_silence
from omnitalk_cli.training.motion import MotionStyle, Phone, synthesise_motion
from omnitalk_cli.training.phone_words import Span, group
from omnitalk_cli.training.shards import CorpusItem, read_shard
from omnitalk_cli.training.voices import VirtualVoice
from omnitalk_cli.types import MEL_BINS, MEL_RATE, SAMPLE_RATE, Float

# A voice's own pitch decides how far it can be moved: a man's hardly down, a woman's hardly up.
_PITCH_RANGE = {
    "human:flemishguy": (0.85, 1.6),
    "flite:rms": (0.85, 1.6),
    "flite:kal16": (0.85, 1.6),
    "flite:awb": (0.75, 1.5),
}


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """How samples are masked. Shares are probabilities, 0…1.

    ``drop_all``, ``drop_reference`` (audio and visual), ``drop_visual``, ``drop_audio`` and
    ``drop_text`` are exclusive: the embedded model is trained on just what guidance asks for.
    ``drop_each`` drops text, audio and visual independently, as the paper does. ``audio_given``
    samples have only the face to generate, and of them ``given_text`` know the words.
    """

    pair_share: float = 0.6
    span_share: tuple[float, float] = (0.7, 1.0)
    hide_reference_text: float = 0.5
    audio_given: float = 0.42
    given_text: float = 0.3
    drop_all: float = 0.1
    drop_reference: float = 0.06
    drop_visual: float = 0.06
    drop_audio: float = 0.03
    drop_text: float = 0.06
    drop_each: float = 0.0

    @classmethod
    def paper(cls) -> MaskingConfig:
        """The paper's masking: one span of 70–100 %, each condition dropped with 0.2."""
        return cls(
            pair_share=0.0, hide_reference_text=0.0, audio_given=0.0,
            drop_all=0.0, drop_reference=0.0, drop_visual=0.0, drop_audio=0.0, drop_text=0.0,
            drop_each=0.2,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """What is drawn how often: ``shares`` by source, those not named getting the rest by their
    hours; the probability of a ``pause`` (0.1…1 s) between two utterances.

    Half and more is human, or speech sounds synthetic; more than half of that is English.
    """

    shares: dict[str, float] = field(
        default_factory=lambda: {
            "human:kathleen": 0.37, "human:kerstin": 0.11, "human:flemishguy": 0.13,
            "human:nathalie": 0.07, "flite:rms": 0.05, "flite:awb": 0.04, "flite:slt": 0.04,
            "flite:kal16": 0.02,
        }
    )  # fmt: skip
    pause: float = 0.5


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


@dataclass(kw_only=True)
class Utterance:
    """One recording: ``mel`` ``[T, 100]`` float16 or ``audio`` ``[S]`` int16, ``codes`` ``[T, 61]``
    where real motion is known; words and the times of their phones; ``phones`` for the lips."""

    mel: NDArray[np.float16] | None
    audio: NDArray[np.int16] | None
    codes: NDArray[np.float16] | None
    words: Sequence[SpokenWord]
    times: Sequence[Sequence[Span]]
    phones: Sequence[Phone]
    alphabet: str
    seconds: float
    text: str
    speaker: str
    source: str
    language: str
    bandwidth: float = SAMPLE_RATE / 2
    filled: bool = False

    @classmethod
    def of(cls, item: CorpusItem) -> Utterance | None:
        """The utterance of a corpus item; None where its phones are not known."""
        spoken = group(item)
        if spoken is None or item.phones is None:
            return None
        words, times = spoken
        if item.language != "en":
            words = [
                SpokenWord(tuple("RR" if p == "R" else p for p in word.phones), word.mark)
                for word in words
            ]
        return cls(
            mel=item.mel,
            audio=item.audio,
            codes=item.codes,
            words=words,
            times=times,
            phones=[Phone(symbol=s, start=a, end=b) for s, a, b in item.phones],
            alphabet=item.alphabet,
            seconds=item.seconds,
            text=item.text,
            speaker=item.speaker,
            source=item.source,
            language=item.language,
            bandwidth=item.bandwidth,
        )

    def samples(self) -> Float:
        """The recording ``[S]`` −1…1, its padded ends filled with room tone."""
        assert self.audio is not None
        if not self.filled:
            sound = fill_silence(
                self.audio.astype(np.float32) / 32768, np.random.default_rng(len(self.audio))
            )
            self.audio = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
            self.filled = True
        return self.audio.astype(np.float32) / 32768


@dataclass(frozen=True, kw_only=True)
class Take:
    """An utterance as a sample has it: ``mel`` ``[T, 100]`` and all times for it; no words for a
    pause."""

    mel: Float
    codes: Float | None
    alignment: Alignment
    phones: Sequence[Phone]


def load_utterances(folder: Path, split: str) -> list[Utterance]:
    """All utterances of one split whose phones are known and that last over a third of a second.

    Raises InputError when the folder holds no shard.
    """
    paths = sorted(folder.glob("shard-*.safetensors"))
    if not paths:
        raise InputError(f"no corpus shards in {folder}; make them with `omnitalk corpus speech`")
    found = []
    for path in paths:
        for item in read_shard(path):
            if item.split == split and item.seconds > 0.35:
                utterance = Utterance.of(item)
                if utterance is not None:
                    found.append(utterance)
    return found


class Sampler:
    """Draws batches from utterances; everything random comes from ``rng``."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        normalisation: Normalisation | None,
        masking: MaskingConfig,
        *,
        mix: MixConfig | None = None,
        vocabulary: Vocabulary,
        patch: int,
        rng: np.random.Generator,
    ) -> None:
        self.utterances = utterances
        self.masking = masking
        self.mix = mix or MixConfig()
        self.vocabulary = vocabulary
        self.patch = patch
        self.rng = rng
        if normalisation is not None:
            self.normalise(normalisation)
        self._by_speaker: dict[str, list[int]] = {}
        for number, item in enumerate(utterances):
            self._by_speaker.setdefault(item.speaker, []).append(number)
        seconds = np.array([item.seconds for item in utterances])
        weights = seconds / seconds.sum()
        sources = np.array([item.source for item in utterances])
        named = {name: share for name, share in self.mix.shares.items() if name in sources}
        others = ~np.isin(sources, list(named))
        # What is not named shares what the named ones leave.
        rest = max(0.0, 1.0 - sum(named.values())) if named else 1.0
        for where, share in [(sources == n, s) for n, s in named.items()] + [(others, rest)]:
            if where.any():
                weights[where] *= share / weights[where].sum()
        self._weights = np.cumsum(weights / weights.sum())

    def normalise(self, normalisation: Normalisation) -> None:
        """Sets what batches are normalised by."""
        self._mean = torch.cat([normalisation.mel_mean, normalisation.code_mean]).cpu()
        self._std = torch.cat([normalisation.mel_std, normalisation.code_std]).cpu()

    def batch(self, *, tokens: int, lengths: Sequence[int], motion: bool = True) -> Batch:
        """About ``tokens`` tokens in samples of one length, drawn from ``lengths`` (tokens).

        Without ``motion`` the visual stream is empty, and nothing of it is to be generated.
        """
        length = int(self.rng.choice(lengths))
        count = max(1, round(tokens / length))
        samples = [self._sample(length * self.patch, motion) for _ in range(count)]
        frames, alignments, audio_targets, visual_targets = zip(*samples, strict=True)
        both = (torch.from_numpy(np.stack(frames)) - self._mean) / self._std
        audio, visual = both.split([MEL_BINS, CODE_COUNT], dim=-1)
        audio_target = torch.from_numpy(np.stack(audio_targets))
        visual_target = torch.from_numpy(np.stack(visual_targets))
        m = self.masking
        edges = np.cumsum([m.drop_all, m.drop_reference, m.drop_visual, m.drop_audio, m.drop_text])
        kind = torch.from_numpy(np.searchsorted(edges, self.rng.random(count), side="right"))
        each = torch.from_numpy(self.rng.random((3, count)) < m.drop_each)
        condition = Condition.of(audio, visual, ~audio_target, ~visual_target).drop(
            audio=(kind == 0) | (kind == 1) | (kind == 3) | each[0],
            visual=(kind == 0) | (kind == 1) | (kind == 2) | each[1],
        )
        given = ~audio_target.any(dim=1)
        told = torch.from_numpy(self.rng.random(count) < m.given_text)
        return Batch(
            audio=audio,
            visual=visual,
            audio_target=audio_target,
            visual_target=visual_target,
            condition=condition,
            text=stack_text(alignments),
            drop_text=(kind == 0) | (kind == 4) | each[2] | (given & ~told),
        )

    def _stream(self, frames: int, last: int | None = None) -> tuple[list[Take], str]:
        """Utterances of one speaker with pauses, at least ``frames`` frames; their alphabet."""
        if last is None:
            last = int(np.searchsorted(self._weights, self.rng.random()))
        item = self.utterances[min(last, len(self.utterances) - 1)]
        mates = self._by_speaker[item.speaker]
        # The target must not stand in its own reference.
        mates = [number for number in mates if number != last] or mates
        voice = None
        if item.audio is not None:
            limits = _PITCH_RANGE.get(item.source)
            voice = VirtualVoice.sample(self.rng, **({"pitch": limits} if limits else {}))
        takes = [self._take(item, voice)]
        total = len(takes[0].mel)
        while total < frames:
            mate = self.utterances[mates[int(self.rng.integers(len(mates)))]]
            added = [self._take(mate, voice)]
            if self.rng.random() < self.mix.pause:
                seconds = float(self.rng.uniform(0.1, 1.0))
                added.append(self._pause(added[0].mel, round(seconds * MEL_RATE / self.patch)))
            takes = added + takes
            total += sum(len(take.mel) for take in added)
        return takes, item.alphabet

    def _take(self, item: Utterance, voice: VirtualVoice | None) -> Take:
        if voice is None:
            assert item.mel is not None
            mel, scale = item.mel.astype(np.float32), 1.0
        else:
            mel, scale = voice.log_mel(item.samples(), self.rng, bandwidth=item.bandwidth)
        frames = len(mel) // self.patch * self.patch
        times = [[(a * scale, b * scale) for a, b in spans] for spans in item.times]
        return Take(
            mel=mel[:frames],
            codes=None if item.codes is None else item.codes[:frames].astype(np.float32),
            alignment=align(item.words, times, frames, self.vocabulary),
            phones=[Phone(p.symbol, p.start * scale, p.end * scale) for p in item.phones],
        )

    def _pause(self, mel: Float, patches: int) -> Take:
        """A pause in the room of ``mel``: frames like its quietest ones, in random order."""
        frames = patches * self.patch
        level = mel.mean(axis=1)
        quiet = mel[level <= np.quantile(level, 0.06)]
        room = quiet.mean(axis=0) + 0.9 * (
            quiet[self.rng.integers(len(quiet), size=frames)] - quiet.mean(axis=0)
        )
        tokens = np.asarray(self.vocabulary.encode([" "]), np.int64)
        place = (np.arange(frames) / max(frames, 1) - 0.5).astype(np.float32)
        silence = Alignment(
            ids=tokens, index=np.zeros(frames, np.int64), phase=np.stack([place, place], axis=1)
        )
        return Take(mel=room.astype(np.float32), codes=None, alignment=silence, phones=[])

    def _motion(self, takes: Sequence[Take], alphabet: str) -> Float:
        """Codes ``[T, 61]`` of a face that says all of it in one style."""
        if all(take.codes is not None for take in takes):
            return np.concatenate([take.codes for take in takes if take.codes is not None])
        phones: list[Phone] = []
        start = 0.0
        for take in takes:
            phones += [Phone(p.symbol, start + p.start, start + p.end) for p in take.phones]
            start += len(take.mel) / MEL_RATE
        return synthesise_motion(
            phones, np.concatenate([take.mel for take in takes]),
            MotionStyle.sample(self.rng), self.rng,
            alphabet="espeak" if alphabet == "espeak" else "arpabet",
        )  # fmt: skip

    def clip(
        self, frames: int, *, motion: bool = True, pair: bool = True, last: int | None = None
    ) -> tuple[NDArray[np.float32], Alignment, int]:
        """Mel and codes ``[frames, 161]`` of one speaker and style, what is said, and where the
        last utterance begins (below 0: it does not fit). A ``pair`` ends with its end; otherwise
        the stretch lies anywhere. ``last`` chooses the last utterance, which otherwise is drawn.
        """
        takes, alphabet = self._stream(frames, last)
        total = sum(len(take.mel) for take in takes)
        cut = total - frames if pair else int(self.rng.integers(0, total - frames + 1))
        cut = cut // self.patch * self.patch
        streams = np.zeros((frames, MEL_BINS + CODE_COUNT), np.float32)
        streams[:, :MEL_BINS] = np.concatenate([take.mel for take in takes])[cut : cut + frames]
        if motion:
            streams[:, MEL_BINS:] = self._motion(takes, alphabet)[cut : cut + frames]
        alignment = Alignment.join([take.alignment for take in takes]).crop(cut, cut + frames)
        return streams, alignment, total - cut - len(takes[-1].mel)

    def _sample(
        self, frames: int, motion: bool
    ) -> tuple[NDArray[np.float32], Alignment, NDArray[np.bool_], NDArray[np.bool_]]:
        pair = bool(self.rng.random() < self.masking.pair_share)
        streams, alignment, boundary = self.clip(frames, motion=motion, pair=pair)
        target = np.zeros(frames, bool)
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
        if motion and self.rng.random() < self.masking.audio_given:
            audio_target = np.zeros_like(target)
        return streams, alignment, audio_target, target if motion else np.zeros_like(target)


def measure_normalisation(sampler: Sampler, *, batches: int = 60) -> Normalisation:
    """Mean and deviation per channel over samples of the corpus; dead channels get deviation 1."""
    zero, one = torch.zeros(MEL_BINS), torch.ones(MEL_BINS)
    still, unit = torch.zeros(CODE_COUNT), torch.ones(CODE_COUNT)
    sampler.normalise(Normalisation(mel_mean=zero, mel_std=one, code_mean=still, code_std=unit))
    drawn = [sampler.batch(tokens=400, lengths=(100,)) for _ in range(batches)]
    mel = torch.cat([batch.audio.flatten(0, 1) for batch in drawn])
    codes = torch.cat([batch.visual.flatten(0, 1) for batch in drawn])
    deviation = codes.std(0)
    found = Normalisation(
        mel_mean=mel.mean(0),
        mel_std=mel.std(0).clamp_min(1e-2),
        code_mean=torch.where(deviation > 1e-4, codes.mean(0), 0.0),
        code_std=torch.where(deviation > 1e-4, deviation, 1.0),
    )
    sampler.normalise(found)
    return found


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
