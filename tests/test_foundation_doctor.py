"""``doctor`` finds what is there, says what is missing, and exits 4 when generate cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.pipeline.diagnose import diagnose
from omnitalk_cli.weights import store


def states(**options: str) -> dict[str, str]:
    return {check.name: check.state for check in diagnose(**options).checks}


def test_this_machine_has_what_the_tests_need() -> None:
    found = states()
    for name in ("python", "packages", "torch", "ffmpeg", "encoder libx264", "encoder aac"):
        assert found[name] == "ok", name


def test_missing_weights_stop_generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "embedded_folders", lambda: (tmp_path,))
    (tmp_path / "vocoder.safetensors").write_bytes(b"damaged")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == 4 and answer["ready"] is False
    lacking = [check for check in answer["checks"] if check["state"] == "missing"]
    assert [check["name"] for check in lacking] == ["weights tiny"]
    assert all(check["remedy"] for check in lacking)
    assert "generate cannot work" in CliRunner().invoke(app, ["doctor"]).stdout


def test_public_weights_are_offered_with_their_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    folder = tmp_path / "whisper-tiny"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"x" * 2_000_000)
    checks = {check.name: check for check in diagnose().checks}
    f5 = checks["weights f5-tts"]
    assert f5.state == "optional" and f5.remedy == "omnitalk weights pull f5-tts"
    assert "1.35 GB" in f5.found and "CC-BY-NC-4.0: no commercial use" in f5.found
    there = checks["weights whisper-tiny"]
    assert there.state == "ok" and "2.0 MB, MIT" in there.found and not there.remedy


def test_unusable_ffmpeg_is_told() -> None:
    checks = {check.name: check for check in diagnose(ffmpeg="no-such-ffmpeg").checks}
    assert checks["ffmpeg"].state == "missing" and "no-such-ffmpeg" in checks["ffmpeg"].remedy


def test_cache_that_cannot_be_written_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_CACHE_DIR", "/proc/none/omnitalk")
    checks = {check.name: check for check in diagnose().checks}
    assert checks["cache folder"].state in ("optional", "ok")


def test_speech_models_in_the_hub_cache_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("OMNITALK_ASR_MODEL", raising=False)
    assert states()["speech recognition"] == "optional"
    folder = tmp_path / "models--Systran--faster-whisper-tiny" / "snapshots" / "1"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"x")
    assert states()["speech recognition"] == "optional"  # a model without its tokenizer is none
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes(b"{}")
    checks = {check.name: check for check in diagnose().checks}
    assert checks["speech recognition"].found.startswith("whisper tiny")
