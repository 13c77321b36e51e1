"""Reference + recorded speech → performance: the sound is the user's, only the face is generated.

The recording is cut at its pauses. Each piece is infilled after the reference and the end of the
piece before it, as in ``synthesis``; what is said need not be known, so any language will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omnitalk_cli import __version__
from omnitalk_cli.errors import InputError
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import probe
from omnitalk_cli.pipeline.infill import Infiller
from omnitalk_cli.pipeline.reference_window import is_silent
from omnitalk_cli.pipeline.synthesis import (
    TRAINING_LOUDNESS,
    SpeechMotionModel,
    SynthesisOptions,
    context_of,
    has_voice,
    loudness_of,
)
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import LOG_FLOOR, N_FFT, log_mel
from omnitalk_cli.types import HOP, MEL_RATE, SAMPLE_RATE, Float, Performance, Reference
from omnitalk_cli.weights import store

LONGEST_SECONDS = 30 * 60.0
SHORTEST_SECONDS = 0.3

# Pieces with the reference before them should be about as long as samples in training.
_PIECE_SECONDS = (6.0, 9.0)
_LAST_PIECE_SECONDS = 3.0
_PAUSE_SECONDS = 0.15
# Frames less than this below the loudest (30 dB) are speech, for the loudness.
_SPEECH_RANGE = 3.5
_CHUNK_FRAMES = 4096


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Speech to be followed: ``samples`` ``[S]`` mono at 24 kHz, −1…1, and the file it is from."""

    samples: Float = field(repr=False)
    name: str
    source_sha256: str

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.samples) / SAMPLE_RATE


def hear(path: Path, *, notes: Callable[[str], None] = lambda line: None) -> Recording:
    """The sound of any media file (of a video, its sound track).

    Raises InputError for a file that is missing or unreadable, has no sound, is silent, shorter
    than 0.3 seconds or longer than 30 minutes; SetupError without ffmpeg.
    """
    info = probe(path)
    if not info.has_audio:
        raise InputError(f"{path}: has no sound track; give a recording of speech")
    if info.audio_seconds > LONGEST_SECONDS:
        raise InputError(
            f"{path}: lasts {info.audio_seconds / 60:.1f} minutes; "
            f"{LONGEST_SECONDS / 60:g} are the most, cut it into parts"
        )
    # The container may promise less than there is: never decode more than is allowed.
    samples = decode_audio(path, seconds=LONGEST_SECONDS, info=info, warn=notes)
    if len(samples) < SHORTEST_SECONDS * SAMPLE_RATE:
        raise InputError(
            f"{path}: only {len(samples) / SAMPLE_RATE:.2f} s of sound; "
            f"at least {SHORTEST_SECONDS:g} s are needed"
        )
    if is_silent(samples, SAMPLE_RATE):
        raise InputError(f"{path}: its sound track is silent; give a recording of speech")
    return Recording(samples=samples, name=path.name, source_sha256=store.sha256(path))


def follow(
    reference: Reference,
    recording: Recording,
    model: SpeechMotionModel,
    options: SynthesisOptions,
    *,
    progress: Progress = silent,
    notes: Callable[[str], None] = lambda line: None,
) -> Performance:
    """Generates the motion of ``reference``'s person speaking ``recording``.

    The performance's mel is the recording's own, frame for frame. Of ``options``, speed, duration
    and the weights of text and voice have no part in this.
    """
    mel = recording_mel(recording.samples)
    if not has_voice(mel):
        notes(f"{recording.name}: no speech is heard in it; the lips will hardly move")
    codes = motion_to(reference, mel, model, options, progress=progress)
    settings: dict[str, Any] = asdict(options) | {
        "model": model.name,
        "model_sha256": model.sha256,
        "version": __version__,
        "reference_sha256": reference.source_sha256,
        "audio": recording.name,
        "audio_sha256": recording.source_sha256,
    }
    for unused in ("speed", "duration", "cfg_text", "cfg_audio"):
        del settings[unused]
    return Performance(
        mel=mel, codes=codes, segments=(), settings=settings, sound=recording.samples
    )


def motion_to(
    reference: Reference,
    mel: Float,
    model: SpeechMotionModel,
    options: SynthesisOptions,
    *,
    progress: Progress = silent,
) -> Float:
    """Codes ``[T, 61]`` at the mel rate of ``reference``'s person speaking the log-mel ``mel``
    ``[T, 100]`` of any length and loudness."""
    patch = model.network.config.patch
    loudness = loudness_of(mel)
    adapted = np.maximum(mel + _loudness_shift(loudness), np.log(LOG_FLOOR)).astype(np.float32)
    # The last patch may reach over the end: the last frame stands on.
    adapted = np.pad(adapted, ((0, -len(mel) % patch), (0, 0)), mode="edge")
    infiller = Infiller(
        model.network, model.normalisation, options, context_of(reference, model, options),
        runner=model.runner,
    )  # fmt: skip
    edges = piece_edges(loudness, patch)
    codes: list[Float] = []
    for number, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        progress("synthesis", number, len(edges) - 1)
        codes.append(infiller.follow(adapted[start:end]))
    progress("synthesis", len(edges) - 1, len(edges) - 1)
    return np.concatenate(codes)[: len(mel)]


def recording_mel(samples: Float) -> Float:
    """``log_mel`` of ``samples`` ``[S]`` as ``[S // 256 + 1, 100]``, in bounded memory."""
    frames = len(samples) // HOP + 1
    margin = N_FFT // HOP  # more than a window reaches over; the least that can be reflected
    parts = []
    for start in range(0, frames, _CHUNK_FRAMES):
        end = min(start + _CHUNK_FRAMES, frames)
        first = max(0, start - margin)
        last = len(samples) if end == frames else (end + margin) * HOP
        chunk = log_mel(torch.from_numpy(samples[first * HOP : last]))
        parts.append(chunk[start - first : end - first].numpy())
    return np.concatenate(parts)


def piece_edges(loudness: NDArray[np.float64], patch: int) -> list[int]:
    """Frames at which pieces begin, and the end of the last one, all multiples of ``patch``.

    ``loudness`` ``[T]`` is the logarithm of the amplitude. A cut lies in the quietest 0.15 s that
    leave six to nine seconds to the piece, or less where the rest would become too short.
    """
    total = -(-len(loudness) // patch) * patch
    width = round(_PAUSE_SECONDS * MEL_RATE)
    padded = np.pad(loudness, (width // 2, width - 1 - width // 2), mode="edge")
    quiet = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    shortest, longest = (round(seconds * MEL_RATE) for seconds in _PIECE_SECONDS)
    edges = [0]
    while total - edges[-1] > longest:
        rest = total - edges[-1]
        high = min(longest, rest - round(_LAST_PIECE_SECONDS * MEL_RATE))
        low = min(shortest, high - (longest - shortest))
        places = np.arange(low, high + 1)
        places = places[(places + edges[-1]) % patch == 0] + edges[-1]
        edges.append(int(places[np.argmin(quiet[places])]))
    return [*edges, total]


def _loudness_shift(loudness: NDArray[np.float64]) -> float:
    """What to add to a log-mel so that its speech is as loud as in training."""
    spoken = loudness[loudness > np.quantile(loudness, 0.995) - _SPEECH_RANGE]
    return float(np.clip(TRAINING_LOUDNESS - np.quantile(spoken, 0.9), -6, 6))
