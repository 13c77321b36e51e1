"""Progress as a callback: library stages report, only ``cli`` draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of a long stage."""

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """``stage`` names the work, ``done`` of ``total`` units are finished (None: unknown)."""


def silent(stage: str, done: float, total: float | None) -> None:
    """The progress callback that shows nothing."""
