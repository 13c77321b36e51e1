"""The store finds weights, reads their heads without loading them and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.weights import store


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small file in the place of ``tiny``; the vocoder is missing."""
    tensors = {"a": np.zeros((3, 4), np.float16), "b": np.zeros(5, np.float32)}
    metadata = {"format": "omnitalk-dit", "config": json.dumps({"width": 256}), "note": "x: y"}
    save_file(tensors, tmp_path / "tiny.safetensors", metadata=metadata)
    monkeypatch.setattr(store, "embedded_folders", lambda: (tmp_path / "none", tmp_path))
    return tmp_path


def test_header_is_read_without_the_tensors(weights: Path) -> None:
    header = store.read_header(weights / "tiny.safetensors")
    assert header.shapes == {"a": (3, 4), "b": (5,)}
    assert header.parameters == 17 and header.dtypes == ("F16", "F32")
    assert header.facts["config"] == {"width": 256} and header.facts["note"] == "x: y"


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x04\0\0\0\0\0\0\0null"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a safetensors file"):
        store.read_header(path)


def test_weights_are_found_by_name_and_by_path(weights: Path) -> None:
    path = weights / "tiny.safetensors"
    assert store.find_weights("tiny") == path
    assert store.find_weights(path) == store.find_weights(str(path)) == path


def test_missing_weights_say_what_to_do(weights: Path) -> None:
    with pytest.raises(SetupError, match="vocoder.*install the omnitalk-cli wheel"):
        store.find_weights("vocoder")
    with pytest.raises(SetupError, match="f5-tts.*1.35 GB, CC-BY-NC-4.0.*weights pull f5-tts"):
        store.find_weights("f5-tts")
    with pytest.raises(SetupError, match="weights list"):
        store.find_weights("huge")


def test_list_tells_what_is_installed(weights: Path) -> None:
    answer = json.loads(CliRunner().invoke(app, ["weights", "list", "--json"]).stdout)
    tiny, *others = answer["weights"]
    assert tiny["installed"] and tiny["parameters"] == 17
    assert tiny["sha256"] == store.sha256(weights / "tiny.safetensors")
    assert tiny["bytes"] == (weights / "tiny.safetensors").stat().st_size
    embedded = {entry["name"] for entry in others if entry["embedded"]}
    assert embedded == {"pronunciation", "pitch", "vocoder"}
    assert not any(entry["installed"] or entry["path"] for entry in others)
    table = CliRunner().invoke(app, ["weights", "list"]).stdout
    assert "-> install the omnitalk-cli wheel" in table and tiny["sha256"][:12] in table


def test_embedded_folders_are_those_of_wheel_and_checkout() -> None:
    package, checkout = store.embedded_folders()
    assert package.parts[-2:] == ("omnitalk_cli", "embedded")
    assert checkout.name == "weights" and (checkout.parent / "pyproject.toml").exists()
