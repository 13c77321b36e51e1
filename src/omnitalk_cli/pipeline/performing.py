"""What is to be said, or was said already, → performance: the one way for every command.

A joint model makes speech and motion from the script. A voice model (F5-TTS) speaks it, and the
embedded model moves to that sound, as it does to a recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from omnitalk_cli import __version__
from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.driven import Recording, follow, motion_to, recording_mel
from omnitalk_cli.pipeline.models import EMBEDDED, ChosenModel, choose_model
from omnitalk_cli.pipeline.prompted import PromptedOptions, speak
from omnitalk_cli.pipeline.running import Compile, settle_compile
from omnitalk_cli.pipeline.settings import estimate_seconds
from omnitalk_cli.pipeline.synthesis import SynthesisOptions, synthesise
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.loudness import usual_loudness
from omnitalk_cli.speech.vocoders import settle_vocoder
from omnitalk_cli.types import Performance, Reference, Script

if TYPE_CHECKING:
    from omnitalk_cli.dit.accelerate import Runner
    from omnitalk_cli.pipeline.workshop import Workshop

# What of the options the voice model takes, and what the motion to its sound.
_OF_VOICE = ("steps", "cfg_text", "cfg_audio", "cfg_video", "cfg_interval", "schedule", "solver",
             "speed", "duration", "seed")  # fmt: skip
_OF_MOTION = ("cfg_video", "cfg_face", "seed")


@dataclass(frozen=True, kw_only=True)
class SpeechSettings:
    """The model, where and how it computes, and how it samples: ``joint`` is for the embedded
    model, ``prompted`` for a model that is prompted (None: there is none). ``vocoder`` is what a
    prompted model speaks through. ``compile``: see ``pipeline.running``, where ``many`` says that
    more videos follow. ``otherwise`` is what speaks after a clip without transcript, which a
    prompted model cannot do (None: that is an error)."""

    model: ChosenModel
    device: str
    dtype: torch.dtype
    joint: SynthesisOptions
    prompted: PromptedOptions | None
    vocoder: str
    compile: Compile = "off"
    many: bool = False
    otherwise: SpeechSettings | None = None

    @classmethod
    def of(
        cls,
        model: ChosenModel,
        *,
        device: str,
        dtype: torch.dtype,
        vocoder: str,
        options: dict[str, Any],
        compile: Compile = "off",
        many: bool = False,
    ) -> SpeechSettings:
        """From the ``options`` that were given, by name. Raises UsageError for bad values."""

        def among(names: tuple[str, ...]) -> dict[str, Any]:
            return {name: options[name] for name in names if name in options}

        prompted = model.kind == "prompted"
        return cls(
            model=model,
            device=device,
            dtype=dtype,
            joint=SynthesisOptions(**(among(_OF_MOTION) if prompted else options)),
            prompted=PromptedOptions(**among(_OF_VOICE)) if prompted else None,
            vocoder=vocoder,
            compile=compile,
            many=many,
        )


def perform(
    reference: Reference,
    spoken: Script | Recording,
    settings: SpeechSettings,
    workshop: Workshop,
    *,
    progress: Progress = silent,
    notes: Callable[[str], None] = lambda line: None,
) -> Performance:
    """Speech and motion of ``reference``'s person for a script, or the motion to a recording.

    Raises what ``synthesise``, ``speak`` and ``follow`` raise, and UsageError for a recording that
    a prompted model is to follow.
    """
    if settings.otherwise is not None and not reference.transcript.strip():
        notes(
            f"model {settings.otherwise.model.name}: {settings.model.name} must know what is said "
            "in the clip; give --ref-text, or: omnitalk weights pull whisper-base"
        )
        settings = settings.otherwise
    device, dtype = settings.device, settings.dtype
    if settings.prompted is None:
        options = settings.joint
        model = replace(
            workshop.model(settings.model, device=device, dtype=dtype),
            runner=_runner(spoken, settings, workshop),
        )
        if isinstance(spoken, Recording):
            return follow(reference, spoken, model, options, progress=progress, notes=notes)
        return synthesise(reference, spoken, model, options, progress=progress, notes=notes)
    if isinstance(spoken, Recording):
        raise UsageError(
            f"{settings.model.name} makes speech; for recorded speech leave --model out"
        )
    voice = replace(
        workshop.prompted(settings.model, device=device, dtype=dtype),
        runner=_runner(spoken, settings, workshop),
    )
    vocoder = workshop.vocoder(
        settle_vocoder(settings.vocoder, mel=voice.mel, joint=False, notes=notes), mel=voice.mel,
        device=device, dtype=torch.float32,
    )  # fmt: skip
    speech = speak(reference, spoken, voice, settings.prompted, vocoder, progress=progress)
    sound = usual_loudness(speech.sound)
    mel = recording_mel(sound)
    facts: dict[str, Any] = asdict(settings.prompted) | {
        "model": voice.name,
        "model_sha256": voice.sha256,
        "vocoder": vocoder.name,
        "version": __version__,
        "reference_sha256": reference.source_sha256,
        "script_sha256": spoken.source_sha256,
    }
    codes = speech.codes
    if codes is None:
        embedded = choose_model(EMBEDDED, device=device, language=None)
        mover = workshop.model(embedded, device=device, dtype=torch.float32)
        codes = motion_to(reference, mel, mover, settings.joint, progress=progress)
        facts |= {"motion_model": mover.name, "motion_model_sha256": mover.sha256}
        facts |= {f"motion_{name}": value for name, value in asdict(settings.joint).items()
                  if name not in ("speed", "duration", "cfg_text", "cfg_audio")}  # fmt: skip
    return Performance(
        mel=mel, codes=codes[: len(mel)], segments=speech.segments, settings=facts, sound=sound
    )


def _runner(spoken: Script | Recording, settings: SpeechSettings, workshop: Workshop) -> Runner:
    """What runs the network for as much speech as ``spoken`` is."""
    speech = settings.prompted or settings.joint
    seconds = (
        spoken.seconds
        if isinstance(spoken, Recording)
        else estimate_seconds(spoken, speed=speech.speed, duration=speech.duration)
    )
    choice = settle_compile(
        settings.compile, device=settings.device, seconds=seconds, many=settings.many
    )
    return workshop.runner(
        settings.model, device=settings.device, dtype=settings.dtype, choice=choice
    )
