"""What goes wrong is told in one line, with the exit code of the README's table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError
from typer.testing import CliRunner

from omnitalk_cli.cli import generate as generate_module
from omnitalk_cli.cli.app import app
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import InputError, SetupError, UsageError, WorkError
from omnitalk_cli.types import Script, Segment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "script.txt").write_text("Hello.")
    (tmp_path / "there.mp4").write_bytes(b"precious")
    return tmp_path


CASES = [
    (["generate"], 2, "--ref"),
    (["generate", "--ref", "clip.mp4"], 2, "--text"),
    (["generate", "--ref", "clip.mp4", "--text", "script.txt", "--say", "x"], 2, "--say"),
    (["generate", "--ref", "gone.mp4", "--say", "x"], 3, "gone.mp4"),
    (["generate", "--ref", "empty.mp4", "--say", "x"], 3, "empty.mp4: is empty"),
    (["generate", "--ref", ".", "--say", "x"], 3, "is not a file"),
    (["generate", "--ref", "clip.mp4", "--text", "gone.txt"], 3, "gone.txt"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "-o", "there.mp4"], 2, "--overwrite"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "-o", "a.avi"], 2, ".mp4"),
    (
        ["generate", "--ref", "clip.mp4", "--say", "x", "-o", "clip.mp4", "--overwrite"],
        2,
        "also an input",
    ),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--steps", "0"], 2, "--steps"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--crf", "52"], 2, "--crf"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--cfg-text", "-1"], 2, "--cfg-text"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--schedule", "no"], 2, "--schedule"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--device", "gpu"], 2, "--device gpu"),
    (["generate", "--ref", "clip.mp4", "--say", "x", "--unknown"], 2, "--unknown"),
    (["extract", "gone.mp4"], 3, "gone.mp4"),
    (["extract", "clip.mp4", "-o", "a.npz"], 2, ".safetensors"),
    (["render", "gone.safetensors", "--ref", "clip.mp4"], 3, "gone.safetensors"),
    (["inspect", "script.txt"], 3, "not a safetensors file"),
    (["inspect", "clip.mp4", "--plot", "a.gif"], 2, ".png"),
    (["nonsense"], 2, "nonsense"),
]


@pytest.mark.parametrize(("words", "code", "part"), CASES, ids=lambda value: str(value)[:60])
def test_mistake_is_one_line_with_its_exit_code(
    folder: Path, words: list[str], code: int, part: str
) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and part in line


@pytest.mark.parametrize(("words", "code", "part"), CASES, ids=lambda value: str(value)[:60])
def test_mistake_as_json_is_one_object_and_nothing_else(
    folder: Path, words: list[str], code: int, part: str
) -> None:
    result = CliRunner().invoke(app, [*words, "--json"])
    answer = json.loads(result.stdout)
    assert set(answer) == {"error", "exit_code"}
    assert answer["exit_code"] == result.exit_code == code and part in answer["error"]
    assert result.stderr == ""


def test_existing_output_is_kept(folder: Path) -> None:
    CliRunner().invoke(app, ["generate", "--ref", "clip.mp4", "--say", "x", "-o", "there.mp4"])
    assert (folder / "there.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WorkError("the encoder failed"), 1),
        (UsageError("these do not fit"), 2),
        (InputError("no face\nin clip"), 3),
        (SetupError("no ffmpeg"), 4),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "out.mp4"), 1),
        (MemoryError(), 1),
        (ZeroDivisionError("by zero"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_of_the_work_becomes_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BaseException) as caught, session():
        raise error
    assert getattr(caught.value, "exit_code", None) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "Traceback" not in err


def test_full_disk_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BaseException, match="1"), session():
        raise OSError(28, "No space left on device", "out.mp4")
    assert "out.mp4: disk full" in capsys.readouterr().err


def test_full_disk_is_named_where_safetensors_finds_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = SafetensorError("Error while serializing: I/O error: No space left (os error 28)")
    with pytest.raises(BaseException, match="1"), session():
        raise error
    said = capsys.readouterr().err
    assert said.startswith("error: disk full; free some space") and "unexpected" not in said


def test_traceback_only_with_two_v(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (1, 2):
        with pytest.raises(BaseException, match="3"), session(verbose=verbose):
            raise InputError("no face")
        assert ("Traceback" in capsys.readouterr().err) == (verbose == 2)


def test_what_libraries_print_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with session(json_output=True) as console:
        print("chatter of a library")
        console.result({"answer": 1}, ["one"])
    out, err = capsys.readouterr()
    assert json.loads(out) == {"answer": 1} and "chatter" in err


SLEEPER = """
import pathlib, sys, time
from omnitalk_cli.cli import app, generate
from omnitalk_cli.media.files import atomic_output

def get_reference(path, **options):
    with atomic_output(pathlib.Path("out.mp4"), overwrite=False) as part:
        part.write_bytes(b"half")
        print("working", file=sys.stderr, flush=True)
        time.sleep(60)

generate.get_reference = get_reference
generate.read_script = lambda source, language: None
from types import SimpleNamespace

speech = SimpleNamespace(model=SimpleNamespace(name="tiny", why=""), prompted=None)
generate.speech_settings, generate.video_options = lambda **options: speech, lambda **options: None
app.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_exits_130_and_leaves_no_half_file(folder: Path, number: int) -> None:
    before = sorted(folder.iterdir())
    words = [sys.executable, "-c", SLEEPER, "generate", "--ref", "clip.mp4", "--say", "x"]
    # Where the tests themselves run in the background, their children ignore SIGINT.
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "working\n"
        time.sleep(0.1)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest == "error: interrupted\n"
    assert sorted(folder.iterdir()) == before


def test_reader_that_goes_away_causes_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "omnitalk_cli", "weights", "list", "--json"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_unwritable_place_is_told_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    script = Script(segments=(Segment(text="a", pause_after=0),), language="en", source_sha256="")
    monkeypatch.setattr(generate_module, "read_script", lambda *words: script)
    monkeypatch.setattr(generate_module, "get_reference", lambda *a, **k: called.append(1))
    words = ["generate", "--ref", "clip.mp4", "--say", "x", "-o", "/proc/none/out.mp4"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (1, 2) and not called
    assert len(result.stderr.splitlines()) == 1
