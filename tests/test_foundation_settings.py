"""Checks that come before any work."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from omnitalk_cli.errors import InputError, OmnitalkError, UsageError
from omnitalk_cli.pipeline import settings
from omnitalk_cli.types import Script, Segment


def test_output_folder_need_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.mp4"
    settings.check_output(path, suffixes=(".mp4",), overwrite=False)
    assert list(tmp_path.iterdir()) == []
    settings.make_folder(path)
    assert path.parent.is_dir()


def test_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(OmnitalkError):
        settings.check_output(tmp_path / "a" / "out.mp4", suffixes=(".mp4",), overwrite=False)
    with pytest.raises(UsageError, match="cannot be made"):
        settings.make_folder(tmp_path / "a" / "b" / "out.mp4")


def test_same_file_by_another_name_is_an_input(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    with pytest.raises(UsageError, match="also an input"):
        settings.check_output(link, suffixes=(".mp4",), overwrite=True, inputs=(clip,))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("clip.mp4", "clip"),
        ("a.b.mp4", "a.b"),
        ("x/clip.safetensors", "clip"),
        ("clip-talk.performance.safetensors", "clip-talk"),
    ],
)
def test_plain_name(name: str, plain: str) -> None:
    assert settings.plain_name(Path(name)) == plain


def test_input_must_hold_something(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "no", "no such file"), (tmp_path, "is not a file")):
        with pytest.raises(InputError, match=complaint):
            settings.check_input(path, "a clip")


def test_estimate_follows_length_pace_and_pauses() -> None:
    script = Script(
        segments=(Segment(text="x" * 145, pause_after=1.0), Segment(text="", pause_after=2.0)),
        language="en",
        source_sha256="",
    )
    assert settings.estimate_seconds(script, speed=None, duration=None) == pytest.approx(13.0)
    assert settings.estimate_seconds(script, speed=2.0, duration=None) == pytest.approx(8.0)
    assert settings.estimate_seconds(script, speed=2.0, duration=5.0) == 5.0


def test_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_CACHE_DIR", str(tmp_path))
    assert settings.cache_folder() == tmp_path
    monkeypatch.delenv("OMNITALK_CACHE_DIR")
    assert settings.cache_folder().name == "omnitalk"


def calls_outside_main(path: Path) -> set[str]:
    """Names called in a module, but for its ``main`` and its last lines (``python -m``)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if getattr(node, "name", None) != "main"
        and not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
    ]
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_library_neither_prints_nor_exits() -> None:
    """Only cli/ talks: everything else answers with values and errors."""
    package = Path(settings.__file__).parents[1]
    for path in package.rglob("*.py"):
        if path.parent.name != "cli":
            talk = calls_outside_main(path) & {"print", "input", "exit", "sys.exit"}
            assert not talk, f"{path}: {talk}"


def test_only_the_command_line_knows_rich_and_typer() -> None:
    package = Path(settings.__file__).parents[1]
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert "click" not in roots, path
            if path.parent.name != "cli":
                assert not roots & {"rich", "typer"}, path
