"""The ledger of a batch with real processes: killed at any moment, and several at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import batch_worker
from omnitalk_cli.batch.ledger import BatchLedger

WORKER = Path(batch_worker.__file__)
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


def _run(folder: Path, rows: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(folder), str(rows), str(seconds)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def _begin(*processes: subprocess.Popen[str]) -> None:
    """Let them all go at the same moment, when each has opened the ledger."""
    for process in processes:
        assert process.stdout and process.stdout.readline() == "open\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def _events(folder: Path) -> list[list[str]]:
    path = folder.parent / "events.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _check_whole(folder: Path, rows: int) -> None:
    """All rows are done, each output is whole, and nothing else lies there."""
    jobs = batch_worker.jobs(folder, rows)
    with BatchLedger(folder) as ledger:
        assert ledger.counts() == {"pending": 0, "running": 0, "done": rows, "failed": 0}
        assert [result.id for result in ledger.results()] == [job.id for job in jobs]
        for job in jobs:
            claim = ledger.claim(job, f"print-{job.id}", retry_failed=False, worker="check")
            assert claim == "done"
            assert job.output.read_bytes() == batch_worker.content(job)
    expected = sorted([job.output.name for job in jobs] + ["batch.sqlite3"])
    assert sorted(path.name for path in folder.iterdir()) == expected


def _kill_often(folder: Path, kills: int, rows: int, seconds: float) -> None:
    chance = random.Random(kills)
    for _ in range(kills):
        process = _run(folder, rows, seconds)
        _begin(process)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    last = _run(folder, rows, 0)
    _begin(last)
    last.communicate(timeout=300)
    assert last.returncode == 0
    _check_whole(folder, rows)
    ended: set[str] = set()
    starts: Counter[str] = Counter()
    for what, name, _ in _events(folder):
        assert what in ("start", "end")
        if what == "start":
            assert name not in ended, f"{name} was made again after it was done"
            starts[name] += 1
        else:
            ended.add(name)
    # Only what a kill interrupted was begun again.
    assert sum(starts.values()) <= rows + kills
    with BatchLedger(folder) as ledger:
        attempts = {result.id: result.attempts for result in ledger.results()}
    assert all(attempts[name] >= starts[name] for name in attempts)


@posix
def test_killed_runs_lose_nothing(tmp_path: Path) -> None:
    _kill_often(tmp_path / "out", kills=6, rows=100, seconds=0.004)


@posix
@pytest.mark.slow
def test_fifty_killed_runs_lose_nothing(tmp_path: Path) -> None:
    _kill_often(tmp_path / "out", kills=50, rows=800, seconds=0.004)


@pytest.mark.parametrize("runs", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_runs_at_once_share_the_rows(tmp_path: Path, runs: int) -> None:
    folder, rows = tmp_path / "out", 200
    processes = [_run(folder, rows, 0.002) for _ in range(runs)]
    _begin(*processes)
    for process in processes:
        process.communicate(timeout=300)
    assert [process.returncode for process in processes] == [0] * runs
    _check_whole(folder, rows)
    events = _events(folder)
    assert Counter(what for what, _, _ in events) == {"start": rows, "end": rows}
    assert len({name for _, name, _ in events}) == rows
    assert len({pid for _, _, pid in events}) > 1, "one of them did everything"


@posix
def test_a_run_takes_over_from_a_killed_one_beside_it(tmp_path: Path) -> None:
    """Two runs at once, one killed: the other ends with everything done, without waiting long."""
    folder = tmp_path / "out"
    first, second = _run(folder, 80, 0.01), _run(folder, 80, 0.01)
    _begin(first, second)
    while sum(what == "end" for what, _, _ in _events(folder)) < 20:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    begin = time.monotonic()
    second.communicate(timeout=300)
    assert second.returncode == 0 and time.monotonic() - begin < 50  # no lease was waited for
    _check_whole(folder, 80)
    assert all(what != "lost" for what, _, _ in _events(folder))
