"""The rows of a run that wait, and which of them a slot gets next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from omnitalk_cli.batch.engine import Slot
from omnitalk_cli.batch.jobs import Job


class Queue:
    """Rows that wait, by reference: a slot gets rows of the person whom it has at hand."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._groups: dict[Path, deque[Job]] = {}
        for job in jobs:
            self._groups.setdefault(job.ref, deque()).append(job)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def put_back(self, job: Job) -> None:
        """``job`` is to be made next of those with its reference."""
        self._groups.setdefault(job.ref, deque()).appendleft(job)

    def take(self, slot: Slot, busy: set[Path]) -> Job:
        """The next row for ``slot``: of its own reference, else of one that nobody has at hand,
        else of the longest group."""
        ref = slot.last_ref
        if ref not in self._groups:
            free = (name for name in self._groups if name not in busy)
            ref = next(free, None) or max(self._groups, key=lambda name: len(self._groups[name]))
        group = self._groups[ref]
        job = group.popleft()
        if not group:
            del self._groups[ref]
        return job

    def clear(self) -> None:
        """Drop all that wait."""
        self._groups.clear()
