"""Files of vocoder networks: safetensors with the format's name and the config as metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from omnitalk_cli.errors import SetupError

Network = TypeVar("Network", bound=nn.Module)


def load_network(
    path: Path,
    *,
    format: str,
    build: Callable[[dict[str, Any]], Network],
    constants: Sequence[str] = (),
) -> tuple[Network, dict[str, str]]:
    """The network that ``build`` makes of the file's config, with the file's weights in float32,
    and the rest of the metadata.

    In evaluation mode, without gradients, on the CPU. ``constants`` are entries of its state that
    files may lack. Raises SetupError when the file is
    missing, has another ``format`` or does not fit its config (ValueError from ``build``).
    """
    if not path.is_file():
        raise SetupError(f"vocoder weights not found: {path}; see `omnitalk weights list`")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if header.get("format") != format:
            raise ValueError(f"format is {header.get('format')!r}, not {format!r}")
        model = build(json.loads(header["config"]))
        for name in constants:
            state.setdefault(name, model.state_dict()[name])
        # Taken over as they are: what a large network begins with is never filled in.
        model.load_state_dict(state, assign=True)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise SetupError(f"{path} is no usable vocoder ({reason}); install it again") from error
    metadata = {key: value for key, value in header.items() if key != "config"}
    return model.eval().requires_grad_(False), metadata


def save_network(
    model: nn.Module,
    path: Path,
    *,
    format: str,
    config: dict[str, Any],
    constants: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write ``model`` whole or not at all, weights as ``dtype``, config in the metadata."""
    state = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
        if name not in constants
    }
    header = {**(metadata or {}), "format": format, "config": json.dumps(config)}
    part = path.with_name(path.name + ".part")
    try:
        save_file(state, str(part), metadata=header)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
