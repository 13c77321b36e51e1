"""A network to begin with: from nothing, from a checkpoint, or with the sound of F5-TTS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from omnitalk_cli.dit.checkpoint import Checkpoint, Normalisation, load_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.weights.store import read_header


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The network, what it inherited (in words, "" nothing), and the normalisation that its
    weights expect, where they expect one: of the sound alone, or of ``codes``, too."""

    network: DualBranchDiT
    inherited: str = ""
    normalisation: Normalisation | None = None
    codes: bool = False


def fresh(config: DiTConfig, seed: int) -> DualBranchDiT:
    """A network with random weights: those of F5-TTS' recipe. Every block is the identity and the
    output is zero, because AdaLN's gates and the last layer begin at zero."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    network = DualBranchDiT(config)
    torch.random.set_rng_state(state)
    return network


def from_checkpoint(config: DiTConfig, seed: int, path: Path) -> Beginning:
    """Begins with whatever of a checkpoint's weights fits. Raises InputError when nothing does."""
    checkpoint = load_checkpoint(path, device="cpu", dtype=torch.float32)
    network = fresh(config, seed)
    count = _take(network, checkpoint, lambda name: True)
    if not count:
        raise InputError(f"{path}: shares no weight with this network")
    total = len(network.state_dict())
    return Beginning(
        network=network,
        inherited=f"{count} of {total} tensors of {path.name}",
        normalisation=checkpoint.normalisation,
        codes=True,
    )


def with_audio(config: DiTConfig, seed: int, path: Path) -> Beginning:
    """Begins with the audio stream of a checkpoint: its ends, its text encoder and its blocks.

    Blocks that the checkpoint does not have stay the identity, and the visual stream is new. So
    the audio branch alone computes what the checkpoint's does. Raises InputError when a tensor of
    the checkpoint's audio stream has no place in this network.
    """
    checkpoint = load_checkpoint(path, device="cpu", dtype=torch.float32)
    mel = checkpoint.extras.get("mel", "vocos")
    if mel != "vocos":
        raise InputError(f"{path}: speaks in {mel}'s mel; clips are in that of vocos")
    network = fresh(config, seed)
    own = network.state_dict()
    found = checkpoint.model.state_dict()
    audio = [name for name in found if _is_audio(name)]
    for name in audio:
        given = tuple(found[name].shape)
        if name not in own or tuple(own[name].shape) != given:
            have = tuple(own[name].shape) if name in own else "none"
            raise InputError(
                f"{path}: its {name} is {given}, this network's {have}; the audio stream must have "
                "the same shape and vocabulary (--vocab)"
            )
    count = _take(network, checkpoint, _is_audio)
    if not any(name.startswith("fusion.") for name in audio):
        raise InputError(f"{path}: has no blocks of an audio stream")
    return Beginning(
        network=network,
        inherited=f"the audio stream of {path.name}, {count} tensors",
        normalisation=checkpoint.normalisation,
    )


def vocabulary_of(path: Path) -> tuple[str, ...] | None:
    """The tokens of F5-TTS' vocabulary inside a checkpoint, None when it carries none."""
    extras = _metadata(path, "extras")
    tokens = extras.get("tokens")
    return tuple(tokens) if extras.get("vocabulary") == "f5" and tokens else None


def audio_habits(path: Path) -> dict[str, Any]:
    """Settings of a checkpoint's audio stream that its tensors do not show, by their name in
    ``DiTConfig``."""
    config = _metadata(path, "config")
    return {name: config[name] for name in ("text_mask_padding", "rotary_heads") if name in config}


def _metadata(path: Path, key: str) -> dict[str, Any]:
    try:
        found = json.loads(read_header(path).metadata[key])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: is not an omnitalk checkpoint") from error
    return found if isinstance(found, dict) else {}


def _is_audio(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in ("text", "audio") or (parts[0] == "fusion" and parts[2] == "audio")


def _take(network: DualBranchDiT, checkpoint: Checkpoint, wanted: Callable[[str], bool]) -> int:
    own = network.state_dict()
    found = {
        name: value
        for name, value in checkpoint.model.state_dict().items()
        if wanted(name) and name in own and own[name].shape == value.shape
    }
    network.load_state_dict(found, strict=False)
    return len(found)
