"""Where an option's value comes from: command line > environment > TOML file > default."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from omnitalk_cli.cli import generate as generate_module
from omnitalk_cli.cli.app import app
from omnitalk_cli.types import Script, Segment

SCRIPT = Script(
    segments=(Segment(text="Hello there.", pause_after=0.5),), language="en", source_sha256="0"
)

SPEECH = SimpleNamespace(model=SimpleNamespace(name="tiny", why=""), prompted=None)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``generate --dry-run --json`` and returns the plan (or the error object)."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not looked at in a dry run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(generate_module, "read_script", lambda source, language: SCRIPT)
    # What these check needs weights; their own checks are tested elsewhere.
    monkeypatch.setattr(generate_module, "speech_settings", lambda **options: SPEECH)
    monkeypatch.setattr(generate_module, "video_options", lambda **options: None)

    def run(*options: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        words = ["generate", "--ref", str(clip), "--say", "Hello", "--dry-run", "--json", *options]
        result = CliRunner().invoke(app, words, env=env)
        return {"exit": result.exit_code, **json.loads(result.stdout)}

    return run


def test_default_is_left_to_the_stage(plan: Any) -> None:
    assert plan()["options"] == {}


def test_file_sets_a_default(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("steps = 5\n[generate]\ncfg-text = 1.5\n")
    assert plan("--config", "mine.toml")["options"] == {"steps": 5, "cfg_text": 1.5}


def test_table_of_the_command_beats_the_top_of_the_file(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("steps = 5\n[generate]\nsteps = 6\n[synth]\nsteps = 7\n")
    assert plan("--config", "mine.toml")["options"] == {"steps": 6}


def test_environment_beats_the_file(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("steps = 5\n")
    env = {"OMNITALK_STEPS": "6", "OMNITALK_CONFIG": "mine.toml"}
    assert plan(env=env)["options"] == {"steps": 6}


def test_command_line_beats_the_environment(plan: Any) -> None:
    assert plan("--steps", "7", env={"OMNITALK_STEPS": "6"})["options"] == {"steps": 7}


def test_file_in_the_config_folder_is_found(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "config" / "omnitalk").mkdir(parents=True)
    (tmp_path / "config" / "omnitalk" / "omnitalk.toml").write_text("seed = 42\n")
    assert plan()["seed"] == 42


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--cfg-video", "0"), "cfg_video"),
        (("--crf", "0"), "crf"),
        (("--gaze", "0"), "gaze"),
        (("--blink-rate", "0"), "blink_rate"),
        (("--look-at-camera", "0"), "look_at_camera"),
        (("--ref-start", "0"), "start"),
        (("--face", "0"), "face_index"),
    ],
)
def test_zero_is_a_value(plan: Any, words: tuple[str, ...], name: str) -> None:
    assert plan(*words)["options"] == {name: 0}


def test_zero_on_the_command_line_beats_the_environment(plan: Any) -> None:
    assert plan("--cfg-video", "0", env={"OMNITALK_CFG_VIDEO": "2"})["options"]["cfg_video"] == 0


def test_seed_zero_is_kept(plan: Any) -> None:
    assert plan("--seed", "0")["seed"] == 0


def test_drawn_seeds_differ_and_are_told(plan: Any) -> None:
    assert plan()["seed"] != plan()["seed"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("stepz = 5\n", "did you mean 'steps'"),
        ("[generat]\nsteps = 5\n", "did you mean 'generate'"),
        ("[doctor]\nsteps = 5\n", "unknown key 'steps'"),
        ("steps = 0\n", "greater than or equal to 1"),
        ("steps = 'many'\n", "steps"),
        ("[generate]\nschedule = 'linear'\n", "schedule"),
        ("steps = \n", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file_are_told(
    plan: Any, tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "mine.toml").write_text(content)
    answer = plan("--config", "mine.toml")
    assert answer["exit"] == answer["exit_code"] == 2
    assert "mine.toml" in answer["error"] and complaint in answer["error"]


def test_missing_config_file_is_told(plan: Any) -> None:
    answer = plan("--config", "nowhere.toml")
    assert answer["exit"] == 2 and "nowhere.toml: no such file" in answer["error"]


def test_dry_run_tells_everything_and_writes_nothing(plan: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = plan("-o", "new/folder/out.mp4")
    assert answer["exit"] == 0 and answer["dry_run"] is True
    assert answer["output"] == "new/folder/out.mp4"
    assert answer["estimated_seconds"] == pytest.approx(12 / 14.5 + 0.5, abs=0.1)
    assert sorted(tmp_path.rglob("*")) == before


def test_output_is_named_after_reference_and_script(plan: Any, tmp_path: Path) -> None:
    assert plan()["output"] == "clip-talk.mp4"


@pytest.mark.parametrize(
    "words",
    [
        ("--size", "200"),
        ("--size", "1100"),
        ("--fps", "12"),
        ("--fps", "75"),
        ("--view", "body"),
        ("--blink-rate", "4"),
        ("--look-at-camera", "1.5"),
    ],
)
def test_values_outside_their_range_are_refused(plan: Any, words: tuple[str, str]) -> None:
    answer = plan(*words)
    assert answer["exit"] == 2 and words[0] in answer["error"]


def test_view_and_background_come_from_everywhere(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('view = "full"\nbackground = "blur"\n')
    env = {"OMNITALK_BACKGROUND": "#102030"}
    assert plan("--config", "mine.toml", env=env)["options"] == {
        "view": "full", "background": "#102030",
    }  # fmt: skip
