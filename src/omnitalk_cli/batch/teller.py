"""What a worker tells about the row that it makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from omnitalk_cli.batch.engine import Noted, Told

_TELL_SECONDS = 0.3


class Teller:
    """Tells progress, a few times a second at most, and remarks; ``send`` carries them away."""

    def __init__(self, job_id: str, send: Callable[[Any], None]) -> None:
        self._id, self._send = job_id, send
        self._stage, self._last = "", 0.0

    def tell(self, stage: str, done: float, total: float | None) -> None:
        """A progress callback."""
        now = time.monotonic()
        if stage != self._stage or now - self._last >= _TELL_SECONDS:
            self._stage, self._last = stage, now
            self._send(Told(id=self._id, stage=stage, done=done, total=total))

    def note(self, text: str) -> None:
        """A callback for remarks."""
        self._send(Noted(id=self._id, text=text))
