"""Which device and number format to compute with."""

from __future__ import annotations

import torch

from omnitalk_cli.errors import SetupError, UsageError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str) -> str:
    """``auto`` is CUDA where there is one, else the CPU. Raises SetupError for one that is not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError(f"no CUDA device for --device {name}; use --device cpu")
    if name.startswith("cuda:") and int(name[5:]) >= (count := torch.cuda.device_count()):
        raise SetupError(f"no --device {name} here: the last of {count} is cuda:{count - 1}")
    if name == "mps" and not torch.backends.mps.is_available():
        raise SetupError("no Metal device for --device mps; use --device cpu")
    return name


def choose_dtype(name: str, device: str) -> torch.dtype:
    """``auto`` is bfloat16 on CUDA, else float32. Raises UsageError for an unknown format."""
    if name == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    if name not in _DTYPES:
        raise UsageError(f"--dtype {name}: use auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]
