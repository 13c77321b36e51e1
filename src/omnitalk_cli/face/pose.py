"""Similarity transforms of the head, batched over frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.face.rig import POSE_POINTS
from omnitalk_cli.types import Float


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """``M`` of Eq. 1, ``scale · rotation @ x + place``: [N,3,3], [N], [N,3] (depth is free)."""

    rotation: Float
    scale: Float
    place: Float

    def moved(self, step: Float) -> Pose:
        """After a small step [N,6]: turn about the picture's axes (3), shift (2), log scale."""
        place = self.place.copy()
        place[:, :2] += step[:, 3:5]
        return Pose(
            rotation=turn(step[:, :3]) @ self.rotation,
            scale=self.scale * np.exp(np.clip(step[:, 5], -0.5, 0.5)),
            place=place,
        )

    def unplace(self, points: Float) -> Float:
        """From the picture back into model space: [N,P,3] → [N,P,3]."""
        return ((points - self.place[:, None]) / self.scale[:, None, None]) @ self.rotation


def turn(vector: Float) -> Float:
    """Rotation by the angle ``|vector|`` about ``vector`` (Rodrigues): [N,3] → [N,3,3]."""
    angle = np.linalg.norm(vector, axis=1)
    axis = vector / np.maximum(angle, 1e-12)[:, None]
    cross = np.zeros((len(vector), 3, 3), np.float32)
    cross[:, 0, 1], cross[:, 0, 2] = -axis[:, 2], axis[:, 1]
    cross[:, 1, 0], cross[:, 1, 2] = axis[:, 2], -axis[:, 0]
    cross[:, 2, 0], cross[:, 2, 1] = -axis[:, 1], axis[:, 0]
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return (np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)).astype(np.float32)


def similarity(source: Float, target: Float) -> Pose:
    """Least-squares similarity that brings ``source`` [P,3] or [N,P,3] onto ``target`` [N,P,3].

    Umeyama, "Least-squares estimation of transformation parameters", 1991.
    """
    source = np.broadcast_to(source, target.shape)
    source_mean = source.mean(axis=1, keepdims=True)
    target_mean = target.mean(axis=1, keepdims=True)
    centred, aim = source - source_mean, target - target_mean
    u, stretch, vt = np.linalg.svd(aim.transpose(0, 2, 1) @ centred)
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= sign[:, None]
    stretch[:, 2] *= sign
    rotation = u @ vt
    spread = np.maximum((centred**2).sum(axis=(1, 2)), 1e-12)
    scale = np.maximum(stretch.sum(axis=1) / spread, 1e-6)
    place = target_mean[:, 0] - scale[:, None] * (source_mean @ rotation.transpose(0, 2, 1))[:, 0]
    return Pose(
        rotation=rotation.astype(np.float32),
        scale=scale.astype(np.float32),
        place=place.astype(np.float32),
    )


def start_pose(observed: Float, neutral: Float) -> Pose:
    """Where the solver begins: the rigid points of ``neutral`` laid onto ``observed``."""
    points = list(POSE_POINTS)
    return similarity(neutral[points], observed[:, points])


def align(observed: Float, pose: Pose, basis: Float, beta: Float, neutral: Float) -> Pose:
    """``pose`` renewed for a changed ``neutral``, with expression ``beta`` [N,37] as it is."""
    points = list(POSE_POINTS)
    shape = np.einsum("nk,kpa->npa", beta, basis[:, points]) + neutral[points]
    return similarity(shape, observed[:, points])
