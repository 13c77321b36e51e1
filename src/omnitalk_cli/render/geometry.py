"""Where the face is in a run of frames: posed mesh vertices, and the pose and shape apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.codes import POSE
from omnitalk_cli.face.rig import FaceRig, rotation_matrix
from omnitalk_cli.render.topology import (
    INNER_LIPS,
    IRISES,
    LID_PAIRS,
    LIP_PAIRS,
    POSE_POINTS,
    Topology,
)
from omnitalk_cli.types import Float, PoseFrame


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """N frames of face geometry in pixels of the square frame (x right, y down).

    ``vertices`` [N,V,2] face points and rings of the topology; ``depth`` [N,V] (larger is
    farther); ``pose_points`` [N,22,2]; ``irises`` [N,2,2]; ``local`` [N,478,3] the face without
    its pose in eye distances (y up); ``angles`` [N,3] pitch, yaw, roll in radians;
    ``scale`` [N] pixels per eye distance.
    """

    vertices: Float
    depth: Float
    pose_points: Float
    irises: Float
    local: Float
    angles: Float
    scale: Float

    @property
    def opening(self) -> Float:
        """[N] gap between the inner lips in per cent of the eye distance."""
        upper, lower = INNER_LIPS
        gap = self.local[:, upper, 1] - self.local[:, lower, 1]
        return np.asarray(np.maximum(gap, 0) * 100, np.float32)

    def __len__(self) -> int:
        return len(self.vertices)

    def posed(self, index: int, points: Float) -> Float:
        """Pixels [...,2] of ``points`` [...,3] that are given like ``local``, in one frame."""
        turn = rotation_matrix(self.angles[index : index + 1])[0].T * self.scale[index]
        flip = np.array([1, -1], np.float32)
        known = (self.local[index, POSE_POINTS] @ turn)[:, :2] * flip
        origin = (self.pose_points[index] - known).mean(axis=0)
        return np.asarray((points @ turn)[..., :2] * flip + origin, np.float32)


def geometry_of(
    codes: Float, neutral: Float, pose_frame: PoseFrame, topology: Topology
) -> Geometry:
    """Geometry of ``codes`` [N,61] on the personal ``neutral`` [478,3] (paper Eq. 1).

    The bank and the target both go through here, so that what the codes cannot express is lost
    on both sides and does not appear as motion between them.
    """
    codes = np.ascontiguousarray(codes, np.float32)
    local = FaceRig.load().shape(codes, neutral)
    for pairs in (*LID_PAIRS, LIP_PAIRS):
        _uncross(local, *pairs)
    angles = codes[:, POSE][:, :3]
    move = codes[:, POSE][:, 3:]
    scale = pose_frame.scale * np.exp(move[:, 2])
    origin = np.stack(
        [
            pose_frame.origin_x + pose_frame.scale * move[:, 0],
            pose_frame.origin_y - pose_frame.scale * move[:, 1],
        ],
        axis=-1,
    )
    return pose_geometry(local, rotation_matrix(angles), angles, scale, origin, topology)


def pose_geometry(
    local: Float, rotation: Float, angles: Float, scale: Float, origin: Float, topology: Topology
) -> Geometry:
    """Pose local shapes [N,478,3] by rotation [N,3,3], scale [N] and origin [N,2] (pixels)."""
    count = len(local)
    rings = np.broadcast_to(topology.rings, (count, *topology.rings.shape))
    wanted = [local[:, topology.points], rings, local[:, POSE_POINTS], local[:, IRISES]]
    points = np.concatenate(wanted, axis=1) @ rotation.transpose(0, 2, 1)
    points = (points * scale[:, None, None]).astype(np.float32)
    flat = points[:, :, :2] * np.array([1, -1], np.float32) + origin[:, None].astype(np.float32)
    mesh = len(topology.points) + len(topology.rings)
    pose = mesh + len(POSE_POINTS)
    return Geometry(
        vertices=flat[:, :mesh],
        depth=-points[:, :mesh, 2],
        pose_points=flat[:, mesh:pose],
        irises=flat[:, pose:],
        local=local,
        angles=np.asarray(angles, np.float32),
        scale=np.asarray(scale, np.float32),
    )


def _uncross(local: Float, upper: NDArray[np.int64], lower: NDArray[np.int64]) -> None:
    """Let lids and lips that have passed each other touch half-way, in place.

    Linear blendshapes press closed contours through each other; drawn so, the texture turns over.
    """
    crossed = local[:, upper, 1] < local[:, lower, 1]
    middle = 0.5 * (local[:, upper] + local[:, lower])
    for side in (upper, lower):
        local[:, side, 1] = np.where(crossed, middle[..., 1], local[:, side, 1])
