"""A catalogue of tiny weights, importers for them, and the hub that has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub_server import Hub
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError
from omnitalk_cli.weights import catalog, store
from omnitalk_cli.weights.importers.registry import IMPORTERS, Importer
from omnitalk_cli.weights.pull import chosen, pull

VOICE = bytes(range(256)) * 160  # 40 960 bytes: ten pieces of the stand-in server
VOCAB = b"a\nb\nc\n"
FREE = b"free weights " * 50
MOVING = b"moving weights " * 50
FACE = b"a face " * 100


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


def convert(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """The importer of these tests: the bytes backwards, and the companions' names beside them."""
    if main.read_bytes().startswith(b"broken"):
        raise InputError(f"{main}: is broken")
    target.write_bytes(main.read_bytes()[::-1])
    target.with_name("companions.txt").write_text(",".join(sorted(companions)))


def convert_tensors(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """Tensors of any checkpoint file as safetensors."""
    from safetensors.torch import save_file

    from omnitalk_cli.weights.importers.tensors import read_tensors

    save_file(read_tensors(main), target)


def new_hub() -> Hub:
    """The repositories of the sample catalogue."""
    return Hub(
        files={
            "lab/voice": {"v1/voice.bin": VOICE, "v1/vocab.txt": VOCAB},
            "lab/free": {"free.bin": FREE},
            "lab/moving": {"moving.bin": MOVING, "config.json": b"{}"},
        },
        large={"v1/voice.bin", "free.bin", "moving.bin"},
    )


def toml(hub: Hub) -> str:
    """The sample catalogue: voice (non-commercial), free, moving (main), face (a url)."""
    return f"""
[licences.Free]
allows = "any use"
non_commercial = false
[licences.NC-1]
allows = "no commercial use"
non_commercial = true

[[embedded]]
name = "tiny"
main = "tiny.safetensors"
job = "model"
about = "embedded"
licence = "Free"

[[public]]
name = "voice"
repository = "lab/voice"
revision = "{hub.commit}"
licence = "NC-1"
job = "model"
about = "a voice"
importer = "sample"
main = "model.bin"
files = [
    {{ name = "v1/voice.bin", size = {len(VOICE)}, sha256 = "{sha256(VOICE)}" }},
    {{ name = "v1/vocab.txt" }},
]

[[public]]
name = "free"
repository = "lab/free"
revision = "{hub.commit}"
licence = "Free"
job = "vocoder"
about = "free for all"
importer = "sample"
main = "model.bin"
files = [{{ name = "free.bin" }}]

[[public]]
name = "moving"
repository = "lab/moving"
revision = "main"
licence = "Free"
job = "asr"
about = "not pinned"
importer = "sample"
main = "model.bin"
files = [{{ name = "moving.bin" }}, {{ name = "config.json" }}]

[[public]]
name = "face"
url = "{hub.url}/cdn/lab/face"
licence = "Free"
job = "tracker"
about = "off the hub"
importer = "sample"
main = "face.task"
files = [{{ name = "face.task", size = {len(FACE)}, sha256 = "{sha256(FACE)}" }}]

[[profile]]
name = "voice"
about = "two of them"
members = ["voice", "free"]
"""


def use(hub: Hub, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Points omnitalk at the sample catalogue, at ``hub`` and at weights in ``folder``/weights."""
    hub.files.setdefault("lab/face", {"face.task": FACE})
    (folder / "catalog.toml").write_text(toml(hub))
    patch.setitem(IMPORTERS, "sample", Importer(function="weights_samples:convert"))
    patch.setitem(IMPORTERS, "tensors", Importer(function="weights_samples:convert_tensors"))
    patch.setattr(catalog, "resource_files", lambda package: folder)
    patch.setattr("omnitalk_cli.weights.store.embedded_folders", lambda: (folder,))
    patch.setattr("omnitalk_cli.weights.download.PAUSE", 0.001)
    patch.setenv("OMNITALK_WEIGHTS_DIR", str(folder / "weights"))
    patch.setenv("HF_ENDPOINT", hub.url)
    patch.setenv("HF_HOME", str(folder / "hf"))
    patch.setenv("NO_PROXY", "*")
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        patch.delenv(name, raising=False)
    catalog.catalog.cache_clear()


NC = ("NC-1",)


def get(*names: str, **options: Any) -> Path:
    """Pulls and returns the file of the first."""
    options.setdefault("accepted", NC)
    pull(chosen(names, ()), **options)
    return store.find_weights(names[0])


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["weights", *words])


def left() -> set[str]:
    """What lies in the weights' folder, staging without its locks included."""
    folder = store.weights_folder()
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
