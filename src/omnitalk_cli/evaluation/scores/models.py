"""Models from outside that some scores need: where a user puts them, and how they are run.

Each has a folder ``eval-…`` beside other weights (``weights.store.weights_folder``). ONNX and
TorchScript files carry their own computation; nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import SetupError
from omnitalk_cli.weights import store

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A model's place: ``folder`` below the weights folder, the ``files`` of which one is looked
    for, what it is (``about``) and its input and output (``form``)."""

    folder: str
    files: tuple[str, ...]
    about: str
    form: str

    @property
    def place(self) -> Path:
        """The folder where the model is looked for."""
        return store.weights_folder() / self.folder

    def find(self) -> Path | None:
        """The model's file, None when there is none."""
        return next((self.place / name for name in self.files if (self.place / name).is_file()),
                    None)  # fmt: skip

    @property
    def model(self) -> str:
        """What measured a score: anybody may put any file here, so its hash says which it was."""
        path = self.find()
        return self.about if path is None else f"{self.about}, {path.name} {_digest(path)}"

    def how(self) -> str:
        """How to get it, for a score that is not measured."""
        return f"put {self.about} as {' or '.join(self.files)} into {self.place}"


@functools.cache
def _digest(path: Path) -> str:
    return store.sha256(path)[:12]


_RUNNABLE = ("model.onnx", "model.ts")

SPEAKER = Slot(
    folder="eval-sim",
    files=_RUNNABLE,
    about="WavLM-large speaker verification (UniSpeech)",
    form="float32 [1,S] mono at 16 kHz, −1…1, to [1,D]",
)
FACE = Slot(
    folder="eval-csim",
    files=_RUNNABLE,
    about="ArcFace (InsightFace, e.g. w600k_r50)",
    form="float32 [B,3,112,112] aligned RGB, (x − 127.5) / 127.5, to [B,D]",
)
VIDEO = Slot(
    folder="eval-fvd",
    files=_RUNNABLE,
    about="I3D (Kinetics-400)",
    form="float32 [1,3,16,224,224] RGB, −1…1, to [1,D]",
)
SYNC = Slot(
    folder="eval-sync",
    files=("syncnet_v2.safetensors",),
    about="SyncNet (syncnet_v2, its state dict stored as safetensors)",
    form="the published tensors by their names",
)
JUDGE = Slot(
    folder="eval-judge",
    files=("judge.safetensors",),
    about="this project's judge of letters (python -m omnitalk_cli.training.judge)",
    form="made by training.judge",
)
SLOTS = (SPEAKER, FACE, VIDEO, SYNC, JUDGE)


def run_file(path: Path) -> Network:
    """An ONNX or TorchScript model as a function of one array; runs on the CPU.

    Raises SetupError when the file cannot be loaded; the function raises it when the model refuses
    its input or gives anything but one array of numbers first.
    """
    try:
        raw = _onnx(path) if path.suffix == ".onnx" else _torchscript(path)
    except Exception as error:  # either library raises types of its own
        raise SetupError(
            f"{path}: cannot be loaded ({_line(error)}); see docs/evaluation.md"
        ) from (error)

    def network(values: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found = np.asarray(raw(np.ascontiguousarray(values, np.float32)), np.float32)
        except Exception as error:
            raise SetupError(f"{path}: does not take {list(values.shape)} ({_line(error)})") from (
                error
            )
        if found.ndim < 1 or not np.isfinite(found).all():
            raise SetupError(f"{path}: gives values that are not finite")
        return found

    return network


def _onnx(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]


def _torchscript(path: Path) -> Callable[[Any], Any]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the format stays in use for I3D
        module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]

    def run(values: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(values)).numpy()

    return run


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
