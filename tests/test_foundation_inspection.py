"""What a file holds, in figures and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.pipeline import charts, inspection
from omnitalk_cli.pipeline.overview import HEIGHT, WIDTH, draw_overview
from omnitalk_cli.pipeline.performance_store import save_performance
from omnitalk_cli.types import MEL_RATE, Float, Performance, SegmentTime


def lively_codes(frames: int) -> Float:
    """Codes of a head that turns, speaks and blinks three times."""
    seconds = np.arange(frames) / MEL_RATE
    codes = np.zeros((frames, 61), np.float32)
    codes[:, CODE_INDEX["jawOpen"]] = 0.4 * np.clip(np.sin(seconds * 14), 0, 1)
    codes[:, CODE_INDEX["headYaw"]] = np.radians(12) * np.sin(seconds)
    codes[:, CODE_INDEX["headX"]] = 0.3 * np.sin(seconds)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        for moment in (1.0, 3.0, 5.0):
            codes[:, CODE_INDEX[name]] += np.exp(-(((seconds - moment) / 0.06) ** 2))
    return codes


@pytest.fixture
def performance() -> Performance:
    frames = 600
    noise = np.random.default_rng(0).normal(size=(frames, 100))
    return Performance(
        mel=(noise - 5).astype(np.float32),
        codes=lively_codes(frames),
        segments=(SegmentTime(text="Hello there, you.", start=0.1, end=5.9),),
        settings={"seed": 3, "steps": 8},
    )


def test_motion_facts(performance: Performance) -> None:
    facts = inspection.motion_facts(performance.codes, MEL_RATE)
    assert facts["blinks"] == 3
    assert facts["blinks_per_minute"] == pytest.approx(28.1, abs=0.1)
    assert facts["yaw_degrees"] == pytest.approx([-12, 12], abs=0.5)
    assert 0.02 < facts["lips_apart_mean"] < facts["lips_apart_peak"] < 0.4
    assert facts["roll_degrees"] == [0, 0]


def test_motion_facts_of_nothing() -> None:
    assert inspection.motion_facts(np.zeros((0, 61), np.float32), 25.0)["blinks"] == 0


def test_brows_and_lids() -> None:
    codes = np.zeros((1, 61), np.float32)
    for name in ("browDownLeft", "browDownRight", "eyeBlinkLeft"):
        codes[0, CODE_INDEX[name]] = 0.5
    assert inspection.brow_raise(codes)[0] == pytest.approx(-0.5)
    assert inspection.eye_closure(codes)[0] == pytest.approx(0.25)


def test_inspect_writes_words_json_and_a_picture(
    performance: Performance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_performance(performance, tmp_path / "a.performance.safetensors")
    words = ["inspect", "a.performance.safetensors"]
    text = CliRunner().invoke(app, words).stdout
    assert "performance of 6.40 s" in text and "3 blinks" in text and "Hello there" in text
    result = CliRunner().invoke(app, [*words, "--plot", "plots/a.png", "--json"])
    answer = json.loads(result.stdout)
    assert answer["plot"] == "plots/a.png" and answer["seconds"] == pytest.approx(6.4)
    picture = cv2.imread(str(tmp_path / "plots" / "a.png"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    again = CliRunner().invoke(app, [*words, "--plot", "plots/a.png"])
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_picture_shows_each_thing_in_its_panel(performance: Performance) -> None:
    empty = np.zeros_like(performance.codes)
    picture = draw_overview("Title", performance.mel, performance.codes, MEL_RATE, ())
    still = draw_overview("Title", performance.mel, empty, MEL_RATE, ())
    changed = np.abs(picture.astype(int) - still).sum(axis=2) > 0
    assert not changed[90:310, 70:970].any()  # the same sound
    for panel in ((365, 485), (540, 660), (715, 835)):  # mouth, lids, head
        assert changed[slice(*panel), 70:970].mean() > 0.01
    assert changed[90:390, 1040:1340].any()  # head position
    bright = picture[90:310, 70:970].reshape(-1, 3).std(axis=0)
    assert bright.min() > 10  # the spectrogram is not one colour


def test_picture_of_an_unusual_file() -> None:
    mel, codes = np.zeros((1, 100), np.float32), np.zeros((1, 61), np.float32)
    marks = ((0.0, 0.005, "中文"), (0.005, 9.0, "x" * 500))
    assert draw_overview("中文 " * 50, mel, codes, 25.0, marks).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("low", "high", "count"), [(0, 1, 4), (-15, 15, 10), (0, 7.47, 10), (0, 600, 10), (0, 1e-3, 5)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float, count: int) -> None:
    values = charts.ticks(low, high, count)
    assert 2 <= len(values) <= count + 1
    assert low <= values[0] and values[-1] <= high * (1 + 1e-9)
    assert np.allclose(np.diff(values), values[1] - values[0])


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors")
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.safetensors")])
    assert result.exit_code == 3 and "neither" in result.stderr
