"""``--model f5-tts`` through the command line: random weights in the public layout, imported, speak
and become a marked video; ``auto`` takes them for Chinese."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import f5_layout
from omnitalk_cli.cli.app import app
from omnitalk_cli.media.probe import probe

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the features of the example; ``f5-tts`` is installed."""
    folder = tmp_path_factory.mktemp("f5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNITALK_WEIGHTS_DIR", str(folder / "weights"))
        patch.setenv("OMNITALK_KEY_DIR", str(folder / "keys"))
        path = f5_layout.publish(folder, f5_layout.tensors())
        run("weights", "import", str(path), "--as", "f5-tts", "--accept-license", "f5-tts")
        run("extract", str(EXAMPLES / "reference.mp4"), "-o", str(folder / "mira.safetensors"))
        yield folder


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*words], env={"NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def test_generate(voice: Path) -> None:
    path = voice / "a.mp4"
    take = json.loads(
        run(
            "generate", "--ref", str(voice / "mira.safetensors"), "--model", "f5-tts",
            "--say", "Hello there, this is long enough. [pause 0.5] And this follows.",
            "--steps", "5", "--size", "256", "--seed", "1", "-o", str(path), "--json",
        )
    )  # fmt: skip
    assert take["settings"]["model"] == "f5-tts" and take["settings"]["vocoder"] == "vocoder"
    assert take["settings"]["motion_model"] == "tiny"
    info = probe(path)
    assert info.audio_seconds == pytest.approx(info.video_seconds, abs=0.05)
    assert info.video_seconds == pytest.approx(take["seconds"], abs=0.05)
    # Noise is no speech, whose mark would be found: what is looked for is the signed statement.
    found = json.loads(run("verify", str(path), "--json"))["files"][0]["layers"]
    assert found["credentials"]["state"] == "trusted"


def test_synth_keeps_the_sound_that_render_shows(voice: Path) -> None:
    performance = voice / "b.performance.safetensors"
    reference = str(voice / "mira.safetensors")
    run("synth", "--ref", reference, "--model", "f5-tts", "--say", "Hello there.", "--steps", "5",
        "--seed", "1", "-o", str(performance))  # fmt: skip
    run("render", str(performance), "--ref", reference, "--size", "256", "-o", str(voice / "b.mp4"))
    assert probe(voice / "b.mp4").has_audio


def test_auto_takes_it_for_chinese_only_and_says_so(voice: Path) -> None:
    words = ("generate", "--ref", str(voice / "mira.safetensors"), "--dry-run", "--device", "cpu")
    assert json.loads(run(*words, "--say", "你好，世界。", "--json"))["model"] == "f5-tts"
    assert json.loads(run(*words, "--say", "Hello.", "--json"))["model"] == "tiny"


def test_a_vocoder_of_another_mel_is_refused(voice: Path) -> None:
    error = run(
        "generate", "--ref", str(voice / "mira.safetensors"), "--model", "f5-tts", "--say", "Hi.",
        "--vocoder", "bigvgan", code=2,
    )  # fmt: skip
    assert "reads the bigvgan mel" in error and error.count("\n") == 1


def test_recorded_speech_needs_no_voice(voice: Path) -> None:
    error = run(
        "generate", "--ref", str(voice / "mira.safetensors"), "--model", "f5-tts",
        "--audio", str(EXAMPLES / "reference.mp4"), code=2,
    )  # fmt: skip
    assert "leave --model out" in error
