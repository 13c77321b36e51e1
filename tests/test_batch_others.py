"""The ledger of a batch: what other runs hold, living and dead, and what the dead left."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batch_rows import ask, done, make_job, result
from omnitalk_cli.batch import holders as batch_holders
from omnitalk_cli.batch.claims import Claim
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.media.files import part_path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and limits")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def on_another_machine(ledger: BatchLedger) -> None:
    """Make the run look as if it were elsewhere: its process cannot be looked at."""
    with ledger._store.writing() as database:
        database.execute(
            "UPDATE holders SET host = 'elsewhere', name = 'elsewhere' WHERE token = ?",
            (ledger._presence.token,),
        )


def silence(ledger: BatchLedger) -> None:
    """No sign of life any more, as after a loss of power."""
    ledger._presence._ended.set()


def test_living_runs_keep_their_rows(out: Path) -> None:
    job, other = make_job(out, "a"), make_job(out, "b", output="a.mp4")
    with BatchLedger(out) as first, BatchLedger(out) as second:
        assert ask(first, job) == "run"
        assert ask(second, job) == "taken"
        assert ask(second, other) == "taken", "the same output by another name"
        assert f"process {os.getpid()} on " in second.taken_by(["a", "b"])["a"]
        assert first.taken_by() == {} and second.taken_by(["b"]) == {}
        begin = time.monotonic()
        assert second.wait_for_taken(["a"], seconds=0.1) == []
        assert time.monotonic() - begin < 5
        job.output.write_bytes(b"video")
        assert first.finish(done(job))
        assert second.wait_for_taken(["a"], seconds=5) == ["a"]
        assert ask(second, job) == "done"
        assert ask(second, other) == "failed", "that file belongs to row a"


def test_a_lease_ends_by_the_watchers_clock(out: Path) -> None:
    job = make_job(out)
    clock = Clock()
    with BatchLedger(out) as far, BatchLedger(out, clock=clock) as near:
        assert ask(far, job) == "run"
        silence(far)
        on_another_machine(far)
        assert ask(near, job) == "taken", "just begun: nothing is known of the other yet"
        clock.now += batch_holders.LEASE_SECONDS - 1
        assert ask(near, job) == "taken"
        far._presence.beat()
        on_another_machine(far)
        clock.now += 2
        assert ask(near, job) == "taken", "a sign of life begins the lease anew"
        clock.now += batch_holders.LEASE_SECONDS + 1
        assert near.wait_for_taken(["a"], seconds=0) == ["a"]
        assert ask(near, job) == "run"
        # The other one wakes up: nothing of it counts any more.
        assert not far.holds(job)
        far_job = dataclasses.replace(job)
        far_job.output.write_bytes(b"late")
        assert not far.finish(done(far_job))
        assert result(near).state == "running" and near.holds(job)
        assert ask(far, make_job(out, "b")) == "run", "it may go on with other rows"
        assert near.taken_by(["b"]) != {}


def process_is(monkeypatch: pytest.MonkeyPatch, started: str | None) -> None:
    monkeypatch.setattr(batch_holders, "process_start", lambda pid: started)


@pytest.mark.parametrize(
    ("started", "claim"),
    [("12345", "run"), ("", "run"), (None, "taken")],
    ids=["reused process id", "no such process", "cannot be told"],
)
def test_rows_of_dead_processes_are_free_at_once(
    out: Path, monkeypatch: pytest.MonkeyPatch, started: str | None, claim: Claim
) -> None:
    job = make_job(out)
    with BatchLedger(out) as dead:
        assert ask(dead, job) == "run"
        silence(dead)
        with BatchLedger(out) as living:
            process_is(monkeypatch, started)
            assert ask(living, job) == claim
            monkeypatch.undo()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_are_known_by_their_start() -> None:
    start = batch_holders.process_start
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert start(child.pid) and start(child.pid) == start(child.pid) != start(os.getpid())
        child.kill()
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is None:
            pass
        assert start(child.pid) == "", "killed, and not waited for yet"
    finally:
        child.kill()
        child.communicate()
    assert start(child.pid) == "" and start(2**31) == ""


@posix
def test_a_stopped_process_keeps_its_rows(out: Path) -> None:
    """On the same machine no lease ends while the process exists, however long it is stopped."""
    job = make_job(out)
    clock = Clock()
    with BatchLedger(out) as stopped, BatchLedger(out, clock=clock) as other:
        assert ask(stopped, job) == "run"
        silence(stopped)
        assert ask(other, job) == "taken"
        clock.now += 1e6
        assert ask(other, job) == "taken"


def test_only_leftovers_of_the_dead_are_swept(out: Path) -> None:
    names = ("dead", "living", "mine", "never", "sub")
    jobs = {name: make_job(out, name) for name in names}
    jobs["sub"] = make_job(out, "sub", output=f"deep/{'long name ' * 25}.mp4")
    jobs["sub"].output.parent.mkdir(parents=True)
    with BatchLedger(out) as living, BatchLedger(out) as ledger:
        ledger.enter(jobs.values())
        assert ask(living, jobs["living"]) == "run"
        assert ask(ledger, jobs["mine"]) == "run"
        parts = {name: part_path(job.output) for name, job in jobs.items()}
        parts["captions"] = part_path(out / "living.srt")
        parts["foreign"] = part_path(out / "something.mp4")
        parts["old foreign"] = part_path(out / "else.mp4")
        others = [out / ".hidden", out / "living.part", out / ".x.0123.part"]
        for path in (*parts.values(), *others):
            path.write_bytes(b"half")
        os.utime(parts["old foreign"], (1, 1))
        removed = {parts[name] for name in ("dead", "never", "sub", "old foreign")}
        assert set(ledger.sweep()) == removed
        assert not any(path.exists() for path in removed)
        kept = {parts[name] for name in ("living", "mine", "captions", "foreign")}
        assert all(path.exists() for path in (*kept, *others))
    with BatchLedger(out) as ledger:
        assert set(ledger.sweep()) == kept - {parts["foreign"]}
