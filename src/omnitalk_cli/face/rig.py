"""The face model of Eq. 1: mean shape, expression basis, eye basis, and their projection.

Model space: x to the image's right, y up, z towards the camera; the unit is the distance between
the outer eye corners of the mean face. Points are the 478 of MediaPipe's face mesh with irises.
"Left" is the person's left, which is at the image's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from omnitalk_cli.face.codes import GAZE, LIVE_EXPRESSION, POSE, ROTATION
from omnitalk_cli.types import Float, PoseFrame

POINTS = 478
RIGHT_IRIS = slice(468, 473)
LEFT_IRIS = slice(473, 478)
OUTER_EYE_CORNERS = (33, 263)

# Points that move little with expression: brow ridge, nose bridge, eye corners, temples.
POSE_POINTS: tuple[int, ...] = (
    168, 6, 197, 195, 33, 133, 362, 263, 127, 356, 234, 454, 162, 389, 21, 251, 10, 109, 338, 54,
    284, 9,
)  # fmt: skip

# Pupil plane to the eye's centre of rotation, 9.8 mm, over an outer corner distance of 88 mm.
EYE_RADIUS = 0.111

_BASIS_FILE = Path(__file__).with_name("basis.safetensors")


def rotation_matrix(angles: np.ndarray) -> np.ndarray:
    """``R = Rz(roll) @ Ry(yaw) @ Rx(pitch)``: angles ``[..., 3]`` in radians → ``[..., 3, 3]``."""
    sin, cos = np.sin(angles), np.cos(angles)
    sp, sy, sr = sin[..., 0], sin[..., 1], sin[..., 2]
    cp, cy, cr = cos[..., 0], cos[..., 1], cos[..., 2]
    rows = [
        np.stack([cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp], axis=-1),
        np.stack([sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp], axis=-1),
        np.stack([-sy, cy * sp, cy * cp], axis=-1),
    ]
    return np.stack(rows, axis=-2)


def rotation_angles(rotation: np.ndarray) -> np.ndarray:
    """Inverse of :func:`rotation_matrix` for ``|yaw| < 90°``: ``[..., 3, 3]`` → ``[..., 3]``."""
    pitch = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = np.arcsin(np.clip(-rotation[..., 2, 0], -1.0, 1.0))
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([pitch, yaw, roll], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceRig:
    """The bases of Eq. 1.

    ``mean`` [478,3] is S̄; ``basis`` [37,478,3] is B_exp, one row per live blendshape in the
    order of ``LIVE_EXPRESSION``; ``eye_basis`` [4,478,3] is B_eye, displacement of the iris
    points per radian of gaze in the order of ``GAZE_NAMES``.
    """

    mean: Float
    basis: Float
    eye_basis: Float

    @classmethod
    def load(cls) -> FaceRig:
        """The basis that is shipped with the package (read once)."""
        return _load()

    def shape(self, codes: np.ndarray, neutral: np.ndarray) -> Float:
        """``S̄ + B_exp β + B_eye γ`` in model space: ``[N,61]``, ``[478,3]`` → ``[N,478,3]``."""
        codes = np.asarray(codes, np.float32)
        beta = codes[:, list(LIVE_EXPRESSION)]
        moved = beta @ self.basis.reshape(len(self.basis), -1)
        points = moved.reshape(-1, POINTS, 3) + np.asarray(neutral, np.float32)
        eyes = codes[:, GAZE] @ self.eye_basis[:, RIGHT_IRIS.start :].reshape(4, -1)
        points[:, RIGHT_IRIS.start :] += eyes.reshape(-1, POINTS - RIGHT_IRIS.start, 3)
        return points

    def project(self, codes: np.ndarray, neutral: np.ndarray, pose_frame: PoseFrame) -> Float:
        """Eq. 1's ``P · M · (S̄ + B_exp β + B_eye γ)``: the landmarks that the codes stand for.

        ``codes`` [N,61], ``neutral`` [478,3] → [N,478,3] pixels of the square that
        ``pose_frame`` describes: x right, y down, z in the same unit, smaller is nearer.
        """
        codes = np.asarray(codes, np.float32)
        points = self.shape(codes, neutral)
        rotation = rotation_matrix(codes[:, ROTATION]).astype(np.float32)
        points = points @ rotation.transpose(0, 2, 1)
        x, y, log_scale = codes[:, POSE][:, 3], codes[:, POSE][:, 4], codes[:, POSE][:, 5]
        points *= (pose_frame.scale * np.exp(log_scale))[:, None, None]
        points[:, :, 0] += (pose_frame.origin_x + pose_frame.scale * x)[:, None]
        points[:, :, 1] += (pose_frame.scale * y - pose_frame.origin_y)[:, None]
        points[:, :, 1:] *= -1.0
        return points


def _eye_basis() -> Float:
    """Small-angle turn of the iris discs: yaw moves them along +x, pitch along −y."""
    basis = np.zeros((4, POINTS, 3), np.float32)
    for row, iris in ((0, LEFT_IRIS), (2, RIGHT_IRIS)):
        basis[row, iris, 0] = EYE_RADIUS
        basis[row + 1, iris, 1] = -EYE_RADIUS
    return basis


@lru_cache(maxsize=1)
def _load() -> FaceRig:
    tensors = load_file(_BASIS_FILE)
    eye_basis = _eye_basis()
    arrays = {"mean": tensors["mean"], "basis": tensors["basis"], "eye_basis": eye_basis}
    for array in arrays.values():
        array.flags.writeable = False  # the rig is shared by everyone who loads it
    return FaceRig(**arrays)
