"""Rows on real clusters of Ray, whose nodes are processes of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ray_run
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.batch.maker import MakerSettings
from omnitalk_cli.batch.sweep import find_leftovers
from ray_nodes import Nodes, wait_for
from ray_rows import LightMaker, content, jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra ray)"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]

START_SECONDS = 90


class Cluster(Nodes):
    """Nodes, and runs over them."""

    def grow(self, **more: Any) -> int:
        number = self.start(**more)
        log = self.folder / f"node{number}.log"
        wait_for(lambda: b"Ray runtime started" in log.read_bytes(), START_SECONDS)
        return number

    def run(self, folder: Path, rows: int, *more: str) -> subprocess.Popen[str]:
        return begin(folder, rows, "--address", self.address, *more, env=self.env)


def begin(folder: Path, rows: int, *more: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ray_run.__file__, str(folder), str(rows), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True,
    )  # fmt: skip


def answer(process: subprocess.Popen[str], seconds: float = 180) -> tuple[dict[str, Any], str]:
    """What the run says: Ray must not have said anything beside it, on either stream."""
    out, err = process.communicate(timeout=seconds)
    assert "ray" not in err.lower().replace("ray cluster", ""), err
    found: dict[str, Any] = json.loads(out)  # one object and nothing else
    return found, err


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    nodes = Cluster(tmp_path)
    try:
        nodes.grow(cpus=1)
        yield nodes
    finally:
        nodes.close()


def made(folder: Path) -> int:
    return len(list(folder.glob("*.mp4")))


def begun(folder: Path) -> list[list[str]]:
    path = folder.parent / "begun.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def check_outputs(folder: Path, rows: int, *, without: int | None = None) -> None:
    """As the maker writes them without Ray; nothing half made lies beside them."""
    for number, job in enumerate(jobs(folder, rows, ref=Path("ref.mp4"))):
        if number != without:
            assert job.output.read_bytes() == content(job, MakerSettings(device="cpu"))
    assert not find_leftovers([folder])


def test_a_node_is_killed_in_the_middle(cluster: Cluster, tmp_path: Path) -> None:
    folder, rows = tmp_path / "out", 40
    second = cluster.grow(cpus=1)
    run = cluster.run(folder, rows)
    wait_for(lambda: made(folder) >= 12, START_SECONDS)
    wait_for(lambda: {node for _, _, node in begun(folder)} == {"0", "1"}, START_SECONDS)
    cluster.kill(second)
    counts, _ = answer(run)
    assert run.returncode == 0 and (counts["done"], counts["failed"]) == (rows, 0)
    check_outputs(folder, rows)
    with BatchLedger(folder) as ledger:
        results = ledger.results()
    assert [result.id for result in results] == [f"row-{number:02}" for number in range(rows)]
    assert {result.state for result in results} == {"done"}
    starts = Counter(name for name, _, _ in begun(folder))
    # One actor was on the node; its row alone was made again.
    assert set(starts) == {result.id for result in results} and sum(starts.values()) <= rows + 1
    again, err = answer(cluster.run(folder, rows))
    assert again["skipped"] == rows and "begun" not in err


def test_a_node_joins_and_a_row_kills_its_actors(cluster: Cluster, tmp_path: Path) -> None:
    folder, rows = tmp_path / "out", 60
    run = cluster.run(folder, rows, "--killer", "3")
    wait_for(lambda: made(folder) >= 1, START_SECONDS)
    cluster.start(cpus=1)
    counts, err = answer(run)
    assert (counts["done"], counts["failed"]) == (rows - 1, 1)
    check_outputs(folder, rows, without=3)
    with BatchLedger(folder) as ledger:
        (failed,) = [result for result in ledger.results() if result.state == "failed"]
    assert failed.id == "row-03" and failed.exit_code == 1
    assert "died" in failed.message and "2 times" in failed.message
    assert Counter(name for name, _, _ in begun(folder))["row-03"] == 2
    assert {node for _, _, node in begun(folder)} == {"0", "1"}, "the new node had no rows"
    assert "row-05: drawing 0 of 5" in err


def test_a_cluster_without_room(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.run(tmp_path / "a" / "out", 400)
    wait_for(lambda: made(tmp_path / "a" / "out") >= 1, START_SECONDS)
    second = cluster.run(tmp_path / "b" / "out", 2, "--patience", "8")
    found, _ = answer(second, 60)
    assert found["exit_code"] == 1
    assert "within 8 s" in found["error"] and "0 of 1 cores" in found["error"]
    third = cluster.run(tmp_path / "c" / "out", 2, "--device", "cuda")
    assert "no machine of the cluster has a GPU" in answer(third, 60)[0]["error"]
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
    assert first.returncode == 130 and not find_leftovers([tmp_path / "a" / "out"])
    # The cluster is still there, and free again.
    folder = tmp_path / "d" / "out"
    assert answer(cluster.run(folder, 2))[0]["done"] == 2


def test_a_gpu_for_each_actor(cluster: Cluster, tmp_path: Path) -> None:
    """Ray believes in the GPUs that it is told of."""
    cluster.grow(cpus=2, gpus=1)
    folder = tmp_path / "out"
    counts, _ = answer(cluster.run(folder, 4, "--device", "cuda"))
    assert counts["done"] == 4 and {node for _, _, node in begun(folder)} == {"1"}
    job = jobs(folder, 1, ref=Path("ref.mp4"))[0]
    assert job.output.read_bytes() == content(job, MakerSettings(device="cuda"))


def test_nodes_that_cannot_make_rows(cluster: Cluster, tmp_path: Path) -> None:
    found, _ = answer(cluster.run(tmp_path / "a" / "out", 2, "--maker", "BrokenMaker"))
    assert found["exit_code"] == 1 and "cannot make rows" in found["error"]
    assert "no weights here" in found["error"]
    other = tmp_path / "other" / "omnitalk_cli"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "9.9"\n')
    path = f"{other.parent}{os.pathsep}{cluster.env['PYTHONPATH']}"
    cluster.grow(cpus=1, env={"PYTHONPATH": path})
    found, _ = answer(cluster.run(tmp_path / "b" / "out", 2))
    assert found["exit_code"] == 4
    assert "has omnitalk-cli 9.9" in found["error"] and "same version" in found["error"]


def test_a_cluster_of_this_machine_ends_with_the_run(tmp_path: Path) -> None:
    mark = f"TEST_OF_OMNITALK={tmp_path}"
    env = os.environ | dict([mark.split("=")]) | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def alive() -> int:
        found = 0
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                found += mark.encode() in environment.read_bytes().split(b"\0")
            except OSError:
                continue
        return found

    folder = tmp_path / "out"
    run = begin(folder, 200, "--workers", "2", env=env)
    wait_for(lambda: made(folder) >= 4, START_SECONDS)
    assert alive() > 3
    begin_of_end = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    run.communicate(timeout=30)
    assert run.returncode == 130
    wait_for(lambda: not alive(), 10)
    assert time.monotonic() - begin_of_end < 15
    assert not find_leftovers([folder])
    with BatchLedger(folder) as ledger:
        counts = ledger.counts()
    # A file that was finished just when the run was stopped is not in the ledger; made again.
    assert counts["running"] == 0 and counts["done"] <= made(folder) <= counts["done"] + 2
    # A run that cannot tidy up takes its cluster with it, too: what makes rows goes at once,
    # helpers of Ray when they have looked for the rest for a minute.
    run = begin(folder, 200, "--workers", "2", env=env)
    before = made(folder)
    wait_for(lambda: made(folder) > before, START_SECONDS)
    run.kill()
    run.communicate(timeout=30)
    wait_for(lambda: not alive(), 150)


def test_light_rows_alone(tmp_path: Path) -> None:
    """What stands in for the real maker does what is compared with above."""
    (folder := tmp_path / "out").mkdir()
    (job,) = jobs(folder, 1, ref=tmp_path / "ref.mp4")
    maker = LightMaker(MakerSettings(device="cpu"))
    maker.make(job, progress=lambda *more: None, notes=lambda text: None)
    check_outputs(folder, 1)
