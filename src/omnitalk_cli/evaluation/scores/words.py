"""WER and CER: what a recogniser hears, against what was to be said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly

from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.evaluation.judge import edit_distance, normalise
from omnitalk_cli.evaluation.recogniser import Recogniser, spelled
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.speech import asr
from omnitalk_cli.speech.asr_models import find_model
from omnitalk_cli.types import SAMPLE_RATE, Float

# What papers transcribe English with; another size of it is a substitute.
PAPERS_MODEL = "large-v3"
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_MARKS = re.compile(r"[\W_]+")
NO_TEXT = "give what is said: --say, --text, or the table's column text"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was heard, by which model, and whether it is another than the papers'."""

    text: str
    model: str
    substitute: bool
    note: str


class Transcriber:
    """faster-whisper where a model of it is installed, else pocketsphinx, which knows English.

    Raises SetupError when a model that is asked for is not there.
    """

    def __init__(self, model: str | None = None) -> None:
        self.whisper = find_model(model)
        self._words: Recogniser | None = None

    def hear(self, audio: Float, language: str) -> Heard:
        """Words in ``audio`` ``[S]`` at 24 kHz. Raises SetupError without any recogniser."""
        if self.whisper is not None:
            common = int(np.gcd(asr.ASR_RATE, SAMPLE_RATE))
            sound = resample_poly(audio, asr.ASR_RATE // common, SAMPLE_RATE // common)
            found = asr.transcribe(sound.astype(np.float32), self.whisper, language=language)
            name = self.whisper.name
            papers = PAPERS_MODEL in name
            note = "" if papers else f"papers use whisper {PAPERS_MODEL}"
            if language == "zh":
                papers, note = False, "papers use Paraformer for Chinese"
            return Heard(
                text=found.transcript.text,
                model=f"faster-whisper {name}",
                substitute=not papers,
                note=note,
            )
        self._words = self._words or Recogniser()
        return Heard(
            text=self._words.transcribe(audio), model="pocketsphinx en-us", substitute=True,
            note="a weak recogniser; omnitalk weights pull whisper-large-v3",
        )  # fmt: skip


def word_scores(
    audio: Float | None, text: str | None, transcriber: Transcriber, *, language: str = "auto"
) -> dict[str, Score]:
    """``wer`` and ``cer`` of ``audio`` ``[S]`` (24 kHz) that should say ``text``.

    As in the papers' tests, Chinese is counted in characters, so that both rates are the same.
    """
    why = ""
    if not text or not text.strip():
        why = NO_TEXT
    elif audio is None:
        why = "there is no sound"
    if why or text is None or audio is None:
        return {name: Score.missing(why) for name in ("wer", "cer")}
    if language == "auto":
        language = "zh" if _CHINESE.search(text) else "en"
    said = units(text, language)
    if not said:
        return {name: Score.missing(f"no word to compare with in {text!r}")
                for name in ("wer", "cer")}  # fmt: skip
    if language != "en" and transcriber.whisper is None:
        why = "pocketsphinx hears English only; omnitalk weights pull whisper-large-v3"
        return {name: Score.missing(why) for name in ("wer", "cer")}
    try:
        heard = transcriber.hear(audio, language)
    except OmnitalkError as error:
        return {name: Score.missing(str(error)) for name in ("wer", "cer")}
    found = units(heard.text, language)
    note = "; ".join(part for part in (heard.note, f"heard: {' '.join(found)}") if part)

    def rate(first: Sequence[str], second: Sequence[str]) -> Score:
        return Score.rate(
            edit_distance(first, second), len(second), model=heard.model,
            substitute=heard.substitute, note=note,
        )  # fmt: skip

    joint = "" if language == "zh" else " "
    return {"wer": rate(found, said), "cer": rate(joint.join(found), joint.join(said))}


def units(text: str, language: str) -> list[str]:
    """What is counted: English words with numbers read out; Chinese characters without marks."""
    if language == "zh":
        return list(_MARKS.sub("", text))
    return (spelled(text) if language == "en" else normalise(text)).split()
