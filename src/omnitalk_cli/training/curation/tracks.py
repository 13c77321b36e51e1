"""Everyone's face through one stretch of a scene: where it is, how it moves, how open the mouth is.

Faces are looked for in sampled pictures, then each of the most visible ones is followed through
every picture in a square of its own, exactly as a reference clip is, and fitted (Eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from omnitalk_cli.face.codes import CODE_COUNT, CODE_INDEX, TRANSLATION
from omnitalk_cli.face.crop import choose_crop, cut
from omnitalk_cli.face.finder import FaceFinder, FaceTrack, rank
from omnitalk_cli.face.fit import fit_codes
from omnitalk_cli.face.mediapipe_models import Box
from omnitalk_cli.face.rig import OUTER_EYE_CORNERS, FaceRig
from omnitalk_cli.face.tracker import ChosenFace, LandmarkTracker, finish
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.types import Crop, Float

# Raise it when faces come out differently: it is part of the cache's key.
VERSION = 1
MAX_FPS = 30
SIDE = 512  # pixels of the square that a face is followed in
_SCAN_SIDE = 1920  # longer side of the pictures in which faces are looked for
_SCAN_RATE = 4.0
_FEWEST_SIGHTINGS = 3
# Middles of the inner lips, upper and lower, with their neighbours.
_UPPER_LIP, _LOWER_LIP = (82, 13, 312), (87, 14, 317)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFace:
    """One face in a stretch of N pictures at ``fps`` from second ``start`` of the video on.

    ``codes`` [N,61] are fitted for the whole stretch, ``found`` [N] says where the face was seen
    (elsewhere codes are filled in), ``opening`` [N] is the gap between the inner lips in eye
    distances, ``boxes`` [N,4] the face (left, top, width, height) in pixels of the video, and
    ``crop`` the square that it was followed in.
    """

    start: float
    fps: float
    codes: Float
    found: NDArray[np.bool_]
    opening: Float
    boxes: Float
    crop: Crop

    def part(self, start: float, seconds: float) -> TrackedFace:
        """The pictures of ``seconds`` from second ``start`` of the video on."""
        first = round((start - self.start) * self.fps)
        kept = slice(max(first, 0), max(first, 0) + max(1, round(seconds * self.fps)))
        return replace(
            self, start=start, codes=self.codes[kept], found=self.found[kept],
            opening=self.opening[kept], boxes=self.boxes[kept],
        )  # fmt: skip


def picture_rate(info: MediaInfo) -> Fraction:
    """The video's own rate, or an even part of it that is at most 30."""
    fps = info.fps
    if fps > Fraction(61, 2):
        fps = Fraction(MAX_FPS) if fps < 45 else fps / round(float(fps) / MAX_FPS + 0.45)
    return max(min(fps, Fraction(MAX_FPS)), Fraction(1)).limit_denominator(1001)


def follow_faces(info: MediaInfo, *, start: float, seconds: float, most: int) -> list[TrackedFace]:
    """The ``most`` most visible faces of one shot, the most visible first; [] when there is none.

    The stretch must not hold a cut. Memory holds one picture at a time. Raises InputError when the
    video cannot be read there, SetupError when the face models are missing.
    """
    faces, size = _scan(info, start, seconds)
    faces = [face for face in faces if len(face.sightings) >= _FEWEST_SIGHTINGS]
    if not faces:
        return []
    chosen = rank(faces)[:most]
    return _follow(info, [_chosen(face, faces, size) for face in chosen], start, seconds)


def _scan(info: MediaInfo, start: float, seconds: float) -> tuple[list[FaceTrack], tuple[int, int]]:
    """Faces in sampled pictures and the picture's (width, height), both in pixels of the video."""
    width, height = info.display_size
    shrink = min(1.0, _SCAN_SIDE / max(width, height))
    asked: dict[str, Any] = (
        {"width": round(width * shrink), "height": round(height * shrink)} if shrink < 1 else {}
    )
    rate = min(_SCAN_RATE, float(picture_rate(info)))
    with (
        FaceFinder() as finder,
        stream_frames(
            info.path, fps=rate, start=start, seconds=seconds, info=info, **asked
        ) as frames,
    ):
        for frame in frames:
            finder.look(frame)
            height, width = frame.shape[:2]
        found = finder.faces()
    grow = 1 / shrink
    return [face.scaled(grow) for face in found], (round(width * grow), round(height * grow))


def _chosen(face: FaceTrack, everyone: Sequence[FaceTrack], size: tuple[int, int]) -> ChosenFace:
    others = tuple(f for f in everyone if f is not face and f.samples & face.samples)
    return ChosenFace(track=face, crop=choose_crop(face.boxes, *size), others=others)


def _follow(
    info: MediaInfo, chosen: list[ChosenFace], start: float, seconds: float
) -> list[TrackedFace]:
    """One pass through the pictures for all of ``chosen``."""
    fps = picture_rate(info)
    total = max(1, int(np.floor(seconds * float(fps) + 1e-3)))
    trackers = [
        LandmarkTracker(_in_square(face.track.boxes[0], face.crop), faces=face.in_square)
        for face in chosen
    ]
    # Pictures far larger than needed are shrunk by ffmpeg: a 4K pipe is slow.
    smallest = min(face.crop.size for face in chosen)
    shrink = SIDE / smallest if smallest > 1.5 * SIDE else 1.0
    width, height = chosen[0].crop.source_width, chosen[0].crop.source_height
    asked: dict[str, Any] = (
        {"width": round(width * shrink), "height": round(height * shrink)} if shrink < 1 else {}
    )
    crops = [_shrunk(face.crop, shrink) for face in chosen]
    try:
        with stream_frames(
            info.path, fps=fps, start=start, seconds=seconds, info=info, **asked
        ) as frames:
            for number, frame in enumerate(frames):
                for tracker, crop in zip(trackers, crops, strict=True):
                    tracker.add(cut(frame, crop, SIDE))
                if number + 1 == total:
                    break
        tracked = [tracker.result() for tracker in trackers]
    finally:
        for tracker in trackers:
            tracker.__exit__()
    return [
        _fitted(points, found, face.crop, start, float(fps))
        for (points, found), face in zip(tracked, chosen, strict=True)
        if found.any()
    ]


def _in_square(box: Box, crop: Crop) -> Box:
    return box.moved(-crop.x, -crop.y).scaled(SIDE / crop.size)


def _shrunk(crop: Crop, factor: float) -> Crop:
    if factor == 1.0:
        return crop
    return replace(crop, x=crop.x * factor, y=crop.y * factor, size=crop.size * factor)


def _fitted(
    points: Float, found: NDArray[np.bool_], crop: Crop, start: float, fps: float
) -> TrackedFace:
    landmarks = finish(points, found)
    scale = crop.size / SIDE
    low, high = landmarks[:, :, :2].min(axis=1), landmarks[:, :, :2].max(axis=1)
    boxes = np.concatenate([low * scale + (crop.x, crop.y), (high - low) * scale], axis=1)
    return TrackedFace(
        start=start,
        fps=fps,
        codes=fit_codes(landmarks, FaceRig.load()).codes,
        found=found,
        opening=_opening(landmarks),
        boxes=boxes.astype(np.float32),
        crop=crop,
    )


def _opening(landmarks: Float) -> Float:
    """Gap between the inner lips [N] in eye distances, free of turns of the head (3-D distance)."""
    right, left = OUTER_EYE_CORNERS
    across = np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=1)
    gap = landmarks[:, list(_UPPER_LIP)] - landmarks[:, list(_LOWER_LIP)]
    between = np.linalg.norm(gap, axis=2).mean(axis=1)
    return (between / max(float(np.median(across)), 1e-3)).astype(np.float32)


def centred(codes: Float) -> Float:
    """Codes [N,61] of a part of a stretch with the head's place and size relative to the part's own
    medians, as those of a clip that is fitted alone."""
    codes = np.array(codes, np.float32).reshape(-1, CODE_COUNT)
    usual = np.median(codes[:, TRANSLATION], axis=0)
    codes[:, TRANSLATION] -= usual
    across = [CODE_INDEX["headX"], CODE_INDEX["headY"]]
    codes[:, across] *= np.exp(-usual[2])  # offsets are in eye distances of the part
    return codes


# --- cache ---------------------------------------------------------------------------------------


def save_faces(faces: Sequence[TrackedFace], path: Path) -> None:
    """Writes the faces of a stretch to ``path``."""
    tensors: dict[str, NDArray] = {"count": np.array([len(faces)])}
    for number, face in enumerate(faces):
        crop = face.crop
        tensors |= {
            f"{number}.codes": face.codes, f"{number}.found": face.found,
            f"{number}.opening": face.opening, f"{number}.boxes": face.boxes,
            f"{number}.place": np.array(
                [face.start, face.fps, crop.x, crop.y, crop.size, crop.source_width,
                 crop.source_height]
            ),
        }  # fmt: skip
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def load_faces(path: Path) -> list[TrackedFace]:
    """The faces that :func:`save_faces` wrote. Raises OSError, KeyError or SafetensorError."""
    tensors = load_file(path)
    faces = []
    for number in range(int(tensors["count"][0])):
        start, fps, x, y, size, width, height = tensors[f"{number}.place"].tolist()
        crop = Crop(x=x, y=y, size=size, source_width=int(width), source_height=int(height))
        arrays = {key: tensors[f"{number}.{key}"] for key in ("codes", "found", "opening", "boxes")}
        faces.append(TrackedFace(start=start, fps=fps, crop=crop, **arrays))
    return faces
