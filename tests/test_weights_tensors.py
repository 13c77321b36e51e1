"""Files that are no checkpoints: each is refused for the reason that it has."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.weights.importers.tensors import read_tensors

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("exit 1",))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pt", b"", "is not a torch checkpoint .it is empty"),
        ("a.pt", b"<!DOCTYPE html><html>", "neither a zip archive nor a pickle"),
        ("a.bin", b"hello", "neither a zip archive nor a pickle"),
        ("a.bin", POINTER, "only Git LFS' pointer to the file; fetch the file itself"),
        ("a.safetensors", POINTER, "only Git LFS' pointer"),
        ("a.safetensors", b"", "is not a readable safetensors file"),
        ("a.pt", b"PK\3\4 cut off", "is not a readable torch checkpoint"),
        ("a.pt", b"\x80", "is not a readable torch checkpoint .*[a-z]"),
        ("a.pt", pickle.dumps({"a": Evil()}, protocol=2), "could run code"),
        ("a.npz", b"PK", "weights end in"),
    ],
)
def test_files_without_tensors_are_told(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_checkpoints_end_in_one_line(tmp_path: Path, zipped: bool) -> None:
    """Cut off anywhere, or with a byte flipped: an InputError, or tensors all the same."""
    path = tmp_path / "a.pt"
    torch.save({"w": torch.arange(8.0)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    spoilt = [whole[:end] for end in range(1, len(whole), 17)]
    for at in range(0, len(whole), 7):
        spoilt.append(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
    for content in spoilt:
        path.write_bytes(content)
        try:
            read_tensors(path)
        except InputError as error:
            assert "\n" not in str(error) and not str(error).endswith("()")
