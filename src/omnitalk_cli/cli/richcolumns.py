"""The column of the progress bar that rich does not have."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text


class RateColumn(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """The rate of the running or finished stage, or dots before it is known."""
        speed = task.finished_speed or task.speed
        return Text("   …/s" if speed is None else f"{speed:6.1f}/s", style="progress.data.speed")
