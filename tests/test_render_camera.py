"""The camera's own motion: measured from the background, taken out of pictures and poses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from omnitalk_cli.face.codes import CODE_INDEX, POSE
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.camera import Camera, Clip, completed, find_camera, held
from omnitalk_cli.render.limits import limits_of
from omnitalk_cli.render.plate import unrest
from omnitalk_cli.types import PoseFrame

SIZE = 256
HOME = PoseFrame(origin_x=120.0, origin_y=130.0, scale=60.0)


def wall(side: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((side, side, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.clip(128 + 50 * soft / soft.std(), 0, 255).astype(np.uint8)


def shaken(count: int, size: int = SIZE) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """A person who stands still before a wall, seen by a hand-held camera, and where it looks."""
    scene = wall(2 * size)
    scene[size - 40 : size + 128, size - 30 : size + 30] = (90, 120, 200)
    person = np.zeros((2 * size, 2 * size), np.uint8)
    person[size - 40 : size + 128, size - 30 : size + 30] = 255
    time = np.arange(count)
    looks = size / 2 + np.stack([14 * np.sin(time / 5), 9 * np.cos(time / 7)], axis=-1)
    frames, mattes = [], []
    for x, y in looks:
        move = np.array([[1, 0, -x], [0, 1, -y]])
        frames.append(cv2.warpAffine(scene, move, (size, size)))
        mattes.append(cv2.warpAffine(person, move, (size, size)))
    return frames, mattes, looks


def test_a_shaking_camera_is_found_and_held_still() -> None:
    frames, mattes, looks = shaken(24)
    camera = find_camera(frames, mattes)
    assert camera is not None
    assert np.abs(camera.turn - 1).max() < 0.01
    centre = SIZE / 2 * (1 + 1j)
    moved = camera.turn * centre + camera.shift - centre
    true = looks[:, 0] + 1j * looks[:, 1]
    assert np.abs((moved - moved.mean()) - (true - true.mean())).max() < 0.4
    clip = held(frames, mattes, camera, range(24))
    assert unrest(clip.frames, clip.mattes, clip.known) < 0.25 * unrest(frames, mattes)
    codes = np.zeros((24, 61), np.float32)
    codes[:, CODE_INDEX["headX"]] = -(looks[:, 0] - looks[0, 0]) / HOME.scale
    codes[:, CODE_INDEX["headY"]] = (looks[:, 1] - looks[0, 1]) / HOME.scale
    assert camera.calms(codes, HOME)
    still = camera.move_codes(codes, HOME)
    assert still[:, POSE].std(axis=0).max() < 0.01
    assert not camera.calms(0 * codes, HOME)  # a camera that goes along with the head


def test_a_camera_on_a_stand_is_left_alone_and_flicker_is_no_motion() -> None:
    frames = [wall(SIZE)] * 12
    mattes = [np.zeros((SIZE, SIZE), np.uint8)] * 12
    assert find_camera(frames, mattes) is None
    rng = np.random.default_rng(2)
    noise = [rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(12)]
    assert find_camera(noise, mattes) is None


def test_poses_move_as_the_pictures_do() -> None:
    rng = np.random.default_rng(3)
    codes = np.zeros((5, 61), np.float32)
    codes[:, POSE] = 0.2 * rng.standard_normal((5, 6))
    turn = (1 + 0.1 * rng.standard_normal(5)) * np.exp(0.1j * rng.standard_normal(5))
    camera = Camera(turn=turn, shift=10 * (rng.standard_normal(5) + 1j * rng.standard_normal(5)))
    rig = FaceRig.load()
    landmarks = rig.project(codes, rig.mean, HOME)
    expected = camera.move_points(landmarks)
    made = rig.project(camera.move_codes(codes, HOME), rig.mean, HOME)
    assert np.allclose(made[..., :2], expected[..., :2], atol=0.01)
    place = camera.matrix(2) @ np.append(landmarks[2, 7, :2], 1)
    assert place == pytest.approx(expected[2, 7, :2], abs=1e-3)


def test_missing_borders_come_from_another_picture() -> None:
    full = np.full((128, 128), 255, np.uint8)
    half = full.copy()
    half[80:] = 0
    dark, light = np.full((128, 128, 3), 50, np.uint8), np.full((128, 128, 3), 90, np.uint8)
    clip = Clip(frames=[dark, light], mattes=[0 * full, full], known=[half, full])
    picture, matte = completed(0, clip, [1])
    assert (picture[90:] == 90).all() and (matte[90:] == 255).all()
    assert (picture[:60] == 50).all() and (matte[:60] == 0).all()
    assert np.abs(np.diff(picture[:, 64, 0].astype(int))).max() < 20
    assert (completed(1, clip, [0])[0] == light).all()


def test_performances_keep_only_the_heads_share_of_the_motion() -> None:
    rng = np.random.default_rng(5)
    own = np.zeros((400, 61), np.float32)
    own[:, CODE_INDEX["headX"]] = 0.1 * rng.standard_normal(400)
    filmed = own.copy()
    filmed[:, CODE_INDEX["headX"]] = 0.3 + 4 * own[:, CODE_INDEX["headX"]]
    limits = limits_of(own, filmed)
    kept = limits.apply(filmed)[:, CODE_INDEX["headX"]]
    assert np.abs(kept - own[:, CODE_INDEX["headX"]]).max() < 0.05
    assert kept.std() == pytest.approx(0.1, rel=0.1)
