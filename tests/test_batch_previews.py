"""Previews of videos: the picture, the curve of loudness, and the store of both."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media_samples import make_video
from omnitalk_cli.batch import previews
from omnitalk_cli.batch.previews import LEVELS, Preview, PreviewStore, loudness_curve
from report_samples import make_talk

# Loudness


def test_loudness_is_in_steps_of_a_decibel() -> None:
    assert loudness_curve(np.zeros(48_000, np.float32)) == "A" * 120
    assert loudness_curve(np.ones(48_000, np.float32)) == LEVELS[-1] * 120
    sine = np.sin(np.arange(48_000) / 7).astype(np.float32)
    assert set(loudness_curve(sine)) == {LEVELS[60]}  # 3 dB below a square wave
    half = np.concatenate([np.full(600, 0.1), np.zeros(600)]).astype(np.float32)
    assert loudness_curve(half) == LEVELS[43] * 60 + "A" * 60
    assert loudness_curve(np.zeros(0, np.float32)) == ""


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=400))
def test_loudness_has_120_letters_however_short_the_sound(sound: list[float]) -> None:
    curve = loudness_curve(np.array(sound, np.float32))
    assert len(curve) == 120 and set(curve) <= set(LEVELS)


# Previews


def test_preview_of_a_video(tmp_path: Path) -> None:
    preview = previews.make_preview(make_talk(tmp_path / "a.mp4"))
    picture = Image.open(io.BytesIO(preview.picture))
    assert picture.format == "JPEG" and picture.size == (90, 90)
    blue = np.asarray(picture)[..., 2].mean()
    assert blue == pytest.approx(60 + 120 * 25 / 50, abs=4)  # the frame at one second
    level = np.array([LEVELS.index(letter) for letter in preview.curve]) - 63
    assert level[:58].max() < -50
    assert level[62:116].mean() == pytest.approx(20 * np.log10(0.3) - 3, abs=1)


def test_preview_of_odd_videos(tmp_path: Path) -> None:
    wide = previews.make_preview(make_video(tmp_path / "w.mp4", seconds=0.2, size=(640, 64)))
    assert Image.open(io.BytesIO(wide.picture)).size == (160, 16)
    silent = previews.make_preview(make_video(tmp_path / "s.mp4", seconds=0.2, tone=None))
    assert silent.picture and silent.curve == ""
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video at all")
    assert previews.make_preview(broken) == Preview()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Previews without decoding; the list tells of which videos."""
    made: list[str] = []

    def make(video: Path) -> Preview:
        made.append(video.name)
        return Preview(picture=video.read_bytes(), curve="A" * 120)

    monkeypatch.setattr(previews, "make_preview", make)
    return made


def test_only_new_and_changed_videos_are_decoded(tmp_path: Path, counted: list[str]) -> None:
    videos = [tmp_path / name for name in ("a.mp4", "b\ud8ff.mp4", "gone.mp4")]
    videos[0].write_bytes(b"1")
    videos[1] = tmp_path / "b ü'\".mp4"
    videos[1].write_bytes(b"2")
    store = tmp_path / "p.sqlite3"
    first = PreviewStore(store).of(videos, workers=1)
    assert sorted(counted) == ["a.mp4", videos[1].name] and set(first) == set(videos[:2])
    assert PreviewStore(store).of(videos) == first and len(counted) == 2
    videos[0].write_bytes(b"longer")
    changed = PreviewStore(store).of(videos)
    assert counted[2:] == ["a.mp4"] and changed[videos[0]].picture == b"longer"
    # A folder that was moved keeps them.
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    PreviewStore(moved / store.name).of([moved / videos[0].name])
    assert len(counted) == 3


@pytest.mark.parametrize(
    "content", [b"", b"not a database" * 100, b"SQLite format 3\0" + b"x" * 99]
)
def test_a_damaged_store_is_made_anew(tmp_path: Path, counted: list[str], content: bytes) -> None:
    video, store = tmp_path / "a.mp4", tmp_path / "p.sqlite3"
    video.write_bytes(b"1")
    store.write_bytes(content)
    for _ in range(2):
        assert PreviewStore(store).of([video])[video].picture == b"1"
    assert counted == ["a.mp4"]


def test_a_store_that_cannot_be_written_only_costs_time(tmp_path: Path, counted: list[str]) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"1")
    (tmp_path / "p.sqlite3").mkdir()
    for _ in range(2):
        assert PreviewStore(tmp_path / "p.sqlite3").of([video])[video].picture == b"1"
    assert len(counted) == 2
