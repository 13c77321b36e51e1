"""What is said in a clip, by faster-whisper, if a model of it is installed. Nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.asr_guard import Dropped, Guarded, HeardSegment, guard
from omnitalk_cli.speech.asr_models import AsrModel
from omnitalk_cli.speech.asr_voice import activity
from omnitalk_cli.speech.asr_words import joined
from omnitalk_cli.types import Float, Word

ASR_RATE = 16_000
# Raise it when the same model hears the same sound differently: it is part of the cache's key.
ASR_VERSION = 1
# Whisper's names of languages that are not those of ISO 639.
_CODES = {"jw": "jv", "iw": "he"}


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Words in order, the text they make, and the language's code (``en``, ``zh`` …)."""

    text: str
    language: str
    words: tuple[Word, ...]


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What was recognised: the ``transcript``, how sure its language is (0…1; 1 if it was told),
    what was heard but not believed, and on which device (``cpu``, ``cuda``) it was done."""

    transcript: Transcript
    language_probability: float
    dropped: tuple[Dropped, ...]
    device: str


def transcribe(
    audio: Float, model: AsrModel, *, language: str | None = None, device: str = "cpu"
) -> Recognition:
    """Words of ``audio`` (mono float32 ``[S]`` at 16 kHz) with times in seconds.

    ``language`` is a code, None to recognise it. On CUDA devices half precision is used, elsewhere
    the CPU in 8 bits; so too when CTranslate2 lacks a library that CUDA needs. Raises SetupError
    when the model cannot be used.
    """
    audio = np.ascontiguousarray(audio, np.float32)
    reason: Exception | None = None
    for where in ("cuda", "cpu") if device.startswith("cuda") else ("cpu",):
        try:
            segments, code, probability = _recognise(audio, model, language, where, device)
            guarded = guard(segments, activity(audio))
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            reason = error
            continue
        return Recognition(
            transcript=_transcript(guarded, _CODES.get(code, code)),
            language_probability=probability,
            dropped=guarded.dropped,
            device=where,
        )
    told = " ".join(str(reason).split())
    raise SetupError(
        f"the speech recognition model at {model.folder} cannot be used ({told[:200]}); "
        "give another with --asr-model, or the text with --ref-text"
    ) from reason


def _recognise(
    audio: Float, model: AsrModel, language: str | None, where: str, device: str
) -> tuple[list[HeardSegment], str, float]:
    """What the model hears, the language's code and its probability."""
    from faster_whisper import WhisperModel

    network = WhisperModel(
        str(model.folder),
        device=where,
        device_index=int(device.partition(":")[2] or 0) if where == "cuda" else 0,
        compute_type="float16" if where == "cuda" else "int8",
        local_files_only=True,
    )
    if language is not None and language not in network.supported_languages:
        raise ValueError(f"it does not know the language {language}")
    segments, info = network.transcribe(
        audio,
        language=language,
        word_timestamps=True,
        condition_on_previous_text=False,  # a wrong sentence would spread to the next
        vad_filter=False,  # cut sound would shift the words; the guard looks for voice
        no_speech_threshold=None,  # the guard decides, and says what it leaves out
        temperature=0.0,  # the same words every time
    )
    heard = [_heard(segment) for segment in segments]
    probability = 1.0 if language is not None else float(info.language_probability)
    return heard, str(info.language), probability


def _heard(segment: Any) -> HeardSegment:
    """faster-whisper's segment in our words."""
    return HeardSegment(
        words=tuple(
            Word(text=word.word, start=float(word.start), end=float(word.end))
            for word in segment.words or ()
        ),
        no_speech_prob=float(segment.no_speech_prob),
        avg_logprob=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
    )


def _transcript(guarded: Guarded, language: str) -> Transcript:
    words = guarded.words
    return Transcript(
        text=joined(words),
        language=language,
        words=tuple(replace(word, text=word.text.strip()) for word in words),
    )
