"""Help is complete, quick to load and free of heavy imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import omnitalk_cli
from omnitalk_cli.cli.app import app

COMMANDS = [
    "generate",
    "batch",
    "extract",
    "synth",
    "render",
    "inspect",
    "doctor",
    "train",
]
HEAVY = ["torch", "numpy", "scipy", "mediapipe", "cv2", "av", "rich", "pydantic", "platformdirs"]


@pytest.mark.parametrize(
    "words",
    [["--help"], ["generate", "--help"], ["--version"]],
    ids=str,
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom omnitalk_cli.cli.app import app\n"
        f"try:\n    app({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["heavy:"]


@pytest.mark.parametrize("command", [*COMMANDS, "corpus", "weights", "bench", "cache", "eval"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and result.stderr == ""
    assert f"Usage: omnitalk {command}" in result.stdout
    assert command in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize("command", [*COMMANDS, "corpus build", "corpus report", "corpus speech"])
def test_every_command_has_the_shared_options(command: str) -> None:
    text = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    for flag in ("--json", "--quiet", "--verbose", "--config"):
        assert flag in text


def test_options_of_generate_are_under_headings() -> None:
    lines = CliRunner().invoke(app, ["generate", "--help"]).stdout.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Reference:", "Script:", "Speech and motion:", "Video:", "Marks:", "Run:",
    ]  # fmt: skip


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.stdout.strip() == f"omnitalk {omnitalk_cli.__version__}"


def test_without_a_command_the_help_is_shown() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0 and "Commands:" in result.stdout


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "ACTIVE", "OPENBLAS_NUM_THREADS": "2"}])
def test_idle_threads_leave_the_cores_to_others(given: dict[str, str]) -> None:
    expected = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"} | given
    code = (
        "import os, sys\nfrom omnitalk_cli.cli.app import main\nsys.argv[1:] = ['--version']\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(*(os.environ[name] for name in {list(expected)!r}))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in expected} | given
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1].split() == list(expected.values())
