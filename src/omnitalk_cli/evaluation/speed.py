"""How fast the network samples: settings side by side, stage by stage, against what is possible.

``omnitalk bench synth`` prints it. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from omnitalk_cli.dit.flow import State
from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.evaluation import speed_costs as costs
from omnitalk_cli.evaluation.speed_peaks import Peaks, measured, published
from omnitalk_cli.evaluation.speed_task import DTYPES, Setting, Task
from omnitalk_cli.evaluation.speed_timing import (
    Timed,
    in_dtype,
    random_network,
    timed,
    vocoder_seconds,
)
from omnitalk_cli.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How one setting did. Seconds are medians: ``total`` of a sampling, ``text`` and ``tables``
    before its steps, ``steps`` of each evaluation, ``rest`` guidance and solver. ``first`` is the
    first sampling, with compiling and recording. ``arithmetic`` and ``bandwidth`` are the shares of
    the device's measured peaks that ``total`` reaches, ``floor`` the least seconds at them, and
    ``published_arithmetic`` the share of the stated peak. ``error`` is the relative difference of
    the result from that of the first setting with the same steps, ``memory`` the peak in bytes."""

    setting: Setting
    total: float
    text: float
    tables: float
    steps: tuple[float, ...]
    rest: float
    first: float
    realtime: float
    ratio: float
    flops: float
    moved: float
    floor: float
    arithmetic: float
    bandwidth: float
    published_arithmetic: float | None
    memory: int
    error: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All settings of a task on ``device``; ``peaks`` by number format, ``vocoder`` in seconds."""

    task: Task
    device: str
    parameters: int
    speeds: tuple[Speed, ...]
    peaks: dict[str, list[Peaks]]
    vocoder: dict[str, float]
    failures: dict[str, str]


def bench(
    task: Task,
    settings: Sequence[Setting],
    *,
    device: str,
    cache: Path | None = None,
    vocoders: Sequence[str] = (),
    progress: Progress = silent,
) -> Bench:
    """Times ``settings`` one after the other; one that fails is told and the others go on."""
    place = torch.device(device)
    if place.type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)  # whose clock is read
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"
    peaks: dict[str, list[Peaks]] = {}
    made: list[Speed] = []
    failures: dict[str, str] = {}
    results: dict[int, State] = {}
    network = random_network(task.config, place)
    count = sum(parameter.numel() for parameter in network.parameters())
    for number, setting in enumerate(settings):
        progress("bench", number, len(settings))
        dtype = DTYPES[setting.dtype]
        if setting.dtype not in peaks:
            stated = published(name, dtype)
            peaks[setting.dtype] = [measured(place, dtype)] + ([stated] if stated else [])
        try:
            # From fp32 each time: rounding twice would not be what a user gets.
            runner = setting.runner(cache)
            one = timed(in_dtype(network, dtype), task, setting, place, runner)
        except (RuntimeError, ValueError) as error:
            failures[label(setting)] = " ".join(str(error).split())[:300]
            continue
        finally:
            if place.type == "cuda":
                torch.cuda.empty_cache()
        base = results.setdefault(setting.steps, one.result)
        first = made[0].total if made else one.total
        made.append(_speed(one, task, setting, peaks[setting.dtype], first, base))
    progress("bench", len(settings), len(settings))
    sound: dict[str, float] = {}
    for voice in vocoders:
        try:
            sound[voice] = vocoder_seconds(voice, task, place)
        except (RuntimeError, OmnitalkError) as error:  # what was timed before must not be lost
            failures[f"vocoder {voice}"] = " ".join(str(error).split())[:300]
    return Bench(
        task=task,
        device=name,
        parameters=count,
        speeds=tuple(made),
        peaks=peaks,
        vocoder=sound,
        failures=failures,
    )


def label(setting: Setting) -> str:
    """A short name for a setting."""
    attention = "" if setting.attention == "auto" else f" {setting.attention}"
    return f"{setting.way}{attention} {setting.dtype} {setting.steps}"


def bound(task: Task, steps: int, peaks: Peaks) -> float:
    """Arithmetic only: the least seconds of all evaluations at the ``peaks``' operations."""
    return _cost(task, steps, tables=True).flops / peaks.flops


def _cost(task: Task, steps: int, *, tables: bool) -> costs.Cost:
    """Of a whole sampling."""
    total = costs.Cost()
    for problem in task.problems(steps):
        total += costs.sampling(task.config, problem, tables=tables)
    return total


def _speed(
    one: Timed,
    task: Task,
    setting: Setting,
    peaks: Sequence[Peaks],
    first: float,
    base: State,
) -> Speed:
    tables = setting.way != "plain"
    cost = _cost(task, setting.steps, tables=tables)
    size = torch.finfo(DTYPES[setting.dtype]).bits // 8
    here = peaks[0]
    stated = peaks[1] if len(peaks) > 1 else None
    pairs = list(zip(one.result, base, strict=True))
    error = sum(float((x - y).norm()) for x, y in pairs) / sum(float(y.norm()) for _, y in pairs)
    return Speed(
        setting=setting,
        total=one.total,
        text=one.text,
        tables=one.tables,
        steps=one.steps,
        rest=max(0.0, one.total - one.text - one.tables - sum(one.steps)),
        first=one.first,
        realtime=one.total / task.target,
        ratio=one.total / first,
        flops=cost.flops,
        moved=cost.values * size,
        floor=cost.seconds(flops=here.flops, bandwidth=here.bandwidth, size=size),
        arithmetic=cost.flops / here.flops / one.total,
        bandwidth=cost.values * size / here.bandwidth / one.total,
        published_arithmetic=None if stated is None else cost.flops / stated.flops / one.total,
        memory=one.memory,
        error=error,
    )
