"""Tensors of a checkpoint file, whichever way they are stored; code in it is never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import Tensor

from omnitalk_cli.errors import InputError

_TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a ``.pt``/``.pth``/``.bin``/``.ckpt`` file that
    holds nothing but tensors and plain values (``torch.load(weights_only=True)``).

    Names of nested dictionaries are joined by dots: ``ema_model_state_dict.ema_model.…``. Raises
    InputError for another ending, and for a file that is missing, damaged or holds code.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *_TORCH_SUFFIXES):
        raise InputError(f"{path}: weights end in .safetensors, .pt, .pth, .bin or .ckpt")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return _safetensors(path) if suffix == ".safetensors" else _torch(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        if reason := _pointer(path):
            raise InputError(f"{path}: is not a safetensors file ({reason})") from error
        raise InputError(f"{path}: is not a readable safetensors file ({error})") from error


def _torch(path: Path) -> dict[str, Tensor]:
    import torch

    if reason := _no_checkpoint(path):
        raise InputError(f"{path}: is not a torch checkpoint ({reason})")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, which could run code; it is not loaded. "
            "Use a safetensors file of these weights"
        ) from error
    except Exception as error:  # a damaged file makes torch's reader raise nearly anything
        told = (str(error).splitlines() or ["it ends too early"])[0][:160]
        raise InputError(f"{path}: is not a readable torch checkpoint ({told})") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds no table of tensors")
    return dict(_flat(content, ""))


def _no_checkpoint(path: Path) -> str:
    """Why the file cannot be one, by how it begins: what is no pickle must not be told to hold
    code."""
    with path.open("rb") as file:
        head = file.read(2)
    if not head:
        return "it is empty"
    if head == b"PK" or head[0] == 0x80:  # a zip archive; a pickle
        return ""
    return _pointer(path) or "it is neither a zip archive nor a pickle"


def _pointer(path: Path) -> str:
    """What is fetched of a repository with large files when git does it without its extension."""
    with path.open("rb") as file:
        is_one = file.read(42) == b"version https://git-lfs.github.com/spec/v1"
    return "it is only Git LFS' pointer to the file; fetch the file itself" if is_one else ""


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _flat(content: Mapping[Any, Any], prefix: str) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for key, value in content.items():
        if isinstance(value, Tensor):
            found.append((f"{prefix}{key}", value))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
    return found
