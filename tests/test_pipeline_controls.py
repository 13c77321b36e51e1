"""What users steer: gains, blinks, gaze; on codes that the tests make."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.errors import UsageError
from omnitalk_cli.evaluation.motion import count_blinks
from omnitalk_cli.face.codes import CODE_INDEX, EXPRESSION, GAZE, POSE, ROTATION
from omnitalk_cli.pipeline.controls import (
    LIDS,
    Controls,
    control,
    find_blinks,
    gaze_directions,
    lens_direction,
    look_at,
    without_blinks,
)
from omnitalk_cli.types import MEL_RATE, Float

SECONDS = 20
TIMES = (1.5, 4.0, 6.2, 9.0, 13.0, 18.4)


def performed(times: tuple[float, ...] = TIMES) -> Float:
    """Slow head and brow movement, a little lid noise, and blinks of 0.3 s at ``times``."""
    clock = np.arange(round(SECONDS * MEL_RATE)) / MEL_RATE
    codes = np.zeros((len(clock), 61), np.float32)
    codes[:, CODE_INDEX["headYaw"]] = 0.2 * np.sin(0.8 * clock)
    codes[:, CODE_INDEX["headPitch"]] = -0.1 + 0.05 * np.sin(1.1 * clock)
    codes[:, CODE_INDEX["browInnerUp"]] = 0.3 + 0.2 * np.sin(1.7 * clock)
    codes[:, LIDS] = 0.02 + 0.01 * np.sin(2.3 * clock)[:, None]
    for time in times:
        shape = np.clip(1 - ((clock - time) / 0.15) ** 2, 0, 1)
        codes[:, LIDS] += 0.35 * shape[:, None]
    return codes


def test_as_made_nothing_changes() -> None:
    codes = performed()
    out = control(codes, Controls(), rate=MEL_RATE)
    np.testing.assert_array_equal(out, codes)
    assert out is not codes


def test_blinks_are_found_where_they_are() -> None:
    blinks = find_blinks(performed(), MEL_RATE)
    assert len(blinks) == len(TIMES) == count_blinks(performed(), MEL_RATE)
    for (first, last), time in zip(blinks, TIMES, strict=True):
        assert first / MEL_RATE < time < last / MEL_RATE
        assert 0.25 < (last - first) / MEL_RATE < 0.45


def test_a_slow_closing_is_no_blink() -> None:
    codes = performed(())
    codes[400:700, LIDS] = 0.4
    assert find_blinks(codes, MEL_RATE) == []
    assert find_blinks(codes[:0], MEL_RATE) == []


def test_taken_out_blinks_leave_open_lids() -> None:
    codes = performed()
    calm = without_blinks(codes, find_blinks(codes, MEL_RATE))
    assert calm[:, LIDS].max() < 0.06
    np.testing.assert_allclose(calm[:, LIDS], performed(())[:, LIDS], atol=0.02)


@pytest.mark.parametrize(("factor", "count"), [(0, 0), (0.5, 3), (1, 6), (1.5, 9), (2, 12)])
def test_blink_rate_multiplies_the_number(factor: float, count: int) -> None:
    out = control(performed(), Controls(blink_rate=factor), rate=MEL_RATE, seed=5)
    assert count_blinks(out, MEL_RATE) == count
    rest = np.setdiff1d(np.arange(61), LIDS)
    np.testing.assert_array_equal(out[:, rest], performed()[:, rest])


def test_added_blinks_are_the_persons_own_and_apart() -> None:
    out = control(performed(), Controls(blink_rate=3), rate=MEL_RATE, seed=1)
    blinks = find_blinks(out, MEL_RATE)
    assert len(blinks) == 18
    gaps = [b[0] - a[1] for a, b in zip(blinks[:-1], blinks[1:], strict=True)]
    assert min(gaps) / MEL_RATE > 0.2
    assert out[:, LIDS].max() < 0.42


def test_blinks_depend_on_the_seed_alone() -> None:
    made = [
        control(performed(), Controls(blink_rate=2), rate=MEL_RATE, seed=seed) for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_no_room_for_more_blinks_is_no_failure() -> None:
    short = performed((0.5,))[: round(1.2 * MEL_RATE)]
    out = control(short, Controls(blink_rate=3), rate=MEL_RATE)
    assert count_blinks(out, MEL_RATE) >= 1


def test_expression_and_blinks_are_apart() -> None:
    out = control(performed(), Controls(expression=0), rate=MEL_RATE)
    assert np.ptp(out[:, CODE_INDEX["browInnerUp"]]) < 1e-6
    assert count_blinks(out, MEL_RATE) == 6
    out = control(performed(), Controls(expression=0, blink_rate=0), rate=MEL_RATE)
    assert np.ptp(out[:, EXPRESSION], axis=0).max() < 1e-6


def test_codes_stay_codes() -> None:
    out = control(performed(), Controls(expression=3, blink_rate=3), rate=MEL_RATE)
    assert out[:, EXPRESSION].min() >= 0 and out[:, EXPRESSION].max() <= 1


def looking(lens: tuple[float, float], share: float = 0.7) -> Float:
    """Somebody who turns the head but keeps the eyes on ``lens`` for ``share`` of the time."""
    codes = performed()[::4]
    held = look_at(codes, np.array(lens, np.float32), 1.0)
    away = np.random.default_rng(0).random(len(codes)) > share
    held[np.ix_(away, range(GAZE.start, GAZE.stop))] += [0.3, -0.15, 0.3, -0.15]
    return held


def test_the_lens_is_where_head_and_eyes_mostly_point_together() -> None:
    found = lens_direction(looking((0.05, 0.1)))
    np.testing.assert_allclose(found, [0.05, 0.1], atol=0.02)


def test_eyes_on_the_lens_counter_the_head() -> None:
    lens = np.array([0.05, 0.1], np.float32)
    codes = performed()
    codes[:, ROTATION] += [0, 0, 0.15]  # a tilted head mixes yaw and pitch
    out = control(codes, Controls(look_at_camera=1), rate=MEL_RATE, lens=lens)
    np.testing.assert_allclose(
        gaze_directions(out), np.broadcast_to(lens, (len(out), 2)), atol=5e-3
    )
    np.testing.assert_array_equal(out[:, POSE], codes[:, POSE])
    half = look_at(codes, lens, 0.5)
    np.testing.assert_allclose(half[:, GAZE], (codes[:, GAZE] + out[:, GAZE]) / 2, atol=1e-6)


def test_eyes_turn_no_farther_than_eyes_do() -> None:
    codes = performed()
    codes[:, CODE_INDEX["headYaw"]] = 1.0
    out = look_at(codes, np.zeros(2, np.float32), 1.0)
    assert np.degrees(np.abs(out[:, GAZE]).max()) < 29


def test_the_eyes_follow_the_head_that_is_shown() -> None:
    lens = np.array([0.0, 0.0], np.float32)
    controls = Controls(head_motion=2, look_at_camera=1)
    out = control(performed(), controls, rate=MEL_RATE, lens=lens)
    assert np.abs(gaze_directions(out)).max() < 0.01


def test_bad_controls_are_refused() -> None:
    with pytest.raises(UsageError, match="look-at-camera"):
        Controls(look_at_camera=1.5)
    with pytest.raises(UsageError, match="blink-rate"):
        Controls(blink_rate=-1)
    with pytest.raises(ValueError, match="lens"):
        control(performed(), Controls(look_at_camera=1), rate=MEL_RATE)
