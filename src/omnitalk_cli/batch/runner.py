"""A run over a table: which rows are to be made, where, and what became of them.

Only this process writes the ledger; engines only make rows. A row counts when the ledger says so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from omnitalk_cli import __version__
from omnitalk_cli.batch.counts import Counts, Watcher
from omnitalk_cli.batch.engine import Ended, Engine, Lost, Noted, Slot, Told
from omnitalk_cli.batch.fingerprints import Fingerprints
from omnitalk_cli.batch.job_table import Checked
from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.batch.report import report_row, write_report
from omnitalk_cli.batch.result_tables import ResultTables
from omnitalk_cli.batch.waiting import Queue
from omnitalk_cli.errors import OmnitalkError, WorkError

REPORT_FILE = "report.html"

_POLL_SECONDS = 0.5
_REPORT_SECONDS = 60.0
_REPORT_REST = 20  # so many times as long as a report took, none is written
_WAIT_SECONDS = 5.0
_MOST_LOSSES = 2  # of a row, before it is the row's fault
_BROKEN_CODE = 2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run treats its rows. ``max_failures`` and ``fail_fast`` (1) end it after so many."""

    out_dir: Path
    title: str = "batch"
    retry_failed: bool = False
    overwrite: bool = False
    max_failures: int | None = None


class Run:
    """One run over the sound rows of a table; ``engine`` is started when there is work for it."""

    def __init__(
        self,
        checked: Checked,
        options: RunOptions,
        *,
        engine: Callable[[], Engine],
        watcher: Watcher,
    ) -> None:
        self._options = options
        self._make_engine = engine
        self._watcher = watcher
        self._jobs = {job.id: job for job in checked.jobs}
        self._broken = broken_rows(checked)
        self._unusable = checked.broken
        self._counts = Counts(total=checked.rows, failed=checked.broken)
        self._started = _now()
        self._fingerprints = Fingerprints()
        self._losses: dict[str, int] = {}
        self._begun: dict[str, tuple[str, str]] = {}
        self._queue = Queue(checked.jobs)
        self._busy: list[str] = []

    def run(self) -> Counts:
        """Make what is to be made. Whatever ends it, rows that were begun are given back and the
        tables are written. Raises SetupError and WorkError for the ledger's and engine's failures.
        """
        begun = time.monotonic()
        with BatchLedger(self._options.out_dir) as ledger:
            self._ledger = ledger
            ledger.sweep()
            ledger.enter(self._jobs.values())
            self._tables = ResultTables(self._options.out_dir, self._results)
            self._next_report = 0.0
            try:
                with ExitStack() as stack:
                    self._make(stack)
            finally:
                self._counts.seconds = round(time.monotonic() - begun, 1)
                ledger.release_all()
                ledger.sweep()
                self._tables.write()
                self._report(finished=_now())
        return self._counts

    def _make(self, stack: ExitStack) -> None:
        engine: Engine | None = None
        while self._queue or self._running(engine) or self._busy:
            while self._queue and (engine is None or self._free(engine)):
                slot = self._free(engine) if engine else None
                job = self._claimed(slot or Slot(name=""), self._refs(engine))
                if job is None:
                    break
                if engine is None:
                    engine = stack.enter_context(self._make_engine())
                    slot = self._free(engine)
                assert slot is not None
                self._begun[job.id] = (_now(), slot.name)
                self._watcher.begun(job, slot.name)
                engine.start(slot, job)
            if engine is not None and (self._queue or self._running(engine)):
                # With rows but no slot, as when all machines have gone, new slots are waited for.
                for event in engine.poll(_POLL_SECONDS):
                    self._hear(event)
            elif not self._queue and self._busy:
                self._wait_for_others()
            self._tables.update()
            self._report_sometimes()

    def _claimed(self, slot: Slot, busy: set[Path]) -> Job | None:
        """The next row that is to be made, taken in the ledger."""
        while self._queue:
            job = self._queue.take(slot, busy)
            try:
                claim = self._ledger.claim(
                    job, self._fingerprints.of(job), retry_failed=self._options.retry_failed,
                    worker=slot.name, overwrite=self._options.overwrite,
                )  # fmt: skip
            except OmnitalkError as error:
                # Its files went away since the table was checked.
                if self._ledger.claim(job, "", retry_failed=True, worker="") == "run":
                    self._end(job, str(error), error.exit_code)
                continue
            if claim == "run":
                return job
            if claim == "done":
                self._counts.skipped += 1
            elif claim == "failed":
                self._counts.failed += 1
                (known,) = self._ledger.results([job.id])
                self._watcher.ended(known, self._counts)
                self._stop_if_hopeless()
            else:
                self._busy.append(job.id)
        return None

    def _hear(self, event: Told | Noted | Ended | Lost) -> None:
        if isinstance(event, Told):
            self._watcher.told(event.id, event.stage, event.done, event.total)
        elif isinstance(event, Noted):
            self._watcher.noted(f"{event.id}: {event.text}")
        elif isinstance(event, Lost):
            self._lost(event)
        elif event.made.exit_code:
            self._end(event.job, event.made.message, event.made.exit_code)
        else:
            made, (started, worker) = event.made, self._begun[event.job.id]
            self._finish(
                JobResult(
                    id=event.job.id, line=event.job.line, state="done", seed=event.job.seed,
                    mark_id=made.mark_id, performance_sha256=made.performance_sha256,
                    seconds=made.seconds, timings=made.timings or {},
                    started=started, finished=_now(), worker=worker,
                )
            )  # fmt: skip

    def _lost(self, event: Lost) -> None:
        count = self._losses[event.job.id] = self._losses.get(event.job.id, 0) + 1
        if count >= _MOST_LOSSES:
            self._end(event.job, f"{event.why}, {count} times", WorkError.exit_code)
            return
        self._watcher.noted(f"{event.job.id}: {event.why}; the row is made again")
        self._ledger.release(event.job)
        self._queue.put_back(event.job)

    def _end(self, job: Job, message: str, exit_code: int) -> None:
        started, worker = self._begun.get(job.id, (_now(), ""))
        self._finish(
            JobResult(
                id=job.id, line=job.line, state="failed", exit_code=exit_code, message=message,
                seed=job.seed, started=started, finished=_now(), worker=worker,
            )
        )  # fmt: skip

    def _finish(self, result: JobResult) -> None:
        try:
            mine = self._ledger.finish(result)
        except WorkError as error:
            result = replace(result, state="failed", message=str(error), exit_code=error.exit_code)
            mine = self._ledger.finish(result)
        if not mine:
            self._watcher.noted(f"{result.id}: another run has taken this row over")
            self._busy.append(result.id)
            return
        if result.state == "done":
            self._counts.done += 1
            self._counts.video_seconds += result.seconds
        else:
            self._counts.failed += 1
        self._watcher.ended(result, self._counts)
        self._stop_if_hopeless()

    def _stop_if_hopeless(self) -> None:
        most = self._options.max_failures
        failed = self._counts.failed - self._unusable
        if most is not None and failed >= most and not self._counts.stopped:
            self._counts.stopped = f"stopped after {failed} failed rows"
            self._queue.clear()
            self._busy.clear()

    def _wait_for_others(self) -> None:
        self._counts.busy = len(self._busy)
        free = set(self._ledger.wait_for_taken(self._busy, seconds=_WAIT_SECONDS))
        for name in free:
            self._queue.put_back(self._jobs[name])
        self._busy = [name for name in self._busy if name not in free]
        self._counts.busy = len(self._busy)

    # --- tables and report -----------------------------------------------------------------------

    def _results(self) -> Iterator[JobResult]:
        """What is known of all rows, the broken ones too, in the table's order."""
        broken = deque(self._broken)
        for result in self._ledger.each_result():
            while broken and broken[0].line < result.line:
                yield broken.popleft()
            yield result
        yield from broken

    def _report_sometimes(self) -> None:
        now = time.monotonic()
        if now >= self._next_report:
            self._report()
            spent = time.monotonic() - now
            self._next_report = now + max(_REPORT_SECONDS, _REPORT_REST * spent)

    def _report(self, finished: str = "") -> None:
        rows = (
            report_row(
                self._jobs.get(result.id) or _stand_in(result), result, run_started=self._started
            )
            for result in self._results()
        )
        write_report(
            self._options.out_dir / REPORT_FILE, rows, title=self._options.title,
            started=self._started, finished=finished, version=__version__,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------

    @staticmethod
    def _free(engine: Engine) -> Slot | None:
        return next((slot for slot in engine.slots if slot.job is None), None)

    @staticmethod
    def _refs(engine: Engine | None) -> set[Path]:
        slots = engine.slots if engine else ()
        return {slot.last_ref for slot in slots if slot.last_ref is not None}

    @staticmethod
    def _running(engine: Engine | None) -> bool:
        return engine is not None and any(slot.job is not None for slot in engine.slots)


def broken_rows(checked: Checked) -> list[JobResult]:
    """The lines that the check complains of, as results that say why; the header may be one."""
    messages: dict[int, list[str]] = {}
    ids: dict[int, str] = {}
    for problem in checked.problems:
        where = f"{problem.column}: " if problem.column else ""
        messages.setdefault(problem.line, []).append(f"{where}{problem.message}")
        ids.setdefault(problem.line, problem.id or "")
    sound = {job.line for job in checked.jobs}
    return [
        JobResult(
            id=ids[line] or f"line {line}", line=line, state="failed", exit_code=_BROKEN_CODE,
            message="; ".join(messages[line]),
        )
        for line in sorted(messages)
        if line not in sound
    ]  # fmt: skip


def _stand_in(result: JobResult) -> Job:
    return Job(id=result.id, line=result.line, ref=Path(), output=Path(result.output), text="")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
