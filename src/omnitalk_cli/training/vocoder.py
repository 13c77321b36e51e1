"""Trains the embedded vocoder: spectral losses first, then an adversarial finish.

The recipe is Vocos' (arXiv 2306.00814, section 3) at the size of two CPU cores: mel L1 and
multi-resolution STFT losses for most of the time, then small discriminators for natural phase.
A run is bounded by time, not steps, and resumes from its last checkpoint.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional as nnf

from omnitalk_cli.errors import InputError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder, save_vocoder
from omnitalk_cli.types import HOP, SAMPLE_RATE

# Speeds up or slows down by these ratios: other voices, and lower ones, from the same recordings.
PITCH_RATIOS = ((2, 3), (3, 4), (4, 5), (5, 6), (7, 8), (8, 7), (6, 5), (5, 4))


@dataclass(frozen=True, kw_only=True)
class VocoderTraining:
    """Settings of a vocoder run; times in minutes, everything else per step.

    ``adversarial_from`` is the fraction of ``minutes`` after which discriminators join (1: never);
    they see ``critic_batch`` of the excerpts, since they cost more than the generator.
    """

    model: VocosConfig = field(default_factory=lambda: VocosConfig(mel_mean=-5.0, mel_scale=3.0))
    minutes: float = 40.0
    batch: int = 8
    frames: int = 48
    learning_rate: float = 1.5e-3
    warmup_steps: int = 150
    adversarial_from: float = 1.0
    adversarial_rate: float = 4e-4
    critic_batch: int = 4
    ema: float = 0.998
    mel_weight: float = 4.0
    stft_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    pitch_share: float = 0.5
    save_minutes: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch < 1 or self.frames < 8:
            raise ValueError(f"minutes > 0, batch >= 1, frames >= 8 are needed: {self}")
        if not 0 <= self.adversarial_from <= 1 or not 0 <= self.pitch_share <= 1:
            raise ValueError("adversarial_from and pitch_share are fractions")


class AudioCorpus:
    """Utterances of 24 kHz int16 audio in shards (tensors ``audio`` and ``offsets``)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.utterances: list[NDArray[np.int16]] = []
        for path in paths:
            with safe_open(str(path), framework="np") as file:
                audio, offsets = file.get_tensor("audio"), file.get_tensor("offsets")
            pieces = zip(offsets[:-1], offsets[1:], strict=True)
            self.utterances += [audio[start:stop] for start, stop in pieces]
        self.lengths = np.array([len(piece) for piece in self.utterances], dtype=np.float64)
        if not self.lengths.sum():
            raise InputError("no audio to train on: the shards hold no utterance")

    @property
    def seconds(self) -> float:
        """Length of everything."""
        return float(self.lengths.sum()) / SAMPLE_RATE

    def sample(
        self, rng: np.random.Generator, *, batch: int, samples: int, pitch_share: float
    ) -> Tensor:
        """Augmented excerpts ``[batch, samples]`` float32: random place, pitch and level."""
        picks = rng.choice(len(self.lengths), size=batch, p=self.lengths / self.lengths.sum())
        rows = [self._excerpt(rng, self.utterances[pick], samples, pitch_share) for pick in picks]
        return torch.from_numpy(np.stack(rows))

    def _excerpt(
        self, rng: np.random.Generator, source: NDArray[np.int16], samples: int, share: float
    ) -> NDArray[np.float32]:
        up, down = (1, 1)
        if rng.random() < share:
            up, down = PITCH_RATIOS[rng.integers(len(PITCH_RATIOS))][::-1]
        wanted = math.ceil(samples * down / up) + 1
        start = int(rng.integers(max(len(source) - wanted, 0) + 1))
        piece = source[start : start + wanted].astype(np.float32) / 32768.0
        if up != down:
            piece = resample_poly(piece, up, down).astype(np.float32)
        piece = np.pad(piece[:samples], (0, max(samples - len(piece), 0)))
        level = float(np.sqrt(np.mean(np.square(piece)))) + 1e-4
        gain = math.exp(rng.uniform(math.log(0.015), math.log(0.16))) / level
        gain = min(gain, 0.98 / (float(np.abs(piece).max()) + 1e-4), 30.0)
        return (piece * gain).astype(np.float32)


def spectral_loss(guess: Tensor, target: Tensor, *, sizes: Sequence[int]) -> Tensor:
    """Mean over STFT sizes of spectral convergence plus log-magnitude L1 (arXiv 1910.11480).

    Audio [B,S] both; a quarter window is the hop.
    """
    total = guess.new_zeros(())
    for size in sizes:
        a, b = _magnitude(guess, size), _magnitude(target, size)
        convergence = (a - b).norm() / b.norm().clamp_min(1e-3)
        total = total + convergence + nnf.l1_loss(a.log(), b.log())
    return total / len(sizes)


def _magnitude(audio: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(audio, size, size // 4, window=window, return_complex=True)
    # The floor is that of the mel, in energy: it also keeps the gradient of the root finite.
    return (spectrum.real.square() + spectrum.imag.square()).clamp_min(1e-6).sqrt()


class PeriodDiscriminator(nn.Module):
    """Looks at every p-th sample (HiFi-GAN, arXiv 2010.05646), a few channels wide."""

    def __init__(self, period: int, channels: Sequence[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        self.period = period
        sizes = (1, *channels)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)))
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.last = nn.utils.parametrizations.weight_norm(
            nn.Conv2d(sizes[-1], 1, (3, 1), 1, (1, 0))
        )

    def forward(self, audio: Tensor) -> list[Tensor]:
        """Audio [B,S] to the features of every layer, the scores last."""
        rows = audio.shape[-1] // self.period
        x = audio[:, : rows * self.period].reshape(len(audio), 1, rows, self.period)
        return _layer_by_layer(x, self.layers, self.last)


class SpectrumDiscriminator(nn.Module):
    """Looks at a complex STFT of one size (UnivNet and Vocos, multi-resolution)."""

    def __init__(self, size: int, channels: Sequence[int] = (12, 24, 32, 32)) -> None:
        super().__init__()
        self.size = size
        sizes = (2, *channels)
        strides = (4, 2, 2, 1)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(
                nn.Conv2d(a, b, (3, 7 if s == 4 else 5), (1, s), (1, 3 if s == 4 else 2))
            )
            for a, b, s in zip(sizes[:-1], sizes[1:], strides, strict=True)
        )
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))

    def forward(self, audio: Tensor) -> list[Tensor]:
        """Audio [B,S] to the features of every layer, the scores last."""
        window = torch.hann_window(self.size, device=audio.device)
        spectrum = torch.stft(audio, self.size, self.size // 2, window=window, return_complex=True)
        # Square-root compression keeps the phase and lifts the quiet upper bands.
        scale = (spectrum.abs() + 1e-3).rsqrt()
        x = torch.stack([spectrum.real * scale, spectrum.imag * scale], 1).transpose(2, 3)
        return _layer_by_layer(x, self.layers, self.last)


class Discriminators(nn.ModuleList):
    """All discriminators: three periods, two spectra."""

    def __init__(self) -> None:
        periods = [PeriodDiscriminator(p) for p in (2, 3, 7)]
        super().__init__([*periods, SpectrumDiscriminator(1024), SpectrumDiscriminator(512)])

    def judge(self, audio: Tensor) -> list[list[Tensor]]:
        """Features of every layer of every discriminator for audio [B,S]."""
        return [part(audio) for part in self]


def _layer_by_layer(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> list[Tensor]:
    features = []
    for layer in layers:
        x = nnf.leaky_relu(layer(x), 0.1)
        features.append(x)
    return [*features, last(x)]


def discriminator_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Hinge loss of the discriminators (Vocos, Eq. 2), mean over them."""
    terms = [
        (1 - r[-1]).clamp_min(0).mean() + (1 + f[-1]).clamp_min(0).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def adversarial_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """What the generator adds: hinge loss and feature matching, mean over discriminators.

    Features are compared relative to the size of the real ones, so that no layer dominates.
    """
    terms = []
    for r, f in zip(real, fake, strict=True):
        matching = [
            nnf.l1_loss(b, a.detach()) / a.detach().abs().mean().clamp_min(1e-3)
            for a, b in zip(r[:-1], f[:-1], strict=True)
        ]
        terms.append((1 - f[-1]).clamp_min(0).mean() + 2 * torch.stack(matching).mean())
    return torch.stack(terms).mean()


class VocoderTrainer:
    """One run in ``folder``: ``vocoder.safetensors`` (averaged weights, usable at any time),
    ``state.safetensors`` (everything needed to go on) and ``log.jsonl``."""

    def __init__(
        self,
        config: VocoderTraining,
        corpus: AudioCorpus,
        held_out: Tensor,
        folder: Path,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """``held_out`` [B,S] audio that is never trained on; ``metadata`` goes into the weights.

        Goes on where ``folder`` holds a state. Raises InputError when that is of another model.
        """
        self.config, self.corpus, self.held_out = config, corpus, held_out
        self.folder, self.metadata = folder, dict(metadata or {})
        torch.manual_seed(config.seed)
        self.model = VocosVocoder(config.model)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.critics = Discriminators()
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.01
        )
        self.critic_optimiser = torch.optim.AdamW(
            self.critics.parameters(), lr=config.adversarial_rate, betas=(0.8, 0.99)
        )
        self.step, self.seconds, self.adversarial_step = 0, 0.0, 0
        self.saved_at = self.heard = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self._state_path.is_file():
            self._load_state()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def run(self, progress: Progress = silent, *, until: float = math.inf) -> dict[str, float]:
        """Train until the minutes are used up or the clock (``time.time``) passes ``until``.

        Returns the held-out scores of the averaged weights, which are saved.
        """
        limit = self.config.minutes * 60
        while self.seconds < limit and time.time() < until:
            begin = time.monotonic()
            losses = self._train_step(self.seconds / limit)
            self.seconds += time.monotonic() - begin
            progress("vocoder", self.seconds, limit)
            if self.seconds - self.saved_at > self.config.save_minutes * 60:
                self.save(losses)
        return self.save({})

    def _train_step(self, fraction: float) -> dict[str, float]:
        config = self.config
        adversarial = fraction >= config.adversarial_from
        rng = np.random.default_rng((config.seed, self.step))
        samples = (config.frames - 1) * HOP
        audio = self.corpus.sample(
            rng, batch=config.batch, samples=samples, pitch_share=config.pitch_share
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(fraction)
        mel = log_mel(audio)
        guess = self.model(mel)
        losses: dict[str, Tensor] = {}
        if adversarial:
            shown = audio[: config.critic_batch]
            fake = self.critics.judge(guess[: config.critic_batch].detach())
            losses["critic"] = discriminator_loss(self.critics.judge(shown), fake)
            self.critic_optimiser.zero_grad()
            losses["critic"].backward()
            self.critic_optimiser.step()
            self.adversarial_step += 1
        losses["mel"] = nnf.l1_loss(log_mel(guess), mel)
        losses["stft"] = spectral_loss(guess, audio, sizes=config.stft_sizes)
        total = config.mel_weight * losses["mel"] + losses["stft"]
        # The critics get a head start before the generator listens to them.
        if adversarial and self.adversarial_step > 100:
            with torch.no_grad():
                real = self.critics.judge(shown)
            self.critics.requires_grad_(False)
            fake = self.critics.judge(guess[: config.critic_batch])
            losses["adversarial"] = adversarial_loss(real, fake)
            self.critics.requires_grad_(True)
            total = total + losses["adversarial"]
        self.optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self.heard += audio.numel() / SAMPLE_RATE
        # A short average at first: the long one would hold on to the random beginning.
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for mean, value in pairs:
                mean.lerp_(value, 1 - keep)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _rate(self, fraction: float) -> float:
        """Learning rate: warm-up, half a cosine over the spectral part, another over the rest."""
        config = self.config
        join = config.adversarial_from
        if fraction < join:
            bottom = config.adversarial_rate if join < 1 else 2e-5
            top, place = config.learning_rate, fraction / join
        else:
            top, bottom = config.adversarial_rate, 2e-5
            place = (fraction - join) / max(1 - join, 1e-9)
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(place, 1.0))
        return (bottom + (top - bottom) * cosine) * min(1.0, (self.step + 1) / config.warmup_steps)

    @torch.inference_mode()
    def score(self) -> dict[str, float]:
        """Held-out mel L1 and spectral loss of the averaged weights."""
        mel = log_mel(self.held_out)
        guess = self.average(mel)
        target = self.held_out[:, : guess.shape[1]]
        return {
            "held_mel_l1": float(nnf.l1_loss(log_mel(guess), mel)),
            "held_stft": float(spectral_loss(guess, target, sizes=self.config.stft_sizes)),
        }

    def save(self, losses: dict[str, float]) -> dict[str, float]:
        """Score, export the averaged weights, write the state and a line of the log."""
        scores = self.score()
        line: dict[str, float] = {
            "step": self.step, "minutes": round(self.seconds / 60, 2),
            "hours_heard": round(self.heard / 3600, 2), **losses, **scores,
        }  # fmt: skip
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        header = {**self.metadata, "training": json.dumps(asdict(self.config)),
                  "scores": json.dumps(line)}  # fmt: skip
        save_vocoder(self.average, self.folder / "vocoder.safetensors", metadata=header)
        tensors = {
            f"{part}.{name}": value.contiguous()
            for part, module in self._modules()
            for name, value in module.state_dict().items()
        }
        for part, optimiser in self._optimisers():
            for index, values in optimiser.state_dict()["state"].items():
                tensors |= {f"{part}.{index}.{key}": value for key, value in values.items()}
        counts = {"step": self.step, "seconds": self.seconds, "heard": self.heard,
                  "adversarial_step": self.adversarial_step}  # fmt: skip
        state = {"counts": json.dumps(counts), "model": json.dumps(asdict(self.config.model))}
        unfinished = self._state_path.with_suffix(".part")
        save_file(tensors, str(unfinished), metadata=state)
        unfinished.replace(self._state_path)
        self.saved_at = self.seconds
        return scores

    def _modules(self) -> list[tuple[str, nn.Module]]:
        modules: list[tuple[str, nn.Module]] = [("model", self.model), ("average", self.average)]
        return [*modules, ("critics", self.critics)] if self.adversarial_step else modules

    def _optimisers(self) -> list[tuple[str, torch.optim.Optimizer]]:
        return [("optimiser", self.optimiser), ("critic_optimiser", self.critic_optimiser)]

    def _load_state(self) -> None:
        with safe_open(str(self._state_path), framework="pt") as file:
            header = file.metadata()
        # The number of refinement rounds may change on the way; it has no weights.
        if {**json.loads(header["model"]), "rounds": self.config.model.rounds} != asdict(
            self.config.model
        ):
            raise InputError(f"{self._state_path} is of another model; use a new folder")
        counts = json.loads(header["counts"])
        self.step, self.seconds = int(counts["step"]), float(counts["seconds"])
        self.heard, self.adversarial_step = counts["heard"], int(counts["adversarial_step"])
        self.saved_at = self.seconds
        tensors = load_file(str(self._state_path))
        for part, module in self._modules():
            prefix = part + "."
            module.load_state_dict(
                {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
            )
        for part, optimiser in self._optimisers():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(part + "."):
                    _, index, key = name.split(".")
                    state.setdefault(int(index), {})[key] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
