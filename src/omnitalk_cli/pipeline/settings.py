"""What commands check and decide before any work: ranges, places, seeds, names, the plan.

Nothing here imports a network or a video library, so that mistakes are told in a tenth of a second.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitalk_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from omnitalk_cli.types import Script

APPLICATION = "omnitalk"
PERFORMANCE_SUFFIX = ".performance.safetensors"

# Lowest and highest value of every numeric option, by its name.
RANGES: dict[str, tuple[float, float]] = {
    "ref_start": (0, 86_400),
    "ref_seconds": (1, 10),
    "face": (0, 99),
    "steps": (1, 256),
    "cfg_text": (0, 20),
    "cfg_audio": (0, 20),
    "cfg_video": (0, 20),
    "cfg_face": (0, 20),
    "seed": (0, 2**32 - 1),
    "speed": (0.5, 2),
    "duration": (0.2, 36_000),
    "fps": (24, 60),
    "size": (256, 1024),
    "crf": (0, 51),
    "visible_size": (0.025, 0.12),
    "visible_opacity": (0.7, 1),
    "head_motion": (0, 3),
    "expression": (0, 3),
    "gaze": (0, 3),
    "blink_rate": (0, 3),
    "look_at_camera": (0, 1),
    "workers": (1, 256),
}

# Characters per second of unhurried speech, for the plan only; the model has its own estimate.
_SPEAKING_RATE = {"en": 14.5, "zh": 4.3}
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def cache_folder() -> Path:
    """Where extracted features are kept: $OMNITALK_CACHE_DIR, else the platform's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("OMNITALK_CACHE_DIR")
    return Path(chosen) if chosen else user_cache_path(APPLICATION, appauthor=False)


def config_file() -> Path:
    """Where the user's own option file would be."""
    from platformdirs import user_config_path

    return user_config_path(APPLICATION, appauthor=False) / "omnitalk.toml"


def choose_seed(seed: int | None) -> int:
    """``seed``, or one that is drawn."""
    from random import SystemRandom

    return SystemRandom().randrange(2**31) if seed is None else seed


def check_device(name: str) -> str:
    """``name`` when it has the form of a device. Raises UsageError otherwise."""
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"--device {name}: give auto, cpu, cuda, cuda:N or mps")
    return name


def parse_interval(text: str) -> tuple[float, float]:
    """``LOW:HIGH`` within 0…1 as two numbers. Raises UsageError for anything else."""
    low, colon, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        colon = ""
    if not colon or not 0.0 <= found[0] <= found[1] <= 1.0:
        raise UsageError(f"--cfg-interval {text}: give LOW:HIGH within 0 to 1, such as 0.1:0.8")
    return found


def check_interval(text: str | None) -> str | None:
    """``text`` when ``parse_interval`` reads it. Raises UsageError otherwise."""
    if text is not None:
        parse_interval(text)
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'steps'?"`` when something in ``known`` is like ``name``, else ""."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0].replace('_', '-')!r}?" if close else ""


def check_input(path: Path, what: str) -> Path:
    """``path`` when it is a readable file with something in it. Raises InputError otherwise."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is not a file; {what} is needed")
        with path.open("rb", buffering=0) as file:
            if not file.read(1):
                raise InputError(f"{path}: is empty; {what} is needed")
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # Value: no path at all
        raise InputError(f"{path}: no such file; {what} is needed") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    return path


def check_output(
    path: Path, *, suffixes: tuple[str, ...], overwrite: bool, inputs: tuple[Path, ...] = ()
) -> Path:
    """``path`` when the work may write it at the end; its folder need not exist yet.

    Raises UsageError for another suffix than ``suffixes``, an existing file without ``overwrite``
    or a path that is also an input; WorkError when the place refuses files.
    """
    from omnitalk_cli.media.files import check_writable

    if not path.name.lower().endswith(suffixes):
        raise UsageError(f"{path}: the output's name must end in {' or '.join(suffixes)}")
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise UsageError(f"{path}: is also an input; give the output another name")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    check_writable(path if folder == path.parent else folder / path.name, overwrite=overwrite)
    return path


def make_folder(path: Path) -> None:
    """Makes the folder that ``path`` will lie in. Raises UsageError when that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path.parent}: this folder cannot be made ({(error.strerror or '').lower()})"
        ) from error


def default_output(reference: Path, script: Path | None, suffix: str) -> Path:
    """The output's name in the current folder: ``<reference>-<script><suffix>``."""
    return Path(f"{plain_name(reference)}-{plain_name(script) if script else 'talk'}{suffix}")


def plain_name(path: Path) -> str:
    """The name without folders and endings, e.g. ``a`` for ``x/a.performance.safetensors``."""
    shorter = path.name.removesuffix(PERFORMANCE_SUFFIX)
    return shorter if shorter != path.name else path.stem


def estimate_seconds(script: Script, *, speed: float | None, duration: float | None) -> float:
    """About how long the performance of ``script`` will be."""
    if duration is not None:
        return duration
    rate = _SPEAKING_RATE.get(script.language, _SPEAKING_RATE["en"]) * (speed or 1.0)
    return sum(len(part.text) / rate + part.pause_after for part in script.segments)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command would do, as ``--dry-run`` tells it. ``options`` are those that were given."""

    reference: Path
    script: str
    language: str
    segments: int
    model: str
    seed: int
    estimated_seconds: float
    output: Path
    options: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "dry_run": True, "reference": str(self.reference), "script": self.script,
            "language": self.language, "segments": self.segments, "model": self.model,
            "seed": self.seed, "estimated_seconds": round(self.estimated_seconds, 1),
            "output": str(self.output), "options": self.options,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The plan in words."""
        given = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return [
            f"reference  {self.reference}",
            f"script     {self.script} ({self.language}, {self.segments} segments)",
            f"model      {self.model}",
            f"seed       {self.seed}",
            f"speech     about {self.estimated_seconds:.1f} s",
            f"options    {given or 'all by default'}",
            f"output     {self.output}",
        ]
