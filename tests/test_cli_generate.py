"""``generate``, ``synth`` and ``render`` pass the right things on; the stages are stand-ins."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from omnitalk_cli.cli import generate as generate_module
from omnitalk_cli.cli import stages
from omnitalk_cli.cli import synth as synth_module
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.pipeline import request
from omnitalk_cli.types import Performance, Script, Segment, SegmentTime, Take

SCRIPT = Script(segments=(Segment(text="Hi.", pause_after=0),), language="en", source_sha256="0")
PERFORMANCE = Performance(
    mel=np.full((188, 100), -5, np.float32),
    codes=np.zeros((188, 61), np.float32),
    segments=(SegmentTime(text="Hi.", start=0.0, end=2.0),),
    settings={"seed": 7, "model": "tiny"},
)

SPEECH = SimpleNamespace(model=SimpleNamespace(name="tiny", why=""), prompted=None)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the stages by ones that keep what they were given."""
    (tmp_path / "clip.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    kept: dict[str, Any] = {}

    def keep(name: str, answer: Any) -> Any:
        def stage(*args: Any, **more: Any) -> Any:
            kept[name] = (args, more)
            more["console"].progress(name, 1, 1) if "console" in more else None
            return answer(*args) if callable(answer) else answer

        return stage

    def take(reference: Any, performance: Performance, output: Path) -> Take:
        output.write_bytes(b"video")
        return Take(
            path=output, seconds=2.0, width=512, height=512, fps=25.0, seed=7, marks={},
            timings={"render_encode": 1.0}, settings=performance.settings,
        )  # fmt: skip

    for module in (generate_module, synth_module):
        monkeypatch.setattr(module, "read_script", keep("script", SCRIPT))
        monkeypatch.setattr(module, "get_reference", keep("reference", ("REFERENCE", True)))
        monkeypatch.setattr(module, "speech_settings", keep("speech", SPEECH))
        monkeypatch.setattr(module, "perform", keep("perform", PERFORMANCE))
    monkeypatch.setattr(generate_module, "video_options", keep("video", "VIDEO"))
    monkeypatch.setattr(generate_module, "check_frame", keep("frame", None))
    monkeypatch.setattr(generate_module, "preparing", keep("prepare", nullcontext()))
    monkeypatch.setattr(generate_module, "produce", keep("produce", take))
    return kept


def test_generate_passes_each_stage_what_was_given(calls: dict[str, Any], tmp_path: Path) -> None:
    words = (
        "generate --ref clip.mp4 --say Hi --seed 7 --steps 4 --cfg-video 0 --ref-start 1.5 "
        "--fps 30 --gaze 0 --visible-mark none --renderer mesh --device cpu "
        "--label-profile cn --visible-position top --visible-size 0.05 --visible-opacity 0.8 "
        "--visible-font a.ttf --producer ACME "
        "--overwrite -o new/out.mp4 --json"
    )
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.stderr
    assert calls["script"][0] == ("Hi", "auto")
    assert calls["prepare"][0][:2] == ("REFERENCE", "VIDEO")
    assert calls["prepare"][0][2] is calls["produce"][1]["workshop"]
    assert calls["reference"][1]["options"] == {"start": 1.5, "device": "cpu"}
    assert calls["speech"][1]["options"] == {"seed": 7, "steps": 4, "cfg_video": 0}
    assert calls["video"][1] == {
        "overwrite": True,
        "device": "cpu",
        "dtype": "auto",
        "options": {
            "fps": 30,
            "gaze": 0,
            "visible_mark": "none",
            "renderer": "mesh",
            "label_profile": "cn",
            "visible_position": "top",
            "visible_size": 0.05,
            "visible_opacity": 0.8,
            "visible_font": "a.ttf",
            "producer": "ACME",
        },
    }
    assert calls["perform"][0] == ("REFERENCE", SCRIPT, SPEECH)
    assert calls["produce"][1]["options"] == "VIDEO"
    assert (tmp_path / "new" / "out.mp4").read_bytes() == b"video"


def test_generate_json_holds_the_take(calls: dict[str, Any]) -> None:
    words = ["generate", "--ref", "clip.mp4", "--say", "Hi", "--json"]
    answer = json.loads(CliRunner().invoke(app, words).stdout)
    assert answer["path"] == "clip-talk.mp4" and answer["seed"] == 7
    assert answer["reference_cached"] is True
    assert {"reference", "synthesis", "render_encode", "total"} <= set(answer["timings"])


def test_plan_as_json_with_files_among_the_options(calls: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("x")
    arguments = ["--dry-run", "--json", "--sign-cert", "a.pem", "--sign-key", "a.pem"]
    result = CliRunner().invoke(app, ["generate", "--ref", "clip.mp4", "--say", "Hi.", *arguments])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["options"]["sign_cert"] == "a.pem"


def test_generate_says_where_the_file_is_and_the_seed(calls: dict[str, Any]) -> None:
    result = CliRunner().invoke(app, ["generate", "--ref", "clip.mp4", "--say", "Hi"])
    assert result.stdout.splitlines()[0] == "clip-talk.mp4"
    assert "seed 7" in result.stdout
    assert "perform: done" in result.stderr


def test_quiet_says_nothing_on_stderr(calls: dict[str, Any]) -> None:
    result = CliRunner().invoke(app, ["generate", "--ref", "clip.mp4", "--say", "Hi", "-q"])
    assert result.stderr == "" and result.stdout


def test_script_from_stdin(calls: dict[str, Any]) -> None:
    words = ["generate", "--ref", "clip.mp4", "--text", "-"]
    assert CliRunner().invoke(app, words, input="Guten Tag").exit_code == 0
    assert calls["script"][0][0] == "Guten Tag"


def test_script_from_file_names_the_output(calls: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "lesson 1.txt").write_text("Hi.")
    words = ["generate", "--ref", "clip.mp4", "--text", "lesson 1.txt"]
    result = CliRunner().invoke(app, words)
    assert result.stdout.splitlines()[0] == "clip-lesson 1.mp4"
    assert calls["script"][0][0] == Path("lesson 1.txt")


def test_synth_writes_a_performance_that_inspect_reads(
    calls: dict[str, Any], tmp_path: Path
) -> None:
    words = ["synth", "--ref", "clip.mp4", "--say", "Hi", "--json"]
    answer = json.loads(CliRunner().invoke(app, words).stdout)
    assert answer["path"] == "clip-talk.performance.safetensors"
    seen = json.loads(CliRunner().invoke(app, ["inspect", answer["path"], "--json"]).stdout)
    assert seen["kind"] == "performance" and seen["settings"]["seed"] == 7


def test_transcript_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("\ufeffIt was said.\n", encoding="utf-8")
    assert request.reference_text(str(file)) == "It was said."
    assert request.reference_text("It was said.") == "It was said."
    assert request.reference_text(None) is None
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="UTF-8"):
        request.reference_text(str(file))


def test_features_file_takes_no_extraction_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ref-start"):
        stages.get_reference(
            tmp_path / "a.safetensors", options={"start": 1.0}, cache=True, console=None
        )


def test_options_are_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnitalk_cli.weights.store.find_weights", lambda name: Path(name))
    with pytest.raises(UsageError, match="even"):
        request.video_options(overwrite=False, options={"size": 333})
    with pytest.raises(UsageError, match="visible mark"):
        request.video_options(overwrite=False, options={"visible_mark": "x" * 200})
    with pytest.raises(SetupError, match="ffmpeg"):
        request.video_options(overwrite=False, options={"ffmpeg": "no-such-program"})
    with pytest.raises(UsageError, match="time stamp server"):
        request.video_options(overwrite=False, options={"timestamp_url": "ftp://host/"})
    monkeypatch.undo()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    speech_settings = partial(
        request.speech_settings, model="tiny", dtype="auto", language="en", vocoder=None
    )
    with pytest.raises(SetupError, match="cuda"):
        speech_settings(device="cuda", options={})
    with pytest.raises(UsageError, match="steps"):
        speech_settings(device="cpu", options={"steps": 0})
