"""Held-out virtual speakers: people of the corpus shifted to voices that no training has heard.

The recordings are the held-out part of the human corpus (``training.human``) and, for sentences,
LJ Speech where it is at hand. Everything is fixed, so that results of different models compare.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_COUNT
from omnitalk_cli.speech.aligner import Aligner
from omnitalk_cli.training.augment import (
    Channel,
    fill_silence,
    fill_top_bands,
    scale_pitch,
    set_level,
    stretched_mel,
    trim,
)
from omnitalk_cli.training.human import LEVEL, decode, read_metadata
from omnitalk_cli.training.text_source import normalise
from omnitalk_cli.types import HOP, SAMPLE_RATE, Crop, Float, PoseFrame, Reference, Word

READER = "kathleen"  # the corpus' English voice, whose held-out sentences are said
REFERENCE_SECONDS = 5.0
_SEED = 20_000
_FACE_FPS = 25.0


@dataclass(frozen=True, kw_only=True)
class VirtualSpeaker:
    """``base`` speaker with pitch and formants ``factor`` times as high, in a room of its own.

    ``seed`` draws the room, tone and noise.
    """

    base: str
    factor: float
    seed: int

    @property
    def name(self) -> str:
        """Base and factor."""
        return f"{self.base} x{self.factor:.2f}"

    def mel(self, audio: Float) -> Float:
        """``audio`` [S] of the base speaker in this voice, as log-mel [T,100] of equal length."""
        rng = np.random.default_rng(_SEED + self.seed)
        room = Channel.sample(rng, far_share=0.0)
        raw, exact = scale_pitch(audio, self.factor)
        # Resampling lasts 1 / factor as long; the hop of the analysis makes up for it.
        mel, _ = stretched_mel(room.apply(raw, rng), exact)
        return fill_top_bands(mel, SAMPLE_RATE / 2 * min(exact, 1.0))


# Training draws its factors continuously from about the same range; these are none of its draws.
SPEAKERS: tuple[VirtualSpeaker, ...] = tuple(
    VirtualSpeaker(base=base, factor=factor, seed=seed)
    for seed, (base, factor) in enumerate(
        (
            ("kathleen", 0.81), ("flemishguy", 0.87), ("kerstin", 0.94), ("nathalie", 1.07),
            ("kathleen", 1.16), ("flemishguy", 1.13), ("kerstin", 0.78), ("nathalie", 0.86),
            ("kathleen", 0.92), ("flemishguy", 1.28),
        )
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A held-out recording: ``key`` names it, ``text`` is said in the file ``path``."""

    key: str
    text: str
    path: Path

    def audio(self) -> Float:
        """Its sound [S], trimmed and at the level of training, with room tone at the ends."""
        return tidy(decode(self.path), self.key)


def tidy(audio: Float, key: str) -> Float:
    """Sound as training sees it; ``key`` seeds the length of the silence at both ends."""
    rng = np.random.default_rng([ord(letter) for letter in key])
    return fill_silence(set_level(trim(audio, rng)[0], LEVEL), rng)


def read_sentences(human: Path, speech: Path | None) -> list[Sentence]:
    """The reader's held-out recordings, then those of LJ Speech in ``speech`` that have a text.

    Raises InputError when the corpus cannot be read.
    """
    found = [
        Sentence(key=Path(row["file"]).stem, text=row["text"], path=human / row["file"])
        for row in read_metadata(human, READER)
        if row["split"] == "heldout"
    ]
    if speech is not None:
        try:
            with open(speech / "lj.csv", encoding="utf-8", newline="") as stream:
                found += [
                    Sentence(key=Path(row["file"]).stem, text=row["text"],
                             path=speech / row["file"])
                    for row in csv.DictReader(stream)
                    if row["text"].strip()
                ]  # fmt: skip
        except (OSError, KeyError) as error:
            raise InputError(f"{speech}: no readable lj.csv ({error})") from error
    if not found:
        raise InputError(f"{human}: holds no held-out recordings of {READER}")
    return found


def assign(sentences: Sequence[Sentence], count: int) -> list[tuple[Sentence, VirtualSpeaker]]:
    """``count`` pairs, evenly over the sentences and in turn over the speakers.

    With more than there are sentences, the first are said again by another speaker.
    """
    total = len(sentences)
    places = [i * total // count for i in range(count)] if count < total else range(count)
    return [(sentences[place % total], SPEAKERS[number % len(SPEAKERS)])
            for number, place in enumerate(places)]  # fmt: skip


def copy_speaker(number: int, speaker: VirtualSpeaker) -> VirtualSpeaker:
    """Who says pair ``number`` in the comparison: ``speaker`` where the reader is its base (only
    she says these sentences), else one of the reader's virtual speakers in turn."""
    readers = [one for one in SPEAKERS if one.base == READER]
    return speaker if speaker.base == READER else readers[number % len(readers)]


def reference_audio(
    human: Path, speaker: VirtualSpeaker, avoid: Collection[str]
) -> tuple[Float, list[tuple[str, float]]]:
    """About five seconds of held-out recordings of the base, laid end to end: [S] at 24 kHz.

    Also their texts and where each of them begins (seconds). Nothing that stands in ``avoid`` is
    said in it. Raises InputError when there is not enough.
    """
    rows = [row for row in read_metadata(human, speaker.base)
            if row["split"] == "heldout" and row["text"] not in avoid]  # fmt: skip
    parts: list[Float] = []
    texts: list[tuple[str, float]] = []
    seconds, place = 0.0, speaker.seed * 5
    while seconds < REFERENCE_SECONDS:
        if len(parts) == len(rows):
            raise InputError(f"{human}: too few held-out recordings of {speaker.base}")
        row = rows[(place + len(parts)) % len(rows)]
        part = tidy(decode(human / row["file"]), Path(row["file"]).stem)
        texts.append((row["text"], seconds))
        parts.append(part)
        seconds += len(part) / SAMPLE_RATE
    return np.concatenate(parts), texts


def virtual_reference(
    human: Path,
    speaker: VirtualSpeaker,
    *,
    avoid: Collection[str] = (),
    transcript: bool = False,
    face: Reference | None = None,
) -> Reference:
    """The reference clip of a virtual speaker, without pictures.

    ``transcript`` adds words and their times where the base speaks English. The motion is that of
    ``face`` (a real reference), or a neutral face that holds still.
    """
    audio, texts = reference_audio(human, speaker, avoid)
    mel = speaker.mel(audio)
    words: tuple[Word, ...] = ()
    if transcript and speaker.base == READER:
        words = _word_times(audio, texts, len(mel) * HOP / len(audio))
    if face is None:
        frames = round(len(mel) * HOP / SAMPLE_RATE * _FACE_FPS)
        codes, fps = np.zeros((frames, CODE_COUNT), np.float32), _FACE_FPS
    else:
        codes, fps = face.codes, face.fps
    count = len(codes)
    return Reference(
        mel=mel,
        codes=codes,
        landmarks=np.zeros((count, 478, 3), np.float32),
        neutral=np.zeros((478, 3), np.float32),
        frames=(),
        mattes=(),
        sharpness=np.zeros(count, np.float32),
        fps=fps,
        frame_size=512,
        crop=Crop(x=0, y=0, size=512, source_width=512, source_height=512),
        pose_frame=PoseFrame(origin_x=256.0, origin_y=256.0, scale=150.0),
        transcript=" ".join(word.text for word in words),
        language="en",
        words=words,
        source_sha256="",
        source_name=speaker.name,
        start_seconds=0.0,
    )


def _word_times(audio: Float, texts: Sequence[tuple[str, float]], scale: float) -> tuple[Word, ...]:
    """Words of the laid-out recordings, times multiplied by ``scale``; none if one is unclear."""
    aligner = Aligner()
    ends = [int(start * SAMPLE_RATE) for _, start in texts[1:]] + [len(audio)]
    words: list[Word] = []
    for (text, start), end in zip(texts, ends, strict=True):
        spoken = normalise(text)
        timing = aligner.align(audio[int(start * SAMPLE_RATE) : end], spoken) if spoken else None
        if not spoken or timing is None:
            return ()  # a transcript with holes is worse than none
        words += [
            Word(text=word, start=(start + a) * scale, end=(start + b) * scale)
            for word, (a, b) in zip(spoken.split(), timing[0], strict=True)
        ]
    return tuple(words)
