"""The node's side of a run on Ray: an actor that makes rows, and what it tells the run.

Ray copies the class to the nodes by its name, so that each needs this package.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from omnitalk_cli.batch.engine import Noted, Told
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.maker import Made, MakerSettings, Notes
from omnitalk_cli.batch.teller import Teller
from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.pipeline.settings import cache_folder
from omnitalk_cli.progress import Progress
from omnitalk_cli.provenance.ledger import Entry, Ledger


class Maker(Protocol):
    """Makes rows, as ``RowMaker`` does."""

    def prepare(self) -> None: ...

    def make(self, job: Job, *, progress: Progress, notes: Notes) -> Made: ...


MakerFactory = Callable[[MakerSettings], Maker]


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """The row was not begun: this file or folder is not to be found on the node."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the node's ledger of marks says about the video that was made."""

    entry: Entry


Message = Told | Noted | Recorded | Unseen | Made


class RowActor:
    """Makes one row at a time. With ``own_cache`` features lie where the node has its cache, not
    in the folder that ``settings`` name. ``folder`` is where relative names begin."""

    def __init__(
        self, settings: MakerSettings, factory: MakerFactory, *, folder: Path, own_cache: bool
    ) -> None:
        if own_cache and settings.cache_dir is not None:
            settings = replace(settings, cache_dir=cache_folder())
        self._settings, self._factory = settings, factory
        self._maker: Maker | None = None
        # All work in one thread: settings of arithmetic libraries hold for the thread that sets
        # them, and Ray does not promise to call from the same one.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows")
        with suppress(OSError):
            os.chdir(folder)

    def prepare(self) -> None:
        """Load what every row needs; errors are raised."""
        self._thread.submit(self._prepare).result()

    def _prepare(self) -> None:
        self._maker = self._factory(self._settings)
        self._maker.prepare()

    def make(self, job: Job, shared: Path) -> Iterator[Message]:
        """Tells how the row goes, and at last how it ended: ``Made``, or ``Unseen`` when the folder
        ``shared`` or a file of the row is not there. Raises nothing."""
        for path in (shared, job.ref, job.text_file, job.audio):
            if path is not None and not path.exists():
                yield Unseen(path=path)
                return
        told: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._thread.submit(self._row, job, told.put)
        while True:
            message = told.get()
            yield message
            if isinstance(message, Made):
                return

    def _row(self, job: Job, send: Callable[[Message], None]) -> None:
        teller = Teller(job.id, send)
        try:
            assert self._maker is not None
            made = self._maker.make(job, progress=teller.tell, notes=teller.note)
            entry = _entry(made)
            if entry is not None:
                send(Recorded(entry=entry))
        except BaseException as error:  # else the run would wait for ever
            made = Made(exit_code=1, message=f"unexpected {type(error).__name__}: {error}")
        send(made)


def _entry(made: Made) -> Entry | None:
    if made.exit_code or not made.mark_id:
        return None
    try:
        number = int(made.mark_id, 16)
        found = Ledger().find(number, bits=4 * len(made.mark_id))
    except (OmnitalkError, ValueError):
        return None  # the video has its marks all the same
    return found[0] if found else None
