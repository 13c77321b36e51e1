"""The personal neutral face: what remains of a clip when pose and expression are taken away."""

from __future__ import annotations

import numpy as np

from omnitalk_cli.face.codes import BLENDSHAPE_NAMES, LIVE_EXPRESSION
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

# Upper and lower lid, middle of each eye: right, left.
_LID_PAIRS = ((159, 145), (386, 374))
# Inner upper and lower lip: the middle and a little to each side.
_LIP_PAIRS = ((13, 14), (82, 87), (312, 317))
# Share of the frames with the least lip gap in which the mouth is taken to be at rest.
_CLOSED_SHARE = 0.12
_BROW_REST = 0.3  # quantile
_CLOSED_GAP = 0.004  # eye distances; the tracker's closed lips
_MOST_CLOSING = 0.12  # of lips that are never seen closed
_JAW_OPEN = BLENDSHAPE_NAMES.index("jawOpen")

_GROUPS = {
    group: np.array(
        [name.startswith(start) for name in (BLENDSHAPE_NAMES[i] for i in LIVE_EXPRESSION)]
    )
    for group, start in (("brow", "brow"), ("eye", "eye"))
}


def estimate_neutral(
    observed: Float, pose: Pose, beta: Float, rig: FaceRig, depth_weight: float
) -> Float:
    """Neutral [478,3] from ``observed`` [N,478,3] (model axes), its pose and expression [N,37].

    Least squares over the frames: a point's place in the picture counts fully, the tracker's depth
    by ``depth_weight``. The person's rest (see :func:`rest_expression`) becomes part of the face.
    The result is laid onto the mean face (rigid points) and scaled to an eye distance of one.
    """
    beta = beta - rest_expression(observed, pose, beta)
    placed = pose.unplace(observed) - np.einsum("nk,kpa->npa", beta, rig.basis)
    weight = np.array([1.0, 1.0, depth_weight])
    turned = pose.rotation.astype(np.float64)
    normal = turned.transpose(0, 2, 1) @ (weight[:, None] * turned)  # [N,3,3]
    right = np.einsum("nab,npb->pa", normal, placed)
    neutral = np.linalg.solve(normal.sum(axis=0), right.T).T.astype(np.float32)
    neutral = _closed(neutral, rig)
    points = list(POSE_POINTS)
    back = similarity(neutral[points], rig.mean[None, points])
    neutral = (neutral * back.scale[0]) @ back.rotation[0].T + back.place[0]
    right_corner, left_corner = OUTER_EYE_CORNERS
    neutral = neutral / np.linalg.norm(neutral[left_corner] - neutral[right_corner])
    return neutral.astype(np.float32)


def rest_expression(observed: Float, pose: Pose, beta: Float) -> Float:
    """What the channels [37] show at this person's rest: lips closed, eyes open, brows calm.

    Codes count from there (ARKit's zero), so that generated codes of zero close the mouth.
    """
    gap = lip_gap(observed, pose)
    lids = open_lids(observed, pose).mean(axis=1)
    closed = gap <= np.quantile(gap, _CLOSED_SHARE)
    rest = beta[closed].mean(axis=0)
    rest[_GROUPS["eye"]] = beta[lids >= np.median(lids)][:, _GROUPS["eye"]].mean(axis=0)
    rest[_GROUPS["brow"]] = np.quantile(beta[:, _GROUPS["brow"]], _BROW_REST, axis=0)
    return rest.astype(np.float32)


def _closed(neutral: Float, rig: FaceRig) -> Float:
    """``neutral`` with its lips brought together, by the jaw, if they were never seen closed."""
    gap = neutral_gap(neutral)
    jaw = rig.basis[LIVE_EXPRESSION.index(_JAW_OPEN)]
    excess = min(max(gap - _CLOSED_GAP, 0.0), _MOST_CLOSING)
    return neutral - jaw * (excess / neutral_gap(jaw))


def neutral_gap(shape: Float) -> float:
    """Vertical gap between the inner lips of a shape (or of a displacement) [478,3]."""
    return float(np.mean([shape[a, 1] - shape[b, 1] for a, b in _LIP_PAIRS]))


def lip_gap(observed: Float, pose: Pose) -> Float:
    """How far the inner lips are apart [N] in eye distances, in the picture."""
    pairs = [observed[:, a, :2] - observed[:, b, :2] for a, b in _LIP_PAIRS]
    return np.linalg.norm(np.stack(pairs, axis=1), axis=2).mean(axis=1) / pose.scale


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
