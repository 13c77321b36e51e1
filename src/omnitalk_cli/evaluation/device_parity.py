"""Whether a device samples what the CPU samples: small random networks, in every way of running.

``python -m omnitalk_cli.evaluation.device_parity --device cuda`` prints one JSON object and ends
with 1 when a way is over its bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

import torch

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import State
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.evaluation.speed_task import DTYPES, Setting, Task
from omnitalk_cli.evaluation.speed_timing import in_dtype, random_network, timed

# Relative difference of the sampled state from that of the CPU in fp32.
BOUNDS = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
_SMALL: dict[str, Any] = {
    "vocabulary_size": 60, "dim": 64, "heads": 1, "fusion_depth": 3, "text_dim": 32,
    "position_groups": 16,
}  # fmt: skip
SMALL = {
    "embedded": DiTConfig.tiny(**(_SMALL | {"visual_dim": 32, "single_depth": 1})),
    "paper": DiTConfig.base(**(_SMALL | {"visual_dim": 64, "single_depth": 1})),
    "F5-TTS": DiTConfig.base(**(_SMALL | {"audio_only": True, "single_depth": 0})),
}


def parity(device: str, ways: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row for each network, way and number format."""
    rows = []
    for name, config in SMALL.items():
        task = Task(shape="f5" if config.audio_only else "base", target=0.7, reference=0.5, runs=1)
        task = replace(task, own_config=config)
        network = random_network(config, torch.device("cpu"), std=0.1)
        plain = Setting(way="plain", dtype="float32", steps=5)
        expected = _sampled(network, task, plain, "cpu")
        for dtype in BOUNDS:
            there = in_dtype(network, DTYPES[dtype]).to(device)
            for way in ways:
                row: dict[str, Any] = {"network": name, "way": way, "dtype": dtype}
                try:
                    setting = Setting(way=way, dtype=dtype, steps=5)  # type: ignore[arg-type]
                    row["error"] = _difference(_sampled(there, task, setting, device), expected)
                    row["passed"] = row["error"] <= BOUNDS[dtype]
                except (RuntimeError, ValueError) as error:
                    row |= {"passed": False, "failure": " ".join(str(error).split())[:300]}
                rows.append(row)
            network = network.to("cpu")
    return rows


def _sampled(network: DualBranchDiT, task: Task, setting: Setting, device: str) -> State:
    return timed(network, task, setting, torch.device(device), setting.runner(None)).result


def _difference(found: State, expected: State) -> float:
    pairs = list(zip(found, expected, strict=True))
    off = sum(float((x.cpu() - y.cpu()).norm()) for x, y in pairs)
    return off / sum(float(y.norm()) for _, y in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ways", default="plain,tables,compiled,graphs,graphs-padded")
    given = parser.parse_args()
    rows = parity(given.device, tuple(given.ways.split(",")))
    print(json.dumps({"bounds": BOUNDS, "rows": rows}))
    return int(not all(row["passed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
