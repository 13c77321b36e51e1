"""How like a real clip's person a model sounds; ``evaluation.cloning --clips`` prints it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.listeners import (
    Listeners,
    at_level,
    rates,
    say,
    semitones,
    voice_of,
)
from omnitalk_cli.evaluation.speaker import cosine
from omnitalk_cli.evaluation.speech import pitch_statistics
from omnitalk_cli.pipeline.synthesis import SpeechMotionModel, SynthesisOptions
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import SAMPLE_RATE, Float, Reference

CLIP_BAR = 0.75
CLIP_TEXT = (
    "The quiet harbour lay under a thin mist, and nobody on the old pier had seen the boat come in."
)


def measure_clips(
    clips: Sequence[Path],
    references: Path,
    model: SpeechMotionModel,
    listeners: Listeners,
    options: SynthesisOptions,
    *,
    text: str = CLIP_TEXT,
    progress: Progress = silent,
) -> dict[str, Any]:
    """One sentence in the voice of every clip. Likeness is to the clip's own sound.

    ``copy`` is that sound through the vocoder: what the best model could reach. The product speaks
    at one loudness, which the judge hears as a difference from a quiet clip: ``…_at_level`` are the
    figures with the clip's own loudness.

    ``references`` is a folder of features files by the clips' names; missing ones are made there.
    Clips that cannot be references (no face, no sound, no voice) are listed with the reason.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for number, clip in enumerate(clips):
        progress("clips", number, len(clips))
        try:
            reference = _features(clip, references)
            own = _own_sound(clip, reference)
            voice = listeners.speaker.embed(own)
        except (InputError, ValueError) as error:
            left_out[clip.stem] = str(error)
            continue
        begin = time.process_time()
        audio = say(text, reference, model, listeners, options)
        cpu = time.process_time() - begin
        made = voice_of(listeners, audio)
        copy = listeners.sound(reference.mel)
        rows.append(
            {
                "clip": clip.stem,
                "likeness": round(cosine(made, voice), 4),
                "prepared_likeness": round(
                    cosine(
                        voice_of(listeners, audio, prepared=True),
                        voice_of(listeners, own, prepared=True),
                    ),
                    4,
                ),
                "likeness_of_copy": round(cosine(voice_of(listeners, copy), voice), 4),
                "likeness_at_level": round(
                    cosine(voice_of(listeners, at_level(audio, own)), voice), 4
                ),
                "copy_at_level": round(cosine(voice_of(listeners, at_level(copy, own)), voice), 4),
                "pitch_semitones": round(
                    semitones(pitch_statistics(audio).median_hz, pitch_statistics(own).median_hz),
                    2,
                ),
                **rates([listeners.hear(audio, text)]),
                "seconds": round(len(audio) / SAMPLE_RATE, 2),
                "real_time_factor": round(cpu * SAMPLE_RATE / len(audio), 3),
            }
        )
    likeness = [row["likeness"] for row in rows]
    return {
        "clips": rows,
        "mean_likeness": round(float(np.mean(likeness)), 4) if rows else None,
        "least_likeness": min(likeness, default=None),
        "bar": CLIP_BAR,
        "meet": sum(value >= CLIP_BAR for value in likeness),
        "left_out": left_out,
    }


def _features(clip: Path, folder: Path) -> Reference:
    from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference
    from omnitalk_cli.pipeline.reference_store import load_reference, save_reference

    stored = folder / f"{clip.stem}.safetensors"
    if not stored.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_reference(extract_reference(clip, options=ExtractOptions()), stored)
    return load_reference(stored)


def _own_sound(clip: Path, reference: Reference) -> Float:
    from omnitalk_cli.media.decode import decode_audio

    return decode_audio(clip, start=reference.start_seconds, seconds=reference.seconds)
