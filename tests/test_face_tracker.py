"""Finding and following drawn faces; crops, gaps, smoothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from drawn_face import face_frames
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.crop import FACE_SHARE, choose_crop, cut
from omnitalk_cli.face.finder import FaceFinder
from omnitalk_cli.face.mediapipe_models import Box
from omnitalk_cli.face.smoothing import fill_gaps, gaps, smooth
from omnitalk_cli.face.tracker import (
    LandmarkTracker,
    choose_face,
    finish,
    longest_run,
    lost_times,
)


def _find(width: int, height: int, faces: list[tuple[float, float, float]], samples: int = 3):
    with FaceFinder() as finder:
        for frame in face_frames(samples * 6, width, height, faces)[::6]:
            finder.look(frame)
        return finder.faces()


def test_one_face_is_found_where_it_is() -> None:
    chosen = choose_face(_find(320, 240, [(150, 110, 110)]), (320, 240), name="x.mp4")
    assert not chosen.others and chosen.in_square == 1
    box = chosen.track.boxes[0]
    assert abs(box.centre[0] - 150) < 12 and abs(box.centre[1] - 115) < 15
    assert 80 < box.side < 135


def test_tiny_face_in_a_corner_is_found() -> None:
    faces = _find(1280, 720, [(1150, 640, 52)], samples=2)
    assert len(faces) == 1
    assert abs(faces[0].boxes[0].centre[0] - 1150) < 12


def test_two_faces_the_larger_is_taken_and_another_can_be_asked_for() -> None:
    faces = _find(640, 360, [(160, 190, 90), (460, 180, 150)])
    chosen = choose_face(faces, (640, 360), name="x.mp4")
    assert abs(chosen.track.middle - 460) < 20 and len(chosen.others) == 1
    left = choose_face(faces, (640, 360), name="x.mp4", index=0)
    assert abs(left.track.middle - 160) < 20
    with pytest.raises(InputError, match="no face 2; 2 faces are seen"):
        choose_face(faces, (640, 360), name="x.mp4", index=2)


def test_no_face_is_said_with_the_file() -> None:
    with pytest.raises(InputError, match="no face found in x.mp4"):
        choose_face(_find(320, 240, [], samples=1), (320, 240), name="x.mp4")


def test_tracker_follows_and_reports_where_the_face_is_hidden() -> None:
    frames = face_frames(24, 256, 256, [(128, 120, 120)], hidden=(8, 12))
    with LandmarkTracker() as tracker:
        for frame in frames:
            tracker.add(frame)
        points, found = tracker.result()
    assert points.shape == (24, 478, 3)
    assert found[:8].all() and not found[8:12].any() and found[13:].all()
    smoothed = finish(points, found)
    assert np.isfinite(smoothed).all()
    assert np.abs(smoothed[10, 1, :2] - smoothed[7, 1, :2]).max() < 8


def test_tracker_keeps_to_the_expected_face() -> None:
    frames = face_frames(6, 512, 256, [(130, 120, 120), (380, 120, 120)])
    expected = Box(x=320, y=60, width=120, height=120)
    with LandmarkTracker(expected, faces=2) as tracker:
        for frame in frames:
            tracker.add(frame)
        points, found = tracker.result()
    assert found.all()
    assert np.abs(points[:, :468, 0].mean(axis=1) - 380).max() < 20


def test_nothing_of_mediapipe_reaches_stderr() -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from drawn_face import face_frames\n"
        "from omnitalk_cli.face.finder import FaceFinder\n"
        "frames = face_frames(2, 256, 256, [(128, 120, 120)])\n"
        "with FaceFinder() as finder:\n"
        "    found = [len(finder.look(frame)) for frame in frames]\n"
        "sys.stderr.write('alive')\n"
        "assert found == [1, 1], found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        cwd=__file__.rpartition("/tests/")[0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "alive"


def test_crop_is_square_centred_and_inside_the_picture() -> None:
    crop = choose_crop([Box(x=600, y=300, width=90, height=100)], 1280, 720)
    assert crop.size == round(100 / FACE_SHARE)
    assert abs(crop.x + crop.size / 2 - 645) < 2
    near_corner = choose_crop([Box(x=5, y=5, width=90, height=100)], 1280, 720)
    assert (near_corner.x, near_corner.y) == (0, 0)


def test_crop_of_a_close_up_is_the_whole_picture() -> None:
    crop = choose_crop([Box(x=150, y=120, width=250, height=300)], 512, 512)
    assert (crop.x, crop.y, crop.size) == (0, 0, 512)


def test_crop_holds_a_moving_head_and_reaches_over_the_border_only_if_it_must() -> None:
    boxes = [Box(x=x, y=100, width=80, height=100) for x in range(100, 500, 50)]
    crop = choose_crop(boxes, 640, 360)
    assert crop.x < 100 and crop.x + crop.size > 530
    assert crop.size > 360 and crop.y < 0


def test_cut_scales_exactly() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:50] = 255
    crop = choose_crop([Box(x=30, y=20, width=20, height=20)], 80, 60)
    for side in (16, 42, 64):
        square = cut(picture, crop, side)
        assert square.shape == (side, side, 3)
        share = (20 / crop.size) ** 2
        assert square.mean() / 255 == pytest.approx(share, rel=0.06)


def test_gaps_are_found_filled_and_told() -> None:
    found = np.array([True] * 5 + [False] * 5 + [True] * 10)
    assert gaps(found) == [(5, 10)]
    ramp = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 478, 3), np.float32)
    holed = np.where(found[:, None, None], ramp, 0)
    assert np.allclose(fill_gaps(holed, found), ramp)
    assert longest_run(found, fps=25) == (0, 20)
    assert longest_run(found, fps=10) == (10, 20)
    assert longest_run(np.zeros(4, bool), fps=10) == (0, 0)
    late = np.array([False] * 3 + [True] * 9)
    assert longest_run(late, fps=25) == (3, 12)
    assert lost_times(found, 10, start=2.0) == "the face is lost at 2.5-3.0 s"


def test_smoothing_keeps_lines_and_takes_noise() -> None:
    rng = np.random.default_rng(0)
    line = np.linspace(0, 50, 40, dtype=np.float32)[:, None]
    assert np.allclose(smooth(line), line, atol=1e-4)
    noisy = line + rng.normal(0, 1, line.shape).astype(np.float32)
    assert np.abs(smooth(noisy) - line).mean() < 0.85 * np.abs(noisy - line).mean()
    assert np.array_equal(smooth(line[:3]), line[:3])
