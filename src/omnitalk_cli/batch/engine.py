"""Where rows are made: slots that each make one row at a time, and what they tell meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.maker import Made


@dataclass
class Slot:
    """A place for one row at a time. ``job`` is what is made there now (None: it is free),
    ``last_ref`` whose reference it has at hand."""

    name: str
    job: Job | None = None
    last_ref: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """A row's progress: ``done`` of ``total`` units of ``stage`` (None: unknown)."""

    id: str
    stage: str
    done: float
    total: float | None


@dataclass(frozen=True, kw_only=True)
class Noted:
    """A remark about a row."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A row came to its end, well or not; its slot is free."""

    job: Job
    made: Made


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The process or machine that made a row is gone; the row may be tried elsewhere."""

    job: Job
    why: str


Event = Told | Noted | Ended | Lost


class Engine(Protocol):
    """A context manager around slots; leaving it ends everything that still runs."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots that are there now; they may come and go while no row is in them."""

    def start(self, slot: Slot, job: Job) -> None:
        """Begin with ``job`` in a free slot."""

    def poll(self, seconds: float) -> list[Event]:
        """What happened since; waits at most ``seconds`` for the first event.

        Raises WorkError when no slot can be had any more.
        """
