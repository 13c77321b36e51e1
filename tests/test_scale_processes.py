"""Two processes under torchrun: equal to one, going on exactly, also after SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clip_corpus import SHAPE, log_rows, make_corpus, stirred_checkpoint
from omnitalk_cli.training.scale.state import states

pytestmark = pytest.mark.slow
LIMIT = 300


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a network to begin with and its shape."""
    folder = tmp_path_factory.mktemp("room")
    make_corpus(folder / "corpus")
    stirred_checkpoint(folder / "start.safetensors")
    (folder / "shape.json").write_text(json.dumps(SHAPE))
    return folder


def command(room: Path, out: str, processes: int, *more: str) -> list[str]:
    runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [
        "-m", "omnitalk_cli", "train", "corpus", "-o", out, "--preset", "base", "--shape",
        "shape.json", "--init", "start.safetensors", "--train-steps", "12", "--frames", "640",
        "--learning-rate", "0.003", "--warmup-steps", "2", "--log-every", "1", "--heldout-every",
        "0", "--generate-every", "0", "--device", "cpu", "--readers", "1",
    ]  # fmt: skip
    return [sys.executable, *(runner if processes > 1 else []), *words, *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(room: Path, out: str, processes: int, *more: str) -> str:
    done = subprocess.run(
        command(room, out, processes, *more), cwd=room, env=environment(), timeout=LIMIT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def children(pid: int) -> list[int]:
    """Processes below ``pid``, nearest first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


@pytest.fixture(scope="module")
def alone(room: Path) -> list[dict[str, float]]:
    train(room, "alone", 1, "--accumulate", "2")
    return log_rows(room / "alone")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_equal_one(room: Path, alone: list[dict[str, float]], parallel: str) -> None:
    out = train(room, parallel, 2, "--parallel", parallel, "--checkpoint-activations", "--json")
    assert json.loads(out)["processes"] == 2  # and one result, not two
    together = log_rows(room / parallel)
    assert len(alone) == len(together) == 12
    # It learns, so that a wrong gradient would show in the loss; a wrong size of it does below.
    assert alone[0]["total"] - alone[-1]["total"] > 0.02
    for a, b in zip(alone, together, strict=True):
        assert all(abs(a[name] - b[name]) < 1e-5 for name in a), (a, b)
        assert abs(a["gradient"] / b["gradient"] - 1) < 1e-4


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_go_on_exactly_after_sigkill(room: Path, parallel: str) -> None:
    more = ("--parallel", parallel, "--train-steps", "60")
    train(room, f"whole-{parallel}", 2, *more)
    out = f"killed-{parallel}"
    process = subprocess.Popen(
        command(room, out, 2, *more, "--checkpoint-minutes", "0"), cwd=room, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + LIMIT
    while len(states(room / out)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in children(process.pid):
        os.kill(pid, signal.SIGKILL)
    assert process.wait(timeout=LIMIT) != 0
    reached = int(states(room / out)[0].stem.removeprefix("state-"))
    assert 3 <= reached < 60
    train(room, out, 2, *more)
    whole, parts = (load_file(states(room / name)[0]) for name in (f"whole-{parallel}", out))
    assert whole.keys() == parts.keys() and len(whole) > 100
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert log_rows(room / f"whole-{parallel}") == log_rows(room / out)


def test_a_run_may_go_on_with_other_processes_and_the_other_engine(
    room: Path, alone: list[dict[str, float]]
) -> None:
    train(room, "moved", 2, "--parallel", "fsdp", "--checkpoint-minutes", "0", "--keep", "99")
    for late in states(room / "moved")[:7]:
        late.unlink()
    assert states(room / "moved")[0].name == "state-000000005.safetensors"
    train(room, "moved", 1, "--accumulate", "2")
    for a, b in zip(alone, log_rows(room / "moved"), strict=True):
        assert abs(a["total"] - b["total"]) < 1e-5


_ONE_FAILS = """
import os
from omnitalk_cli.cli.app import main
from omnitalk_cli.training.scale.trainer import ScaleTrainer
update = ScaleTrainer._update
def failing(self, portion, targets):
    if self.world.rank == 1 and self.tally.step == 2:
        raise MemoryError
    update(self, portion, targets)
ScaleTrainer._update = failing
main()
"""


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_that_fails_ends_the_run(room: Path, parallel: str) -> None:
    (room / "one_fails.py").write_text(_ONE_FAILS)
    words = command(room, f"failed-{parallel}", 2, "--parallel", parallel)
    first = words.index("omnitalk_cli") - 1
    words[first : first + 2] = ["one_fails.py"]
    done = subprocess.run(
        words, cwd=room, env=environment(), timeout=LIMIT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "error: not enough memory" in done.stderr
    assert [row["step"] for row in map(json.loads, (
        room / f"failed-{parallel}" / "log.jsonl"
    ).read_text().splitlines())] == [1, 2]  # fmt: skip


def test_sigterm_keeps_the_run(room: Path) -> None:
    more = ("--train-steps", "5000")
    process = subprocess.Popen(
        command(room, "asked", 2, *more), cwd=room, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = room / "asked" / "log.jsonl"
    deadline = time.monotonic() + LIMIT
    while not log.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode != 0 and "the same command goes on" in said
    reached = int(states(room / "asked")[0].stem.removeprefix("state-"))
    assert reached == json.loads(log.read_text().splitlines()[-1])["step"] > 0
