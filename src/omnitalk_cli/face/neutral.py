"""The personal neutral face: what remains of a clip when pose and expression are taken away."""

from __future__ import annotations

import numpy as np

from omnitalk_cli.face.pose import Pose, similarity
from omnitalk_cli.face.rig import (
    LEFT_IRIS,
    OUTER_EYE_CORNERS,
    POINTS,
    POSE_POINTS,
    RIGHT_IRIS,
    FaceRig,
)
from omnitalk_cli.types import Float

# A channel's value that the person undercuts in this share of frames is part of the resting face.
_REST_SHARE = 0.05
# Upper and lower lid, middle of each eye: right, left.
_LID_PAIRS = ((159, 145), (386, 374))


def estimate_neutral(
    observed: Float, pose: Pose, beta: Float, rig: FaceRig, depth_weight: float
) -> tuple[Float, Float]:
    """Neutral [478,3] from ``observed`` [N,478,3] (model axes), and ``beta`` [N,37] that fits it.

    Least squares over the frames: a point's place in the picture counts fully, the tracker's depth
    by ``depth_weight``. What an expression channel never goes below becomes part of the face, so
    that zero is this person's rest. The result is laid onto the mean face (rigid points) and scaled
    to an eye distance of one.
    """
    rest = np.quantile(beta, _REST_SHARE, axis=0).astype(np.float32)
    beta = np.maximum(beta - rest, 0.0)
    shift = np.einsum("nk,kpa->npa", beta, rig.basis)
    # depth has no absolute place: the rigid points say how deep the head is
    points = list(POSE_POINTS)
    placed = pose.unplace(observed) - shift
    weight = np.array([1.0, 1.0, depth_weight])
    turned = pose.rotation.astype(np.float64)
    normal = turned.transpose(0, 2, 1) @ (weight[:, None] * turned)  # [N,3,3]
    right = np.einsum("nab,npb->pa", normal, placed)
    neutral = np.linalg.solve(normal.sum(axis=0), right.T).T.astype(np.float32)
    back = similarity(neutral[points], rig.mean[None, points])
    neutral = (neutral * back.scale[0]) @ back.rotation[0].T + back.place[0]
    right_corner, left_corner = OUTER_EYE_CORNERS
    neutral = neutral / np.linalg.norm(neutral[left_corner] - neutral[right_corner])
    return neutral.astype(np.float32), beta


def open_lids(observed: Float, pose: Pose) -> Float:
    """How far the lids are apart [N,2] (right, left) in eye distances, in the picture."""
    pairs = [observed[:, a, :2] - observed[:, b, :2] for a, b in _LID_PAIRS]
    return np.linalg.norm(np.stack(pairs, axis=1), axis=2) / pose.scale[:, None]


def set_iris_rest(observed: Float, pose: Pose, neutral: Float) -> Float:
    """``neutral`` with irises where the person usually looks, taken from frames of open eyes."""
    neutral = neutral.copy()
    opening = open_lids(observed, pose)
    placed = pose.unplace(observed)
    for eye, iris in ((0, RIGHT_IRIS), (1, LEFT_IRIS)):
        visible = opening[:, eye] >= np.median(opening[:, eye])
        neutral[iris] = np.median(placed[visible][:, iris], axis=0)
    assert neutral.shape == (POINTS, 3)
    return neutral
