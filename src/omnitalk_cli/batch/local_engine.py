"""Rows in worker processes on this machine, one for each GPU or for some cores.

Processes, not threads: a library that crashes takes one row with it, not the night's work.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import Any

from omnitalk_cli.batch.engine import Ended, Event, Lost, Slot
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.maker import Made, MakerSettings, RowMaker
from omnitalk_cli.batch.teller import Teller
from omnitalk_cli.errors import WorkError

_STOP_SECONDS = 5.0
_MOST_DEATHS = 3  # in a row, of workers that never became ready
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


MakeMaker = Callable[[MakerSettings], RowMaker]


@dataclass
class _Worker:
    slot: Slot
    settings: MakerSettings
    process: Any
    pipe: Connection
    ready: bool = False


class LocalEngine:
    """``workers`` processes; with several ``devices``, they are dealt out to these in turn.

    ``maker`` makes what makes the rows there; processes must be able to import it.
    """

    def __init__(
        self,
        settings: MakerSettings,
        *,
        workers: int,
        devices: Sequence[str] = (),
        maker: MakeMaker = RowMaker,
    ) -> None:
        self._settings = [
            replace(settings, device=devices[number % len(devices)]) if devices else settings
            for number in range(workers)
        ]
        self._maker = maker
        self._workers: list[_Worker] = []
        self._deaths = 0

    def __enter__(self) -> LocalEngine:
        try:
            for number, settings in enumerate(self._settings):
                self._workers.append(self._begin(Slot(name=f"worker {number + 1}"), settings))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def slots(self) -> Sequence[Slot]:
        """One for each worker."""
        return [worker.slot for worker in self._workers]

    def start(self, slot: Slot, job: Job) -> None:
        """Give ``job`` to a free worker; one that is still loading begins when it is ready."""
        worker = next(one for one in self._workers if one.slot is slot)
        slot.job, slot.last_ref = job, job.ref
        try:
            worker.pipe.send(job)
        except OSError:
            pass  # it has died; poll() finds that out

    def poll(self, seconds: float) -> list[Event]:
        """What the workers tell. Raises WorkError when they die before they can begin."""
        events: list[Event] = []
        pipes = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(pipes), timeout=seconds):
            assert isinstance(pipe, Connection)
            worker = pipes[pipe]
            try:
                while pipe.poll():
                    events += self._heard(worker, pipe.recv())
            except (EOFError, OSError):
                events += self._died(worker)
        return events

    def _heard(self, worker: _Worker, message: Any) -> list[Event]:
        if message is None:
            worker.ready, self._deaths = True, 0
            return []
        job = worker.slot.job
        if isinstance(message, Made):
            worker.slot.job = None
            return [] if job is None else [Ended(job=job, made=message)]
        return [] if job is None else [message]

    def _died(self, worker: _Worker) -> list[Event]:
        """Another process takes the place of a dead one."""
        worker.process.join(_STOP_SECONDS)
        worker.pipe.close()
        code = worker.process.exitcode
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= _MOST_DEATHS:
                raise WorkError(f"the workers cannot begin ({_ending(code)}); try --workers 1")
        job, worker.slot.job = worker.slot.job, None
        at = self._workers.index(worker)
        self._workers[at] = self._begin(Slot(name=worker.slot.name), worker.settings)
        return [] if job is None else [Lost(job=job, why=f"its worker {_ending(code)}")]

    def _begin(self, slot: Slot, settings: MakerSettings) -> _Worker:
        context = multiprocessing.get_context("spawn")  # a copy of a process with threads may hang
        here, there = context.Pipe()
        process = context.Process(
            target=_work, args=(there, self._maker, settings, os.getpid()), name=slot.name,
            daemon=True,
        )  # fmt: skip
        process.start()
        there.close()
        return _Worker(slot=slot, settings=settings, process=process, pipe=here)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        end = time.monotonic() + _STOP_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()


def devices_of(name: str) -> list[str]:
    """The devices that ``name`` stands for: ``auto`` and ``cuda`` are all GPUs, if there are any.

    Raises SetupError for a device that is not there.
    """
    import torch

    from omnitalk_cli.pipeline.devices import choose_device

    if choose_device(name) == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [choose_device(name)]


def usual_workers(devices: Sequence[str]) -> int:
    """One for each GPU; on the CPU one for each core, four at most (each holds about 1 GB)."""
    if devices[0].startswith("cuda"):
        return len(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, cores or 1))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"was ended by {name}{hint}"
    return f"ended with status {code}"


# --- the worker's side -------------------------------------------------------------------------


def _work(pipe: Connection, make_maker: MakeMaker, settings: MakerSettings, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    # SIGTERM raises, so that half-written files are removed.
    signal.signal(signal.SIGTERM, _end)
    _die_with(parent)
    _say_nothing()
    maker = make_maker(settings)
    maker.prepare()
    lock = threading.Lock()

    def send(message: Any) -> None:
        with lock:
            pipe.send(message)

    send(None)
    try:
        while True:
            job = pipe.recv()
            teller = Teller(job.id, send)
            send(maker.make(job, progress=teller.tell, notes=teller.note))
    except (EOFError, BrokenPipeError):
        pass  # the parent has ended


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(1)


def _die_with(parent: int) -> None:
    """End at once when ``parent`` does, however that happens: its rows are then free to others."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _say_nothing() -> None:
    """Libraries that print would spoil the terminal of the parent, and its stdout."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
