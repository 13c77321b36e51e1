"""A folder with small files, and tables in it that are checked as ``omnitalk batch`` would."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.job_table import Checked, check_table
from omnitalk_cli.batch.table import read_rows
from omnitalk_cli.cli.batch_columns import batch_columns, refused_columns

Check = Callable[..., Checked]


def make_folder(tmp_path: Path) -> Path:
    """``tmp_path`` with the files that the tables name."""
    for name in ("a.mp4", "b.mp4", "f.safetensors", "w.wav", "back.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "s.txt").write_text("Hello there.")
    (tmp_path / "zh.txt").write_text("你好。")
    (tmp_path / "S.MD").write_text("Hello there.")
    (tmp_path / "pause.txt").write_text("Hello [pause long] there.")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    return tmp_path


def checker_in(folder: Path) -> Check:
    """Checks a table's text; more names are options of the command line."""
    columns, refused = batch_columns(folder), refused_columns()

    def run(text: str, *, name: str = "{id}.mp4", out: str = "out", **defaults: Any) -> Checked:
        return check_table(
            read_rows(io.StringIO(text)), columns=columns, refused=refused, defaults=defaults,
            out_dir=folder / out, name_template=name, base=folder,
        )  # fmt: skip

    return run
