"""Which pictures of a reference may be shown again: those in which the face is seen and bare.

A hand that passes before the face does not stop the tracker, which guesses what is behind it; the
renderer would glue the hand onto the mouth. A face in profile has only one half to show.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.smoothing import gaps
from omnitalk_cli.pipeline.reference_pictures import Pictures, decoded
from omnitalk_cli.types import Float

MOST_YAW = np.radians(40)
SIDE = 32  # pixels of the straightened face that is compared
FOREIGN, FOREIGN_SHARE = 45.0, 0.25  # grey levels; share of the face that differs so much
FEWEST = 8  # pictures from which the usual face is known
LEAST_SHARE = 0.3  # of the pictures must be usable
# Redness of the lips over the skin's, of the usual: below, a hand of the same colour covers them.
LEAST_LIPS, TOO_PALE = 0.3, 0.05
_LIPS = np.array([[0, 13], [17, 14], [37, 82], [267, 312], [84, 87], [314, 317]])
_SKIN = np.array([164, 18, 200, 205, 425])
_OVAL = np.array([10, 297, 284, 389, 454, 361, 397, 378, 152, 149, 172, 132, 234, 162, 54, 67])


def usable_pictures(
    pictures: Pictures,
    codes: Float,
    *,
    name: str,
    still: bool,
    notes: Callable[[str], None],
) -> NDArray[np.bool_]:
    """[N] whether each picture may be shown; ``codes`` [N,61] are those of the pictures.

    ``notes`` hears which parts are left out. Raises InputError when the face is mostly turned away
    or hidden.
    """
    turned = np.abs(codes[:, CODE_INDEX["headYaw"]]) > MOST_YAW
    if turned.mean() > 1 - LEAST_SHARE:
        what = "picture" if still else "part of the clip"
        raise InputError(
            f"{name}: the face is seen from the side; use a {what} in which both eyes are seen"
        )
    hidden = np.zeros(len(codes), bool) if still else ~_seen(pictures)
    for flags, why in ((hidden, "something hides the face"), (turned, "the face is turned away")):
        if flags.any():
            notes(f"{name}: {why} at {_times(flags, pictures)}; those pictures are not shown")
    usable = ~(turned | hidden)
    if usable.mean() < LEAST_SHARE:
        raise InputError(
            f"{name}: the face is hidden or turned away most of the time; choose another part "
            "(--ref-start, --ref-seconds)"
        )
    return np.asarray(usable, bool)


def _seen(pictures: Pictures) -> NDArray[np.bool_]:
    """[N] whether the whole face is seen: found by the tracker and looking like it usually does."""
    tracked = pictures.sharpness > 0
    faces, lips = [], []
    for picture, points in zip(decoded(pictures.frames), pictures.landmarks, strict=True):
        faces.append(straightened(picture, points[:, :2]))
        lips.append(redness(picture, points[:, :2]))
    return tracked & ~foreign(np.stack(faces)) & ~without_lips(np.array(lips))


def straightened(picture: NDArray[np.uint8], points: Float) -> NDArray[np.uint8]:
    """The face [32,32,3] with eyes level and black outside its oval; ``points`` [478,2]."""
    right, left = points[33], points[263]
    across = left - right
    middle = points[_OVAL].mean(axis=0)
    scale = SIDE / (2.0 * max(1.0, float(np.linalg.norm(across))))
    cos, sin = scale * across / max(1.0, float(np.linalg.norm(across)))
    matrix = np.array([[cos, sin, 0], [-sin, cos, 0]], np.float32)
    matrix[:, 2] = SIDE / 2 - matrix[:, :2] @ middle
    blurred = cv2.GaussianBlur(picture, (0, 0), max(0.5, 0.5 / scale))
    small = cv2.warpAffine(blurred, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    oval = points[_OVAL] @ matrix[:, :2].T + matrix[:, 2]
    cv2.fillConvexPoly(mask, np.rint(middle_out(oval)).astype(np.int32), (255,))
    return np.asarray(np.where(mask[..., None] > 0, np.maximum(small, 1), 0), np.uint8)


def middle_out(oval: Float) -> Float:
    """The oval [P,2] drawn in by a tenth, away from hair and background."""
    middle = oval.mean(axis=0)
    return np.asarray(middle + 0.88 * (oval - middle), np.float32)


def redness(picture: NDArray[np.uint8], points: Float) -> float:
    """How much redder the lips are than the skin around them, as shares of red less green."""

    def share(places: Float) -> float:
        limit = np.array(picture.shape[1::-1]) - 1
        x, y = np.clip(np.rint(places), 0, limit).astype(int).T
        red, green, blue = picture[y, x].astype(np.float32).mean(axis=0)
        return float((red - green) / max(1.0, red + green + blue))

    return share(points[_LIPS].mean(axis=1)) - share(points[_SKIN])


def without_lips(red: Float) -> NDArray[np.bool_]:
    """[N] where the ``red`` [N] of the lips is gone, if this person's lips show any."""
    usual = float(np.median(red))
    if len(red) < FEWEST or usual < TOO_PALE:
        return np.zeros(len(red), bool)
    return np.asarray(red < LEAST_LIPS * usual, bool)


def foreign(faces: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[N] which of ``faces`` [N,32,32,3] (0: outside) show something that is not the usual face.

    Light that changes as a whole is no foreign thing: every face's own median shift is allowed.
    """
    if len(faces) < FEWEST:
        return np.zeros(len(faces), bool)
    inside = faces.any(axis=-1)
    values = np.where(inside[..., None], faces.astype(np.float32), np.nan)
    always = inside.mean(axis=0) > 0.7
    usual = np.nanmedian(values[:, always], axis=0)
    apart = values[:, always] - usual  # [N,P,3]
    apart -= np.nanmedian(apart, axis=1, keepdims=True)
    away = np.abs(apart).max(axis=-1)
    share = np.nanmean(np.where(np.isnan(away), np.nan, away > FOREIGN), axis=1)
    # People who turn and laugh differ more among themselves.
    return np.asarray(share > max(FOREIGN_SHARE, 2.5 * float(np.median(share))), bool)


def _times(flags: NDArray[np.bool_], pictures: Pictures) -> str:
    """When, in words."""
    fps, start = float(pictures.fps), pictures.window.start
    spans = [f"{start + a / fps:.1f}-{start + b / fps:.1f} s" for a, b in gaps(~flags)]
    return ", ".join(spans[:4]) + (" and more" if len(spans) > 4 else "")
