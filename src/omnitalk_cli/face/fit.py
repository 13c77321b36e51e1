"""Eq. 1: the 61 codes, and the personal neutral face, from tracked landmarks.

Minimises over all frames ``Σ_i ‖ P · M_i · (S̄ + B_exp β_i + B_eye γ_i) − L_i ‖²`` with ``P`` the
orthographic projection and ``M_i`` the head's similarity transform. Everything is batched over
the frames. Lengths are in median eye distances of the clip, so that the weights below have no unit.

One Gauss-Newton step linearises pose (6) and expression (37); the pose is eliminated by its Schur
complement, the expression solves a box-constrained quadratic programme by coordinate descent, the
pose follows. Gaze moves only the irises and is solved afterwards in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.face.codes import CODE_COUNT, GAZE, LIVE_EXPRESSION, ROTATION, TRANSLATION
from omnitalk_cli.face.neutral import estimate_neutral, open_lids, set_iris_rest
from omnitalk_cli.face.pose import Pose, align, start_pose
from omnitalk_cli.face.regions import FIT_POINTS
from omnitalk_cli.face.rig import (
    EYE_RADIUS,
    LEFT_IRIS,
    OUTER_EYE_CORNERS,
    RIGHT_IRIS,
    FaceRig,
    rotation_angles,
)
from omnitalk_cli.face.smoothing import fill_gaps
from omnitalk_cli.types import Float, PoseFrame

_TO_MODEL = np.array([1.0, -1.0, -1.0], np.float32)  # pixels (y down, z away) → model axes
_GAZE_LIMIT = 0.7  # radians; beyond, the iris would be hidden
_OPEN_ENOUGH = 0.25  # of the person's usual lid opening: below, the iris is a guess


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Weights and rounds of the solver, as measured (``ridge`` is λ of the recipe)."""

    steps: int = 3
    sweeps: int = 4
    ridge: float = 5e-5
    temporal: float = 1e-4
    depth_weight: float = 0.01
    neutral_rounds: int = 4
    neutral_frames: int = 150

    def __post_init__(self) -> None:
        if min(self.steps, self.sweeps, self.neutral_rounds, self.neutral_frames) < 1:
            raise ValueError("steps, sweeps, neutral_rounds and neutral_frames must be at least 1")
        if min(self.ridge, self.temporal, self.depth_weight) < 0:
            raise ValueError("weights must not be negative")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """``codes`` [N,61], the personal ``neutral`` [478,3] in eye distances (y up), where codes of
    zero pose stand (``pose_frame``), and ``error`` [N]: mean distance of the re-projected from the
    given landmarks in the picture plane over the eye distance (0.005 is half a percent)."""

    codes: Float
    neutral: Float
    pose_frame: PoseFrame
    error: Float


def fit_codes(
    landmarks: np.ndarray,
    rig: FaceRig,
    *,
    neutral: np.ndarray | None = None,
    pose_frame: PoseFrame | None = None,
    options: FitOptions | None = None,
) -> Fit:
    """Fit codes to ``landmarks`` [N,478,3] (pixels of the square: x right, y down, z alike).

    ``neutral`` and ``pose_frame`` are estimated from the same frames unless given. Raises
    ValueError for another shape or numbers that are not finite.
    """
    options = options or FitOptions()
    landmarks = np.asarray(landmarks, np.float32)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (478, 3) or not len(landmarks):
        raise ValueError(f"landmarks must be [N,478,3], not {list(landmarks.shape)}")
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks must be finite")
    unit = _eye_distance(landmarks)
    observed = landmarks * (_TO_MODEL / unit)
    if neutral is None:
        neutral = _personal_neutral(observed, rig, options)
    neutral = np.asarray(neutral, np.float32)
    pose, beta = _solve(observed, neutral, rig, options)
    codes = np.zeros((len(landmarks), CODE_COUNT), np.float32)
    codes[:, list(LIVE_EXPRESSION)] = beta
    codes[:, GAZE] = _gaze(observed, pose, neutral, beta, rig)
    codes[:, ROTATION] = rotation_angles(pose.rotation)
    pose_frame = pose_frame or _pose_frame(pose, unit)
    codes[:, TRANSLATION] = _place(pose, unit, pose_frame)
    projected = rig.project(codes, neutral, pose_frame)
    away = np.linalg.norm((projected - landmarks)[:, :, :2], axis=2)
    error = away.mean(axis=1) / (pose.scale * unit)
    return Fit(codes=codes, neutral=neutral, pose_frame=pose_frame, error=error.astype(np.float32))


def _eye_distance(landmarks: Float) -> float:
    """Median distance of the outer eye corners in space, in pixels."""
    right, left = OUTER_EYE_CORNERS
    distance = np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=1)
    return max(float(np.median(distance)), 1e-3)


def _personal_neutral(observed: Float, rig: FaceRig, options: FitOptions) -> Float:
    """Alternate between codes and the mean face that remains when they are taken away."""
    spread = np.linspace(0, len(observed) - 1, min(len(observed), options.neutral_frames))
    some = observed[spread.round().astype(int)]
    neutral = rig.mean
    for _ in range(options.neutral_rounds):
        # Frames far apart in time have no temporal tie.
        pose, beta = _solve(some, neutral, rig, options, temporal=0.0)
        neutral = estimate_neutral(some, pose, beta, rig, options.depth_weight)
    pose = align(some, pose, rig.basis, beta, neutral)
    return set_iris_rest(some, pose, neutral)


def _solve(
    observed: Float,
    neutral: Float,
    rig: FaceRig,
    options: FitOptions,
    *,
    temporal: float | None = None,
) -> tuple[Pose, Float]:
    """Pose and expression [N,37] that bring ``neutral`` onto ``observed`` [N,478,3]."""
    points = FIT_POINTS
    target = observed[:, points]
    basis = rig.basis[:, points].reshape(len(rig.basis), -1)  # [37, P·3]
    # Σ_p B_p[a] B_p[b]: the expression Hessian of any rotation is a mix of these nine [37,37].
    by_axis = rig.basis[:, points].transpose(2, 0, 1)
    grams = np.einsum("ajp,bkp->abjk", by_axis, by_axis, optimize=True).reshape(9, -1)
    ridge = options.ridge * len(points)
    tie = (options.temporal if temporal is None else temporal) * len(points)
    weight = np.array([1.0, 1.0, options.depth_weight], np.float32)

    rest = neutral[points]
    pose = start_pose(observed, neutral)
    beta = np.zeros((len(observed), len(rig.basis)), np.float32)
    for _ in range(options.steps):
        shape = (beta @ basis).reshape(-1, len(points), 3) + rest
        turned = (shape @ pose.rotation.transpose(0, 2, 1)) * pose.scale[:, None, None]
        residual = target - turned - pose.place[:, None]
        jacobian = _pose_jacobian(turned)  # [N,6,P,3]
        weighted = jacobian * weight
        frames = len(turned)
        pose_hessian = weighted.reshape(frames, 6, -1) @ jacobian.reshape(frames, 6, -1).transpose(
            0, 2, 1
        )
        pose_gradient = (weighted.reshape(frames, 6, -1) @ residual.reshape(frames, -1, 1))[..., 0]
        motion = pose.rotation * pose.scale[:, None, None]  # d(picture) / d(model)
        cross = (weighted @ motion[:, None]).reshape(frames * 6, -1) @ basis.T
        cross = cross.reshape(frames, 6, -1)
        gradient = ((residual * weight) @ motion).reshape(frames, -1) @ basis.T
        metric = (motion * weight[:, None]).transpose(0, 2, 1) @ motion
        hessian = (metric.reshape(frames, 9) @ grams).reshape(frames, *[len(basis)] * 2)

        pose_hessian[:, range(6), range(6)] += 1e-5
        solved = np.linalg.solve(
            pose_hessian, np.concatenate([cross, pose_gradient[:, :, None]], axis=2)
        )
        schur = hessian - cross.transpose(0, 2, 1) @ solved[:, :, :-1]
        reduced = gradient - (cross.transpose(0, 2, 1) @ solved[:, :, -1:])[..., 0]
        # Written for β itself rather than for its change, so that the box is simply 0…1.
        wanted = reduced + (schur @ beta[:, :, None])[..., 0]
        moved = _box_programme(schur, wanted, beta, ridge, tie, options.sweeps)
        step = solved[:, :, -1] - (solved[:, :, :-1] @ (moved - beta)[:, :, None])[..., 0]
        beta = moved
        pose = pose.moved(step)
    return pose, beta


def _pose_jacobian(turned: Float) -> Float:
    """Derivative of the placed points [N,P,3] by turn (3), shift (2), log scale: [N,6,P,3]."""
    x, y, z = turned[..., 0], turned[..., 1], turned[..., 2]
    jacobian = np.zeros((len(turned), 6, *turned.shape[1:]), np.float32)
    jacobian[:, 0, :, 1], jacobian[:, 0, :, 2] = -z, y
    jacobian[:, 1, :, 0], jacobian[:, 1, :, 2] = z, -x
    jacobian[:, 2, :, 0], jacobian[:, 2, :, 1] = -y, x
    jacobian[:, 3, :, 0] = 1.0
    jacobian[:, 4, :, 1] = 1.0
    jacobian[:, 5] = turned
    return jacobian


def _box_programme(
    schur: Float, wanted: Float, beta: Float, ridge: float, tie: float, sweeps: int
) -> Float:
    """Minimise ``½βᵀSβ − wᵀβ + ½ridge|β|² + ½tie Σ|β_n − β_{n−1}|²`` over ``0 ≤ β ≤ 1``.

    Coordinate descent over the channels, all frames at once; even and odd frames take turns, since
    the temporal term couples neighbours. Clamping a full step instead makes channels oscillate.
    """
    beta = beta.copy()
    frames, channels = beta.shape
    tied = tie > 0 and frames > 1
    groups = [slice(0, None, 2), slice(1, None, 2)] if tied else [slice(None)]
    neighbours = np.full(frames, 2.0, np.float32)
    neighbours[[0, -1]] = 1.0
    diagonal = schur[:, range(channels), range(channels)] + ridge
    if tied:
        diagonal = diagonal + tie * neighbours[:, None]
    diagonal = np.maximum(diagonal, 1e-6)
    pull = np.zeros(frames, np.float32)
    for _ in range(sweeps):
        for group in groups:
            for k in range(channels):
                rest = np.einsum("nj,nj->n", schur[group, k], beta[group])
                value = wanted[group, k] - rest + schur[group, k, k] * beta[group, k]
                if tied:
                    pull[:] = 0.0
                    pull[1:] += beta[:-1, k]
                    pull[:-1] += beta[1:, k]
                    value = value + tie * pull[group]
                beta[group, k] = np.clip(value / diagonal[group, k], 0.0, 1.0)
    return beta


def _gaze(observed: Float, pose: Pose, neutral: Float, beta: Float, rig: FaceRig) -> Float:
    """Yaw and pitch of both eyes [N,4]: least squares on the iris points.

    Where an eye is closed the iris is a guess of the tracker: there gaze is interpolated.
    """
    gaze = np.zeros((len(observed), 4), np.float32)
    axes = pose.rotation[:, :2, :2] * (pose.scale * EYE_RADIUS)[:, None, None]
    axes = axes * np.array([1.0, -1.0], np.float32)  # yaw moves along +x, pitch along −y
    opening = open_lids(observed, pose)  # [N,2] right, left
    for eye, iris, first in ((1, LEFT_IRIS, 0), (0, RIGHT_IRIS, 2)):
        rest = np.einsum("nk,kpa->npa", beta, rig.basis[:, iris]) + neutral[iris]
        placed = (rest @ pose.rotation.transpose(0, 2, 1)) * pose.scale[:, None, None]
        off = (observed[:, iris] - placed - pose.place[:, None])[:, :, :2].mean(axis=1)
        angles = np.linalg.solve(axes, off[:, :, None])[..., 0]
        usual = max(float(np.median(opening[:, eye])), 1e-6)
        visible = opening[:, eye] > _OPEN_ENOUGH * usual
        if visible.any():
            angles = fill_gaps(angles, visible)
        gaze[:, first : first + 2] = np.clip(angles, -_GAZE_LIMIT, _GAZE_LIMIT)
    return gaze


def _pose_frame(pose: Pose, unit: float) -> PoseFrame:
    place = np.median(pose.place, axis=0) * unit
    scale = float(np.exp(np.median(np.log(pose.scale)))) * unit
    return PoseFrame(origin_x=float(place[0]), origin_y=float(-place[1]), scale=scale)


def _place(pose: Pose, unit: float, frame: PoseFrame) -> Float:
    """headX, headY, headScale [N,3] relative to ``frame``."""
    x = (pose.place[:, 0] * unit - frame.origin_x) / frame.scale
    y = (pose.place[:, 1] * unit + frame.origin_y) / frame.scale
    return np.stack([x, y, np.log(pose.scale * unit / frame.scale)], axis=1).astype(np.float32)
