"""Reading pictures at places between pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float


def pixel_grid(size: int) -> Float:
    """[S,S,2] every pixel's own x and y."""
    axis = np.arange(size, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def sample(picture: NDArray[np.uint8], places: Float) -> NDArray[np.uint8]:
    """Bilinear samples of ``picture`` [H,W,K] at ``places`` [h,w,2] (x, y); borders repeat."""
    found = cv2.remap(  # type: ignore[call-overload]  # the stub forbids leaving out map2
        picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found, np.uint8)


def displaced(pixels: Float, flow: Float) -> Float:
    """``pixels`` [h,w,2] moved by the coarse ``flow`` [g,g,2], which is stretched over them."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.add(pixels, cv2.resize(flow, (width, height))), np.float32)
