"""Who holds a running row, and whether that process still lives.

On the same machine the process itself is looked at: its id, and when it started, so that another
process with the same id is not taken for it. After a kill its rows are therefore free at once, and
a stopped process keeps its rows for as long as it exists.

From another machine only a lease can tell. The holder counts up a number every ``BEAT_SECONDS``;
who has seen the same number for ``LEASE_SECONDS`` by the own clock takes the holder for dead. No
time of one machine is compared with that of another, so their clocks may disagree; the price is
that a run which has just begun must watch for that long before it takes over anything.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0  # a dozen beats: a slow network disk must not cost a row


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that works on rows. ``host`` stands for all processes that see the same ids,
    ``name`` is for people; ``started`` is empty where the time is not known.
    """

    token: str
    host: str
    name: str
    pid: int
    started: str
    beat: int = 0

    @classmethod
    def this_process(cls) -> Holder:
        """A new holder in this process."""
        pid = os.getpid()
        return cls(
            token=secrets.token_hex(8), host=host_key(), name=socket.gethostname(), pid=pid,
            started=process_start(pid) or "",
        )  # fmt: skip

    @property
    def description(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.name}"


class Watch:
    """What has been seen of other holders; ``clock`` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, holder: Holder) -> bool:
        """Whether ``holder``, as just read from the ledger, must be taken for living."""
        known = self._look(holder)
        if known is not None:
            return known
        now = self._clock()
        beat, since = self._seen.get(holder.token, (-1, now))
        if beat != holder.beat:
            self._seen[holder.token] = (holder.beat, now)
            return True
        return now - since < LEASE_SECONDS

    def forget(self, token: str) -> None:
        """Stop watching a holder that is gone."""
        self._seen.pop(token, None)

    @staticmethod
    def _look(holder: Holder) -> bool | None:
        """True or False when the process itself tells, None when only the lease can."""
        if not holder.host or holder.host != host_key():
            return None
        started = process_start(holder.pid)
        if started is None or (started and not holder.started):
            return None
        return started != "" and started == holder.started


@functools.cache
def host_key() -> str:
    """Equal for processes that see each other's ids: the machine, since it started, and on Linux
    the namespace of the ids (containers have their own). Empty when it is not known.
    """
    if sys.platform == "linux":
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
        except OSError:
            return ""
    return f"{socket.gethostname()} {uuid.getnode():x}"


def process_start(pid: int) -> str | None:
    """When the process started, in a form for comparing; empty when there is none with this id,
    None when it cannot be told.
    """
    if sys.platform == "win32":
        return None  # os.kill would end the process there
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except OSError:
        pass  # it is another user's, and exists
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None  # no /proc, or one that hides the processes of others
    # proc(5): the name is in parentheses and may hold anything; state is field 3, start 22.
    fields = status.rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):  # killed, and its parent has not noticed yet
        return ""
    return fields[19].decode()
