"""E-FID and P-FID over codes, their like over pictures, and CSIM."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.evaluation.anchors import expression_features, pose_features
from omnitalk_cli.evaluation.motion import (
    expression_distance,
    frechet_distance,
    pose_distance,
)
from omnitalk_cli.evaluation.scores.footage import Footage
from omnitalk_cli.evaluation.scores.models import FACE, Network
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.types import Float

_FIT = "codes of this project's face fit"
_FIT_NOTE = "the papers' face bases are not published: compares within this tool only"
_PICTURES = "MediaPipe landmarks"
_MOST_FACES = 60

# Where ArcFace expects eye centres, nose tip and mouth corners, left and right as seen.
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
_FACE_SIDE = 112
_EYES, _NOSE, _MOUTH = ((33, 133), (362, 263)), 1, (61, 291)


def code_scores(
    generated: Float | None, reference: Float | None, *, given: bool, why: str
) -> dict[str, Score]:
    """``e_fid`` and ``p_fid`` of codes ``[n,61]`` and ``[m,61]``; ``why`` where one is missing.

    ``given``: the generated codes are the performance's own, not tracked again.
    """
    if generated is None or reference is None or min(len(generated), len(reference)) < 2:
        return {name: Score.missing(why) for name in ("e_fid", "p_fid")}
    note = _FIT_NOTE + ("; generated codes from the performance" if given else "")
    return {
        name: Score(value=distance(generated, reference), model=_FIT, substitute=True, note=note)
        for name, distance in (("e_fid", expression_distance), ("p_fid", pose_distance))
    }


def picture_scores(generated: Footage, reference: Footage | None, why: str) -> dict[str, Score]:
    """``e_dist``, ``p_dist`` and ``sharpness`` (``evaluation.anchors``)."""
    names = ("e_dist", "p_dist", "sharpness")
    if reference is None or generated.landmarks is None or reference.landmarks is None:
        return {name: Score.missing(why) for name in names}
    values = [
        frechet_distance(features(generated.landmarks), features(reference.landmarks))
        for features in (expression_features, pose_features)
    ]
    here, there = generated.sharpness(), reference.sharpness()
    found = {
        name: Score(value=value, model=_PICTURES, note="this project's own figure")
        for name, value in zip(names, values, strict=False)
    }
    found["sharpness"] = Score.missing(why)
    if here is not None and there:
        found["sharpness"] = Score(value=here / there, model="variance of the Laplacian")
    return found


def face_embedding(footage: Footage, network: Network) -> Float | None:
    """ArcFace of evenly chosen frames, unit vectors ``[n,D]``; None without pictures."""
    if footage.landmarks is None or not footage.frames:
        return None
    count = min(_MOST_FACES, len(footage.frames))
    places = np.linspace(0, len(footage.frames) - 1, count).round().astype(int)
    rows = []
    for place in places:
        picture = cv2.imdecode(np.frombuffer(footage.frames[place], np.uint8), cv2.IMREAD_COLOR)
        colour = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        face = aligned_face(colour, footage.landmarks[place])
        ready = ((face.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        rows.append(network(ready).reshape(-1))
    found = np.stack(rows)
    lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return np.asarray(found / lengths, np.float32)


def aligned_face(picture: NDArray[np.uint8], landmarks: Float) -> NDArray[np.uint8]:
    """The face of an RGB ``picture`` turned to ArcFace's places, ``[112,112,3]``."""
    points = np.asarray(landmarks, np.float64)[:, :2]
    eyes = [points[list(pair)].mean(axis=0) for pair in _EYES]
    five = np.stack([*eyes, points[_NOSE], *(points[i] for i in _MOUTH)])
    warped = cv2.warpAffine(picture, similarity(five, _TEMPLATE), (_FACE_SIDE, _FACE_SIDE))
    return np.asarray(warped, np.uint8)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn, scale and shift that brings points ``[n,2]`` nearest to others: ``[2,3]``."""
    x = (source - source.mean(axis=0)) @ np.array([1, 1j])
    y = (target - target.mean(axis=0)) @ np.array([1, 1j])
    turn = np.vdot(x, y) / np.vdot(x, x).real
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = target.mean(axis=0) - matrix @ source.mean(axis=0)
    return np.column_stack([matrix, shift])


def identity_score(
    generated: Float | None, reference: Float | None, *, present: bool, why: str
) -> Score:
    """``csim``: mean cosine of the generated faces with the reference's mean face."""
    if not present:
        return Score.missing(FACE.how())
    if generated is None or reference is None:
        return Score.missing(why)
    mean = reference.mean(axis=0)
    mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return Score(value=float((generated @ mean).mean()), model=FACE.model)
