"""What a run leaves on disk to go on from: one safetensors file, whole or not there at all.

It holds the full fp32 weights, their average and the optimiser's moments whatever the engine, so
that a run may go on with another number of processes, or with FSDP after DDP. (torch's own
distributed checkpoints keep their table of contents as a pickle, which nothing here reads.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.training.scale.average import Average
from omnitalk_cli.training.scale.parallel import fill, whole
from omnitalk_cli.training.world import World

FORMAT = "omnitalk-run"
FORMAT_VERSION = "1"
_PATTERN = "state-*.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The tensors of a run."""

    network: DualBranchDiT
    average: Average
    optimiser: torch.optim.Optimizer

    def named(self) -> dict[str, Tensor]:
        """All of them by their name in the file, as they are kept in this process."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            tensors[f"model.{name}"] = parameter
            tensors[f"average.{name}"] = self.average.shadow[name]
            state = self.optimiser.state[parameter]
            tensors |= {f"optimiser.{key}.{name}": state[key] for key in _MOMENTS if key in state}
        return tensors


def states(folder: Path) -> list[Path]:
    """The states in ``folder``, newest first."""
    return sorted(folder.glob(_PATTERN), reverse=True)


def save_state(
    folder: Path,
    parts: Parts,
    normalisation: Normalisation,
    facts: Mapping[str, Any],
    *,
    step: int,
    keep: int,
    world: World,
) -> None:
    """Writes ``state-STEP.safetensors`` and removes all but the last ``keep``.

    All processes must call it; the first one writes.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in parts.named().items():
        gathered = whole(value)
        if world.main:
            tensors[name] = gathered.cpu().contiguous()
        del gathered
    if not world.main:
        return
    for name, value in vars(normalisation).items():
        tensors[f"normalisation.{name}"] = value.cpu().contiguous()
    metadata = {"format": FORMAT, "version": FORMAT_VERSION, "facts": json.dumps(dict(facts))}
    path = folder / f"state-{step:09d}.safetensors"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        save_file(tensors, temporary, metadata=metadata)
        _settle(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for old in states(folder)[keep:]:
        old.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what a killed process left of a state."""
    for left in folder.glob(".*.safetensors.*.tmp"):
        left.unlink(missing_ok=True)


def read_facts(path: Path) -> dict[str, Any]:
    """What was written beside the tensors. Raises InputError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if (metadata.get("format"), metadata.get("version")) != (FORMAT, FORMAT_VERSION):
            raise InputError(f"{path}: is not the state of a run of version {FORMAT_VERSION}")
        facts = json.loads(metadata["facts"])
        assert isinstance(facts, dict)
        return facts
    except (SafetensorError, OSError, ValueError, KeyError, AssertionError) as error:
        raise InputError(f"{path}: is not the readable state of a run ({error})") from error


def load_state(path: Path, parts: Parts) -> Normalisation:
    """Fills ``parts`` from a state; every process reads its own part of the file.

    Raises InputError when the file does not fit the network.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        names = set(file.keys())
        for name, parameter in parts.network.named_parameters():
            state = parts.optimiser.state[parameter]
            for key in _MOMENTS:
                stored = f"optimiser.{key}.{name}"
                if stored not in names:
                    continue
                if key == "step":
                    state[key] = file.get_tensor(stored)
                    if parts.optimiser.defaults.get("fused"):
                        state[key] = state[key].to(parameter.device)
                else:
                    state[key] = torch.zeros_like(parameter.detach())
                    fill(state[key], file.get_tensor(stored))
            for prefix, target in (("model", parameter), ("average", parts.average.shadow[name])):
                stored = f"{prefix}.{name}"
                if stored not in names:
                    raise InputError(f"{path}: has no {stored}; it is of another network")
                value = file.get_tensor(stored)
                if value.shape != target.shape:
                    raise InputError(
                        f"{path}: {stored} is {tuple(value.shape)}, not {tuple(target.shape)}"
                    )
                fill(target, value)
        return Normalisation(
            **{
                field: file.get_tensor(f"normalisation.{field}")
                for field in ("mel_mean", "mel_std", "code_mean", "code_std")
            }
        )


def _settle(path: Path) -> None:
    """Waits until the disk has the file: a name must not outlive a power cut without its data."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
