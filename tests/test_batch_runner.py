"""Runs over a table: nothing lost, nothing twice, every failure told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from batch_fakes import FakeEngine, FakeMaker, Watcher, jobs
from omnitalk_cli.batch.counts import Counts
from omnitalk_cli.batch.engine import Slot
from omnitalk_cli.batch.job_cells import Problem
from omnitalk_cli.batch.job_table import Checked
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.batch.local_engine import LocalEngine
from omnitalk_cli.batch.maker import MakerSettings
from omnitalk_cli.batch.runner import Run, RunOptions
from omnitalk_cli.batch.shards import shard_of
from omnitalk_cli.batch.waiting import Queue


def run(
    checked: Checked, folder: Path, engine: FakeEngine | None = None, **options: object
) -> tuple[Counts, FakeEngine, Watcher]:
    engine, watcher = engine or FakeEngine(), Watcher()
    out = folder / "out"
    out.mkdir(exist_ok=True)
    settings = RunOptions(out_dir=out, **options)  # type: ignore[arg-type]
    return Run(checked, settings, engine=lambda: engine, watcher=watcher).run(), engine, watcher


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "out" / "results.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_a_run_and_its_repetition(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 7)
    counts, engine, watcher = run(checked, tmp_path)
    assert (counts.done, counts.skipped, counts.failed) == (7, 0, 0)
    assert sorted(engine.started) == [job.id for job in checked.jobs]
    assert all(job.output.is_file() for job in checked.jobs)
    rows = table(tmp_path)
    assert [row["state"] for row in rows.values()] == ["done"] * 7
    assert rows["row-03"]["mark_id"] == "00c0ffee" and rows["row-03"]["worker"]
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == list(range(2, 9))
    assert (tmp_path / "out" / "report.html").is_file()
    counts, engine, _ = run(checked, tmp_path)
    assert (counts.done, counts.skipped, engine.started) == (0, 7, [])


def test_what_changed_is_made_again(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 4)
    run(checked, tmp_path)
    checked.jobs[0].output.unlink()
    checked.jobs[1].output.write_bytes(b"cut off")
    changed = replace(checked.jobs[2], options={"seed": 99})
    again = replace(checked, jobs=(*checked.jobs[:2], changed, checked.jobs[3]))
    counts, engine, _ = run(again, tmp_path)
    assert sorted(engine.started) == ["row-00", "row-01", "row-02"] and counts.skipped == 1
    checked.jobs[3].ref.write_bytes(b"another clip")  # of rows 0 and 3
    _, engine, _ = run(again, tmp_path)
    assert sorted(engine.started) == ["row-00", "row-03"]


def test_failures_are_kept_and_tried_again_when_asked(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 3)
    bad = replace(checked.jobs[1], text="fail")
    checked = replace(checked, jobs=(checked.jobs[0], bad, checked.jobs[2]))
    counts, _, watcher = run(checked, tmp_path)
    assert (counts.done, counts.failed) == (2, 1)
    assert watcher.results["row-01"].message == "no face"
    assert table(tmp_path)["row-01"]["exit_code"] == "3"
    counts, engine, watcher = run(checked, tmp_path)
    assert engine.started == [] and counts.failed == 1
    assert watcher.results["row-01"].message == "no face"  # told again
    _, engine, _ = run(checked, tmp_path, retry_failed=True)
    assert engine.started == ["row-01"]


def test_it_stops_after_so_many_failures(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 9, refs=1, text="fail {}")
    counts, engine, _ = run(checked, tmp_path, FakeEngine(slots=1), max_failures=2)
    assert counts.failed == 2 and len(engine.started) == 2 and "2 failed" in counts.stopped
    counts, engine, _ = run(checked, tmp_path, FakeEngine(slots=1))
    assert len(engine.started) == 7  # the others were given back, not lost


def test_lost_rows_are_made_again_once(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 5)
    engine = FakeEngine(lose={"row-01": 1, "row-02": 9})
    counts, _, watcher = run(checked, tmp_path, engine)
    assert (counts.done, counts.failed) == (4, 1)
    assert engine.started.count("row-01") == engine.started.count("row-02") == 2
    assert "SIGKILL, 2 times" in watcher.results["row-02"].message


def test_broken_rows_are_in_the_results(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 2)
    problems = (
        Problem(line=4, column="ref", message="no such file", id="odd"),
        Problem(line=4, column="size", message="too large", id="odd"),
        Problem(line=5, column="", message="5 cells for 3 columns", id=""),
    )
    counts, _, _ = run(replace(checked, problems=problems, rows=4), tmp_path)
    assert (counts.total, counts.done, counts.failed) == (4, 2, 2)
    rows = table(tmp_path)
    assert list(rows) == ["row-00", "row-01", "odd", "line 5"]
    assert rows["odd"]["message"] == "ref: no such file; size: too large"


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 2)
    (tmp_path / "out").mkdir()
    checked.jobs[0].output.write_bytes(b"precious")
    counts, _, _ = run(checked, tmp_path)
    assert (counts.done, counts.failed) == (1, 1)
    assert checked.jobs[0].output.read_bytes() == b"precious"
    counts, _, _ = run(checked, tmp_path, overwrite=True)
    assert counts.failed == 0 and checked.jobs[0].output.read_bytes() != b"precious"


def test_a_reference_that_vanished_is_a_failure(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 3)
    checked.jobs[1].ref.unlink()
    counts, _, watcher = run(checked, tmp_path)
    assert (counts.done, counts.failed) == (2, 1)
    assert "ref1.mp4" in watcher.results["row-01"].message


def test_rows_in_the_hands_of_another_run_are_waited_for(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 3)
    (tmp_path / "out").mkdir()
    other = BatchLedger(tmp_path / "out")
    assert other.claim(checked.jobs[0], "x", retry_failed=False, worker="other") == "run"

    class Engine(FakeEngine):
        def poll(self, seconds: float) -> list:
            other.close()  # the other run ends without having made its row
            return super().poll(seconds)

    counts, engine, _ = run(checked, tmp_path, Engine(slots=1))
    assert counts.done == 3 and engine.started[-1] == "row-00"


def test_an_interrupt_gives_rows_back(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 4)

    class Engine(FakeEngine):
        def poll(self, seconds: float) -> list:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(checked, tmp_path, Engine())
    assert {row["state"] for row in table(tmp_path).values()} <= {"pending", "running"}
    counts, _, _ = run(checked, tmp_path)
    assert counts.done == 4


def test_slots_keep_to_their_reference(tmp_path: Path) -> None:
    checked = jobs(tmp_path, 6, refs=2)
    queue = Queue(checked.jobs)
    one, two = Slot(name="1"), Slot(name="2")
    order = []
    while queue:
        for slot in (one, two):
            job = queue.take(slot, {x.last_ref for x in (one, two) if x.last_ref})
            slot.last_ref = job.ref
            order.append(job.id)
    assert order == ["row-00", "row-01", "row-02", "row-03", "row-04", "row-05"]
    assert one.last_ref == checked.jobs[0].ref and two.last_ref == checked.jobs[1].ref


def test_shards_are_the_table(tmp_path: Path) -> None:
    checked = replace(jobs(tmp_path, 50), problems=(Problem(line=60, column="", message="x"),))
    checked = replace(checked, rows=51)
    parts = [shard_of(checked, number, 3) for number in (1, 2, 3)]
    assert sorted(job.id for part in parts for job in part.jobs) == [j.id for j in checked.jobs]
    assert [part.broken for part in parts] == [1, 0, 0]
    assert min(len(part.jobs) for part in parts) > 5


@pytest.mark.slow
def test_worker_processes(tmp_path: Path) -> None:
    """Rows in real processes: one fails, one kills its worker each time; the others are made."""
    checked = jobs(tmp_path, 8, text="slow {}")
    texts = {2: "fail", 5: "die"}
    checked = replace(
        checked,
        jobs=tuple(
            replace(job, text=texts.get(number, job.text))
            for number, job in enumerate(checked.jobs)
        ),
    )
    watcher = Watcher()
    (tmp_path / "out").mkdir()
    counts = Run(
        checked,
        RunOptions(out_dir=tmp_path / "out"),
        engine=lambda: LocalEngine(MakerSettings(), workers=2, maker=FakeMaker),  # type: ignore[arg-type]
        watcher=watcher,
    ).run()
    assert (counts.done, counts.failed) == (6, 2)
    assert watcher.results["row-02"].exit_code == 3
    assert "SIGKILL" in watcher.results["row-05"].message
    assert watcher.stages == {"rendering"}
    assert any(line.endswith("nearly there") for line in watcher.lines)
