"""Rows on a cluster of Ray: one actor for each GPU, or for some cores, of every machine.

Each actor is bound to its machine: machines that join get actors, those that go take theirs with
them. This side alone decides which actor makes which row; Ray repeats nothing by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from omnitalk_cli.batch.engine import Ended, Event, Lost, Noted, Slot, Told
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.maker import Made, MakerSettings, RowMaker
from omnitalk_cli.batch.ray_actor import MakerFactory, Recorded, Unseen
from omnitalk_cli.batch.ray_cluster import check_ray, cluster, first_line
from omnitalk_cli.batch.ray_fleet import Fleet, Machine, Worker
from omnitalk_cli.errors import InputError, OmnitalkError, SetupError, UsageError, WorkError
from omnitalk_cli.provenance.ledger import Ledger

__all__ = ["RayEngine", "check_ray"]

_LOOK_SECONDS = 2.0  # between two looks at which machines there are
_PATIENCE_SECONDS = 120.0
_SEE_SECONDS = 3.0
_SHARED = "inputs and outputs must lie on a disk that all machines see under the same path"


class RayEngine:
    """``workers``: how many actors at most (None: as many as there is room for). ``factory`` makes
    what makes the rows; ``patience`` is how long to wait for an actor when there is none, in
    seconds. Errors are those of ``cluster``, and WorkError when no actor can be had."""

    def __init__(
        self,
        settings: MakerSettings,
        *,
        address: str | None = None,
        workers: int | None = None,
        factory: MakerFactory = RowMaker,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        if settings.device.startswith("cuda:"):
            raise UsageError(f"--device {settings.device}: Ray deals the GPUs out; give cuda")
        self._settings, self._address, self._most = settings, address, workers
        self._factory, self._patience = factory, patience
        self._stack = ExitStack()
        self._next_look = 0.0

    def __enter__(self) -> RayEngine:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        wanted = max(cores or 1, (self._most or 1) * self._settings.threads)
        with ExitStack() as stack:
            self._cluster = stack.enter_context(cluster(self._address, wanted))
            self._fleet = Fleet(
                self._cluster, self._settings, most=self._most, factory=self._factory,
                own_cache="OMNITALK_CACHE_DIR" not in os.environ,
            )  # fmt: skip
            stack.callback(self._fleet.stop)
            self._ready_at = time.monotonic()
            self._check_versions()
            while not self.slots:
                self.poll(0.5)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def slots(self) -> Sequence[Slot]:
        """One for each actor that is ready, and is to be used or still makes a row."""
        return [
            worker.slot
            for worker in self._fleet.workers
            if worker.ready and (worker.machine.used or worker.slot.job is not None)
        ]

    def start(self, slot: Slot, job: Job) -> None:
        """Give ``job`` to a free actor."""
        worker = next(one for one in self._fleet.workers if one.slot is slot)
        slot.job, slot.last_ref = job, job.ref
        making = worker.actor.make.options(num_returns="streaming")
        worker.news = making.remote(_absolute(job), _shared_folder(job.output))

    def poll(self, seconds: float) -> list[Event]:
        """What the actors tell. Raises WorkError when there is none, and none can be had."""
        events: list[Event] = []
        if time.monotonic() >= self._next_look:
            events += self._look_around()
        waiting = [worker for worker in self._fleet.workers if worker.news is not None]
        for worker in self._telling(waiting, seconds):
            events += self._hear(worker)
        self._give_up_sometime()
        if not waiting and not events:
            time.sleep(seconds)
        return events

    # --- machines --------------------------------------------------------------------------------

    def _check_versions(self) -> None:
        """Ask the machines that are there at the start. Raises SetupError for another version."""
        self._fleet.meet()
        machines = self._fleet.machines.values()
        if not machines and self._settings.device == "cuda":
            raise SetupError("no machine of the cluster has a GPU for --device cuda; use cpu")
        end = time.monotonic() + self._patience / 2
        while any(one.asked for one in machines) and time.monotonic() < end:
            for machine in self._fleet.learn(0.5):
                raise SetupError(machine.fault)

    def _look_around(self) -> list[Event]:
        """Machines that have gone and come, and actors that are missing."""
        self._next_look = time.monotonic() + _LOOK_SECONDS
        events: list[Event] = []
        for worker in self._fleet.meet():
            events += self._died(worker)
        for machine in self._fleet.learn(0.0):
            events.append(Noted(id=machine.node.name, text=f"{machine.fault}; it is not used"))
        self._fleet.dismiss_unused()
        self._fleet.fill()
        return events

    def _give_up_sometime(self) -> None:
        """Raises WorkError if there was no actor for too long, or if no machine can be used."""
        now = time.monotonic()
        if any(worker.ready for worker in self._fleet.workers):
            self._ready_at = now
        elif fault := self._fleet.hopeless():
            raise WorkError(fault)
        elif now - self._ready_at > self._patience:
            raise WorkError(
                f"no actor could begin on the Ray cluster within {self._patience:.0f} s; free are "
                f"{self._cluster.free()}; wait until others have ended, or add machines"
            )

    # --- what actors tell ------------------------------------------------------------------------

    def _telling(self, waiting: list[Worker], seconds: float) -> Iterator[Worker]:
        """Those of the workers who have something to tell."""
        if not waiting:
            return
        wait, by_news = self._cluster.ray.wait, {worker.news: worker for worker in waiting}
        first, _ = wait(list(by_news), num_returns=1, timeout=seconds)
        if first:  # a wait for all from the beginning would return only when all have news
            news, _ = wait(list(by_news), num_returns=len(by_news), timeout=0)
            yield from (by_news[one] for one in {*first, *news})

    def _hear(self, worker: Worker) -> list[Event]:
        ray = self._cluster.ray
        job = worker.slot.job
        try:
            message = ray.get(worker.next_news())
        except ray.exceptions.RayTaskError as error:
            return self._failed(worker, getattr(error, "cause", None) or error)
        except (ray.exceptions.RayError, StopIteration) as error:
            return self._died(worker, error)
        if job is None:
            worker.ready, worker.news, worker.machine.deaths = True, None, 0
            return []
        if isinstance(message, Recorded):
            return _adopted(message, job)
        if isinstance(message, Told | Noted):
            return [message]
        worker.slot.job = worker.news = None
        return [self._ended(worker.machine, job, message)]

    def _ended(self, machine: Machine, job: Job, message: Made | Unseen) -> Event:
        """A machine that does not see what this one sees fails all rows: it gets no more."""
        if isinstance(message, Unseen):
            if not message.path.exists():
                why = f"{message.path}: no such file"
                return Ended(job=job, made=Made(exit_code=InputError.exit_code, message=why))
            fault = f"{message.path}: cannot be seen on machine {machine.node.name}; {_SHARED}"
        elif message.exit_code or _seen(job.output):
            return Ended(job=job, made=message)
        else:
            where = f"was made on machine {machine.node.name}, but cannot be seen here"
            fault = f"{job.output}: {where}; {_SHARED}"
        machine.fault, self._next_look = fault, 0.0
        return Lost(job=job, why=fault)

    def _died(self, worker: Worker, error: BaseException | None = None) -> list[Event]:
        """The actor is gone; another one takes its place at the next look."""
        job, worker.slot.job = worker.slot.job, None
        why = self._fleet.bury(worker, error)
        self._next_look = 0.0
        return [] if job is None else [Lost(job=job, why=why)]

    def _failed(self, worker: Worker, error: BaseException) -> list[Event]:
        """Not a death, but an error that was raised on the other side."""
        job, worker.slot.job, worker.news = worker.slot.job, None, None
        why = first_line(error)
        if not isinstance(error, OmnitalkError):
            why = f"unexpected {type(error).__name__}: {why}"
        if job is not None:
            return [Ended(job=job, made=Made(exit_code=WorkError.exit_code, message=why))]
        worker.machine.fault = f"machine {worker.machine.node.name} cannot make rows: {why}"
        self._next_look = 0.0
        return []


def _absolute(job: Job) -> Job:
    """``job`` with names that mean the same everywhere."""
    options = {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in job.options.items()
    }
    return replace(
        job, ref=job.ref.absolute(), output=job.output.absolute(), options=options,
        text_file=job.text_file and job.text_file.absolute(),
        audio=job.audio and job.audio.absolute(),
    )  # fmt: skip


def _shared_folder(output: Path) -> Path:
    """The folder of ``output``, or the next above it that is there already."""
    return next(folder for folder in output.absolute().parents if folder.is_dir())


def _seen(path: Path) -> bool:
    """Whether a file made elsewhere is there; disks over a network take a moment to show it."""
    end = time.monotonic() + _SEE_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            return False
        with suppress(OSError):
            os.listdir(path.parent)  # makes such a disk look again
        time.sleep(0.1)
    return True


def _adopted(message: Recorded, job: Job) -> list[Event]:
    """The marks of all videos can be looked up where the run was started."""
    try:
        Ledger().adopt(message.entry)
    except (OmnitalkError, ValueError) as error:
        return [Noted(id=job.id, text=f"its mark is known only where it was made: {error}")]
    return []
