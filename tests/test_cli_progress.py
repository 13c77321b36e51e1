"""Progress: lines where nobody can redraw, bars on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from omnitalk_cli.cli import progressbar
from omnitalk_cli.cli.progressbar import LineProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progressbar.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_at_intervals_and_at_the_end(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    for done in range(0, 101):
        progress("rendering", done, 100)
        clock[0] += 0.3
    progress("rendering", 100, 100)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "rendering: 34 % (34 of 100, 3.33/s, 20 s left)"
    assert lines[-1] == "rendering: done in 30.0 s, 3.33/s"


def test_lines_without_a_total(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress("reading", 0, None)
    clock[0] += 20
    progress("reading", 40, None)
    assert stream.getvalue() == "reading: 40, 2/s\n"


def test_what_follows_the_comma_is_not_another_stage(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    for done in range(3):
        progress(f"training, loss {1 / (done + 1):.2f}", done, 10)
        clock[0] += 6
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training, loss 0.33: 20 % (2 of 10")


CODE = """
from omnitalk_cli.cli.console import session
with session() as console:
    for k in range(5):
        console.progress("rendering", k + 1, 5)
    console.note("a remark")
    console.result({}, ["the result"])
"""


@pytest.mark.parametrize(("term", "bars"), [("xterm", True), ("dumb", False)])
def test_bars_only_on_a_terminal_that_can_redraw(term: str, bars: bool) -> None:
    main, other = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], stderr=other, stdout=subprocess.PIPE, env=environment,
        text=True,
    )  # fmt: skip
    os.close(other)
    shown = os.read(main, 100_000).decode()
    os.close(main)
    assert done.returncode == 0 and done.stdout == "the result\n"
    assert "a remark" in shown and "rendering" in shown
    assert ("5/5" in shown and "/s" in shown) if bars else "rendering: done" in shown


def test_no_color_is_honoured() -> None:
    main, other = pty.openpty()
    code = "from omnitalk_cli.cli.app import main; main()"
    shown = {}
    for no_color in ("", "1"):
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
        words = [sys.executable, "-c", code, "inspect", "nowhere"]
        assert subprocess.run(words, stderr=other, env=environment).returncode == 3
        shown[no_color] = os.read(main, 10_000).decode()
    os.close(other)
    os.close(main)
    assert "\x1b[" in shown[""] and "\x1b[" not in shown["1"]
