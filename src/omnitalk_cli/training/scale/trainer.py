"""The run: updates, agreement among processes, checkpoints, scores."""

from __future__ import annotations

import functools
import math
import time as clock
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from omnitalk_cli.dit.accelerate import allow_recompiling
from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import WorkError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.text.spelling import Spelling
from omnitalk_cli.training.scale.average import Average
from omnitalk_cli.training.scale.batches import BatchMaker, Feed, Portion
from omnitalk_cli.training.scale.clips import ClipTable, measure_normalisation
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.initial import Beginning
from omnitalk_cli.training.scale.journal import Journal
from omnitalk_cli.training.scale.keeper import Keeper, Tally
from omnitalk_cli.training.scale.objective import TERMS, loss_sums, weights
from omnitalk_cli.training.scale.order import BatchOrder
from omnitalk_cli.training.scale.parallel import Engine, blocks
from omnitalk_cli.training.scale.scores import HeldOutLoss, generate, scores_or_why
from omnitalk_cli.training.scale.signals import StopRequest, stop_requests
from omnitalk_cli.training.scale.state import Parts, sweep
from omnitalk_cli.training.world import World


@dataclass(frozen=True, kw_only=True)
class ScaleResult:
    """Where the checkpoint lies and how far the run is; ``interrupted`` by a signal."""

    checkpoint: Path
    steps: int
    epochs: int
    minutes: float
    hours_seen: float
    processes: int
    heldout: dict[str, float]
    interrupted: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"checkpoint": str(self.checkpoint)}


class ScaleTrainer:
    """One run in one folder, which all processes see. ``run`` trains to the end of the budget;
    ``engine`` must be closed before the processes part."""

    def __init__(
        self,
        beginning: Beginning,
        config: ScaleConfig,
        *,
        table: ClipTable,
        spelling: Spelling,
        folder: Path,
        world: World,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Goes on from the newest state in ``folder``, if there is one.

        Raises UsageError when that is of another network or vocabulary.
        """
        network = beginning.network
        self.config, self.world, self.table = config, world, table
        self._patch = network.config.patch
        if config.checkpoint_activations:
            checkpoint_blocks(network)
        if config.compile:
            allow_recompiling()
            for block in blocks(network):
                block.compile()
        self.engine = Engine(network, world, parallel=config.parallel, bfloat16=config.bfloat16)
        self.average = Average(network)
        self.optimiser = optimiser(network, config)
        self.order = BatchOrder(
            [ref.frames for ref in table.train], frames=config.frames, bucket=config.bucket,
            max_clips=config.max_clips, seed=config.seed,
        )  # fmt: skip
        self.keeper = Keeper(
            folder=folder, config=config, table=table, spelling=spelling, world=world,
            parts=Parts(network=network, average=self.average, optimiser=self.optimiser),
        )  # fmt: skip
        self.journal: Journal | None = None
        if world.main:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            self.journal = Journal(folder, tensorboard=config.tensorboard)
        world.wait()
        found = self.keeper.resume(note)
        self.tally = found[0] if found else Tally(inherited=beginning.inherited)
        self.keeper.check_alike(self.tally)
        self.normalisation = found[1] if found else _normalisation(beginning, table)
        if self.journal is not None:
            self.journal.rewind(self.tally.step)
        self.heldout = (
            HeldOutLoss(table.heldout, self.normalisation, config, self._patch)
            if table.heldout
            else None
        )
        self._lambdas = torch.tensor(weights(config.loss), device=world.device)
        # Of the updates since the last row of the log.
        self._sums = torch.zeros(len(TERMS), device=world.device)
        self._targets = 0.0
        self._norm = torch.zeros((), device=world.device)
        world.wait()

    def run(self, progress: Progress = silent) -> ScaleResult:
        """Trains until the updates or this sitting's minutes are used up, or a signal comes.

        Raises WorkError when the gradient is no longer a number.
        """
        config, tally = self.config, self.tally
        scores: dict[str, Any] = {}
        begun = saved = clock.monotonic()
        before = tally.minutes
        logged, logged_frames = begun, tally.frames_seen
        stopped = interrupted = False
        maker = BatchMaker(
            self.table.train, self.normalisation, config, patch=self._patch,
            pin=self.world.device.type == "cuda",
        )  # fmt: skip
        (slot, *_), _ = self.order.update(tally.position, 1)
        first = maker(0, replace(slot, clips=slot.clips[:1])).to(self.world.device)
        self.engine.settle(functools.partial(loss_sums, batch=first, config=config.loss))
        place = {"rank": self.world.rank, "world": self.world.size}
        with (
            stop_requests() as request,
            Feed(self.order, maker, step=tally.step, position=tally.position, **place) as feed,
        ):
            portions = iter(feed)
            while tally.step < config.steps:
                portion = next(portions)
                now = clock.monotonic()
                late = config.minutes is not None and now - begun > 60 * config.minutes
                due = now - saved > 60 * config.checkpoint_minutes
                targets, real, room, asked, over, save = self._agree(portion, request, late, due)
                if asked or over:
                    stopped, interrupted = True, bool(asked)
                    break
                self._update(portion, targets)
                tally.step += 1
                tally.position = portion.after
                tally.frames_seen += int(real)
                tally.frames_padded += int(room)
                tally.minutes = before + (clock.monotonic() - begun) / 60
                self.average.update(config.keep_share(tally.step))
                last = tally.step == config.steps
                if tally.step % config.log_every == 0 or last:
                    now = clock.monotonic()
                    speed = (tally.frames_seen - logged_frames) / max(now - logged, 1e-9)
                    logged, logged_frames = now, tally.frames_seen
                    progress(f"training, loss {self._log(speed):.3f}", tally.step, config.steps)
                if save and not last:
                    self.save()
                    saved = clock.monotonic()
                if not last:
                    scores = self._scores(scores)
        self.save()
        if not stopped:
            scores = self._scores(scores, last=True)
        if self.journal is not None:
            self.journal.close()
        return ScaleResult(
            checkpoint=self.keeper.checkpoint, steps=tally.step, epochs=tally.position.epoch,
            minutes=tally.minutes, hours_seen=tally.hours, processes=self.world.size,
            heldout={k: v for k, v in scores.items() if isinstance(v, float)},
            interrupted=interrupted,
        )  # fmt: skip

    def save(self) -> None:
        """Writes state and checkpoint, of sound numbers only. All processes must call it."""
        self._check()
        self.keeper.save(self.tally, self.normalisation)

    def _agree(
        self, portion: Portion, request: StopRequest, late: bool, due: bool
    ) -> tuple[float, ...]:
        """Masked, real and padded frames of the whole update; whether anybody was asked to stop;
        whether the first process says that time is over, or that it is time to save."""
        main = self.world.main
        mine = (
            float(sum(int(batch.target.sum()) for batch in portion.batches)),
            float(sum(int(batch.real.sum()) for batch in portion.batches)),
            float(sum(batch.real.numel() for batch in portion.batches)),
        )
        flags = (request.asked, main and late, main and due)
        return tuple(self.world.agree([*mine, *map(float, flags)]))

    def _update(self, portion: Portion, targets: float) -> None:
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.tally.step)
        # Engines take the mean over processes; the loss is over the frames of all of them.
        share = self.world.size / targets
        for number, host in enumerate(portion.batches):
            batch = host.to(self.world.device)
            with self.engine.turn(last=number == len(portion.batches) - 1):
                work = functools.partial(loss_sums, batch=batch, config=config.loss)
                sums = self.engine.run(work)
                ((sums * self._lambdas).sum() * share).backward()
            self._sums += sums.detach()
        self._targets += targets
        self._norm = self.engine.clip(config.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _log(self, speed: float) -> float:
        """Writes the means since the last row; returns the loss."""
        self._check()
        means = (self.world.sum(self._sums.double().cpu()) / max(self._targets, 1.0)).tolist()
        self._sums.zero_()
        self._targets = 0.0
        total = sum(w * m for w, m in zip(weights(self.config.loss), means, strict=True))
        if self.journal is not None:
            tally = self.tally
            row = {
                "step": tally.step, "epoch": tally.position.epoch, "batch": tally.position.index,
                "minutes": round(tally.minutes, 2), "hours_seen": round(tally.hours, 4),
                "loss": {"total": total} | dict(zip(TERMS, means, strict=True)),
                "gradient": float(self._norm), "rate": self.config.rate(tally.step - 1),
                "frames_per_second": round(speed, 1), "padding": round(tally.padding, 4),
            }  # fmt: skip
            self.journal.write(row)
        return total

    def _check(self) -> None:
        """All processes have the same norm, so all of them stop here or none."""
        if not math.isfinite(float(self._norm)):
            raise WorkError(
                f"the gradient is no number at update {self.tally.step}; the states in "
                f"{self.keeper.folder} are from before: go on with a lower --learning-rate, or "
                "with --dtype float32"
            )

    def _scores(self, scores: dict[str, Any], *, last: bool = False) -> dict[str, Any]:
        """Held-out scores of the average where it is time for them, over the ``scores`` so far."""

        def due(every: int) -> bool:
            return every > 0 and (last or self.tally.step % every == 0)

        config = self.config
        if self.heldout is None or not (due(config.heldout_every) or due(config.generate_every)):
            return scores
        found: dict[str, Any] = {}
        with self.average.used():
            if due(config.heldout_every):
                found |= self.heldout(self.engine)
            clips = self.table.heldout[: config.generate_clips]
            if clips and due(config.generate_every):
                made = generate(self.engine, clips, self.normalisation, config)
                found |= scores_or_why(made) if self.world.main else {}
        self.world.wait()
        if found and self.journal is not None:
            self.journal.write({"step": self.tally.step, "heldout": found})
        return scores | found


def checkpoint_blocks(network: DualBranchDiT) -> None:
    """Blocks keep their inputs only and are computed again on the way back."""
    for block in blocks(network):
        # On the instance: names of parameters stay what they are.
        block.forward = functools.partial(  # type: ignore[method-assign]
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )


def optimiser(network: DualBranchDiT, config: ScaleConfig) -> torch.optim.AdamW:
    """AdamW, fused; weights that are no matrices do not decay."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _normalisation(beginning: Beginning, table: ClipTable) -> Normalisation:
    """What the inherited weights expect; measured where they expect nothing."""
    found = beginning.normalisation
    if found is not None and beginning.codes:
        return found
    measured = measure_normalisation(table.train)
    if found is None:
        return measured
    return Normalisation(
        mel_mean=found.mel_mean.cpu(), mel_std=found.mel_std.cpu(),
        code_mean=measured.code_mean, code_std=measured.code_std,
    )  # fmt: skip
