"""The ledger of a batch: what is skipped, what is made again, and what is left alone."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import pytest

from batch_rows import ask, done, make, make_job, result
from omnitalk_cli.batch.claims import Claim
from omnitalk_cli.batch.jobs import JobResult
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.errors import WorkError
from omnitalk_cli.media.files import part_path


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


def test_rows_that_are_held_are_given_back_together(tmp_path: Path) -> None:
    with BatchLedger(tmp_path) as ledger:
        jobs = [make_job(tmp_path, name) for name in ("a", "b", "c")]
        for job in jobs:
            assert ask(ledger, job) == "run"
        half = part_path(jobs[1].output)
        half.write_bytes(b"half")
        assert ledger.fail(jobs[0], "no", 1)
        assert ledger.sweep() == []
        ledger.release_all()
        assert ledger.counts() == {"pending": 2, "running": 0, "done": 0, "failed": 1}
        assert ledger.sweep() == [half]
        ledger.release_all()
