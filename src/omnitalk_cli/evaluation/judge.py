"""A small listener: character error rate of speech from its mel, without any download.

A convolutional network with CTC (Graves 2006) that is trained on the same corpus as the speech
model (``training.judge``). It hears synthetic voices better than speech recognisers that were
made for people; its figures compare models of this project and mean nothing beyond.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from omnitalk_cli.errors import SetupError
from omnitalk_cli.types import MEL_BINS, Float

FORMAT = "omnitalk-judge/1"
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"  # id 0 is CTC's blank, then these


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Size of the listener; ``mel_mean`` and ``mel_scale`` normalise its input."""

    width: int = 224
    layers: int = 8
    kernel: int = 11
    expansion: int = 2
    dropout: float = 0.05
    mel_mean: float = -5.0
    mel_scale: float = 2.5

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.expansion) < 1 or self.kernel % 2 == 0:
            raise ValueError(f"sizes must be positive and the kernel odd: {self}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> JudgeConfig:
        """Config from its JSON form. Raises ValueError on unknown keys."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown judge settings: {', '.join(sorted(unknown))}")
        return cls(**values)


class ConvBlock(nn.Module):
    """Residual block: depthwise convolution over time, then a two-layer perceptron."""

    def __init__(self, config: JudgeConfig, dilation: int) -> None:
        super().__init__()
        width, inner = config.width, config.width * config.expansion
        reach = dilation * (config.kernel // 2)
        self.time = nn.Conv1d(
            width, width, config.kernel, padding=reach, dilation=dilation, groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B,T,D] to [B,T,D]."""
        y = self.norm(self.time(x.transpose(1, 2)).transpose(1, 2))
        return x + self.dropout(self.outer(nn.functional.silu(self.inner(y))))


class Judge(nn.Module):
    """Characters from mel; frames are halved at the entrance (46.9 per second)."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        self.entrance = nn.Conv1d(MEL_BINS, config.width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            ConvBlock(config, dilation=(1, 1, 2, 2)[layer % 4]) for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.exit = nn.Linear(config.width, len(CHARACTERS) + 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel [B,T,100] to logits [B, (T+1)//2, 29]; 0 is the blank."""
        x = (mel - self.config.mel_mean) / self.config.mel_scale
        x = nn.functional.silu(self.entrance(x.transpose(1, 2))).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.exit(self.norm(x))

    @torch.inference_mode()
    def transcribe(self, mel: Float | Tensor) -> str:
        """What is heard in a log-mel [T,100]: greedy decoding, letters and spaces."""
        frames = torch.as_tensor(np.asarray(mel, dtype=np.float32))
        if frames.ndim != 2 or frames.shape[-1] != MEL_BINS or not len(frames):
            raise ValueError(f"mel must be [T, {MEL_BINS}], not {list(frames.shape)}")
        logits = self(frames[None].to(self.exit.weight.device))
        return greedy(logits[0].argmax(-1).tolist())

    @classmethod
    def load(cls, path: Path, *, device: str | torch.device = "cpu") -> Judge:
        """Judge from its safetensors file. Raises SetupError when it is missing or unfit."""
        if not path.is_file():
            raise SetupError(f"judge weights not found: {path}; train them or name their place")
        try:
            with safe_open(str(path), framework="pt") as file:
                header = file.metadata() or {}
                state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            if header.get("format") != FORMAT:
                raise ValueError(f"format is {header.get('format')!r}, not {FORMAT!r}")
            judge = cls(JudgeConfig.from_dict(json.loads(header["config"])))
            judge.load_state_dict(state)
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise SetupError(f"{path} is no usable judge ({reason})") from error
        return judge.to(device).eval().requires_grad_(False)

    def save(self, path: Path, *, metadata: dict[str, str] | None = None) -> None:
        """Write the weights as float16, whole or not at all, with the config in the metadata."""
        state = {
            name: value.detach().to("cpu", torch.float16).contiguous()
            for name, value in self.state_dict().items()
        }
        header = {**(metadata or {}), "format": FORMAT, "config": json.dumps(asdict(self.config))}
        part = path.with_name(path.name + ".part")
        save_file(state, str(part), metadata=header)
        part.replace(path)


def greedy(ids: Sequence[int]) -> str:
    """CTC's best path: repetitions merged, blanks dropped, spaces tidied."""
    kept = [i for i, before in zip(ids, [0, *ids[:-1]], strict=True) if i and i != before]
    return " ".join("".join(CHARACTERS[i - 1] for i in kept).split())


def normalise(text: str) -> str:
    """Text as the judge writes it: lower case, accents folded, all else than letters a space."""
    folded = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss").replace("’", "'"))
    folded = "".join(c for c in folded if not unicodedata.combining(c))
    return " ".join("".join(c if c in CHARACTERS else " " for c in folded).split())


def encode(text: str) -> list[int]:
    """Ids of ``normalise(text)``."""
    return [CHARACTERS.index(c) + 1 for c in normalise(text)]


def edit_distance(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Levenshtein distance."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def character_error_rate(hypothesis: str, reference: str) -> float:
    """Edits per character of the reference, both normalised; may exceed 1.

    Raises ValueError when the reference holds no letter.
    """
    expected = normalise(reference)
    if not expected:
        raise ValueError("the reference text holds no letter")
    return edit_distance(normalise(hypothesis), expected) / len(expected)
