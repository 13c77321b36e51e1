"""Models that are prompted, loaded: F5-TTS and the paper's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.checkpoint import Normalisation, load_checkpoint
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.speech.mel import MelKind
from omnitalk_cli.text.spelling import Spelling, spelling_of
from omnitalk_cli.weights import store


@dataclass(frozen=True, kw_only=True)
class PromptedModel:
    """A loaded model with its vocabulary; ``mel`` is the kind of log-mel that it speaks in, and
    ``runner`` runs its network."""

    network: DualBranchDiT
    normalisation: Normalisation
    spelling: Spelling
    languages: tuple[str, ...]
    mel: MelKind
    name: str
    sha256: str
    runner: Runner = field(default_factory=Runner)

    @property
    def moves(self) -> bool:
        """Whether it makes the motion, too."""
        return not self.network.config.audio_only


def load_prompted(path: Path, *, name: str, device: str, dtype: torch.dtype) -> PromptedModel:
    """Loads a converted F5-TTS or a model of the paper's kind.

    Raises SetupError when weights or device are missing, InputError when the file is something
    else.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError("no CUDA device here; use --device cpu, or see `omnitalk doctor`")
    checkpoint = load_checkpoint(path, device=device, dtype=dtype)
    extras, config = checkpoint.extras, checkpoint.model.config
    try:
        spelling = spelling_of(extras.get("vocabulary", ""), tuple(extras.get("tokens", ())))
    except ValueError as error:
        raise InputError(f"{path}: is not a model that is prompted ({error})") from error
    if config.text_layout != "filler" or config.patch != 1:
        raise InputError(f"{path}: is not a model that takes text as filler tokens")
    return PromptedModel(
        network=checkpoint.model,
        normalisation=checkpoint.normalisation,
        spelling=spelling,
        languages=tuple(extras["languages"]),
        mel=extras.get("mel", "vocos"),
        name=name,
        sha256=store.sha256(path),
    )
