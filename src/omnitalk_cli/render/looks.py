"""The colours that a drawn mouth needs, read off the person's pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.cavity import GREY, MouthLook
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.own_teeth import own_teeth
from omnitalk_cli.render.topology import LIDS, LIPS_INNER, LIPS_OUTER, Topology
from omnitalk_cli.types import Float

ENAMEL = np.array([1.05, 1.0, 0.92], np.float32)
IRIS_RADIUS = 0.066  # eye distances: 11.8 mm across


def mouth_look(
    frames: Sequence[NDArray[np.uint8]],
    keys: NDArray[np.int64],
    geometry: Geometry,
    topology: Topology,
    neutral: Float,
    *,
    still: bool,
) -> MouthLook:
    """What a drawn mouth of this person looks like: medians over the key pictures.

    ``still``: the reference is one picture, which may lend its teeth.
    """
    outer, inner = topology.places(LIPS_OUTER), topology.places(LIPS_INNER)
    lips, skins, whites = [], [], []
    for key in keys:
        places = geometry.vertices[key]
        lips.append(lip_colour(frames[key], places[outer], places[inner]))
        skins.append(skin_colour(frames[key], places[outer]))
        radius = IRIS_RADIUS * float(geometry.scale[key])
        for ring, iris in zip(LIDS, geometry.irises[key], strict=True):
            white = eye_white(frames[key], places[topology.places(ring)], iris, radius)
            if white is not None:
                whites.append(white)
    skin = np.median(skins, axis=0).astype(np.float32)
    white = np.median(whites, axis=0).astype(np.float32) if whites else None
    own = None
    if still:
        contour = geometry.vertices[0, inner]
        own = own_teeth(frames[0], contour, geometry, neutral, skin)
    return MouthLook(
        lips=np.median(lips, axis=0).astype(np.float32),
        teeth=teeth_colour(skin, white),
        softness=softness(frames[keys[0]], geometry, int(keys[0])),
        still=still,
        own=own,
    )


def softness(frame: NDArray[np.uint8], geometry: Geometry, index: int) -> float:
    """Blur (sigma in eye distances) with which drawn edges look like those around the eyes.

    Where a picture has little more contrast between one and two pixels than between two and four,
    it is soft.
    """
    scale = float(geometry.scale[index])
    left, top = geometry.irises[index].min(axis=0) - np.array([0.25, 0.15]) * scale
    right, bottom = geometry.irises[index].max(axis=0) + np.array([0.25, 0.15]) * scale
    rows = slice(max(0, int(top)), max(2, int(bottom)))
    eyes = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[rows, max(0, int(left)) : max(2, int(right))]
    if min(eyes.shape) < 8:
        return 0.006
    grey = eyes.astype(np.float32)
    one, two = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1.0, 2.0))
    detail = float((grey - one).std() / max(float((one - two).std()), 1e-3))
    return float(np.interp(detail, [0.5, 0.9], [1.9, 0.7])) / scale


def lip_colour(frame: NDArray[np.uint8], outer: Float, inner: Float) -> Float:
    """Mean RGB [3] between the outer and inner lip contours [20,2] (pixels) of a frame."""
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(outer).astype(np.int32)], (255,))
    cv2.fillPoly(mask, [np.rint(inner).astype(np.int32)], (0,))
    return np.array(cv2.mean(frame, mask)[:3], np.float32)


def skin_colour(frame: NDArray[np.uint8], outer: Float) -> Float:
    """Mean RGB [3] of the skin around the outer lip contour [20,2]."""
    middle = outer.mean(axis=0)
    mask = np.zeros(frame.shape[:2], np.uint8)
    for grow, value in ((1.45, 255), (1.15, 0)):
        ring = np.rint(middle + (outer - middle) * grow).astype(np.int32)
        cv2.fillPoly(mask, [ring], (value,))
    return np.array(cv2.mean(frame, mask)[:3], np.float32)


def eye_white(frame: NDArray[np.uint8], lids: Float, iris: Float, radius: float) -> Float | None:
    """RGB [3] of the brighter half of an eye's white; None where too little of it is seen.

    ``lids`` [16,2] and ``iris`` [2] in pixels, ``radius`` of the iris in pixels.
    """
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(lids).astype(np.int32)], (255,))
    centre = (round(float(iris[0])), round(float(iris[1])))
    cv2.circle(mask, centre, round(1.25 * radius), (0,), -1)
    white = frame[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0].astype(np.float32)
    if len(white) < 12:
        return None
    grey = white @ GREY
    kept = (grey >= np.quantile(grey, 0.5)) & (grey <= np.quantile(grey, 0.95))
    return np.asarray(white[kept].mean(axis=0), np.float32)


def teeth_colour(skin: Float, white: Float | None) -> Float:
    """RGB [3] of well-lit teeth beside ``skin`` [3] and, if it is seen, the ``white`` of the eyes.

    As bright as the brighter of both; half of the white's tint is the light's.
    """
    grey = float(skin @ GREY)
    tint = ENAMEL.copy()
    if white is not None:
        own = float(white @ GREY)
        grey = max(grey, min(1.05 * own, 1.6 * grey))
        tint = tint * 0.5 + 0.5 * np.clip(white / max(own, 1), 0.75, 1.25)
    return np.asarray(np.clip(1.2 * grey, 45, 228) * tint, np.float32)
