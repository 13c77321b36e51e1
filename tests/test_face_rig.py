"""The face model: sign conventions, projection, regions."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.face.codes import CODE_COUNT, CODE_INDEX, LIVE_EXPRESSION
from omnitalk_cli.face.regions import FIT_POINT_COUNT, FIT_POINTS, REGIONS
from omnitalk_cli.face.rig import FaceRig, rotation_angles, rotation_matrix
from omnitalk_cli.types import PoseFrame

FRAME = PoseFrame(origin_x=250.0, origin_y=240.0, scale=150.0)
NOSE, CHIN, LEFT_CORNER, RIGHT_CORNER = 1, 152, 263, 33


def _projected(**values: float) -> np.ndarray:
    codes = np.zeros((1, CODE_COUNT), np.float32)
    for name, value in values.items():
        codes[0, CODE_INDEX[name]] = value
    rig = FaceRig.load()
    return rig.project(codes, rig.mean, FRAME)[0]


def test_rig_has_the_shapes_that_rooms_rely_on() -> None:
    rig = FaceRig.load()
    assert rig.basis.shape == (37, 478, 3) == (len(LIVE_EXPRESSION), *rig.mean.shape)
    assert rig.eye_basis.shape == (4, 478, 3)
    assert np.linalg.norm(rig.mean[LEFT_CORNER] - rig.mean[RIGHT_CORNER]) == pytest.approx(1.0)
    assert rig is FaceRig.load()
    with pytest.raises(ValueError):
        rig.mean[0] = 0.0  # shared: must not be written to


def test_rotation_is_inverted_by_its_angles() -> None:
    angles = np.random.default_rng(1).uniform(-0.9, 0.9, (20, 3))
    rotation = rotation_matrix(angles)
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(rotation_angles(rotation), angles, atol=1e-12)


def test_neutral_stands_where_the_pose_frame_says() -> None:
    points = _projected()
    rig = FaceRig.load()
    assert np.allclose(points[:, 0], 250 + 150 * rig.mean[:, 0], atol=1e-3)
    assert np.allclose(points[:, 1], 240 - 150 * rig.mean[:, 1], atol=1e-3)
    assert points[NOSE, 2] < points[CHIN, 2]  # nearer is smaller
    assert points[CHIN, 1] > points[NOSE, 1]


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("headYaw", 0, 1), ("headPitch", 1, 1), ("headX", 0, 1), ("headY", 1, -1)],
)
def test_pose_moves_the_nose_as_documented(name: str, axis: int, sign: int) -> None:
    moved = _projected(**{name: 0.2}) - _projected()
    assert sign * moved[NOSE, axis] > 5


def test_roll_turns_counter_clockwise_and_scale_is_logarithmic() -> None:
    assert _projected(headRoll=0.2)[LEFT_CORNER, 1] < _projected()[LEFT_CORNER, 1]
    wide = _projected(headScale=float(np.log(2)))
    assert wide[LEFT_CORNER, 0] - wide[RIGHT_CORNER, 0] == pytest.approx(
        2 * (_projected()[LEFT_CORNER, 0] - _projected()[RIGHT_CORNER, 0]), rel=1e-4
    )


def test_gaze_moves_only_its_iris() -> None:
    moved = _projected(gazeLeftYaw=0.3, gazeRightPitch=0.3) - _projected()
    assert np.all(moved[473:478, 0] > 3) and np.allclose(moved[473:478, 1], 0, atol=1e-3)
    assert np.all(moved[468:473, 1] > 3) and np.allclose(moved[468:473, 0], 0, atol=1e-3)
    assert np.allclose(moved[:468], 0)


def test_jaw_opens_the_mouth_and_blink_closes_the_eyes() -> None:
    rest, wide = _projected(), _projected(jawOpen=0.5)
    assert (wide[14] - wide[13])[1] > (rest[14] - rest[13])[1] + 10
    shut = _projected(eyeBlinkLeft=0.4, eyeBlinkRight=0.4)
    for upper, lower in ((386, 374), (159, 145)):
        assert abs((shut[lower] - shut[upper])[1]) < 0.3 * (rest[lower] - rest[upper])[1]


def test_regions_lie_inside_the_mesh() -> None:
    assert len(FIT_POINTS) == len(np.unique(FIT_POINTS)) == FIT_POINT_COUNT
    for points in REGIONS.values():
        assert len(np.unique(points)) == len(points)
        assert points.max() < 468
        assert np.isin(points, FIT_POINTS).all()
