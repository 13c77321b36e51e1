"""Speech of models that take reference and text as one sequence: F5-TTS and the paper's own.

The reference is the given beginning, the transcript and the script its text, filled up to the
length of the sequence; what the speech lasts follows from how many bytes the reference takes
(F5-TTS' rule). Long scripts are spoken in chunks, each after the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.flow import (
    EPSS_STEPS,
    SCHEDULES,
    SOLVERS,
    Schedule,
    Solver,
    State,
    evaluation_times,
    integrate,
    time_grid,
)
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.face.codes import CODE_COUNT, EXPRESSION
from omnitalk_cli.pipeline.chunks import FADE_FRAMES, Chunk, chunks_of, join
from omnitalk_cli.pipeline.prompt import Prompt, prompt_of
from omnitalk_cli.pipeline.prompted_model import PromptedModel
from omnitalk_cli.pipeline.settings import parse_interval
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.vocoder import Vocoder
from omnitalk_cli.text.characters import is_han
from omnitalk_cli.text.f5_tokens import spoken_bytes
from omnitalk_cli.types import (
    MEL_BINS,
    MEL_RATE,
    Float,
    Reference,
    Script,
    SegmentTime,
)

# F5-TTS' own figures: texts of a few bytes are spoken slowly.
_SHORT_TEXT_BYTES = 10
_SHORT_TEXT_SPEED = 0.3
_LONGEST_FRAMES = 8192  # 87 s: further positions were never trained


@dataclass(frozen=True, kw_only=True)
class PromptedOptions:
    """How to sample: ``cfg_text``, ``cfg_audio`` and ``cfg_video`` are the nested guidance weights
    (F5-TTS' strength s is 1 + s in text and audio); ``schedule`` None is F5-TTS' own choice: EPSS
    where it is defined for ``steps``, else sway sampling; ``cfg_interval`` is where in flow time
    there is guidance. ``speed`` 0.5…2; ``duration`` (seconds)
    fixes the length of the whole speech."""

    steps: int = 16
    cfg_text: float = 3.0
    cfg_audio: float = 3.0
    cfg_video: float = 3.0
    cfg_interval: str = "0:1"
    schedule: Schedule | None = None
    solver: Solver = "euler"
    seed: int = 0
    speed: float = 1.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if self.schedule is not None and self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; use one of {SCHEDULES}")
        if self.solver not in SOLVERS:
            raise UsageError(f"unknown solver {self.solver!r}; use one of {SOLVERS}")
        if not 0.5 <= self.speed <= 2.0:
            raise UsageError(f"speed {self.speed} is outside 0.5…2")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"duration {self.duration} s must be positive")
        try:
            time_grid(self._schedule, self.steps)
            parse_interval(self.cfg_interval)
        except ValueError as error:
            raise UsageError(str(error)) from error

    @property
    def grid(self) -> list[float]:
        """The times of the solver's steps."""
        return time_grid(self._schedule, self.steps)

    @property
    def _schedule(self) -> Schedule:
        return self.schedule or ("epss" if self.steps in EPSS_STEPS else "sway")


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Spoken script: ``sound`` ``[S]`` at 24 kHz, when which segment is spoken, and the motion
    ``[T, 61]`` at the mel rate if the model makes it."""

    sound: Float
    segments: tuple[SegmentTime, ...]
    codes: Float | None


def speak(
    reference: Reference,
    script: Script,
    model: PromptedModel,
    options: PromptedOptions,
    vocoder: Vocoder,
    *,
    progress: Progress = silent,
) -> Speech:
    """The speech of ``script`` in the voice of ``reference`` (and its motion).

    Raises InputError when the model does not speak the language, or the reference has no transcript
    or no sound that can be used; UsageError for a duration that is too short.
    """
    if script.language not in model.languages:
        spoken = ", ".join(model.languages)
        raise InputError(f"the model {model.name} speaks {spoken}, not {script.language}")
    prompt = prompt_of(reference, model)
    chunks = chunks_of(script, most_bytes=_most_bytes(prompt, options.speed))
    lengths = _lengths(chunks, prompt, options)
    generator = torch.Generator().manual_seed(options.seed)
    sounds: list[Float] = []
    motions: list[Float] = []
    for number, (chunk, frames) in enumerate(zip(chunks, lengths, strict=True)):

        def stepped(step: int, number: int = number) -> None:
            progress("speech", number + step / options.steps, len(chunks))

        if not chunk.text:
            sounds.append(np.zeros(0, np.float32))
            motions.append(np.zeros((0, CODE_COUNT if model.moves else 0), np.float32))
            continue
        mel, codes = _infill(prompt, chunk, frames, model, options, generator, stepped)
        sounds.append(
            np.concatenate([p.float().cpu().numpy() for p in vocoder.decode_stream([mel])])
        )
        motions.append(codes)
    progress("speech", len(chunks), len(chunks))
    joined = join(chunks, sounds, motions)
    return Speech(
        sound=joined.sound, segments=joined.segments, codes=joined.codes if model.moves else None
    )


def _most_bytes(prompt: Prompt, speed: float) -> int:
    """Bytes of text that, after the reference, make a sequence of 22 s."""
    seconds = prompt.frames / MEL_RATE
    return int(spoken_bytes(prompt.text) / seconds * (22 - seconds) * speed)


def _lengths(chunks: list[Chunk], prompt: Prompt, options: PromptedOptions) -> list[int]:
    """Frames of speech of each chunk."""
    rate = prompt.frames / spoken_bytes(prompt.text)
    sizes = [spoken_bytes(chunk.text) for chunk in chunks]
    if options.duration is None:
        slow = [size < _SHORT_TEXT_BYTES for size in sizes]
        return [
            int(rate * size / (_SHORT_TEXT_SPEED if short else options.speed))
            for size, short in zip(sizes, slow, strict=True)
        ]
    fades = sum(chunk.runs_on for chunk in chunks)
    pauses = sum(chunk.pause_after for chunk in chunks)
    room = (options.duration - pauses) * MEL_RATE + fades * FADE_FRAMES
    if room < 0.3 * rate * sum(sizes):
        least = pauses + 0.3 * rate * sum(sizes) / MEL_RATE
        raise UsageError(
            f"{options.duration} s is too short for this script (at least {least:.1f} s)"
        )
    return [round(room * size / sum(sizes)) for size in sizes]


def _infill(
    prompt: Prompt,
    chunk: Chunk,
    frames: int,
    model: PromptedModel,
    options: PromptedOptions,
    generator: torch.Generator,
    on_step: Callable[[int], None],
) -> tuple[Tensor, Float]:
    """Log-mel ``[T, 100]`` and codes ``[T, 61]`` of a chunk (codes of a model that does not move
    are empty)."""
    weights = next(model.network.parameters())
    said = prompt.text + chunk.text
    ids = model.spelling.encode(said, "zh" if any(map(is_han, said)) else "en")
    total = max(prompt.frames + frames, len(ids) + 1, len(prompt.mel) + 1)
    if total > _LONGEST_FRAMES:
        raise InputError(f"{total / MEL_RATE:.0f} s at once are more than {model.name} can speak")

    def sequence(given: Tensor) -> Tensor:
        padded = torch.zeros(total, given.shape[1])
        padded[: len(given)] = given
        return padded[None].to(weights.device)

    visible = (torch.arange(total, device=weights.device) < len(prompt.mel))[None]
    seen = visible if model.moves else torch.zeros_like(visible)
    condition = Condition.of(sequence(prompt.mel), sequence(prompt.codes), visible, seen)
    widths = (MEL_BINS, CODE_COUNT) if model.moves else (MEL_BINS,)
    noise = tuple(
        torch.randn(1, total, width, generator=generator).to(weights.device) for width in widths
    )
    text = TextInput(ids=torch.tensor([ids], device=weights.device))
    with torch.inference_mode():
        state = sample(
            model.network, condition, text, noise, options, runner=model.runner, on_step=on_step
        )
    made = [x[0, prompt.frames :].float().cpu() for x in state]
    n = model.normalisation
    mel = made[0] * n.mel_std.cpu() + n.mel_mean.cpu()
    if not model.moves:
        return mel, np.zeros((len(mel), 0), np.float32)
    codes = made[1] * n.code_std.cpu() + n.code_mean.cpu()
    codes[:, EXPRESSION] = codes[:, EXPRESSION].clamp(0.0, 1.0)
    return mel, codes.numpy()


def sample(
    network: DualBranchDiT,
    condition: Condition,
    text: TextInput,
    noise: State,
    options: PromptedOptions,
    *,
    runner: Runner | None = None,
    on_step: Callable[[int], None] | None = None,
) -> State:
    """Solves the flow from ``noise`` (audio, or audio and visual, ``[B, T, c]``); what is given
    stands in the result as it is, as F5-TTS puts it there. ``runner`` runs the network."""
    audio_alone = len(noise) == 1
    guidance = Guidance(
        text=options.cfg_text,
        audio=options.cfg_audio,
        visual=options.cfg_audio if audio_alone else options.cfg_video,
        form="nested",
        interval=parse_interval(options.cfg_interval),
    )
    field = guided_field(
        network, text=text, condition=condition, guidance=guidance,
        times=evaluation_times(options.grid, options.solver), runner=runner,
    )  # fmt: skip
    state = integrate(field, noise, options.grid, solver=options.solver, on_step=on_step)
    given = (
        (condition.audio_visible, condition.audio), (condition.visual_visible, condition.visual)
    )  # fmt: skip
    return tuple(
        torch.where(visible[..., None], known, x)
        for (visible, known), x in zip(given, state, strict=False)
    )
