"""The whole picture around a reference's square: one well-chosen frame of the clip, its matte.

One is enough: the generated square brings its own torso, and ``render.fullview`` moves the body in
the picture along with it. What counts is that the body stands where it usually stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.mediapipe_models import silenced_stderr
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.pipeline.reference_pictures import Pictures, encode
from omnitalk_cli.render.matte import refine_matte, segment_wholes
from omnitalk_cli.types import Crop, Float, Surroundings

LONGEST = 1920  # pixels of the longer side that are kept
RIM = 0.08  # of the square's side: what is compared, next to the seam
MOST_COMPARED = 120
HOLE = 7  # cells of 256: holes up to about twice as wide are filled
_SEAM_SIDE = 64
_QUALITY, _MATTE_QUALITY = 92, 90
_TAIL_SECONDS = 0.3  # the very end of a file cannot always be reached by seeking


def surroundings(info: MediaInfo, pictures: Pictures) -> Surroundings:
    """The frame of the clip whose body stands most usually, at most 1920 pixels long.

    Raises InputError when the clip cannot be read (any more).
    """
    fps = float(pictures.fps)
    last = max(1, len(pictures.frames) - round(_TAIL_SECONDS * fps))
    index = 0
    if not info.is_image:
        index = most_usual(pictures.frames[:last], pictures.sharpness[:last])
    crop = pictures.crop
    shrink = min(1.0, LONGEST / max(crop.source_width, crop.source_height))
    width, height = round(crop.source_width * shrink), round(crop.source_height * shrink)
    size = (width, height) if shrink < 1 else None
    try:
        picture = _picture_at(info, pictures, index, size)
    except InputError:  # some files cannot be entered anywhere: the beginning was read before
        index = 0
        picture = _picture_at(info, pictures, index, size)
    height, width = picture.shape[:2]
    placed = Crop(
        x=crop.x * shrink, y=crop.y * shrink, size=crop.size * shrink,
        source_width=width, source_height=height,
    )  # fmt: skip
    side = cv2.imdecode(np.frombuffer(pictures.frames[index], np.uint8), 0).shape[0]
    points = np.array(pictures.landmarks[index]) * (placed.size / side)
    points[:, :2] += (placed.x, placed.y)
    with silenced_stderr():
        matte = whole_matte(picture, points)
    return Surroundings(
        picture=encode(picture, _QUALITY), matte=encode(matte, _MATTE_QUALITY), crop=placed
    )


def _picture_at(
    info: MediaInfo, pictures: Pictures, index: int, size: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Picture ``index`` of the window, whole, in ``size`` (width, height; None: its own)."""
    fps = float(pictures.fps)
    with stream_frames(
        info.path, fps=pictures.fps, start=pictures.window.start + index / fps, info=info,
        seconds=1 / fps, width=size and size[0], height=size and size[1],
    ) as frames:  # fmt: skip
        return next(frames)


def whole_matte(picture: NDArray[np.uint8], points: Float) -> NDArray[np.uint8]:
    """Matte [H,W] of the person of ``points`` [478,3] in a whole picture [H,W,3], 255 inside.

    Far from the face, clothes are taken for furniture and furniture for clothes: two networks
    must agree, and holes inside the person are filled.
    """
    mask = segment_wholes(picture)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * HOLE + 1,) * 2)
    padded = cv2.copyMakeBorder(mask, *(4 * (2 * HOLE,)), cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    sure = (closed[2 * HOLE : -2 * HOLE, 2 * HOLE : -2 * HOLE] - 0.4) / 0.4
    mask = sure.clip(0, 1)
    matte = refine_matte(picture, mask, points)
    inner = cv2.erode((mask > 0.5).astype(np.float32), kernel)
    solid = cv2.resize(cv2.GaussianBlur(inner, (0, 0), 2), picture.shape[1::-1])
    near = cv2.dilate(matte, np.ones((3, 3), np.uint8), iterations=max(1, len(matte) // 100))
    filled = np.minimum(255 * solid, near)  # inside this person only
    return np.maximum(matte, filled.astype(np.uint8))


def most_usual(frames: Sequence[bytes], sharpness: Float) -> int:
    """The sharp frame whose border resembles the borders of all most (their medoid).

    ``frames`` are the square JPEGs. Next to the border are background and body, no face: where
    the body stands in this frame, it stands most of the time.
    """
    steps = np.linspace(0, len(frames) - 1, min(len(frames), MOST_COMPARED)).round().astype(int)
    rims = np.stack([_rim(frames[index]) for index in steps])
    squares = (rims**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * rims @ rims.T, 0))
    unusual = apart.mean(axis=1)
    sharp = sharpness[steps] >= 0.7 * np.median(sharpness[steps])
    return int(steps[np.where(sharp, unusual, np.inf).argmin()])


def _rim(frame: bytes) -> NDArray[np.float32]:
    """Grey pixels of the border of a square JPEG, small and flat."""
    grey = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    small = cv2.resize(grey, (_SEAM_SIDE, _SEAM_SIDE), interpolation=cv2.INTER_AREA)
    inside = np.ones(small.shape, bool)
    width = max(1, round(RIM * _SEAM_SIDE))
    inside[width:-width, width:-width] = False
    return small[inside].astype(np.float32)
