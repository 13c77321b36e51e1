"""What is drawn for a person of whom there is one picture: mouth interior, lids, irises, limits."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flat_face import drawn_reference
from omnitalk_cli.face.codes import CODE_INDEX, GAZE_NAMES, POSE
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.cavity import MouthLook, draw_cavity, opacity
from omnitalk_cli.render.geometry import Geometry, geometry_of
from omnitalk_cli.render.lids import IRIS_RADIUS, draw_eyes, find_iris, hold_eyes, learn_eyes
from omnitalk_cli.render.limits import STILL_MARGINS, limit_blinks, limits_of
from omnitalk_cli.render.looks import eye_white, teeth_colour
from omnitalk_cli.render.mesh import MeshRenderer
from omnitalk_cli.render.own_teeth import own_teeth
from omnitalk_cli.render.teeth import jaws_of
from omnitalk_cli.render.topology import LIDS, LIPS_INNER, LIPS_OUTER, build_topology
from omnitalk_cli.types import Float, PoseFrame

SIDE = 384
POSE_FRAME = PoseFrame(origin_x=192.0, origin_y=180.0, scale=160.0)
NEUTRAL = FaceRig.load().mean
TOPOLOGY = build_topology(NEUTRAL)
SKIN, LIP, WHITE, IRIS = (215, 165, 140), (175, 80, 85), (225, 222, 218), (60, 45, 35)
TEETH = (232, 228, 215)


def codes_with(**values: float) -> Float:
    codes = np.zeros((1, 61), np.float32)
    for name, value in values.items():
        codes[:, CODE_INDEX[name]] = value
    return codes


def geometry(codes: Float) -> Geometry:
    return geometry_of(codes, NEUTRAL, POSE_FRAME, TOPOLOGY)


def portrait(codes: Float, *, teeth: bool = False) -> np.ndarray:
    """A flat face with eyes, drawn where ``codes`` put them."""
    made = geometry(codes)
    picture = np.full((SIDE, SIDE, 3), SKIN, np.uint8)

    def fill(group: np.ndarray, colour: tuple[int, int, int]) -> None:
        places = np.rint(made.vertices[0, TOPOLOGY.places(group)] * 16).astype(np.int32)
        cv2.fillPoly(picture, [places], colour, cv2.LINE_AA, 4)

    fill(LIPS_OUTER, LIP)
    fill(LIPS_INNER, TEETH if teeth else (40, 15, 15))
    for ring, iris in zip(LIDS, made.irises[0], strict=True):
        whole = picture.copy()
        fill(ring, WHITE)
        inside = (picture != whole).any(axis=-1)
        disc = picture.copy()
        centre = tuple(np.rint(iris).astype(int).tolist())
        cv2.circle(disc, centre, round(IRIS_RADIUS * 160), IRIS, -1, cv2.LINE_AA)
        picture[inside] = disc[inside]
    return picture


def eye_area(made: Geometry, eye: int = 0) -> tuple[slice, slice]:
    ring = made.vertices[0, TOPOLOGY.places(LIDS[eye])]
    (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
    return slice(int(top) - 2, int(bottom) + 3), slice(int(left), int(right) + 1)


def test_upper_teeth_belong_to_the_skull_and_lower_ones_to_the_jaw() -> None:
    shut, open_ = geometry(codes_with()), geometry(codes_with(jawOpen=0.8))
    before, after = jaws_of(shut, 0, NEUTRAL), jaws_of(open_, 0, NEUTRAL)
    assert np.allclose(before.upper, after.upper, atol=0.01)
    assert after.lower_edge[1] - before.lower_edge[1] > 0.15 * 160
    smile = jaws_of(geometry(codes_with(mouthSmileLeft=1, mouthSmileRight=1)), 0, NEUTRAL)
    assert np.allclose(before.upper, smile.upper, atol=0.01)
    # Turning the head brings one side of the arch nearer to its middle than the other.
    turned = jaws_of(geometry(codes_with(headYaw=0.4)), 0, NEUTRAL)
    wide = np.abs(turned.upper[:, :, 0] - turned.upper_edge[0]).max(axis=1)
    assert abs(wide[0::2].max() - wide[1::2].max()) > 5


def test_interior_shows_teeth_below_a_raised_lip_and_darkness_below_them() -> None:
    made = geometry(codes_with(jawOpen=0.7, mouthUpperUpLeft=0.8, mouthUpperUpRight=0.8))
    inner = made.vertices[0, TOPOLOGY.places(LIPS_INNER)]
    picture = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    look = MouthLook(lips=np.array(LIP, np.float32), teeth=np.array(TEETH, np.float32))
    draw_cavity(picture, inner, made, 0, NEUTRAL, look, 1.0)
    edge = jaws_of(made, 0, NEUTRAL).upper_edge
    column = picture[:, round(float(edge[0]) + 4)].astype(float).mean(axis=-1)
    tooth, gap = column[round(edge[1]) - 5], column[round(edge[1]) + 6]
    assert tooth > 120 > 90 > gap
    assert np.array_equal(picture[:100], np.full((100, SIDE, 3), SKIN, np.uint8))


def test_a_closed_stills_lips_part_over_the_drawn_interior_at_once() -> None:
    look = MouthLook(lips=np.ones(3, np.float32), teeth=np.ones(3, np.float32), still=True)
    steps = [opacity(look, opening, 0.0) for opening in (0.0, 1.0, 1.6, 2.4, 9.0)]
    assert steps[0] == 0 and steps[-1] == steps[-2] == 1 and steps == sorted(steps)
    assert opacity(replace(look, still=False), 1.6, 0.0) < 0.1


def test_own_teeth_are_found_and_kept_where_they_are() -> None:
    codes = codes_with(jawOpen=0.25, mouthUpperUpLeft=0.5, mouthUpperUpRight=0.5)
    made, picture = geometry(codes), portrait(codes, teeth=True)
    inner = made.vertices[0, TOPOLOGY.places(LIPS_INNER)]
    skin = np.array(SKIN, np.float32)
    own = own_teeth(picture, inner, made, NEUTRAL, skin)
    assert own is not None and own.lower is None
    dark = portrait(codes)
    assert own_teeth(dark, inner, made, NEUTRAL, skin) is None
    look = MouthLook(
        lips=np.array(LIP, np.float32), teeth=np.zeros(3, np.float32), still=True, own=own
    )
    draw_cavity(picture, inner, made, 0, NEUTRAL, look, 1.0)
    middle = np.rint(inner[[5, 15]].mean(axis=0)).astype(int)
    assert np.abs(picture[middle[1] - 2, middle[0]].astype(int) - TEETH).max() < 60


def test_teeth_are_as_bright_as_the_whites_of_dark_faces_allow() -> None:
    dark = np.array([95.0, 65, 50], np.float32)
    white = np.array([150.0, 145, 140], np.float32)
    with_white, without = teeth_colour(dark, white), teeth_colour(dark, None)
    assert with_white.mean() > without.mean() and with_white[2] < with_white[0]
    made, picture = geometry(codes_with()), portrait(codes_with())
    ring = made.vertices[0, TOPOLOGY.places(LIDS[0])]
    found = eye_white(picture, ring, made.irises[0, 0], IRIS_RADIUS * 160)
    assert found is not None and np.abs(found - WHITE).max() < 12


def test_a_blink_brings_skin_over_the_iris() -> None:
    still, picture = codes_with(), portrait(codes_with())
    blink = limit_blinks(codes_with(eyeBlinkLeft=1, eyeBlinkRight=1), NEUTRAL)
    held, target = geometry(hold_eyes(blink, still[0])), geometry(blink)
    looks = learn_eyes(picture, geometry(still), TOPOLOGY)
    area = eye_area(held)
    white = (picture[area].min(axis=-1) > 190).sum()
    draw_eyes(picture, held, target, 0, looks, TOPOLOGY)
    assert white > 60 and (picture[area].min(axis=-1) > 190).sum() < 0.1 * white
    skin = np.abs(picture[area].astype(int) - SKIN).max(axis=-1) < 25
    assert skin.mean() > 0.6


@pytest.mark.parametrize("yaw", [-0.3, 0.3])
def test_gaze_moves_the_whole_iris_and_uncovers_white(yaw: float) -> None:
    still, picture = codes_with(), portrait(codes_with())
    looking = codes_with(**{name: yaw for name in GAZE_NAMES if name.endswith("Yaw")})
    held, target = geometry(hold_eyes(looking, still[0])), geometry(looking)
    looks = learn_eyes(picture, geometry(still), TOPOLOGY)
    area = eye_area(held)

    def iris_place() -> float:
        dark = picture[area].max(axis=-1) < 110
        return float(np.nonzero(dark)[1].mean())

    before, shape = iris_place(), picture.copy()
    draw_eyes(picture, held, target, 0, looks, TOPOLOGY)
    assert 2.5 < (iris_place() - before) * np.sign(yaw) < 7
    # Where the iris was, at the side it has left, there is white now.
    y, x = np.rint(held.irises[0, 0][::-1]).astype(int)
    left_behind = x - int(np.sign(yaw) * 0.8 * IRIS_RADIUS * 160)
    assert shape[y, left_behind].max() < 110 and picture[y, left_behind].min() > 150


def test_unchanged_eyes_are_left_alone() -> None:
    still, picture = codes_with(), portrait(codes_with())
    before, made = picture.copy(), geometry(still)
    draw_eyes(picture, made, made, 0, learn_eyes(picture, made, TOPOLOGY), TOPOLOGY)
    assert np.abs(picture.astype(int) - before).max() <= 1


def test_iris_is_found_beside_the_trackers_guess() -> None:
    grey = np.full((60, 80), 200, np.float32)
    cv2.circle(grey, (44, 30), 9, (50.0,), -1)
    found = find_iris(grey, np.array([38.0, 28.0], np.float32), 9.0, 10.0)
    assert found is not None and np.abs(found - [44, 30]).max() <= 1
    assert find_iris(np.full((60, 80), 90, np.float32), found, 9.0, 10.0) is None


def test_a_stills_head_stays_within_what_one_picture_bears() -> None:
    codes = np.repeat(codes_with(headYaw=0.1), 30, axis=0)
    far = codes_with(headYaw=2.0, headPitch=-2.0, headRoll=2.0, headX=3.0)
    limited = limits_of(codes).apply(far)[0, POSE]
    assert limited[1] == pytest.approx(0.1 + np.radians(15), abs=1e-3)
    assert limited[0] == pytest.approx(-np.radians(10), abs=1e-3)
    assert limited[2] == pytest.approx(np.radians(8), abs=1e-3)
    assert limited[3] == pytest.approx(0.3, abs=1e-3)
    assert (STILL_MARGINS > 0).all()


def test_a_still_speaks_from_one_picture() -> None:
    one = drawn_reference(1, jaw=0.0)
    still = replace(
        one,
        frames=one.frames * 10,
        mattes=one.mattes * 10,
        codes=np.repeat(one.codes, 10, axis=0),
        landmarks=np.repeat(one.landmarks, 10, axis=0),
        sharpness=np.repeat(one.sharpness, 10),
    )
    renderer = MeshRenderer()
    bank = renderer.prepare(still)
    assert len(bank.mouths) == 1 and len(bank.eye_looks) == 2 and bank.mouth_look.still
    codes = np.repeat(still.codes[:1], 3, axis=0)
    codes[:, CODE_INDEX["jawOpen"]] = [0, 0.4, 0.8]
    shut, half, wide = renderer.frames(bank, codes, fps=25.0)
    assert np.abs(shut.astype(int) - half).mean() < np.abs(shut.astype(int) - wide).mean()


def test_pictures_with_a_hidden_face_are_not_in_the_bank() -> None:
    reference = drawn_reference(20)
    sharpness = reference.sharpness.copy()
    sharpness[5:9] = 0
    bank = MeshRenderer().prepare(replace(reference, sharpness=sharpness))
    assert len(bank.mouths) == 16
