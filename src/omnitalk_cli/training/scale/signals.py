"""Being asked to stop, between two updates rather than in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class StopRequest:
    """``asked`` becomes True with the first SIGTERM or SIGINT; the second one interrupts."""

    asked: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listens for signals meanwhile; in another thread than the main one it hears none."""
    request = StopRequest()

    def hear(number: int, frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True

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
