"""Trains ``speech.pitch.PitchModel``: the melody of speech from the course of its envelope.

What the model sees of real speech is made as blurred as what a small generator draws. Run as
``python -m omnitalk_cli.training.pitch_model --human CORPUS --out weights/pitch.safetensors``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnitalk_cli.errors import InputError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.pitch import (
    CEPSTRA,
    PitchConfig,
    PitchModel,
    VoiceStatistics,
    envelope_features,
    harmonic_ripple,
    smooth_envelope,
    voice_features,
)
from omnitalk_cli.training.augment import set_level
from omnitalk_cli.training.human import LEVEL, decode, read_metadata
from omnitalk_cli.training.pitch import track_pitch
from omnitalk_cli.training.voices import VirtualVoice, seed_of
from omnitalk_cli.types import MEL_BINS, Float

SPEAKERS = ("kathleen", "kerstin", "flemishguy", "nathalie")
_DELTA = 4  # frames over which the slope of the melody is compared


@dataclass(frozen=True, kw_only=True)
class Melody:
    """One recording in one virtual voice: ``cepstra`` [T,16], ``octaves`` [T] of pitch above 1 Hz,
    ``voiced`` [T] 0…1, and the statistics of its pitch."""

    cepstra: Float
    octaves: Float
    voiced: Float
    voice: VoiceStatistics


@dataclass(frozen=True, kw_only=True)
class Score:
    """``voicing_error`` share of frames; ``cents`` root-mean-square error of the melody in voiced
    frames as it is used; ``flat_cents`` that of the median alone; ``correlation`` of the two."""

    voicing_error: float
    cents: float
    flat_cents: float
    correlation: float


@dataclass(frozen=True, kw_only=True)
class PitchTraining:
    """``batch`` pieces of ``frames``; AdamW with ``learning_rate`` (cosine) until ``minutes`` or
    ``steps`` are used up."""

    model: PitchConfig = field(default_factory=PitchConfig)
    minutes: float = 10.0
    steps: int = 1_000_000
    batch: int = 16
    frames: int = 320
    learning_rate: float = 2e-3
    seed: int = 0


@dataclass
class DepthSums:
    """Least squares of real ripple against the ideal one, per bin [100]."""

    above: NDArray[np.float64] = field(default_factory=lambda: np.zeros(MEL_BINS))
    below: NDArray[np.float64] = field(default_factory=lambda: np.zeros(MEL_BINS))

    def add(self, mel: Float, hertz: Float) -> None:
        """Voiced frames [T,100] and their pitch [T]."""
        ideal = harmonic_ripple(hertz)
        self.above += ((mel - smooth_envelope(mel, hertz)) * ideal).sum(axis=0, dtype=np.float64)
        self.below += np.square(ideal).sum(axis=0, dtype=np.float64)

    @property
    def depth(self) -> Float:
        """The depth [100], evened out a little over the bins."""
        raw = np.clip(self.above / np.maximum(self.below, 1e-3 * self.below.max()), 0.0, 1.2)
        padded = np.pad(raw, 2, mode="edge")
        return np.convolve(padded, [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid").astype(np.float32)


def melodies(
    audio: Float, rng: np.random.Generator, *, voices: int, depth: DepthSums | None = None
) -> Iterator[Melody]:
    """A recording [S] at 24 kHz in ``voices`` virtual voices; fewer where little is voiced."""
    track = track_pitch(audio)
    grid = np.arange(len(track.hertz))
    for _ in range(voices):
        voice = VirtualVoice.sample(rng)
        mel, scale = voice.log_mel(audio, rng)
        place = np.arange(len(mel)) / scale
        exact = max(round(160 * voice.pitch), 1) / 160  # what resampling by 160 can reach
        hertz = np.interp(place, grid, track.hertz).astype(np.float32) * np.float32(exact)
        voiced = np.interp(place, grid, track.voiced).astype(np.float32)
        clear = voiced > 0.5
        if clear.sum() < 40:
            continue
        octaves = np.log2(hertz)
        median = float(np.median(octaves[clear]))
        low, high = np.percentile(octaves[clear], [10, 90])
        if depth is not None and voice.channel.echo_s == 0:
            depth.add(mel[voiced > 0.8], hertz[voiced > 0.8])
        yield Melody(
            cepstra=envelope_features(mel, 2**median),
            octaves=octaves,
            voiced=voiced,
            voice=VoiceStatistics(
                median_hz=2**median,
                spread_semitones=float(np.clip(12 * (high - low) / 2.563, 0.8, 6.0)),
                voiced_share=float(clear.mean()),
            ),
        )


def collect(
    human: Path, *, split: str, count: int, voices: int, depth: DepthSums | None = None
) -> list[Melody]:
    """Up to ``count`` recordings of every speaker in ``human``. Raises InputError."""
    found: list[Melody] = []
    for speaker in SPEAKERS:
        rows = [row for row in read_metadata(human, speaker) if row["split"] == split]
        rng = np.random.default_rng(seed_of(speaker + split))
        for place in rng.permutation(len(rows))[:count]:
            audio = set_level(decode(human / rows[place]["file"]), LEVEL)
            if len(audio) > 12_000:
                found += melodies(audio, rng, voices=voices, depth=depth)
    if not found:
        raise InputError(f"{human}: no speech to learn a melody from")
    return found


def relative(melody: Melody) -> Float:
    """The target [T]: distance from the median in units of the spread, octave slips cut off."""
    away = 12 * (melody.octaves - math.log2(melody.voice.median_hz))
    return np.asarray((away / melody.voice.spread_semitones).clip(-3, 3), dtype=np.float32)


def degrade(cepstra: Float, rng: np.random.Generator) -> Float:
    """Cepstra [T,16] as of a small generator: blurred in time, stretched in contrast, noisy."""
    out = cepstra
    if rng.random() < 0.7:
        width = rng.uniform(0.5, 3.0)
        taps = np.exp(-0.5 * (np.arange(-6, 7) / width) ** 2)
        padded = np.pad(out, ((6, 6), (0, 0)), mode="edge")
        blurred = np.lib.stride_tricks.sliding_window_view(padded, 13, axis=0) @ (taps / taps.sum())
        out = blurred.astype(np.float32)
    taper = 1.0 - rng.uniform(0, 0.7) * np.linspace(0, 1, CEPSTRA) ** rng.uniform(0.5, 2)
    tone = rng.normal(0, 0.15, CEPSTRA)
    out = out * (taper * rng.uniform(0.85, 1.45)) + tone
    # Slowly wandering errors as well as those of single frames.
    knots = rng.normal(0, rng.uniform(0, 0.2), (len(out) // 8 + 2, CEPSTRA))
    slow = np.repeat(knots, 8, axis=0)
    slow = slow[: len(out)] * 0.5 + slow[4 : len(out) + 4] * 0.5
    out = out + slow + rng.normal(0, rng.uniform(0, 0.08), out.shape)
    return np.asarray(out, dtype=np.float32)


def train(
    found: Sequence[Melody], config: PitchTraining, *, progress: Progress = silent
) -> PitchModel:
    """Trains until the minutes or steps are over; returns the mean of the late weights."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    model = PitchModel(config.model).train()
    mean = PitchModel(config.model).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.02)
    begin, step, fraction = time.monotonic(), 0, 0.0
    while fraction < 1:
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = config.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * fraction))
        cepstra, voice, voiced, target, inside = _batch(found, config, rng)
        loss = _loss(model(cepstra, voice), voiced, target, inside)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.995, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        spent = time.monotonic() - begin
        fraction = max(spent / (config.minutes * 60), step / config.steps)
        progress("pitch", min(spent, config.minutes * 60), config.minutes * 60)
    return mean


def _batch(
    found: Sequence[Melody], config: PitchTraining, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """Cepstra [B,T,16], voice [B,2], voiced, target and which frames count, all [B,T]."""
    size = (config.batch, config.frames)
    cepstra = np.zeros((*size, CEPSTRA), np.float32)
    voiced, target, inside = (np.zeros(size, np.float32) for _ in range(3))
    voices = np.zeros((config.batch, 2), np.float32)
    for row in range(config.batch):
        one = found[int(rng.integers(len(found)))]
        length = min(len(one.voiced), config.frames)
        start = int(rng.integers(len(one.voiced) - length + 1))
        piece = slice(start, start + length)
        cepstra[row, :length] = degrade(one.cepstra[piece], rng)
        voiced[row, :length] = one.voiced[piece]
        target[row, :length] = relative(one)[piece]
        inside[row, :length] = 1.0
        # A reference tells its own statistics, not those of what is about to be said.
        voices[row] = voice_features(one.voice) + rng.normal(0, (0.05, 0.2))
    arrays = (cepstra, voices, voiced, target, inside)
    return tuple(torch.from_numpy(array) for array in arrays)


def _loss(out: Tensor, voiced: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy of voicing, smooth L1 of the melody and of its slope in voiced frames."""
    entropy = nn.functional.binary_cross_entropy_with_logits(out[..., 0], voiced, weight=inside)
    weight = (voiced > 0.5).float() * inside
    error = nn.functional.smooth_l1_loss(out[..., 1], target, beta=0.5, reduction="none")
    slope, goal = (x[:, _DELTA:] - x[:, :-_DELTA] for x in (out[..., 1], target))
    both = weight[:, _DELTA:] * weight[:, :-_DELTA]
    change = nn.functional.smooth_l1_loss(slope, goal, beta=0.5, reduction="none")
    loss: Tensor = entropy + (error * weight).sum() / (weight.sum() + 1)
    return loss + 0.5 * (change * both).sum() / (both.sum() + 1)


@torch.inference_mode()
def score(model: PitchModel, found: Sequence[Melody], *, seed: int = 1) -> Score:
    """How well ``model`` guesses melodies from degraded envelopes."""
    rng = np.random.default_rng(seed)
    wrong: list[NDArray[np.bool_]] = []
    guesses, truths = [], []
    for one in found:
        cepstra = torch.from_numpy(degrade(one.cepstra, rng))[None]
        out = model(cepstra, torch.from_numpy(voice_features(one.voice))[None])[0].numpy()
        wrong.append((out[:, 0] > 0) != (one.voiced > 0.5))
        clear = one.voiced > 0.5
        unit = 100 * one.voice.spread_semitones
        guesses.append(out[clear, 1] * unit)
        truths.append(relative(one)[clear] * unit)
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    return Score(
        voicing_error=float(np.concatenate(wrong).mean()),
        cents=float(np.sqrt(np.square(guess - truth).mean())),
        flat_cents=float(np.sqrt(np.square(truth).mean())),
        correlation=float(np.corrcoef(guess, truth)[0, 1]),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--human", type=Path, required=True, help="folder of human recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=220, help="recordings per speaker")
    parser.add_argument("--voices", type=int, default=2, help="virtual voices per recording")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    depth = DepthSums()
    found = collect(
        options.human, split="train", count=options.count, voices=options.voices, depth=depth
    )
    held = collect(options.human, split="heldout", count=12, voices=1)
    model = train(found, PitchTraining(minutes=options.minutes))
    model.depth.copy_(torch.from_numpy(depth.depth))
    result = {name: round(value, 4) for name, value in vars(score(model, held)).items()}
    model.save(options.out, {"held_out": json.dumps(result)})
    print(json.dumps({"melodies": len(found), **result}, indent=2))


if __name__ == "__main__":
    main()
