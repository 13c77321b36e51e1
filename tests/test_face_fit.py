"""Codes and the personal neutral from landmarks that the model itself made."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from omnitalk_cli.evaluation.fit import score_landmarks, table
from omnitalk_cli.face.codes import (
    CODE_COUNT,
    CODE_INDEX,
    EXPRESSION,
    GAZE,
    LIVE_EXPRESSION,
    POSE,
)
from omnitalk_cli.face.fit import Fit, FitOptions, fit_codes
from omnitalk_cli.face.neutral import neutral_gap
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.types import Float, PoseFrame

FRAME = PoseFrame(origin_x=256.0, origin_y=230.0, scale=150.0)
FRAMES = 120


def _smooth_noise(rng: np.random.Generator, channels: int, width: int = 9) -> np.ndarray:
    noise = rng.normal(size=(FRAMES + width, channels))
    kernel = np.hanning(width + 2)[1:-1]
    return np.stack([np.convolve(c, kernel / np.linalg.norm(kernel), "same") for c in noise.T], 1)[
        :FRAMES
    ]


def _codes(rng: np.random.Generator) -> Float:
    codes = np.zeros((FRAMES, CODE_COUNT), np.float32)
    noise = 0.25 * _smooth_noise(rng, len(LIVE_EXPRESSION)) - 0.1
    codes[:, list(LIVE_EXPRESSION)] = np.clip(noise, 0, 0.8)
    codes[:, [CODE_INDEX["eyeBlinkLeft"], CODE_INDEX["eyeBlinkRight"]]] *= 0.2
    codes[:, POSE] = _smooth_noise(rng, 6) * [0.08, 0.15, 0.06, 0.1, 0.08, 0.03]
    codes[:, GAZE] = 0.15 * _smooth_noise(rng, 4)
    return codes


@pytest.fixture(scope="module")
def made() -> tuple[Float, Float, Float]:
    """Codes, the personal neutral behind them, and their landmarks in pixels."""
    rng = np.random.default_rng(7)
    rig = FaceRig.load()
    codes = _codes(rng)
    neutral = rig.mean * np.array([1.06, 0.95, 1.1], np.float32)
    neutral = neutral / np.linalg.norm(neutral[263] - neutral[33])
    return codes, neutral, rig.project(codes, neutral, FRAME)


@pytest.fixture(scope="module")
def fitted(made: tuple[Float, Float, Float]) -> Fit:
    return fit_codes(made[2], FaceRig.load())


def test_known_neutral_gives_the_codes_back(made: tuple[Float, Float, Float]) -> None:
    codes, neutral, landmarks = made
    options = FitOptions(steps=6, sweeps=12, temporal=0.0, ridge=1e-6)
    fit = fit_codes(landmarks, FaceRig.load(), neutral=neutral, pose_frame=FRAME, options=options)
    assert fit.error.mean() < 5e-4
    assert np.abs(fit.codes[:, POSE] - codes[:, POSE]).mean() < 0.01
    assert np.abs(fit.codes[:, GAZE] - codes[:, GAZE]).mean() < 0.02
    jaw = CODE_INDEX["jawOpen"]
    assert np.corrcoef(fit.codes[:, jaw], codes[:, jaw])[0, 1] > 0.95


def test_estimated_neutral_explains_all_frames(made: tuple[Float, Float, Float], fitted: Fit):
    assert fitted.codes.shape == (FRAMES, CODE_COUNT) and fitted.codes.dtype == np.float32
    assert fitted.error.mean() < 0.006
    assert np.linalg.norm(fitted.neutral[263] - fitted.neutral[33]) == pytest.approx(1, abs=1e-4)
    assert fitted.pose_frame.scale == pytest.approx(FRAME.scale, rel=0.05)
    assert np.abs(np.median(fitted.codes[:, POSE][:, 3:], axis=0)).max() < 0.02


def test_codes_keep_to_their_range_and_dead_channels_stay_zero(fitted: Fit) -> None:
    expression = fitted.codes[:, EXPRESSION]
    assert expression.min() >= 0 and expression.max() <= 1
    dead = np.setdiff1d(np.arange(51), LIVE_EXPRESSION)
    assert not expression[:, dead].any()


def test_zero_means_closed_lips(fitted: Fit) -> None:
    assert abs(neutral_gap(fitted.neutral)) < 0.03


def test_lips_never_seen_closed_are_closed_in_the_neutral() -> None:
    rng = np.random.default_rng(3)
    rig = FaceRig.load()
    codes = _codes(rng)
    codes[:, CODE_INDEX["jawOpen"]] = 0.25 + 0.1 * rng.random(FRAMES)
    fit = fit_codes(rig.project(codes, rig.mean, FRAME), rig)
    assert neutral_gap(fit.neutral) < 0.03
    assert fit.codes[:, CODE_INDEX["jawOpen"]].mean() > 0.15


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_few_frames_are_enough(made: tuple[Float, Float, Float], frames: int) -> None:
    fit = fit_codes(made[2][:frames], FaceRig.load())
    assert np.isfinite(fit.codes).all() and fit.error.mean() < 0.02


def test_turned_and_shifted_faces_are_fitted_as_well(made: tuple[Float, Float, Float]) -> None:
    codes, neutral, _ = made
    turned = codes.copy()
    turned[:, CODE_INDEX["headYaw"]] += 0.7
    turned[:, CODE_INDEX["headRoll"]] -= 0.6
    rig = FaceRig.load()
    small = replace(FRAME, origin_x=900.0, scale=20.0)
    landmarks = rig.project(turned, neutral, small)
    fit = fit_codes(landmarks, rig, neutral=neutral)
    assert fit.error.mean() < 0.004
    assert np.abs(fit.codes[:, POSE][:, 1] - turned[:, POSE][:, 1]).mean() < 0.03


def test_wrong_landmarks_are_refused() -> None:
    rig = FaceRig.load()
    for bad in (np.zeros((4, 468, 3)), np.zeros((0, 478, 3)), np.full((2, 478, 3), np.nan)):
        with pytest.raises(ValueError, match="landmarks"):
            fit_codes(bad, rig)
    with pytest.raises(ValueError, match="at least 1"):
        FitOptions(sweeps=0)


def test_same_input_gives_the_same_codes(made: tuple[Float, Float, Float], fitted: Fit) -> None:
    again = fit_codes(made[2], FaceRig.load())
    assert np.array_equal(again.codes, fitted.codes)


def test_fit_is_fast(made: tuple[Float, Float, Float]) -> None:
    landmarks = np.concatenate([made[2]] * 3)
    rig = FaceRig.load()
    begin = time.process_time()
    fit_codes(landmarks, rig, neutral=made[1])
    assert len(landmarks) / (time.process_time() - begin) > 300  # about 1600 on one free core


def test_score_holds_frames_out(made: tuple[Float, Float, Float]) -> None:
    score = score_landmarks("made", made[2], 25.0)
    assert set(score.halves) == {"mouth", "eyes", "brows", "jaw", "all"}
    assert 0 < score.seen["all"] <= score.halves["all"] + 0.05 < 1.5
    assert "made" in table([score])[1] and score.to_dict()["frames"] == FRAMES
    with pytest.raises(ValueError, match="too few"):
        score_landmarks("short", made[2][:20], 25.0)
