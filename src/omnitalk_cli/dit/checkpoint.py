"""Checkpoints: one safetensors file that explains itself, one config, one model class."""

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

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, SetupError

FORMAT = "omnitalk-dit"
FORMAT_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Mean and deviation per channel: ``mel_*`` ``[100]``, ``code_*`` ``[61]``."""

    mel_mean: Tensor
    mel_std: Tensor
    code_mean: Tensor
    code_std: Tensor


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model with what belongs to it. ``extras`` are the other facts of the file's metadata."""

    model: DualBranchDiT
    normalisation: Normalisation
    extras: dict[str, Any]


def save_checkpoint(
    path: Path,
    *,
    config: DiTConfig,
    state: Mapping[str, Tensor],
    normalisation: Normalisation,
    extras: Mapping[str, Any],
    dtype: torch.dtype,
) -> None:
    """Writes weights in ``dtype`` with JSON metadata; the file appears whole or not at all."""
    tensors = {f"model.{name}": value.to(dtype).contiguous() for name, value in state.items()}
    for name, value in vars(normalisation).items():
        tensors[f"normalisation.{name}"] = value.float().contiguous()
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": config.to_json(),
        "extras": json.dumps(dict(extras)),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, *, device: str | torch.device, dtype: torch.dtype) -> Checkpoint:
    """Reads a checkpoint for inference.

    Raises SetupError when the file is missing and InputError when it is not such a checkpoint.
    """
    if not path.is_file():
        raise SetupError(f"no model weights at {path}; see `omnitalk weights list`")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != FORMAT or metadata.get("version") != FORMAT_VERSION:
        raise InputError(f"{path} is not an {FORMAT} checkpoint of version {FORMAT_VERSION}")
    config = DiTConfig.from_json(metadata["config"])
    with torch.device("meta"):
        model = DualBranchDiT(config)
    weights = {
        name.removeprefix("model."): value.to(device=device, dtype=dtype)
        for name, value in tensors.items()
        if name.startswith("model.")
    }
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise InputError(f"the weights in {path} do not fit their own config: {error}") from error
    parts = {
        name.removeprefix("normalisation."): value.to(device)
        for name, value in tensors.items()
        if name.startswith("normalisation.")
    }
    return Checkpoint(
        model=model.eval().requires_grad_(False),
        normalisation=Normalisation(**parts),
        extras=json.loads(metadata["extras"]),
    )
