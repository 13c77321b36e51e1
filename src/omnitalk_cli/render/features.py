"""What frames are compared by when the renderer looks for a picture of its own to reuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.render.appearance import Appearance
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.topology import BROWS, IRISES, LIPS
from omnitalk_cli.types import Float

LOOK_WEIGHT = 0.3
# Of the residual's inputs so many follow the head at once; where its slow place x, y begins.
QUICK, PLACE = 12, 15
SLACK, MEMORY = 0.35, 1.2  # seconds: how late the body follows the head, how far back it knows
# (upper lid, lower lid, corner, corner) per eye.
_EYES = ((159, 145, 33, 133), (386, 374, 362, 263))


@dataclass(frozen=True, kw_only=True)
class Features:
    """N frames: ``pose`` [N,3] degrees (roll halved: the similarity undoes it), ``lips`` [N,80],
    ``brows`` [N,40], ``openness`` [N,2], ``gaze`` [N,4], ``opening`` [N] (gap between the lips),
    all but the pose in per cent of the eye distance.
    """

    pose: Float
    lips: Float
    brows: Float
    openness: Float
    gaze: Float
    opening: Float


def features_of(geometry: Geometry) -> Features:
    """Measure the frames of ``geometry``."""
    local = geometry.local * 100
    count = len(local)
    openness, gaze = [], []
    for (upper, lower, inner, outer), iris in zip(_EYES, IRISES, strict=True):
        openness.append(local[:, upper, 1] - local[:, lower, 1])
        gaze.append(local[:, iris, :2] - 0.5 * (local[:, inner, :2] + local[:, outer, :2]))
    return Features(
        pose=geometry.angles * np.degrees(np.array([1, 1, 0.5], np.float32)),
        lips=local[:, LIPS, :2].reshape(count, -1),
        brows=local[:, BROWS, :2].reshape(count, -1),
        openness=np.maximum(np.stack(openness, axis=1), 0),
        gaze=np.concatenate(gaze, axis=1),
        opening=geometry.opening,
    )


def base_distance(target: Features, bank: Features) -> Float:
    """[N,M] how badly bank frames serve as base picture: pose, then mouth and brows."""
    return (
        _distance(target.pose, bank.pose)
        + _point_rms(target.lips, bank.lips)
        + 0.4 * _point_rms(target.brows, bank.brows)
    )


def mouth_inputs(features: Features) -> Float:
    """[N,83] what the look of the lips is predicted from: lip points and pose, about unit size."""
    return np.concatenate([features.lips, features.pose], axis=1) / 5


def eye_inputs(features: Features) -> Float:
    """[N,49] what the look of the eyes is predicted from: lids, gaze, brows and pose."""
    parts = [features.openness, features.gaze, features.brows, features.pose]
    return np.concatenate(parts, axis=1) / 5


def mouth_distance(target: Features, bank: Features, look: Appearance | None) -> Float:
    """[N,M] how badly bank frames serve as mouth picture: 40 lip points, pose, expected look."""
    distance = _point_rms(target.lips, bank.lips) + 0.05 * _distance(target.pose, bank.pose)
    if look is not None:
        distance += LOOK_WEIGHT * look.distance(mouth_inputs(target))
    return distance


def eye_distance(target: Features, bank: Features) -> Float:
    """[N,M] how badly bank frames serve as eye picture: openness, gaze where open, brows, pose."""
    usual = max(1e-3, float(np.median(bank.openness)))
    open_eyes = np.minimum(1, target.openness.mean(axis=1) / usual)[:, None]
    return (
        0.6 * _distance(target.openness, bank.openness)
        + 0.8 * open_eyes * _distance(target.gaze, bank.gaze) / np.sqrt(2)
        + 0.4 * _point_rms(target.brows, bank.brows)
        + 0.1 * _distance(target.pose, bank.pose)
    )


def _distance(left: Float, right: Float) -> Float:
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0))


def _point_rms(left: Float, right: Float) -> Float:
    """Root mean square distance of matching 2D points stored flat."""
    return _distance(left, right) * np.sqrt(2 / left.shape[1], dtype=np.float32)


def residual_inputs(geometry: Geometry, *, usual: float, fps: float) -> Float:
    """[N,18] what is left beside the mesh is predicted from: pose (degrees), place and size (per
    cent of the eye distance), lips (opening, width, corners), brows, lids; then pose, place and
    size once more as the body follows them: late and softly.

    ``usual`` is the reference's scale in pixels per eye distance; frames are ``fps`` a second.
    """
    features = features_of(geometry)
    count = len(geometry)
    lips = features.lips.reshape(count, len(LIPS), 2)
    brows = features.brows.reshape(count, 2, len(BROWS) // 2, 2)
    centre = geometry.pose_points.mean(axis=1) / usual * 100
    head = np.concatenate(
        [np.degrees(geometry.angles), centre, 100 * np.log(geometry.scale / usual)[:, None]], axis=1
    )
    return np.concatenate(
        [
            head,
            features.opening[:, None],
            np.linalg.norm(lips[:, 0] - lips[:, 10], axis=1)[:, None],
            lips[:, [0, 10], 1].mean(axis=1)[:, None],
            brows[..., 1].mean(axis=2),
            features.openness.mean(axis=1)[:, None],
            followed(head, fps=fps),
        ],
        axis=1,
    ).astype(np.float32)


def followed(values: Float, *, fps: float) -> Float:
    """``values`` [N,F] as something slack follows them: a first-order low-pass whose memory ends
    after ``MEMORY`` seconds, so that frames can be computed from a bounded past. Before the first
    frame there is its own value."""
    past = past_frames(fps)
    weights = np.exp(-np.arange(past, -1, -1) / (SLACK * fps))
    padded = np.concatenate([np.repeat(values[:1], past, axis=0), values])
    runs = np.lib.stride_tricks.sliding_window_view(padded, past + 1, axis=0)
    return np.asarray(runs @ (weights / weights.sum()), np.float32)


def past_frames(fps: float) -> int:
    """How many frames before it a frame's ``followed`` values depend on."""
    return round(MEMORY * fps)
