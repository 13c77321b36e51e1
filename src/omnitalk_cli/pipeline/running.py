"""How a network is run: as it is, or with compiled blocks where that pays."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Literal, get_args

from omnitalk_cli.dit.accelerate import GRAPH_BUCKET, Accelerated, Runner
from omnitalk_cli.errors import SetupError, UsageError
from omnitalk_cli.pipeline.settings import cache_folder

Compile = Literal["auto", "on", "off", "graphs"]
COMPILE: tuple[Compile, ...] = get_args(Compile)

# Compiling takes half a minute the first time and seconds later; a tenth of a second is gained per
# ten seconds of speech.
_PAYS_FROM_SECONDS = 600.0


def settle_compile(choice: Compile, *, device: str, seconds: float, many: bool) -> Compile:
    """``choice``, with ``auto`` settled: compiled on CUDA for ``seconds`` of speech that are long
    enough, or where ``many`` videos are made by one process; never on a CPU, where it was measured
    to gain a tenth at most.

    Raises UsageError for graphs without CUDA, SetupError for compiling without a compiler.
    """
    if choice not in COMPILE:
        raise UsageError(f"--compile {choice}: use one of {', '.join(COMPILE)}")
    cuda = device.startswith("cuda")
    if choice == "auto":
        pays = cuda and (many or seconds >= _PAYS_FROM_SECONDS) and _missing(cuda=True) is None
        return "on" if pays else "off"
    if choice == "graphs" and not cuda:
        raise UsageError("--compile graphs needs CUDA; use on or off")
    missing = None if choice == "off" else _missing(cuda=cuda)
    if missing is not None:
        raise SetupError(f"--compile {choice} needs {missing}, which is not here; use off")
    return choice


def make_runner(choice: Compile) -> Runner:
    """The runner of a settled ``choice``; what it compiles is kept in the cache folder."""
    if choice == "off":
        return Runner()
    graphs = choice == "graphs"
    return Accelerated(
        graphs=graphs, bucket=GRAPH_BUCKET if graphs else 1, cache=cache_folder() / "compiled"
    )


def _missing(*, cuda: bool) -> str | None:
    """What compiling lacks here."""
    if cuda:
        return None if find_spec("triton") else "Triton"
    return None if shutil.which("g++") or shutil.which("clang++") else "a C++ compiler (g++)"
