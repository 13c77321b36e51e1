"""Being asked to stop, between two updates rather than in the middle of one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

# A scheduler tells all processes, and torchrun then tells its own ones again: still the first time.
_ECHO_SECONDS = 3.0


@dataclass
class StopRequest:
    """``asked`` becomes True with the first SIGTERM or SIGINT; a second one, of somebody who has
    waited, interrupts."""

    asked: bool = False
    since: float = 0.0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listens for signals meanwhile; in another thread than the main one it hears none."""
    request = StopRequest()

    def hear(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if request.asked and now - request.since > _ECHO_SECONDS:
            raise KeyboardInterrupt
        if not request.asked:
            request.asked, request.since = True, now

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, hear)
    except ValueError:
        pass
    try:
        yield request
    finally:
        for heard, handler in before.items():
            signal.signal(heard, handler)
