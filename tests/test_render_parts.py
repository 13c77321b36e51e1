"""Parts of the embedded renderer on made-up geometry: flow, plan, plate, limits, mouth, matte."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.appearance import learn_appearance
from omnitalk_cli.render.cavity import MouthLook, draw_cavity, shortage
from omnitalk_cli.render.compositor import cross_fade, lay_patch
from omnitalk_cli.render.features import features_of, mouth_distance
from omnitalk_cli.render.flow import GRID, TargetFlow, build_grid
from omnitalk_cli.render.geometry import Geometry, geometry_of
from omnitalk_cli.render.limits import MARGINS, limit_blinks, limits_of
from omnitalk_cli.render.matte import refine_matte
from omnitalk_cli.render.plan import BLOCK, FADE, build_planner, viterbi
from omnitalk_cli.render.plate import build_plate, fill_smoothly, unrest
from omnitalk_cli.render.topology import LIPS_INNER, MESH_POINTS, build_topology
from omnitalk_cli.types import Float, PoseFrame

SIDE = 256
POSE_FRAME = PoseFrame(origin_x=128.0, origin_y=140.0, scale=80.0)
TOPOLOGY = build_topology(FaceRig.load().mean)


def codes_with(count: int = 1, **values: float | Float) -> Float:
    codes = np.zeros((count, 61), np.float32)
    for name, value in values.items():
        codes[:, CODE_INDEX[name]] = value
    return codes


def geometry(codes: Float, pose_frame: PoseFrame = POSE_FRAME) -> Geometry:
    return geometry_of(codes, FaceRig.load().mean, pose_frame, TOPOLOGY)


def test_geometry_is_the_rigs_projection() -> None:
    codes = codes_with(3, headYaw=0.2, headX=0.3, jawOpen=np.array([0, 0.4, 0.8]))
    expected = FaceRig.load().project(codes, FaceRig.load().mean, POSE_FRAME)
    made = geometry(codes)
    assert np.allclose(made.vertices[:, :MESH_POINTS], expected[:, TOPOLOGY.points, :2], atol=0.01)
    assert made.opening[0] < made.opening[1] < made.opening[2]


def test_topology_keeps_the_inside_of_the_mouth() -> None:
    inner = set(TOPOLOGY.places(LIPS_INNER).tolist())
    inside = [tri for tri in TOPOLOGY.triangles.tolist() if set(tri) <= inner]
    assert len(TOPOLOGY.points) == len(set(TOPOLOGY.points.tolist())) == MESH_POINTS
    assert len(inside) >= 14


def test_flow_is_nothing_for_the_same_frame_and_exact_for_a_shift() -> None:
    grid = build_grid(SIDE, TOPOLOGY)
    small = PoseFrame(origin_x=128.0, origin_y=100.0, scale=40.0)
    frames = geometry(codes_with(2, headX=np.array([0.0, 0.2])), small)
    flow = TargetFlow(grid, frames, 0)
    assert np.abs(flow.to(frames, 0)).max() < 0.01
    shift = flow.to(frames, 1)
    centre = np.round((frames.pose_points[0].mean(axis=0)) / grid.cell).astype(int)
    assert shift[centre[1], centre[0]] == pytest.approx([8.0, 0.0], abs=0.05)
    assert np.abs(shift[-1]).max() < 0.05  # the shoulders stay


def test_flow_carries_landmarks_to_landmarks() -> None:
    grid = build_grid(SIDE, TOPOLOGY)
    frames = geometry(codes_with(2, headYaw=np.array([0.0, 0.15]), jawOpen=np.array([0.5, 0.1])))
    displacement = TargetFlow(grid, frames, 0).to(frames, 1)
    lips = TOPOLOGY.places(LIPS_INNER)
    places = frames.vertices[0, lips]
    cells = np.clip(np.round((places + 0.5) / grid.cell - 0.5).astype(int), 0, GRID - 1)
    found = grid.points[cells[:, 1], cells[:, 0]] + displacement[cells[:, 1], cells[:, 0]]
    away = np.linalg.norm(found - frames.vertices[1, lips], axis=1)
    before = np.linalg.norm(places - frames.vertices[1, lips], axis=1)
    assert away.mean() < 2.0 < before.mean()


def test_flow_stays_bounded_when_the_face_is_turned_far() -> None:
    grid = build_grid(SIDE, TOPOLOGY)
    frames = geometry(codes_with(2, headYaw=np.array([0.0, 0.9]), jawOpen=np.array([0.0, 1.0])))
    for target, source in ((0, 1), (1, 0)):
        displacement = TargetFlow(grid, frames, target).to(frames, source)
        assert np.isfinite(displacement).all() and np.abs(displacement).max() < SIDE


def test_viterbi_prefers_staying_and_agrees_with_brute_force() -> None:
    cost = np.random.default_rng(3).random((5, 3)).astype(np.float32)
    moves = np.full((3, 3), 0.4, np.float32)
    np.fill_diagonal(moves, 0)

    def price(path: tuple[int, ...]) -> float:
        steps = sum(float(moves[a, b]) for a, b in zip(path, path[1:], strict=False))
        return steps + sum(float(cost[i, state]) for i, state in enumerate(path))

    best = min(price(path) for path in np.ndindex(3, 3, 3, 3, 3))
    assert price(tuple(viterbi(cost, moves, None).tolist())) == pytest.approx(best, abs=1e-5)
    flat = np.zeros((4, 3), np.float32)
    assert viterbi(flat, moves, 2).tolist() == [2, 2, 2, 2]


def test_plan_covers_every_frame_and_fades_between_bases() -> None:
    bank = features_of(geometry(codes_with(2, headYaw=np.array([-0.3, 0.3]))))
    planner = build_planner(bank, bank, None)
    count = BLOCK + 40
    yaw = np.where(np.arange(count) < 50, -0.3, 0.3).astype(np.float32)
    target = features_of(geometry(codes_with(count, headYaw=yaw)))

    def some(start: int, stop: int):  # noqa: ANN202
        rows = {name: value[start:stop] for name, value in vars(target).items()}
        return type(target)(**rows)

    steps = list(planner.steps(some, count))
    assert len(steps) == count
    assert [step.base for step in steps] == [0] * 50 + [1] * (count - 50)
    fading = [index for index, step in enumerate(steps) if step.other_weight > 0]
    assert fading == list(range(50 - FADE, 50 + FADE))
    shares = [
        step.other_weight if step.base == 0 else 1 - step.other_weight
        for step in steps[50 - FADE : 50 + FADE]
    ]
    assert shares == sorted(shares) and 0 < shares[0] < 0.2 and 0.8 < shares[-1] < 1


def test_mouth_distance_finds_the_same_mouth() -> None:
    opening = np.linspace(0, 0.8, 9)
    bank = features_of(geometry(codes_with(9, jawOpen=opening)))
    assert mouth_distance(bank, bank, None).argmin(axis=1).tolist() == list(range(9))


def test_appearance_predicts_a_texture_that_follows_the_features() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 5)).astype(np.float32)
    pattern = rng.random((24, 32, 3))
    textures = np.clip(120 + 40 * inputs[:, 0, None, None, None] * pattern, 0, 255)
    look = learn_appearance(textures.astype(np.uint8), inputs)
    assert look is not None
    assert (look.distance(inputs).argmin(axis=1) == np.arange(60)).mean() > 0.5
    assert learn_appearance(textures[:5].astype(np.uint8), inputs[:5]) is None


def test_limits_pass_the_inside_and_bend_the_outside() -> None:
    reference = codes_with(100, headYaw=np.linspace(-0.2, 0.2, 100))
    limits = limits_of(reference)
    codes = codes_with(4, headYaw=np.array([0.1, 0.3, 3.0, -3.0]), jawOpen=0.7)
    limited = limits.apply(codes)
    yaw = limited[:, CODE_INDEX["headYaw"]]
    assert yaw[0] == pytest.approx(0.1)
    assert 0.2 < yaw[1] < 0.3
    assert yaw[2] == pytest.approx(limits.high[1] + MARGINS[1], abs=1e-4)
    assert yaw[3] == pytest.approx(limits.low[1] - MARGINS[1], abs=1e-4)
    assert np.array_equal(limited[:, :51], codes[:, :51])


def test_blinks_end_where_the_lids_touch() -> None:
    neutral = FaceRig.load().mean
    codes = codes_with(2, eyeBlinkLeft=np.array([1, 0.1]), eyeBlinkRight=np.array([1, 0.1]))
    limited = limit_blinks(codes, neutral)
    local = FaceRig.load().shape(limited, neutral)
    gap = local[:, [159, 386], 1] - local[:, [145, 374], 1]
    assert np.abs(gap[0]).max() < 0.03 and gap[1].min() > 0.05
    assert np.array_equal(limited[1], codes[1])
    made = geometry(codes)  # even without the limit nothing is drawn inside out
    assert (made.local[:, [159, 386], 1] >= made.local[:, [145, 374], 1] - 1e-6).all()


def test_plate_is_the_background_behind_a_moving_person() -> None:
    background = np.full((128, 128, 3), (40, 90, 160), np.uint8)
    frames, mattes = [], []
    for left in range(20, 60, 4):
        frame, matte = background.copy(), np.zeros((128, 128), np.uint8)
        frame[60:, left : left + 30] = 250
        matte[60:, left : left + 30] = 255
        frames.append(frame)
        mattes.append(matte)
    plate = build_plate(frames, mattes)
    assert plate is not None
    assert np.abs(plate.picture.astype(int) - background).max() <= 2
    assert plate.seen[10, 10] == 1


def test_a_background_that_moves_is_known_as_restless() -> None:
    rng = np.random.default_rng(1)
    frames = [np.full((128, 128, 3), 100, np.uint8) for _ in range(12)]
    for frame, level in zip(frames, rng.integers(0, 255, 12), strict=True):
        frame[:64] = level
    mattes = [np.zeros((128, 128), np.uint8)] * 12
    plate = build_plate(frames, mattes)
    assert plate is not None
    assert plate.calm[:40].max() < 0.01 and plate.calm[90:].min() > 0.99
    assert (plate.picture[90:] == 100).all()
    assert unrest(frames, mattes) > 20


def test_no_plate_where_no_background_is_seen() -> None:
    frames = [np.full((128, 128, 3), 100, np.uint8)] * 4
    assert build_plate(frames, [np.full((128, 128), 255, np.uint8)] * 4) is None


def test_holes_are_filled_from_around() -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    known = np.ones((64, 64), np.float32)
    known[20:40, 20:40] = 0
    picture[20:40, 20:40] = 0
    assert np.abs(fill_smoothly(picture, known).astype(int) - 100).max() <= 1


def test_patch_takes_over_the_light_of_its_surroundings() -> None:
    base = np.full((64, 64, 3), 120, np.uint8)
    patch = np.full((64, 64, 3), 150, np.uint8)
    rows, columns = np.mgrid[:64, :64]
    mask = np.clip((24 - np.hypot(rows - 32, columns - 32)) / 6, 0, 1).astype(np.float32)
    lay_patch(base, patch, mask)
    assert np.abs(base.astype(int) - 120).max() <= 3


def test_cross_fade_of_a_shifted_picture_shows_one_edge() -> None:
    first = np.zeros((256, 256, 3), np.uint8)
    second = first.copy()
    first[:, 100:] = 200
    second[:, 108:] = 200
    first[::16], second[::16] = 90, 90
    middle = cross_fade(first, second, 0.5)[120, :, 0].astype(int)
    assert np.array_equal(cross_fade(first, first, 0.3), first)
    half_grey = ((middle > 60) & (middle < 140)).sum()
    assert half_grey < 6  # a plain blend would show 8 columns of half grey


def test_cavity_is_drawn_only_where_the_mouth_is_open() -> None:
    made = geometry(codes_with(1, jawOpen=0.9))
    inner = made.vertices[0, TOPOLOGY.places(LIPS_INNER)]
    picture = np.full((SIDE, SIDE, 3), 180, np.uint8)
    look = MouthLook(
        lips=np.array([170.0, 90, 90], np.float32), teeth=np.array([200.0, 195, 180], np.float32)
    )
    draw_cavity(picture, inner, made, 0, FaceRig.load().mean, look, 1.0)
    changed = (picture != 180).any(axis=-1)
    low, high = inner.min(axis=0), inner.max(axis=0)
    rows, columns = np.nonzero(changed)
    assert changed.any() and picture.min() < 60
    assert rows.min() >= low[1] - 5 and rows.max() <= high[1] + 5
    assert columns.min() >= low[0] - 5 and columns.max() <= high[0] + 5
    assert shortage(10.0, 0.0) == 1.0 and shortage(10.0, 9.0) == 0.0 and shortage(1.0, 0.0) == 0.0


def test_matte_keeps_the_component_of_the_face() -> None:
    landmarks = FaceRig.load().project(codes_with(1), FaceRig.load().mean, POSE_FRAME)[0]
    frame = np.full((SIDE, SIDE, 3), 60, np.uint8)
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[60:, 70:190] = 1
    mask[60:120, 0:30] = 1  # somebody else
    frame[mask > 0] = 200
    matte = refine_matte(frame, mask, landmarks)
    assert matte[150, 128] == 255 and matte[90, 10] == 0 and matte[20, 128] == 0
