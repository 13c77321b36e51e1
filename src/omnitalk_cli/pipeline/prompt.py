"""The reference as a model that is prompted is given it, prepared as F5-TTS' own program does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.errors import InputError
from omnitalk_cli.pipeline.prompted_model import PromptedModel
from omnitalk_cli.pipeline.synthesis import resample_codes
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.types import HOP, MEL_RATE, SAMPLE_RATE, Float, Reference

# F5-TTS' own figures: how loud a reference is made, which ends of it are silence (−42 dB of full
# scale, in pieces of 10 ms) and how much of that stays.
_REFERENCE_RMS = 0.1
_SILENCE = 10 ** (-42 / 20)
_SILENCE_BLOCK = SAMPLE_RATE // 100
_END_SECONDS = 0.05
_SHORTEST_REFERENCE = 0.5  # seconds


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The reference as the model is given it: ``mel`` ``[T, 100]``, ``codes`` ``[T, 61]`` at the
    mel rate, both normalised, and the transcript with a mark and spaces at its end. ``frames`` is
    its length in the sequence; ``gain`` what its sound was multiplied by."""

    mel: Tensor
    codes: Tensor
    text: str
    frames: int
    gain: float


def prompt_of(reference: Reference, model: PromptedModel) -> Prompt:
    """The reference as F5-TTS prepares it: silent ends cut off, quiet speech made louder, its text
    ended by a mark. Raises InputError when it has no transcript or no sound that can be used."""
    if not reference.transcript.strip():
        raise InputError(
            f"{reference.source_name}: {model.name} must know what is said in it; give --ref-text, "
            "or install a speech recognition model (omnitalk weights pull whisper-base), or take "
            "--model tiny, which does without"
        )
    if reference.voice is None:
        raise InputError(
            f"{reference.source_name}: its features hold no sound (an older omnitalk made them); "
            "extract the clip again"
        )
    voice = reference.voice.astype(np.float32) / 32767
    start, end = _loud_part(voice * _gain(voice))
    if end - start < _SHORTEST_REFERENCE * SAMPLE_RATE:
        raise InputError(f"{reference.source_name}: hardly anything is heard in it")
    part = np.pad(voice[start:end], (0, round(_END_SECONDS * SAMPLE_RATE)))
    gain = _gain(part)  # of what the model is given: the ends that were cut off count no more
    mel = log_mel(torch.from_numpy(part * np.float32(gain)), kind=model.mel)
    times = start / SAMPLE_RATE + np.arange(len(mel)) / MEL_RATE
    codes = torch.from_numpy(resample_codes(reference.codes, reference.fps, times))
    n = model.normalisation
    return Prompt(
        mel=(mel - n.mel_mean.cpu()) / n.mel_std.cpu(),
        codes=(codes - n.code_mean.cpu()) / n.code_std.cpu(),
        text=ended(reference.transcript),
        frames=len(part) // HOP,
        gain=gain,
    )


def _gain(voice: Float) -> float:
    """What brings quiet speech ``[S]`` to the usual level; 1 for louder one."""
    rms = float(np.sqrt(np.square(voice, dtype=np.float64).mean()))
    return max(1.0, _REFERENCE_RMS / max(rms, 1e-6))


def ended(text: str) -> str:
    """``text`` with a mark at its end, and two spaces after it unless it is a Chinese one: F5-TTS'
    own program puts one when it reads the transcript and another one before it speaks."""
    text = text.strip()
    if text.endswith("。"):
        return text
    return text.removesuffix(".") + ".  "


def _loud_part(voice: Float) -> tuple[int, int]:
    """First sample and one past the last one of what is not silence at the ends."""
    blocks = voice[: len(voice) // _SILENCE_BLOCK * _SILENCE_BLOCK].reshape(-1, _SILENCE_BLOCK)
    loud = np.flatnonzero(np.sqrt(np.square(blocks, dtype=np.float64).mean(1)) >= _SILENCE)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * _SILENCE_BLOCK, int(loud[-1] + 1) * _SILENCE_BLOCK
