"""How far a run is, kept with its tensors; and the checkpoint to generate with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from omnitalk_cli.dit.checkpoint import Normalisation, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.errors import UsageError, WorkError
from omnitalk_cli.text.spelling import Spelling
from omnitalk_cli.training.scale.clips import ClipTable
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.order import Position
from omnitalk_cli.training.scale.parallel import whole
from omnitalk_cli.training.scale.state import Parts, load_state, read_facts, save_state, states
from omnitalk_cli.training.world import World
from omnitalk_cli.types import MEL_RATE


@dataclass(kw_only=True)
class Tally:
    """Updates done, the next batch, frames (real, and with padding), minutes of training, and what
    the run began with."""

    step: int = 0
    position: Position = Position()
    frames_seen: int = 0
    frames_padded: int = 0
    minutes: float = 0.0
    inherited: str = ""

    @property
    def hours(self) -> float:
        """Hours of clips that were seen."""
        return self.frames_seen / MEL_RATE / 3600

    @property
    def padding(self) -> float:
        """Share of the computed frames that were padding."""
        return 1 - self.frames_seen / max(self.frames_padded, 1)


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Writes and reads the files of the run in ``folder``."""

    folder: Path
    parts: Parts
    config: ScaleConfig
    table: ClipTable
    spelling: Spelling
    world: World

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to generate with."""
        return self.folder / "model.safetensors"

    @property
    def _shape(self) -> DiTConfig:
        return self.parts.network.config

    def _plan(self) -> list[Any]:
        """What the order of batches hangs on."""
        c = self.config
        return [self.table.digest, c.seed, c.frames, c.bucket, c.max_clips]

    def _vocabulary(self) -> str:
        return hashlib.sha256("\n".join(self.spelling.tokens).encode()).hexdigest()[:16]

    def save(self, tally: Tally, normalisation: Normalisation) -> None:
        """Writes the state to go on from and the checkpoint. All processes must call it."""
        facts = asdict(tally) | {
            "plan": self._plan(), "config": self._shape.to_json(),
            "vocabulary": self._vocabulary(),
        }  # fmt: skip
        save_state(
            self.folder, self.parts, normalisation, facts, step=tally.step, keep=self.config.keep,
            world=self.world,
        )  # fmt: skip
        weights = {}
        for name, value in self.parts.average.shadow.items():
            gathered = whole(value)
            if self.world.main:
                weights[name] = gathered.to("cpu", torch.bfloat16)
        if self.world.main:
            save_checkpoint(
                self.checkpoint, config=self._shape, state=weights, normalisation=normalisation,
                extras=self.extras(tally), dtype=torch.bfloat16,
            )  # fmt: skip
        self.world.wait()

    def extras(self, tally: Tally) -> dict[str, Any]:
        """Facts that the checkpoint carries; the package's docstring lists them."""
        return {
            "family": "omnitalker",
            "layout": "filler",
            "mel": "vocos",
            "vocabulary": self.spelling.name,
            "tokens": list(self.spelling.tokens),
            "languages": self.table.languages,
            "training": {
                "config": asdict(self.config), "steps": tally.step,
                "minutes": round(tally.minutes, 1), "hours_seen": round(tally.hours, 4),
                "frames_seen": tally.frames_seen, "processes": self.world.size,
                "inherited": tally.inherited,
            },
        }  # fmt: skip

    def check_alike(self, tally: Tally) -> None:
        """Raises WorkError when another process sees other clips or went on from another state:
        disks of the network may show machines different files, and all would part in silence."""
        for what, number in (("state", tally.step), ("clips", int(self.table.digest[:10], 16))):
            if not self.world.alike(number):
                raise WorkError(
                    f"{self.folder}: the processes do not see the same {what}; corpus and folder "
                    "must lie on a disk that all machines share"
                )

    def resume(self, note: Callable[[str], None]) -> tuple[Tally, Normalisation] | None:
        """Fills the parts from the newest state, None when there is none.

        Raises UsageError when it is of another network or vocabulary, InputError when it cannot
        be read.
        """
        found = states(self.folder)
        if not found:
            return None
        facts = read_facts(found[0])
        if DiTConfig.from_json(facts.pop("config")) != self._shape:
            raise UsageError(f"{found[0]} is of another network; use another folder")
        if facts.pop("vocabulary") != self._vocabulary():
            raise UsageError(f"{found[0]} is of another vocabulary; use another folder")
        plan = facts.pop("plan")
        normalisation = load_state(found[0], self.parts)
        tally = Tally(**facts | {"position": Position(**facts["position"])})
        note(f"goes on after update {tally.step}")
        if plan != self._plan():
            tally.position = Position(tally.position.epoch + 1, 0)
            note("corpus, seed or size of batches have changed: a new epoch begins")
        return tally, normalisation
