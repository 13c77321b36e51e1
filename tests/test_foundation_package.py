"""The packaging says what the code needs, and the README what the Makefile does."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import omnitalk_cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Modules whose package has another name.
PACKAGE = {
    "c2pa": "c2pa-python",
    "cv2": "opencv-contrib-python",
    "ffmpeg": "ffmpeg-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
OPTIONAL = {"train", "dev"}


def names(requirements: list[str]) -> set[str]:
    return {
        re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("_", "-") for line in requirements
    }


def test_every_import_is_declared() -> None:
    declared = names(PROJECT["dependencies"])
    optional = PROJECT["optional-dependencies"]
    extras = {
        "training": names([line for name in OPTIONAL for line in optional[name]]),
        "batch": names(optional["ray"]),
    }
    for path in (ROOT / "src").rglob("*.py"):
        allowed = declared | extras.get(path.parent.name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for module in modules:
                root = module.split(".")[0]
                if root in sys.stdlib_module_names or root == "omnitalk_cli":
                    continue
                package = PACKAGE.get(root, root).lower().replace("_", "-")
                assert package in allowed, f"{path.name} imports {root}, which is not declared"


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {name.lower().replace("_", "-") for name in pins}
    wanted = names(PROJECT["dependencies"])
    for extra in OPTIONAL:
        wanted |= names(PROJECT["optional-dependencies"][extra]) - {"omnitalk-cli"}
    assert wanted <= pinned
    assert pins["torch"] == "2.13.0" and pins["mediapipe"] == "0.10.21"
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]


def test_readme_starts_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```\w*\n(.*?)```", readme, re.DOTALL)
    assert first is not None
    commands = [line.split("#")[0].strip() for line in first[1].splitlines() if line.strip()]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}:" in makefile for command in commands)


def test_readme_knows_every_command_and_exit_code() -> None:
    from typer.main import get_command

    from omnitalk_cli.cli.app import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in get_command(app).commands:
        assert f"`omnitalk {name}" in readme, name
    for code in (0, 1, 2, 3, 4, 130):
        assert re.search(rf"^\| {code} \|", readme, re.MULTILINE), code


def test_metadata() -> None:
    assert PROJECT["scripts"] == {"omnitalk": "omnitalk_cli.cli.app:main"}
    assert PROJECT["license"] == "Apache-2.0" and (ROOT / "LICENSE").is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", omnitalk_cli.__version__)
    assert (Path(omnitalk_cli.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["Makefile", ".ci/run"])
def test_ci_runs_what_the_readme_says(name: str) -> None:
    assert "make --no-print-directory test" in (ROOT / ".ci/run").read_text()
    assert "omnitalk generate" in (ROOT / "Makefile").read_text()
    assert (ROOT / name).stat().st_mode & 0o111 or name == "Makefile"
