"""Reference + script → performance: speech and motion generated together.

Each piece of the script is infilled after the reference and the end of the piece before it, so
that voice and pose go on without a jump. Memory does not grow with the script beyond its result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omnitalk_cli import __version__
from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.checkpoint import Normalisation, load_checkpoint
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.pipeline.infill import Context, Infiller, SamplingOptions
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.colour import match_colour
from omnitalk_cli.speech.duration import DurationModel, Span
from omnitalk_cli.speech.pace import pace_from_mel, reliable_pace
from omnitalk_cli.speech.pitch import pitch_model, revoice
from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.text.normalise import normalise
from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.text.pronunciation import pronounce
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import MEL_RATE, Float, Performance, Reference, Script, SegmentTime
from omnitalk_cli.weights import store

# The embedded model was trained on speech of RMS 0.06, whose loud frames (90th percentile) have
# this logarithm of the summed mel amplitude.
TRAINING_LOUDNESS = 5.5
# Sound whose loud and quiet frames differ by less than this (7 dB) is noise: speech has 25 dB.
_LEAST_LOUDNESS_RANGE = 0.8
_PAUSE_PIECE_SECONDS = 6.0
# A pause up to this length is spoken as the end of its sentence, a longer one is made apart.
_SPOKEN_PAUSE_SECONDS = 0.8


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions(SamplingOptions):
    """How to sample, and how fast to speak.

    ``speed`` 0.5…2 scales the pace; ``duration`` (seconds) fixes the length of the whole speech.
    ``reference_seconds`` is how much of the reference is put in context.
    """

    speed: float = 1.0
    duration: float | None = None
    reference_seconds: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 <= self.speed <= 2.0:
            raise UsageError(f"speed {self.speed} is outside 0.5…2")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"duration {self.duration} s must be positive")


@dataclass(frozen=True, kw_only=True)
class SpeechMotionModel:
    """A loaded joint model with its text side and its durations; ``runner`` runs its network."""

    network: DualBranchDiT
    normalisation: Normalisation
    vocabulary: Vocabulary
    durations: DurationModel
    languages: tuple[str, ...]
    name: str
    sha256: str
    runner: Runner = field(default_factory=Runner)


def load_model(name_or_path: str, *, device: str, dtype: torch.dtype) -> SpeechMotionModel:
    """Loads an embedded model by name, or a checkpoint by path.

    Raises SetupError when the weights or the device are missing, InputError when the file is no
    such checkpoint.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError("no CUDA device here; use --device cpu, or see `omnitalk doctor`")
    path = store.find_weights(name_or_path)
    checkpoint = load_checkpoint(path, device=device, dtype=dtype)
    extras = checkpoint.extras
    if extras.get("vocabulary") != "phones" or "durations" not in extras:
        raise InputError(f"{path} holds no duration model or an unknown vocabulary")
    return SpeechMotionModel(
        network=checkpoint.model,
        normalisation=checkpoint.normalisation,
        vocabulary=Vocabulary.phones(),
        durations=DurationModel(**extras["durations"]),
        languages=tuple(extras["languages"]),
        name=path.stem,
        sha256=store.sha256(path),
    )


def synthesise(
    reference: Reference,
    script: Script,
    model: SpeechMotionModel,
    options: SynthesisOptions,
    *,
    progress: Progress = silent,
    notes: Callable[[str], None] = lambda line: None,
) -> Performance:
    """Generates the speech and the motion of ``script`` in the manner of ``reference``.

    Raises InputError when the model does not speak the script's language.
    """
    if script.language not in model.languages:
        spoken = ", ".join(model.languages)
        raise InputError(f"the model {model.name} speaks {spoken}, not {script.language}")
    context = context_of(reference, model, options)
    infiller = Infiller(model.network, model.normalisation, options, context, runner=model.runner)
    if not context.heard:
        notes("no voice is heard in the reference; the voice will be the model's own")
    pace = _pace(reference, script, model, options)
    mels: list[Float] = []
    codes: list[Float] = []
    times: list[SegmentTime] = []
    frames = 0
    for number, segment in enumerate(script.segments):
        progress("synthesis", number, len(script.segments))
        spoken_pause = min(segment.pause_after, _SPOKEN_PAUSE_SECONDS) if segment.text else 0.0
        begin = frames
        if segment.text:
            words = pronounce(segment.text)
            spans = model.durations.phone_times(words, pace=pace)
            seconds = model.durations.seconds(words, pace=pace) + spoken_pause
            piece = infiller.speak(align(words, spans, infiller.frames(seconds), model.vocabulary))
            mel = piece[0]
            if context.heard:
                mel = revoice(match_colour(mel, reference.mel), reference.mel, pitch_model())
            mels.append(mel)
            codes.append(piece[1])
            frames += len(mel)
            times.append(
                SegmentTime(
                    text=segment.text,
                    start=begin / MEL_RATE,
                    end=frames / MEL_RATE - spoken_pause,
                )
            )
        for seconds in _pieces(segment.pause_after - spoken_pause):
            piece = infiller.rest(seconds)
            mels.append(piece[0])
            codes.append(piece[1])
            frames += len(piece[0])
    progress("synthesis", len(script.segments), len(script.segments))
    if not mels:
        raise InputError("the script has nothing to say and no pause")
    settings: dict[str, Any] = asdict(options) | {
        "model": model.name,
        "model_sha256": model.sha256,
        "version": __version__,
        "reference_sha256": reference.source_sha256,
        "script_sha256": script.source_sha256,
    }
    return Performance(
        mel=np.concatenate(mels),
        codes=np.concatenate(codes),
        segments=tuple(times),
        settings=settings,
    )


def _pieces(seconds: float) -> list[float]:
    """A pause in pieces of bounded length; nothing for pauses under a frame of video."""
    if seconds < 0.04:
        return []
    count = int(np.ceil(seconds / _PAUSE_PIECE_SECONDS))
    return [seconds / count] * count


def _pace(
    reference: Reference, script: Script, model: SpeechMotionModel, options: SynthesisOptions
) -> float:
    """Factor on the duration model's times that gives the reference's pace (or the user's)."""
    durations = model.durations
    if options.duration is not None:
        texts = [pronounce(segment.text) for segment in script.segments if segment.text]
        # Pauses and the silence at both ends of a piece do not stretch with the pace.
        natural = sum(durations.spoken_seconds(text) for text in texts)
        fixed = sum(segment.pause_after for segment in script.segments) + sum(
            durations.seconds(text) - durations.spoken_seconds(text) for text in texts
        )
        room = options.duration - fixed
        if natural <= 0 or room < 0.3 * natural:
            raise UsageError(
                f"{options.duration} s is too short for this script "
                f"(at least {fixed + 0.3 * natural:.1f} s)"
            )
        return room / natural
    begin, end = _spoken_span(reference)
    words = pronounce(_read_out(reference.transcript))
    told = durations.pace(words, end - begin) if words else None
    heard = pace_from_mel(reference.mel) if has_voice(reference.mel) else None
    return reliable_pace(told, heard) / options.speed


def context_of(
    reference: Reference, model: SpeechMotionModel, options: SynthesisOptions
) -> Context:
    """The reference at training loudness, codes at the mel rate, its loudest stretch."""
    patch = model.network.config.patch
    limit = round(options.reference_seconds * MEL_RATE)
    frames = min(len(reference.mel), limit) // patch * patch
    start = _speech_window(reference.mel, frames)
    times = np.arange(start, start + frames) / MEL_RATE
    return Context.of(
        reference.mel[start : start + frames] + _loudness_shift(reference),
        resample_codes(reference.codes, reference.fps, times),
        _reference_alignment(reference, model).crop(start, start + frames),
        model.normalisation,
        heard=has_voice(reference.mel),
    )


def resample_codes(codes: Float, rate: float, times: NDArray[np.float64]) -> Float:
    """Codes ``[N, 61]`` at ``rate`` frames per second, linearly read at ``times`` (seconds)."""
    place = np.clip(times * rate, 0, len(codes) - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(codes) - 1)
    share = (place - low)[:, None]
    return ((1 - share) * codes[low] + share * codes[high]).astype(np.float32)


def loudness_of(mel: Float) -> NDArray[np.float64]:
    """Loudness per frame ``[T]``: natural logarithm of the summed mel amplitudes."""
    return np.log(np.exp(mel.astype(np.float64)).sum(1))


def _loudness_shift(reference: Reference) -> float:
    """What to add to a log-mel so that its loud frames are as loud as in training."""
    return float(np.clip(TRAINING_LOUDNESS - np.quantile(loudness_of(reference.mel), 0.9), -6, 6))


def has_voice(mel: Float) -> bool:
    """Whether the loudness of ``mel`` ``[T, 100]`` moves as it does when somebody speaks."""
    low, high = np.quantile(loudness_of(mel), [0.05, 0.95])
    return bool(high - low > _LEAST_LOUDNESS_RANGE)


def _speech_window(mel: Float, frames: int) -> int:
    """First frame of the loudest stretch of ``frames`` frames."""
    energy = np.concatenate([[0.0], np.cumsum(loudness_of(mel))])
    return int(np.argmax(energy[frames:] - energy[: len(energy) - frames]))


def _spoken_span(reference: Reference) -> tuple[float, float]:
    """First and last moment of speech (seconds)."""
    if reference.words:
        return reference.words[0].start, reference.words[-1].end
    loud = loudness_of(reference.mel)
    threshold = max(np.quantile(loud, 0.95) - 3.5, np.quantile(loud, 0.05) + 0.5)
    active = np.flatnonzero(loud > threshold)
    if not len(active):
        return 0.0, reference.seconds
    return active[0] / MEL_RATE, (active[-1] + 1) / MEL_RATE


def _spoken_words(
    reference: Reference, durations: DurationModel
) -> tuple[list[SpokenWord], list[list[Span]]]:
    """Words of the transcript as they are spoken, with the times of their phones; empty when the
    words' times are unknown.

    A word that is read out as several ("1999") shares its time among them, and a word among its
    phones by how long these usually last.
    """
    words: list[SpokenWord] = []
    spans: list[list[Span]] = []
    for word in reference.words:
        parts = [part for part in pronounce(_read_out(word.text)) if part.phones]
        if not parts:
            continue
        times = durations.phone_times([replace(part, mark="") for part in parts], start=0.0)
        scale = (word.end - word.start) / times[-1][-1][1]
        words += parts
        spans += [
            [(word.start + scale * a, word.start + scale * b) for a, b in phones]
            for phones in times
        ]
    return words, spans


def _read_out(text: str) -> str:
    """Text as the model spells it; empty for what it cannot spell (a foreign transcript)."""
    try:
        return normalise(text)
    except InputError:
        return ""


def _reference_alignment(reference: Reference, model: SpeechMotionModel) -> Alignment:
    """Text of the reference by its word times. Text without times is of no use to the network:
    guessed times are wrong by more than a syllable."""
    words, spans = _spoken_words(reference, model.durations)
    return align(words, spans, len(reference.mel), model.vocabulary)
