"""Who hears what a model says: recogniser, judge of letters and judge of voices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from omnitalk_cli.evaluation.judge import Judge, edit_distance, normalise
from omnitalk_cli.evaluation.recogniser import Recogniser, spelled, word_errors
from omnitalk_cli.evaluation.speaker import SpeakerJudge
from omnitalk_cli.pipeline.production import vocode
from omnitalk_cli.pipeline.script import read_script
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel, SynthesisOptions, synthesise
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import Vocoder
from omnitalk_cli.types import Float, Performance, Reference

RUN = 2  # words in a row that are missing or too many: more than a slip of the recogniser


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the listeners make of one utterance, as counts that add up.

    ``words`` said, ``edits`` of the recogniser's words; ``letters`` said, ``letters_heard`` and
    ``letter_edits`` of the judge; ``gaps`` and ``excesses`` are 1 where two or more words in a row
    are missing or added.
    """

    words: int
    edits: int
    gaps: int
    excesses: int
    letters: int
    letters_heard: int
    letter_edits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Listeners:
    """The judges and the vocoder through which everything is heard."""

    vocoder: Vocoder
    judge: Judge
    recogniser: Recogniser
    speaker: SpeakerJudge

    def sound(self, mel: Float) -> Float:
        """Log-mel [T,100] as the product makes it sound, [S] at 24 kHz."""
        still = np.zeros((len(mel), 61), np.float32)
        return vocode(Performance(mel=mel, codes=still, segments=(), settings={}), self.vocoder)

    def hear(self, audio: Float, text: str) -> Heard:
        """How much of ``text`` is understood in ``audio`` [S]."""
        said = spelled(text)
        words = word_errors(self.recogniser.transcribe(audio), said)
        letters = self.judge.transcribe(log_mel(torch.from_numpy(audio)).numpy())
        return Heard(
            words=words.words,
            edits=words.edits,
            gaps=int(words.longest_gap >= RUN),
            excesses=int(words.longest_excess >= RUN),
            letters=len(said),
            letters_heard=len(normalise(letters)),
            letter_edits=edit_distance(normalise(letters), said),
        )


def rates(heard: Sequence[Heard]) -> dict[str, float]:
    """Error rates over all utterances together: ``wer`` and ``cer``, shares of sentences with
    ``skipped`` and ``repeated`` words, ``letters`` heard over those said."""
    total = {field.name: sum(getattr(one, field.name) for one in heard) for field in fields(Heard)}
    return {
        "wer": round(total["edits"] / total["words"], 4),
        "cer": round(total["letter_edits"] / total["letters"], 4),
        "skipped": round(total["gaps"] / len(heard), 4),
        "repeated": round(total["excesses"] / len(heard), 4),
        "letters": round(total["letters_heard"] / total["letters"], 4),
    }


def say(
    text: str,
    reference: Reference,
    model: SpeechMotionModel,
    listeners: Listeners,
    options: SynthesisOptions,
) -> Float:
    """``text`` [S] (24 kHz) in the voice of ``reference``."""
    performance = synthesise(reference, read_script(text, language="en"), model, options)
    return vocode(performance, listeners.vocoder)


def voice_of(listeners: Listeners, audio: Float, *, prepared: bool = False) -> Float:
    """Embedding of generated sound; zeros (like nobody) where there is no voice in it."""
    try:
        return listeners.speaker.embed(audio, prepared=prepared)
    except ValueError:
        return np.zeros(256, np.float32)


def at_level(audio: Float, like: Float) -> Float:
    """``audio`` [S] with the root mean square of ``like`` [S]; silence stays silence."""
    have, want = (float(np.sqrt(np.square(x.astype(np.float64)).mean())) for x in (audio, like))
    return (audio * (want / max(have, 1e-9))).astype(np.float32)


def semitones(first: float, second: float) -> float:
    """Interval from ``second`` to ``first`` (Hz); 0 where one has no pitch."""
    return float(12 * np.log2(first / second)) if first > 0 and second > 0 else 0.0
