"""How long a large table takes to read and to check, and the memory that it needs.

``python -m omnitalk_cli.evaluation.job_tables --rows 100000 --kind plain``. The table is made
for it, in a temporary folder, with small stand-ins for the clips.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.job_table import check_table
from omnitalk_cli.batch.table import read_rows

HEADER = ("id", "ref", "text", "lang", "steps", "cfg-video", "seed", "fps", "visible_mark")
CLIPS = 20


def _plain(index: int) -> tuple[Any, ...]:
    text = f"Welcome to lesson {index}. Today we look at how it works.\nSee you."
    return f"row-{index}", f"{index % CLIPS}.mp4", text, "en", 8, 1.5, index, 25, "Made with AI"


def _chinese(index: int) -> tuple[Any, ...]:
    text = f"第{index}课：今天我们去{{银行|yin2 hang2}}。[pause 0.5] 再见，Café！"
    return f"课-{index}", f"{index % CLIPS}.mp4", text, "auto", "", "", "", "", ""


def _clips(index: int) -> tuple[Any, ...]:
    return f"row-{index}", f"own/{index}.mp4", "Hello there.", "", "", "", "", "", ""


def _broken(index: int) -> tuple[Any, ...]:
    return f"row-{index % 9}", f"gone/{index}.mp4", "[pause x]", "de", index, "", "no", 1, ""


# How the rows of each kind are made: as usual, Chinese, each with its own clip, each with faults.
KINDS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "plain": _plain, "chinese": _chinese, "clips": _clips, "broken": _broken,
}  # fmt: skip


def measure(rows: int, kind: str, folder: Path) -> dict[str, Any]:
    """Seconds of processor time for one table of ``rows`` rows, made in ``folder``."""
    import resource

    from omnitalk_cli.cli.batch_columns import batch_columns, refused_columns

    table = _make(rows, kind, folder)
    before = time.process_time()
    count = sum(1 for _ in read_rows(table))
    read = time.process_time() - before
    reading = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = time.process_time()
    checked = check_table(
        read_rows(table),
        columns=batch_columns(folder),
        refused=refused_columns(),
        defaults={"lang": "auto"},
        out_dir=folder / "out",
        base=folder,
    )
    return {
        "kind": kind, "rows": count, "jobs": len(checked.jobs), "problems": len(checked.problems),
        "read_seconds": round(read, 2), "peak_mib_reading": reading // 1024,
        "check_seconds": round(time.process_time() - before, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def _make(rows: int, kind: str, folder: Path) -> Path:
    (folder / "own").mkdir()
    for name in _needed(rows, kind):
        (folder / name).write_bytes(b"clip")
    table = folder / "jobs.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(map(KINDS[kind], range(rows)))
    return table


def _needed(rows: int, kind: str) -> Iterator[str]:
    if kind == "clips":
        yield from (f"own/{index}.mp4" for index in range(rows))
    else:
        yield from (f"{index}.mp4" for index in range(CLIPS))


def main() -> None:
    """Prints the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kind", choices=KINDS, default="plain")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(chosen.rows, chosen.kind, Path(folder))))


if __name__ == "__main__":
    main()
