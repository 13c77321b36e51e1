"""Everything that only a GPU can tell, in under eight minutes and one JSON file.

``python -m omnitalk_cli.evaluation.gpu_session -o gpu.json [--features FILE…] [--minutes 8]``.
Each part is a command of its own, so that one which fails or hangs spoils no other; the most
important ones come first, and the file is whole after each. Features are made by ``omnitalk
extract``, for the pictures per second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LEAST_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A command that prints one JSON object, and how long it may take."""

    name: str
    seconds: float
    words: tuple[str, ...]


def parts(features: Sequence[Path], device: str) -> list[Part]:
    """What is measured, the most important first."""

    def synth(name: str, seconds: float, *words: str) -> Part:
        command = ("-m", "omnitalk_cli", "bench", "synth", "--device", device, "--json", "-q")
        return Part(name=name, seconds=seconds, words=(*command, *words))

    def parity(name: str, seconds: float, ways: str) -> Part:
        words = ("-m", "omnitalk_cli.evaluation.device_parity", "--device", device, "--ways", ways)
        return Part(name=name, seconds=seconds, words=words)

    # What must be compiled first is apart: nobody knows how long a new machine takes for it.
    compiled = "compiled,graphs,graphs-padded"
    found = [
        synth("goal", 60, "--ways", "plain,tables"),
        synth("goal-compiled", 150, "--ways", f"tables,{compiled}"),
        parity("parity", 45, "plain,tables"),
        parity("parity-compiled", 150, compiled),
        synth("attention", 60, "--ways", "tables", "--attention", "auto,flash,cudnn,efficient"),
        synth("formats", 70, "--ways", "tables", "--dtypes", "float32,float16,bfloat16",
              "--runs", "1", "--vocoder", "vocoder,source"),
        synth("joint", 60, "--guidance", "joint", "--ways", "plain,tables,compiled,graphs",
              "--steps", "16,7"),
        synth("short", 60, "--guidance", "joint", "--ways", "plain,tables,compiled,graphs",
              "--target", "2", "--reference", "3"),
        synth("f5", 60, "--shape", "f5", "--guidance", "joint",
              "--ways", "plain,tables,compiled,graphs"),
        synth("embedded", 60, "--shape", "tiny", "--guidance", "joint", "--steps", "6",
              "--dtypes", "float32", "--ways", "plain,tables,compiled,graphs"),
    ]  # fmt: skip
    if features:
        files = (str(path) for path in features)
        words = ("-m", "omnitalk_cli", "bench", "render", *files, "--renderer", "mesh-torch",
                 "--device", device, "--json", "-q")  # fmt: skip
        found.insert(3, Part(name="render", seconds=100, words=words))
    return found


def run(
    chosen: Sequence[Part], output: Path, *, minutes: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Runs the parts until the time is used up; ``output`` is written after each, and ``tell``
    hears how it ended."""
    end = time.monotonic() + 60 * minutes
    made: dict[str, Any] = {}
    for part in chosen:
        left = min(part.seconds, end - time.monotonic())
        begun = time.monotonic()
        made[part.name] = (
            {"failure": "no time was left"} if left < _LEAST_SECONDS else _answer(part, left)
        )
        made[part.name]["took"] = round(time.monotonic() - begun, 1)
        temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(made, indent=1))
        os.replace(temporary, output)
        tell(f"{part.name}: {made[part.name].get('failure', 'done')}")
    return made


def _answer(part: Part, seconds: float) -> dict[str, Any]:
    """What the part prints, or why it does not."""
    try:
        done = subprocess.run(
            [sys.executable, *part.words], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"took more than {seconds:.0f} s"}
    try:
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
    except (ValueError, AssertionError):
        return {"failure": f"exit code {done.returncode}: {done.stderr[-600:]}"}
    return answer | {"exit_code": done.returncode}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--features", type=Path, nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    made = run(
        parts(given.features, given.device), given.output, minutes=given.minutes,
        tell=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    return int(any("failure" in one for one in made.values()))


if __name__ == "__main__":
    sys.exit(main())
