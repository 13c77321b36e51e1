"""Trains the dual-branch DiT: resumable, EMA, held-out scores, bounded by steps or by minutes."""

from __future__ import annotations

import copy
import json
import os
import time as clock
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation, load_checkpoint, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import logit_normal_time
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import (
    Batch,
    MaskingConfig,
    Sampler,
    Utterance,
    load_utterances,
    measure_normalisation,
)
from omnitalk_cli.training.loss import flow_loss
from omnitalk_cli.training.replicas import Replicas
from omnitalk_cli.training.scoring import held_out_scores, noise_like, to_device
from omnitalk_cli.training.train_config import TrainConfig
from omnitalk_cli.training.world import World


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where the checkpoint lies, and the last held-out scores."""

    checkpoint: Path
    steps: int
    minutes: float
    hours_seen: float
    heldout: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"checkpoint": str(self.checkpoint)}


_RESUME = "resume.safetensors"
_ADAM = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a parameter


class Trainer:
    """One run in one folder. ``run`` trains until the budget is used up."""

    def __init__(
        self,
        model_config: DiTConfig,
        config: TrainConfig,
        *,
        corpus: Path,
        folder: Path,
        world: World,
        init: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.folder, self.world, self.device = config, folder, world, world.device
        self.corpus = corpus
        self.vocabulary = Vocabulary.phones()
        if model_config.vocabulary_size != len(self.vocabulary):
            raise UsageError(
                f"the model has {model_config.vocabulary_size} text ids, "
                f"the corpus {len(self.vocabulary)}"
            )
        self.train_set = load_utterances(corpus, "train")
        heldout = load_utterances(corpus, "heldout")
        if not self.train_set or not heldout:
            raise InputError(f"the corpus in {corpus} needs both train and heldout utterances")
        torch.manual_seed(config.seed)
        self.model = DualBranchDiT(model_config).to(self.device)
        self.replicas = Replicas(world=world)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimiser = _optimiser(self.model, config)
        self.step = 0
        self.minutes = 0.0
        self.frames_seen = 0
        self.normalisation: Normalisation | None = None
        self.inherited: list[str] = []
        if not self._resume() and init is not None:
            self._inherit(init)
        self._met = self.step, self.frames_seen
        # Every replica draws its own samples.
        seed = [config.seed, self.step, world.rank]
        self.noise = torch.Generator().manual_seed(
            config.seed * 1_000_003 + self.step + 500_009 * world.rank
        )
        if self.normalisation is None:
            # Drawn alike everywhere: what replicas average must mean the same.
            rng = np.random.default_rng(config.seed)
            self.normalisation = measure_normalisation(
                self._sampler(self.train_set, config.masking, rng)
            )
        self.sampler = self._sampler(self.train_set, config.masking, np.random.default_rng(seed))
        self.heldout_batches = self._heldout(heldout)
        self.durations = _durations(self.train_set)

    def _sampler(
        self, utterances: list[Utterance], masking: MaskingConfig, rng: np.random.Generator
    ) -> Sampler:
        return Sampler(
            utterances,
            self.normalisation,
            masking,
            mix=self.config.mix,
            vocabulary=self.vocabulary,
            patch=self.model.config.patch,
            rng=rng,
        )

    def _heldout(self, utterances: list[Utterance]) -> list[Batch]:
        masking = MaskingConfig(
            pair_share=1.0, hide_reference_text=0.5, audio_given=0.0,
            drop_all=0.0, drop_reference=0.0, drop_visual=0.0, drop_audio=0.0, drop_text=0.0,
        )  # fmt: skip
        sampler = self._sampler(utterances, masking, np.random.default_rng(99))
        return [sampler.batch(tokens=640, lengths=(160,)) for _ in range(6)]

    @property
    def done_share(self) -> float:
        """Share of the budget that is used up, 0…1."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        assert self.config.minutes is not None
        return min(1.0, self.minutes / self.config.minutes)

    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        warm = min(1.0, (self.step + 1) / self.config.warmup_steps)
        left = (1.0 - self.done_share) / self.config.decay_share
        return self.config.learning_rate * warm * min(1.0, left)

    def run(
        self, progress: Progress = silent, log: Callable[[str], None] | None = None
    ) -> TrainResult:
        """Trains to the end of the budget; checkpoints on the way and when interrupted."""
        saved = scored = self.minutes
        last = clock.monotonic()
        main = self.world.main
        heldout: dict[str, float] = {}
        smooth: dict[str, float] = {}
        try:
            while self.done_share < 1.0:
                terms = self._train_step()
                now = clock.monotonic()
                self.minutes, last = self.minutes + (now - last) / 60, now
                if (self.replicas.due() or self.done_share >= 1.0) and self._meet():
                    break
                for name, value in terms.items():
                    if value == 0.0:
                        continue  # an audio-only step says nothing about the face
                    smooth[name] = 0.98 * smooth.get(name, value) + 0.02 * value
                if self.step % 10 == 0:
                    done = self.minutes if self.config.minutes else self.step
                    progress(
                        f"training, loss {smooth['total']:.3f}",
                        done,
                        self.config.minutes or self.config.steps,
                    )
                if main and self.minutes - scored >= self.config.heldout_minutes:
                    scored = self.minutes
                    heldout = self.score()
                    self._log(smooth, heldout, log)
                if main and self.minutes - saved >= self.config.checkpoint_minutes:
                    saved = self.minutes
                    self.save()
        finally:
            if main:
                self.save()
        if main:
            heldout = self.score()
            self._log(smooth, heldout, log)
        return TrainResult(
            checkpoint=self.folder / "model.safetensors",
            steps=self.step,
            minutes=self.minutes,
            hours_seen=self.frames_seen / 93.75 / 3600,
            heldout=heldout,
        )

    def _train_step(self) -> dict[str, float]:
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        share = config.audio_only[self.done_share > 1 - config.decay_share]
        audio_only = bool(self.sampler.rng.random() < share)
        batch = to_device(
            self.sampler.batch(tokens=config.tokens, lengths=config.lengths, motion=not audio_only),
            self.device,
        )
        time = logit_normal_time(
            len(batch.audio), mean=config.time_mean, std=config.time_std,
            uniform_share=config.uniform_time_share, generator=self.noise,
        ).to(self.device)  # fmt: skip
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bfloat16):
            terms = flow_loss(
                self.model,
                batch,
                config.loss,
                time=time,
                noise=noise_like(batch, self.noise),
                audio_only=audio_only,
            )
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.frames_seen += batch.audio.shape[0] * batch.audio.shape[1]
        # A young average would remember the start for too long.
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - keep
            )
        return {name: float(value.detach()) for name, value in vars(terms).items()}

    def _meet(self) -> bool:
        """Replicas take the mean of their weights and of the optimiser's state. Returns whether the
        run is over."""
        if self.world.size == 1:
            return self.done_share >= 1.0
        tensors: list[Tensor] = [*self.model.parameters(), *self.average.parameters()]
        for parameter in self.model.parameters():
            state = self.optimiser.state[parameter]
            if not state:  # so far only audio-only steps here, others may have its moments
                state |= {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            tensors += [state[key] for key in _ADAM]
        step, frames = self._met
        gained, over = self.replicas.average(
            [tensor.data for tensor in tensors],
            [self.step - step, self.frames_seen - frames],
            done=self.done_share >= 1.0,
        )
        self._met = step + gained[0], frames + gained[1]
        self.step, self.frames_seen = self._met
        return over

    def score(self) -> dict[str, float]:
        """Held-out scores of the averaged model."""
        return held_out_scores(
            self.average, self.heldout_batches, self.device, bfloat16=self.config.bfloat16
        )

    def _log(
        self,
        smooth: dict[str, float],
        heldout: dict[str, float],
        log: Callable[[str], None] | None,
    ) -> None:
        row = {
            "step": self.step, "minutes": round(self.minutes, 2),
            "hours_seen": round(self.frames_seen / 93.75 / 3600, 2),
            "loss": {k: round(v, 4) for k, v in smooth.items()},
            "heldout": {k: round(v, 4) for k, v in heldout.items()},
        }  # fmt: skip
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        if log is not None:
            log(json.dumps(row))

    def export(self, path: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        """Writes the averaged weights as a checkpoint for inference."""
        assert self.normalisation is not None
        save_checkpoint(
            path,
            config=self.model.config,
            state=self.average.state_dict(),
            normalisation=self.normalisation,
            extras=self.extras(),
            dtype=dtype,
        )

    def extras(self) -> dict[str, Any]:
        """Facts that a checkpoint carries beside its weights."""
        return {
            "vocabulary": "phones",
            "languages": ["en"],
            "durations": asdict(self.durations),
            "training": {
                "config": asdict(self.config),
                "steps": self.step,
                "minutes": round(self.minutes, 1),
                "hours_seen": round(self.frames_seen / 93.75 / 3600, 1),
                "sources": sorted({item.source for item in self.train_set}),
                "inherited": self.inherited,
            },
        }

    def save(self) -> None:
        """Writes the state to resume from and the inference checkpoint, each atomically."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in (("model", self.model), ("average", self.average)):
            tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = value
        assert self.normalisation is not None
        for name, value in vars(self.normalisation).items():
            tensors[f"normalisation.{name}"] = value
        facts = {
            "step": self.step, "minutes": self.minutes, "frames_seen": self.frames_seen,
            "inherited": self.inherited,
        }  # fmt: skip
        temporary = self.folder / f".{_RESUME}.{os.getpid()}.tmp"
        save_file(
            {name: value.detach().contiguous() for name, value in tensors.items()},
            temporary,
            metadata={"facts": json.dumps(facts), "config": self.model.config.to_json()},
        )
        os.replace(temporary, self.folder / _RESUME)
        self.export(self.folder / "model.safetensors")

    def _inherit(self, path: Path) -> None:
        """Starts from the weights of a checkpoint, whatever in it fits; text tables need not."""
        checkpoint = load_checkpoint(path, device=str(self.device), dtype=torch.float32)
        found = checkpoint.model.state_dict()
        own = self.model.state_dict()
        fitting = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise InputError(f"{path} shares no weight with this model")
        self.model.load_state_dict(fitting, strict=False)
        self.average.load_state_dict(self.model.state_dict())
        self.normalisation = checkpoint.normalisation
        earlier = checkpoint.extras.get("training", {})
        self.inherited = [
            *earlier.get("inherited", []),
            f"{len(fitting)} of {len(own)} tensors of a model after {earlier.get('steps')} steps, "
            f"{earlier.get('hours_seen')} h heard",
        ]

    def _resume(self) -> bool:
        path = self.folder / _RESUME
        if not path.exists():
            return False
        with safe_open(path, framework="pt", device=str(self.device)) as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if DiTConfig.from_json(metadata["config"]) != self.model.config:
            raise UsageError(f"{path} belongs to another model configuration; use another folder")

        def part(prefix: str) -> dict[str, Tensor]:
            start = prefix + "."
            return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

        self.model.load_state_dict(part("model"))
        self.average.load_state_dict(part("average"))
        for name, parameter in self.model.named_parameters():
            state = self.optimiser.state[parameter]
            for key in _ADAM:
                found = tensors.get(f"optimiser.{key}.{name}")
                if found is not None:
                    state[key] = found.clone()
        self.normalisation = Normalisation(**{k: v.cpu() for k, v in part("normalisation").items()})
        facts = json.loads(metadata["facts"])
        self.step, self.minutes = facts["step"], facts["minutes"]
        self.frames_seen = facts["frames_seen"]
        self.inherited = facts.get("inherited", [])
        return True


def train(
    model_config: DiTConfig,
    config: TrainConfig,
    *,
    corpus: Path,
    folder: Path,
    device: str = "cpu",
    init: Path | None = None,
    progress: Progress = silent,
    log: Callable[[str], None] | None = None,
) -> TrainResult:
    """Trains (or goes on training) in ``folder`` on the corpus shards in ``corpus``.

    A new run starts from the checkpoint ``init`` where one is given. Under ``torchrun`` every
    process is a replica (``training.replicas``).

    Raises InputError when the corpus is missing or has no held-out part, UsageError when the
    folder holds a run of another model configuration or another run is at work in it.
    """
    with World.joined(device) as world, sole_user(folder) if world.main else nullcontext():
        trainer = Trainer(
            model_config, config, corpus=corpus, folder=folder, world=world, init=init
        )
        return trainer.run(progress, log)


def _optimiser(model: DualBranchDiT, config: TrainConfig) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _durations(utterances: list[Utterance]) -> DurationModel:
    """Natural rhythm: from human speech where there is some. ``speech.pace`` counts on it."""
    english = [u for u in utterances if u.language == "en"]
    human = [u for u in english if u.source.startswith("human")] or english
    picked = human[:: max(1, len(human) // 4000)]
    return DurationModel.fit([(u.words, u.times, u.speaker) for u in picked])
