"""Person mattes: MediaPipe's selfie segmentation, sharpened to the picture's edges.

Segmentation (256×256) → guided filter on the picture → the component that holds the face → a rim
of a few pixels taken off, so that no background clings to the hair when the person moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import SetupError
from omnitalk_cli.render.topology import OVAL

GUIDE_SIDE = 256
RIM = 5.0  # pixels at a side of 512
GUIDE_RADIUS, GUIDE_EPSILON = 6, 2e-4


def person_mattes(
    frames: Iterable[NDArray[np.uint8]], landmarks: NDArray[np.floating]
) -> Iterator[NDArray[np.uint8]]:
    """Mattes of the person whose face is at ``landmarks`` [N,478,3] (pixels of the frames).

    Takes N pictures [H,W,3] RGB one at a time and yields as many [H,W] mattes, 255 inside.
    Raises ``SetupError`` when mediapipe's segmentation cannot be loaded.
    """
    network = _network()
    previous: NDArray[np.float32] | None = None
    with network(model_selection=0) as segmentation:
        for frame, points in zip(frames, landmarks, strict=True):
            small = cv2.resize(frame, (GUIDE_SIDE, GUIDE_SIDE), interpolation=cv2.INTER_AREA)
            mask = segmentation.process(small).segmentation_mask
            if previous is not None:  # the network flickers more than people move
                mask = 0.7 * mask + 0.3 * previous
            previous = mask
            yield refine_matte(frame, mask, points)


def segment_wholes(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Coarse mask [256,256] 0…1 of people in a picture [H,W,3]: where both of MediaPipe's networks,
    the general one and the one for landscape pictures, see somebody.

    Raises ``SetupError`` when mediapipe's segmentation cannot be loaded.
    """
    network = _network()
    small = cv2.resize(frame, (GUIDE_SIDE, GUIDE_SIDE), interpolation=cv2.INTER_AREA)
    masks = []
    for selection in (0, 1):
        with network(model_selection=selection) as segmentation:
            mask = segmentation.process(small).segmentation_mask
            masks.append(cv2.resize(mask, (GUIDE_SIDE, GUIDE_SIDE)))
    return np.sqrt(masks[0] * masks[1])


def _network() -> Any:
    try:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
    except ImportError as error:
        raise SetupError(
            f"mediapipe's segmentation cannot be loaded ({error}): reinstall mediapipe"
        ) from error
    return SelfieSegmentation


def refine_matte(
    frame: NDArray[np.uint8], mask: NDArray[np.float32], points: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Sharpen a coarse mask (any size, 0…1) to ``frame`` [H,W,3]; keep the person of ``points``."""
    height, width = frame.shape[:2]
    scale = np.array([GUIDE_SIDE / width, GUIDE_SIDE / height])
    guide = cv2.resize(frame, (GUIDE_SIDE, GUIDE_SIDE), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(mask.astype(np.float32), (GUIDE_SIDE, GUIDE_SIDE))
    face = np.zeros((GUIDE_SIDE, GUIDE_SIDE), np.uint8)
    outline = cv2.convexHull((points[OVAL, :2] * scale).astype(np.int32))
    cv2.fillConvexPoly(face, outline, (1,))
    coarse[face > 0] = 1.0  # glasses and beards sometimes fall out of the segmentation

    slope, offset = _guided_coefficients(guide, coarse)
    # The linear model is fitted small and applied large: edges come out at the full resolution.
    slope = cv2.resize(slope, (width, height))
    offset = cv2.resize(offset, (width, height))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    matte = np.clip(slope * grey + offset, 0, 1)

    body = cv2.resize(_component_with(coarse > 0.35, face), (width, height))
    reach = max(3, round(7 * width / 512)) | 1
    body = cv2.dilate(body, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    matte *= cv2.GaussianBlur(body.astype(np.float32), (0, 0), 0.25 * reach)
    # Moving the threshold up takes the rim off where the edge is soft, and nothing inside.
    rim = max(1, round(RIM * width / 512)) | 1
    eroded = cv2.erode(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    matte = np.clip((0.5 * (matte + eroded) - 0.15) / 0.7, 0, 1)
    return (matte * 255 + 0.5).astype(np.uint8)


def _guided_coefficients(
    guide: NDArray[Any], mask: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """He et al., "Guided Image Filtering": mask ≈ slope · grey + offset in every window."""
    grey = cv2.cvtColor(guide, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    window = (2 * GUIDE_RADIUS + 1, 2 * GUIDE_RADIUS + 1)

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return cv2.blur(values, window)

    mean_grey, mean_mask = mean(grey), mean(mask)
    variance = mean(grey * grey) - mean_grey**2
    slope = (mean(grey * mask) - mean_grey * mean_mask) / (variance + GUIDE_EPSILON)
    return mean(slope), mean(mean_mask - slope * mean_grey)


def _component_with(mask: NDArray[np.bool_], seed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The connected component of ``mask`` that shares most pixels with ``seed``."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    inside = labels[(seed > 0) & mask]
    if len(inside) == 0:
        return seed
    return (labels == np.bincount(inside).argmax()).astype(np.uint8)
