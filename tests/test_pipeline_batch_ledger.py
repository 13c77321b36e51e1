"""The ledger of a batch: what is skipped, what is made again, and what is left alone."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.media.files import part_path
from omnitalk_cli.pipeline import batch_holders
from omnitalk_cli.pipeline.batch_claims import Claim
from omnitalk_cli.pipeline.batch_ledger import BatchLedger
from omnitalk_cli.pipeline.batch_reader import LEDGER_FILE, BatchReader
from omnitalk_cli.pipeline.jobs import Job, JobResult

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and limits")


def make_job(folder: Path, name: str = "a", line: int = 2, output: str = "") -> Job:
    return Job(
        id=name, line=line, ref=Path("clip.mp4"), text="hello",
        output=folder / (output or f"{name}.mp4"), options={"seed": 7},
    )  # fmt: skip


def done(job: Job, **more: object) -> JobResult:
    return JobResult(id=job.id, line=job.line, state="done", **more)  # type: ignore[arg-type]


def ask(ledger: BatchLedger, job: Job, fingerprint: str = "f", **more: bool) -> Claim:
    settings = {"retry_failed": False} | more
    return ledger.claim(job, fingerprint, worker="w", **settings)  # type: ignore[arg-type]


def make(ledger: BatchLedger, job: Job, fingerprint: str = "f", content: bytes = b"video") -> None:
    assert ask(ledger, job, fingerprint) == "run"
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_bytes(content)
    assert ledger.finish(done(job))


def result(ledger: BatchReader, name: str = "a") -> JobResult:
    (found,) = ledger.results([name])
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_row_is_made_once_and_recorded(out: Path) -> None:
    job = make_job(out)
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "run"
        running = result(ledger)
        assert (running.state, running.attempts, running.seed) == ("running", 1, 7)
        assert ledger.holds(job)
        job.output.write_bytes(b"video")
        timings = {"synthesis": 1.5}
        ended = done(job, mark_id="cafe", seconds=2.5, timings=timings, output=str(job.output))
        assert ledger.finish(ended)
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "done"
        found = result(ledger)
        assert found.output == "a.mp4" and found.output_bytes == 5 and found.worker == "w"
        assert found.mark_id == "cafe" and found.seconds == 2.5 and found.timings == timings
        assert found.started <= found.finished and found.started.endswith("+00:00")
        assert len(found.output_sha256) == 64 and found.fingerprint == "f"
        assert ledger.counts() == {"pending": 0, "running": 0, "done": 1, "failed": 0}


@pytest.mark.parametrize("fresh", [False, True])
def test_what_changed_is_made_again(out: Path, fresh: bool) -> None:
    """The same in the run that made it, and in a later one with its quick answers."""
    jobs = [make_job(out, name) for name in ("same", "gone", "longer", "other", "touched", "print")]
    with BatchLedger(out) as ledger:
        for job in jobs:
            make(ledger, job)
        files = {job.id: job.output for job in jobs}
        files["gone"].unlink()
        files["longer"].write_bytes(b"video and more")
        files["other"].write_bytes(b"VIDEO")
        os.utime(files["other"], ns=(1, 1))
        os.utime(files["touched"], ns=(1, 1))
        if fresh:
            ledger.close()
            ledger = BatchLedger(out)
        claims = {job.id: ask(ledger, job, "g" if job.id == "print" else "f") for job in jobs}
        assert claims == {
            "same": "done", "touched": "done",
            "gone": "run", "longer": "run", "other": "run", "print": "run",
        }  # fmt: skip
        ledger.close()


def test_a_touched_output_is_read_only_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(out)
    with BatchLedger(out) as ledger:
        make(ledger, job)
    os.utime(job.output, ns=(1, 1))
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "done"
    monkeypatch.setattr("omnitalk_cli.weights.store.sha256", lambda path: pytest.fail("read"))
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "done"


def test_failures_wait_for_retry(out: Path) -> None:
    job = make_job(out)
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "run"
        assert ledger.fail(job, "clip.mp4: no face \udcff", 3)
        assert ask(ledger, job, retry_failed=True) == "failed", "no run tries a row twice"
    with BatchLedger(out) as ledger:
        found = result(ledger)
        assert (found.state, found.exit_code) == ("failed", 3) and "no face" in found.message
        assert ask(ledger, job) == "failed"
        assert ask(ledger, job, "other inputs") == "run"
        assert ledger.fail(job, "again", 3)
    with BatchLedger(out) as ledger:
        assert ask(ledger, job, "other inputs", retry_failed=True) == "run"
        assert (result(ledger).attempts, result(ledger).message) == (3, "")


def test_files_of_others_are_kept(out: Path) -> None:
    job = make_job(out)
    out.mkdir()
    job.output.write_bytes(b"precious")
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "failed"
        refused = result(ledger)
        assert refused.exit_code == 2 and "--overwrite" in refused.message
        assert str(job.output) in refused.message and "\n" not in refused.message
        assert refused.attempts == 0
    job.output.rename(out / "kept.mp4")
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "run", "the file is gone, so nothing is in the way"
        assert ledger.fail(job, "no", 1)
        job.output.write_bytes(b"precious again")
        assert ask(ledger, job, "g") == "failed", "a failed row leaves nothing that is its own"
        assert ask(ledger, job, "g", overwrite=True) == "run"


def test_an_output_that_was_not_recorded_any_more_is_replaced(out: Path) -> None:
    """Killed between the renaming of the output and the entry in the ledger."""
    job = make_job(out)
    ledger = BatchLedger(out)
    assert ask(ledger, job) == "run"
    job.output.write_bytes(b"complete")
    ledger.close()
    with BatchLedger(out) as ledger:
        assert ask(ledger, job) == "run"


def test_another_name_is_another_output(out: Path) -> None:
    with BatchLedger(out) as ledger:
        make(ledger, make_job(out))
        make(ledger, make_job(out, output="en/a.mp4"))
        assert result(ledger).output == "en/a.mp4"
        # Back again: that file is not the one of the last entry.
        assert ask(ledger, make_job(out)) == "failed"


def test_the_folder_may_be_moved(out: Path) -> None:
    with BatchLedger(out) as ledger:
        make(ledger, make_job(out))
    moved = out.rename(out.with_name("moved"))
    with BatchLedger(moved) as ledger:
        assert ask(ledger, make_job(moved)) == "done"
    outside = make_job(moved, "b", output=str(moved.parent / "b.mp4"))
    with BatchLedger(moved) as ledger:
        make(ledger, outside)
        assert result(ledger, "b").output == str(moved.parent / "b.mp4")
        assert ask(ledger, outside) == "done"


def test_without_fingerprint_nothing_is_skipped(out: Path) -> None:
    job = make_job(out)
    with BatchLedger(out) as ledger:
        make(ledger, job, "")
        assert ask(ledger, job, "") == "run"


def test_interrupted_rows_are_pending(out: Path) -> None:
    first, second = make_job(out, "a"), make_job(out, "b")
    with BatchLedger(out) as ledger:
        assert [ask(ledger, job) for job in (first, second)] == ["run", "run"]
        assert ledger.release(first)
        assert result(ledger, "a").state == "pending"
        assert ask(ledger, first) == "run"
    with BatchLedger(out) as ledger:
        assert ledger.counts()["pending"] == 2
        assert result(ledger, "a").attempts == 2


def test_results_follow_the_table(out: Path) -> None:
    names = [f"r{number:04}" for number in range(1200)]
    jobs = [make_job(out, name, line) for line, name in enumerate(names)]
    with BatchLedger(out) as ledger:
        ledger.enter(jobs)
        make(ledger, jobs[3])
        assert [found.id for found in ledger.results()] == names
        turned = [dataclasses.replace(job, line=5000 - job.line) for job in jobs]
        ledger.enter(turned)
        assert [found.id for found in ledger.results()] == names[::-1]
        assert result(ledger, "r0003").state == "done" and result(ledger, "r0003").line == 4997
        assert [found.id for found in ledger.results(["r0001", "r0002", "x"])] == ["r0002", "r0001"]
        assert ledger.counts(names[:10])["done"] == 1
        assert ask(ledger, dataclasses.replace(jobs[3], line=9999)) == "done"
        assert result(ledger, "r0003").line == 9999


def test_wrong_use_is_noticed(out: Path) -> None:
    job = make_job(out)
    with BatchLedger(out) as ledger:
        with pytest.raises(KeyError):
            ledger.finish(done(job))
        assert ask(ledger, job) == "run"
        with pytest.raises(ValueError, match="pending"):
            ledger.finish(JobResult(id="a", line=2, state="pending"))
        with pytest.raises(WorkError, match=r"a\.mp4.*gone"):
            ledger.finish(done(job))
        assert ledger.fail(job, "the file is gone", 1), "it is still held after that error"


def test_threads_share_a_ledger(out: Path) -> None:
    jobs = [make_job(out, f"r{number}", number) for number in range(40)]
    claims: list[Claim] = []

    def work(ledger: BatchLedger) -> None:
        for job in jobs:
            claims.append(claim := ask(ledger, job))
            if claim == "run":
                job.output.write_bytes(b"video")
                assert ledger.finish(done(job))

    with BatchLedger(out) as ledger:
        threads = [threading.Thread(target=work, args=(ledger,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert claims.count("run") == 40 and len(claims) == 160 and "failed" not in claims
        assert ledger.counts()["done"] == 40


# --- other runs ----------------------------------------------------------------------------------


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


# --- leftovers -----------------------------------------------------------------------------------


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


# --- files that cannot be used -------------------------------------------------------------------


def one_line(error: pytest.ExceptionInfo[Exception], path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def test_damaged_and_foreign_files_are_refused(out: Path) -> None:
    path = out / LEDGER_FILE
    out.mkdir()
    for content in (b"not a database " * 1000, b"SQLite format 3\0" + b"\xff" * 5000):
        path.write_bytes(content)
        with pytest.raises(SetupError, match="damaged") as error:
            BatchLedger(out)
        one_line(error, path)
        assert path.read_bytes() == content
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE letters (text)")
    with pytest.raises(SetupError, match="another program") as error:
        BatchLedger(out)
    one_line(error, path)
    path.unlink()
    BatchLedger(out).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(SetupError, match="newer version") as error:
        BatchLedger(out)
    one_line(error, path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SetupError, match="cannot be written") as error:
        BatchLedger(out)
    one_line(error, path)


def test_an_empty_file_is_a_new_ledger(out: Path) -> None:
    """Killed before the first byte was written."""
    out.mkdir()
    (out / LEDGER_FILE).touch()
    with BatchLedger(out) as ledger:
        assert ask(ledger, make_job(out)) == "run"


@pytest.mark.parametrize("damage", ["cut", "holes"])
def test_damage_inside_is_found_before_the_work(out: Path, damage: str) -> None:
    with BatchLedger(out) as ledger:
        ledger.enter(make_job(out, f"r{number}", number) for number in range(2000))
    path = out / LEDGER_FILE
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xaa" * 20_000
    path.write_bytes(content)
    with pytest.raises(SetupError, match="damaged") as error, BatchLedger(out) as ledger:
        ask(ledger, make_job(out))
    one_line(error, path)


def test_a_full_disk_loses_nothing(out: Path) -> None:
    jobs = [make_job(out, f"r{number}", number) for number in range(3000)]
    with BatchLedger(out) as ledger:
        make(ledger, jobs[0])
        with ledger._store.reading() as database:
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(WorkError, match="disk full") as error:
            ledger.enter(jobs)
        one_line(error, out / LEDGER_FILE)
        assert ledger.counts()["done"] == 1 and len(ledger.results()) == 1
        with ledger._store.reading() as database:
            database.execute("PRAGMA max_page_count = 100000")
        ledger.enter(jobs)
        assert len(ledger.results()) == 3000


@posix
def test_a_limit_on_file_size_is_one_line(out: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from omnitalk_cli.errors import WorkError\n"
        "from omnitalk_cli.pipeline.batch_ledger import BatchLedger\n"
        "from test_pipeline_batch_ledger import make_job\n"
        "out = Path(sys.argv[1])\n"
        "with BatchLedger(out) as ledger:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    try:\n"
        "        ledger.enter(make_job(out, f'r{n}', n) for n in range(20_000))\n"
        "    except WorkError as error:\n"
        "        print(error)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.run(
        [sys.executable, "-c", code, out], env=os.environ | {"PYTHONPATH": paths},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{out / LEDGER_FILE}: ") and process.stdout.count("\n") == 1
    with BatchLedger(out) as ledger:
        assert ask(ledger, make_job(out)) == "run"


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder with a ledger in which this process may not write, also when it is root."""
    folder = Path(tempfile.mkdtemp())
    with BatchLedger(folder) as ledger:
        make(ledger, make_job(folder))
    (folder / LEDGER_FILE).chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@posix
def test_a_read_only_folder_can_be_read(unwritable: Path) -> None:
    with BatchLedger(unwritable) as ledger:
        assert result(ledger).state == "done"
        with pytest.raises(SetupError, match="cannot be written") as error:
            ask(ledger, make_job(unwritable, "b"))
        one_line(error, unwritable / LEDGER_FILE)
    with pytest.raises(SetupError, match="cannot be made"):
        BatchLedger(unwritable / "below")


@posix
def test_a_fork_is_refused(out: Path) -> None:
    with BatchLedger(out) as ledger:
        ledger._store._pid += 1
        with pytest.raises(RuntimeError, match="fork"):
            ledger.results()
        ledger._store._pid -= 1
