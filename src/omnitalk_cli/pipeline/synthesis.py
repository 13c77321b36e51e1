"""Reference + script → performance: speech and motion generated together.

Each piece of the script is infilled after the reference and the end of the piece before it, so
that voice and pose go on without a jump. Memory does not grow with the script beyond its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli import __version__
from omnitalk_cli.dit.checkpoint import Normalisation, load_checkpoint
from omnitalk_cli.dit.flow import SCHEDULES, SOLVERS, Schedule, Solver, integrate, time_grid
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.face.codes import EXPRESSION
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import MEL_RATE, Float, Performance, Reference, Script, SegmentTime
from omnitalk_cli.weights import store

# The embedded model was trained on speech of this loudness (root mean square, full scale 1).
TRAINING_RMS = 0.06
_TAIL_SECONDS = 1.2
_PAUSE_PIECE_SECONDS = 6.0
# A pause up to this length is spoken as the end of its sentence, a longer one is made apart.
_SPOKEN_PAUSE_SECONDS = 0.8


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """How to sample. ``cfg_*`` are the guidance weights of text, audio and visual reference.

    ``speed`` 0.5…2 scales the pace; ``duration`` (seconds) fixes the length of the whole speech.
    ``reference_seconds`` is how much of the reference is put in context.
    """

    steps: int = 8
    cfg_text: float = 2.0
    cfg_audio: float = 2.0
    cfg_video: float = 2.0
    schedule: Schedule = "uniform"
    solver: Solver = "euler"
    seed: int = 0
    speed: float = 1.0
    duration: float | None = None
    reference_seconds: float = 6.0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; use one of {SCHEDULES}")
        if self.solver not in SOLVERS:
            raise UsageError(f"unknown solver {self.solver!r}; use one of {SOLVERS}")
        try:
            time_grid(self.schedule, self.steps)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if not 0.5 <= self.speed <= 2.0:
            raise UsageError(f"speed {self.speed} is outside 0.5…2")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"duration {self.duration} s must be positive")


@dataclass(frozen=True, kw_only=True)
class SpeechMotionModel:
    """A loaded joint model with its text side and its durations."""

    network: DualBranchDiT
    normalisation: Normalisation
    vocabulary: Vocabulary
    durations: DurationModel
    languages: tuple[str, ...]
    name: str
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.normalisation.mel_mean.device


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
    if extras.get("vocabulary") != "letters" or "durations" not in extras:
        raise InputError(f"{path} holds no duration model or an unknown vocabulary")
    return SpeechMotionModel(
        network=checkpoint.model,
        normalisation=checkpoint.normalisation,
        vocabulary=Vocabulary.letters(),
        durations=DurationModel(**extras["durations"]),
        languages=tuple(extras["languages"]),
        name=path.stem,
        sha256=store.sha256(path),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A stretch of context: normalised ``mel`` ``[T, 100]``, ``codes`` ``[T, 61]``, its text."""

    mel: Tensor
    codes: Tensor
    alignment: Alignment


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
    sampler = _Sampler(reference, model, options)
    if not reference.transcript:
        notes("the reference has no transcript; the model goes by its sound alone")
    pace = sampler.pace(reference, script)
    mels: list[Float] = []
    codes: list[Float] = []
    times: list[SegmentTime] = []
    frames = 0
    for number, segment in enumerate(script.segments):
        progress("synthesis", number, len(script.segments))
        spoken_pause = min(segment.pause_after, _SPOKEN_PAUSE_SECONDS) if segment.text else 0.0
        begin = frames
        if segment.text:
            piece = sampler.speak(segment.text, pace, spoken_pause)
            mels.append(piece[0])
            codes.append(piece[1])
            frames += len(piece[0])
            times.append(
                SegmentTime(
                    text=segment.text,
                    start=begin / MEL_RATE,
                    end=frames / MEL_RATE - spoken_pause,
                )
            )
        for seconds in _pieces(segment.pause_after - spoken_pause):
            piece = sampler.rest(seconds)
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


class _Sampler:
    """Infills piece after piece; keeps the reference and the end of the last piece in context."""

    def __init__(
        self, reference: Reference, model: SpeechMotionModel, options: SynthesisOptions
    ) -> None:
        self.model, self.options = model, options
        self.patch = model.network.config.patch
        self.generator = torch.Generator().manual_seed(options.seed)
        self.reference = self._reference_part(reference)
        self.tail: _Part | None = None

    def pace(self, reference: Reference, script: Script) -> float:
        """Factor on the duration model's times that gives the reference's pace (or the user's)."""
        durations = self.model.durations
        pace = 1.0
        if reference.transcript:
            spoken = _spoken_span(reference)
            pace = durations.pace(reference.transcript, spoken[1] - spoken[0])
        pace /= self.options.speed
        if self.options.duration is not None:
            natural = sum(durations.seconds(s.text) for s in script.segments if s.text)
            pauses = sum(s.pause_after for s in script.segments)
            room = self.options.duration - pauses
            if natural <= 0 or room < 0.3 * natural:
                raise UsageError(
                    f"{self.options.duration} s is too short for this script "
                    f"(at least {pauses + 0.3 * natural:.1f} s)"
                )
            pace = room / natural
        return pace

    def speak(self, text: str, pace: float, pause: float) -> tuple[Float, Float]:
        """Mel ``[T, 100]`` and codes ``[T, 61]`` of one piece with the pause after it."""
        durations = self.model.durations
        words = durations.word_times(text, pace=pace)
        frames = self._round((durations.seconds(text, pace=pace) + pause) * MEL_RATE)
        alignment = align(text, words, frames, self.model.vocabulary)
        return self._infill(alignment, frames, silence=None)

    def rest(self, seconds: float) -> tuple[Float, Float]:
        """A silent pause: the sound is given, only the motion is generated."""
        frames = self._round(seconds * MEL_RATE)
        quiet = torch.quantile(self.reference.mel, 0.05, dim=0)
        return self._infill(Alignment.unknown(frames), frames, silence=quiet.expand(frames, -1))

    def _round(self, frames: float) -> int:
        return max(self.patch * 4, round(frames / self.patch) * self.patch)

    def _infill(
        self, alignment: Alignment, frames: int, *, silence: Tensor | None
    ) -> tuple[Float, Float]:
        context = [self.reference] + ([self.tail] if self.tail is not None else [])
        known = sum(len(part.mel) for part in context)
        total = known + frames
        device = self.model.device

        def sequence(parts: Sequence[Tensor], end: Tensor | None, width: int) -> Tensor:
            last = torch.zeros(frames, width) if end is None else end
            return torch.cat([*parts, last])[None].to(device)

        visible = torch.zeros(1, total, dtype=torch.bool, device=device)
        visible[:, :known] = True
        heard = visible if silence is None else torch.ones_like(visible)
        config = self.model.network.config
        dtype = next(self.model.network.parameters()).dtype
        condition = Condition.of(
            sequence([part.mel for part in context], silence, config.mel_bins).to(dtype),
            sequence([part.codes for part in context], None, config.code_count).to(dtype),
            heard,
            visible,
        )
        text = _text_input([*(part.alignment for part in context), alignment], device)
        noise = tuple(
            torch.randn(1, total, width, generator=self.generator).to(device, dtype)
            for width in (config.mel_bins, config.code_count)
        )
        options = self.options
        guidance = Guidance(
            text=options.cfg_text, audio=options.cfg_audio, visual=options.cfg_video
        )
        with torch.inference_mode():
            field = guided_field(
                self.model.network, text=text, condition=condition, guidance=guidance
            )
            grid = time_grid(options.schedule, options.steps)
            state = integrate(field, noise, grid, solver=options.solver)
        mel, codes = (x[0, known:].float().cpu() for x in state)
        if silence is not None:
            mel = silence.clone()
        self._remember(mel, codes, alignment)
        return self._denormalise(mel, codes)

    def _remember(self, mel: Tensor, codes: Tensor, alignment: Alignment) -> None:
        keep = min(len(mel), self._round(_TAIL_SECONDS * MEL_RATE))
        start = len(mel) - keep
        self.tail = _Part(
            mel=mel[start:], codes=codes[start:], alignment=alignment.crop(start, len(mel))
        )

    def _denormalise(self, mel: Tensor, codes: Tensor) -> tuple[Float, Float]:
        n = self.model.normalisation
        mel = mel * n.mel_std.cpu() + n.mel_mean.cpu()
        codes = codes * n.code_std.cpu() + n.code_mean.cpu()
        codes[:, EXPRESSION] = codes[:, EXPRESSION].clamp(0.0, 1.0)
        return mel.numpy(), codes.numpy()

    def _reference_part(self, reference: Reference) -> _Part:
        """The reference as context: training loudness, codes at the mel rate, normalised."""
        alignment = _reference_alignment(reference, self.model)
        limit = self._round(self.options.reference_seconds * MEL_RATE)
        frames = min(len(reference.mel) // self.patch * self.patch, limit)
        start = _speech_window(reference.mel, frames)
        n = self.model.normalisation
        mel = torch.from_numpy(reference.mel[start : start + frames] + _loudness_shift(reference))
        at = np.arange(start, start + frames) / MEL_RATE
        codes = torch.from_numpy(resample_codes(reference.codes, reference.fps, at))
        return _Part(
            mel=((mel - n.mel_mean.cpu()) / n.mel_std.cpu()).float(),
            codes=((codes - n.code_mean.cpu()) / n.code_std.cpu()).float(),
            alignment=alignment.crop(start, start + frames),
        )


def resample_codes(codes: Float, rate: float, times: NDArray[np.float64]) -> Float:
    """Codes ``[N, 61]`` at ``rate`` frames per second, linearly read at ``times`` (seconds)."""
    place = np.clip(times * rate, 0, len(codes) - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(codes) - 1)
    share = (place - low)[:, None]
    return ((1 - share) * codes[low] + share * codes[high]).astype(np.float32)


def _loudness(mel: Float) -> NDArray[np.float64]:
    """Loudness per frame ``[T]``: natural logarithm of the summed mel amplitudes."""
    return np.log(np.exp(mel.astype(np.float64)).sum(1))


def _loudness_shift(reference: Reference) -> float:
    """What to add to a log-mel so that its loud frames are as loud as in training."""
    # Speech of RMS 0.06 has loud frames (90th percentile) of about this summed mel amplitude.
    return float(np.clip(TRAINING_LOUDNESS - np.quantile(_loudness(reference.mel), 0.9), -4, 4))


TRAINING_LOUDNESS = 5.0


def _speech_window(mel: Float, frames: int) -> int:
    """First frame of the loudest stretch of ``frames`` frames."""
    energy = np.concatenate([[0.0], np.cumsum(_loudness(mel))])
    return int(np.argmax(energy[frames:] - energy[: len(energy) - frames]))


def _spoken_span(reference: Reference) -> tuple[float, float]:
    """First and last moment of speech (seconds)."""
    if reference.words:
        return reference.words[0].start, reference.words[-1].end
    loud = _loudness(reference.mel)
    threshold = max(np.quantile(loud, 0.95) - 3.5, np.quantile(loud, 0.05) + 0.5)
    active = np.flatnonzero(loud > threshold)
    if not len(active):
        return 0.0, reference.seconds
    return active[0] / MEL_RATE, (active[-1] + 1) / MEL_RATE


def _reference_alignment(reference: Reference, model: SpeechMotionModel) -> Alignment:
    """Text of the reference by word times, by the duration model's guess, or unknown."""
    text = " ".join(reference.transcript.split())
    frames = len(reference.mel)
    if not text or any(character not in model.vocabulary for character in text):
        return Alignment.unknown(frames)
    if len(reference.words) == len(text.split()):
        words = [(word.start, word.end) for word in reference.words]
    else:
        begin, end = _spoken_span(reference)
        guess = np.asarray(model.durations.word_times(text, start=0.0))
        words = [(a, b) for a, b in begin + guess * (end - begin) / guess[-1, 1]]
    return align(text, words, frames, model.vocabulary)


def _text_input(parts: Sequence[Alignment], device: torch.device) -> TextInput:
    joined = Alignment.join(parts)
    ids = joined.ids if len(joined.ids) else np.zeros(1, np.int64)
    return TextInput(
        ids=torch.from_numpy(ids)[None].to(device),
        index=torch.from_numpy(joined.index)[None].to(device),
        phase=torch.from_numpy(joined.phase)[None].to(device),
    )
