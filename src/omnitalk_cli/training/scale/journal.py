"""The run's diary: ``log.jsonl``, and TensorBoard where it is installed and asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import SetupError


class Journal:
    """Rows of a run in ``folder``; only the first process has one."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        """Raises SetupError when TensorBoard is asked for and not installed."""
        self.path = folder / "log.jsonl"
        self._tensorboard = tensorboard
        self._board: Any = None
        if tensorboard:
            _writer_class()

    def rewind(self, step: int) -> None:
        """Forgets the rows after ``step``: a run that goes on from a state writes them again."""
        if self._tensorboard:
            self._open_board(purge_step=step + 1)
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run
            if row.get("step", 0) <= step:
                kept.append(line + "\n")
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text("".join(kept))
        os.replace(temporary, self.path)

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; numbers in it, also one level deeper, become curves over ``step``."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._tensorboard:
            if self._board is None:
                self._open_board()
            for name, value in row.items():
                parts = value.items() if isinstance(value, dict) else [("", value)]
                for part, number in parts:
                    if isinstance(number, (int, float)) and name != "step":
                        tag = f"{name}/{part}" if part else name
                        self._board.add_scalar(tag, number, row["step"])

    def _open_board(self, **more: int) -> None:
        self.close()
        self._board = _writer_class()(str(self.path.parent / "tensorboard"), **more)

    def close(self) -> None:
        """Writes what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SetupError(
            "--tensorboard needs the package: pip install 'omnitalk-cli[train-scale]'"
        ) from error
    return SummaryWriter
