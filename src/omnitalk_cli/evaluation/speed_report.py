"""The speed of sampling in rows: as a table for people, as an object for programs."""

from __future__ import annotations

from dataclasses import asdict
from statistics import fmean
from typing import Any

import torch

from omnitalk_cli.evaluation.speed import Bench, bound, label
from omnitalk_cli.evaluation.speed_peaks import published
from omnitalk_cli.evaluation.speed_task import Task

# The case that the project's goal is stated for: under 0.5 s on such a device.
GOAL = Task(shape="base", target=10.0, reference=5.0, guidance="full")
GOAL_STEPS = 16
GOAL_DEVICE = "H200"


def goal_bound() -> dict[str, Any]:
    """The goal's case at the arithmetic peak that the maker states: no measurement."""
    peaks = published(GOAL_DEVICE, torch.bfloat16)
    assert peaks is not None
    seconds = {
        name: bound(Task(shape="base", guidance=name), GOAL_STEPS, peaks)
        for name in ("full", "joint", "none")
    }
    return {
        "what": "arithmetic, not a measurement: operations of all evaluations by the stated peak",
        "device": GOAL_DEVICE,
        "peak_flops": peaks.flops,
        "flops": seconds["full"] * peaks.flops,
        "seconds": seconds,
        "goal_seconds": 0.5,
        "share_needed": seconds["full"] / 0.5,
    }


def to_dict(made: Bench) -> dict[str, Any]:
    """JSON-able form of everything."""
    task = made.task
    return {
        "task": {
            **asdict(task), "frames": task.frames, "rows": len(task.weights.terms()),
            "parameters": made.parameters,
        },
        "device": made.device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "peaks": {name: [one.to_dict() for one in found] for name, found in made.peaks.items()},
        "settings": [{"name": label(one.setting), **one.to_dict()} for one in made.speeds],
        "vocoder": {
            name: {"seconds": seconds, "realtime": seconds / task.target}
            for name, seconds in made.vocoder.items()
        },
        "failures": made.failures,
        "bound": goal_bound(),
    }  # fmt: skip


def table(made: Bench) -> list[str]:
    """For people."""
    task = made.task
    lines = [
        f"{made.device}: {task.shape}, {made.parameters / 1e6:.0f} M parameters, {task.target:g} s "
        f"after {task.reference:g} s ({task.frames} frames), {len(task.weights.terms())} "
        "evaluations a step in one batch",
    ]
    for name, found in made.peaks.items():
        peaks = "; ".join(
            f"{one.flops / 1e12:.3g} TFLOP/s, {one.bandwidth / 1e9:.3g} GB/s ({one.source})"
            for one in found
        )
        lines.append(f"peaks {name}: {peaks}")
    lines += ["", f"{'setting':<28} {'s':>8} {'factor':>7} {'ratio':>6} {'text':>8} {'tables':>8} "
              f"{'step':>8} {'rest':>8} {'first':>7} {'arith':>6} {'bandw':>6} {'GB':>6} "
              f"{'error':>8}"]  # fmt: skip
    for one in made.speeds:
        lines.append(
            f"{label(one.setting):<28} {one.total:8.4f} {one.realtime:7.3f} {one.ratio:6.2f} "
            f"{one.text:8.4f} {one.tables:8.4f} {fmean(one.steps):8.4f} {one.rest:8.4f} "
            f"{one.first:7.1f} {one.arithmetic:6.0%} {one.bandwidth:6.0%} {one.memory / 1e9:6.2f} "
            f"{one.error:8.1e}"
        )
    lines += [f"{name:<28} failed: {why}" for name, why in made.failures.items()]
    lines += [
        f"vocoder {name}: {seconds:.3f} s, factor {seconds / task.target:.3f}"
        for name, seconds in made.vocoder.items()
    ]
    goal = goal_bound()
    lines += [
        "",
        "10 s after 5 s, 16 steps, 0.8 B, bf16, full guidance: "
        f"{goal['flops'] / 1e12:.0f} TFLOP; at the {goal['peak_flops'] / 1e12:.0f} TFLOP/s stated "
        f"for an {goal['device']} {goal['seconds']['full']:.3f} s (all weights equal: "
        f"{goal['seconds']['joint']:.3f} s). Arithmetic, not a measurement.",
    ]
    return lines
