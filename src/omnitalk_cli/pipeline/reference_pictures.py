"""The picture side of a reference: finding the face, following it, cutting it out, its matte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.crop import cut
from omnitalk_cli.face.finder import FaceFinder, FaceTrack
from omnitalk_cli.face.landmarker import Tracker, landmark_networks
from omnitalk_cli.face.mediapipe_models import Box, silenced_stderr
from omnitalk_cli.face.tracker import (
    ChosenFace,
    LandmarkTracker,
    choose_face,
    finish,
    longest_run,
    lost_times,
)
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.pipeline.reference_window import Window
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import Crop, Float

MAX_FPS = 30
MIN_SECONDS = 1.0
LEAST_FACE, SMALL_FACE = 24, 80  # pixels from brow to chin in the source
_SCAN_SIDE = 1920  # longer side of the pictures in which faces are looked for
_JPEG_QUALITY, _MATTE_QUALITY = 95, 90
_SHORT_SCAN_RATE, _LONG_SCAN_RATE = 4.0, 2.0
_LONG_SCAN = 12.0  # seconds
_MOST_SAMPLES = 160


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """Faces in sampled pictures, in pixels of the source; ``size`` is its (width, height)."""

    faces: list[FaceTrack]
    rate: float
    start: float
    size: tuple[int, int]

    def within(self, window: Window) -> list[FaceTrack]:
        """The faces as far as they are seen in ``window``."""
        first = int(np.floor((window.start - self.start) * self.rate))
        last = int(np.ceil((window.start + window.seconds - self.start) * self.rate))
        parts = (face.between(first, max(last, first + 1)) for face in self.faces)
        return [part for part in parts if part is not None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Tracked square pictures: N JPEGs, landmarks [N,478,3] in their pixels, sharpness [N].

    ``window`` is the part of the clip that they cover.
    """

    frames: tuple[bytes, ...]
    landmarks: Float
    sharpness: Float
    crop: Crop
    fps: Fraction
    window: Window


def picture_rate(info: MediaInfo) -> Fraction:
    """The clip's own frame rate, or an even part of it that is at most 30."""
    fps = info.fps
    if fps <= Fraction(61, 2):  # a phone's 30.02 is 30
        return max(min(fps, Fraction(MAX_FPS)), Fraction(1)).limit_denominator(1001)
    if fps < 45:
        return Fraction(MAX_FPS)
    return (fps / round(float(fps) / MAX_FPS + 0.45)).limit_denominator(1001)


def scan_faces(
    info: MediaInfo,
    *,
    start: float,
    seconds: float,
    progress: Progress,
    warn: Callable[[str], None],
    tracker: Tracker = "auto",
) -> Scan:
    """Look for faces in ``seconds`` of the clip from ``start`` on, a few times a second."""
    rate = _SHORT_SCAN_RATE if seconds <= _LONG_SCAN else _LONG_SCAN_RATE
    rate = min(rate, max(1.0, _MOST_SAMPLES / seconds), float(picture_rate(info)))
    longest = max(info.display_size)
    shrink = min(1.0, _SCAN_SIDE / longest)
    size = (round(info.display_size[0] * shrink), round(info.display_size[1] * shrink))
    with (
        FaceFinder(landmark_networks(tracker)) as finder,
        stream_frames(
            info.path, fps=rate, start=start, seconds=seconds, info=info, warn=warn,
            width=size[0] if shrink < 1 else None, height=size[1] if shrink < 1 else None,
        ) as frames,
    ):  # fmt: skip
        width, height = size
        for number, frame in enumerate(frames):
            progress("find the face", number, max(1, round(seconds * rate)))
            finder.look(frame)
            height, width = frame.shape[:2]
        faces = finder.faces()
    grow = 1.0 / shrink
    return Scan(
        faces=[face.scaled(grow) for face in faces],
        rate=rate,
        start=start,
        size=(round(width * grow), round(height * grow)),
    )


def choose(
    scan: Scan, window: Window, *, name: str, index: int | None, notes: Callable[[str], None]
) -> ChosenFace:
    """The face to follow in ``window``. Says in a note when there are others."""
    chosen = choose_face(scan.within(window), scan.size, name=name, index=index)
    if chosen.others and index is None:
        crowd = sorted([chosen.track, *chosen.others], key=lambda face: face.middle)
        notes(
            f"{name}: {len(crowd)} faces; following the most visible one, number "
            f"{crowd.index(chosen.track)} from the left (--face N chooses another)"
        )
    side = float(np.median([box.side for box in chosen.track.boxes]))
    if side < LEAST_FACE:
        raise InputError(
            f"{name}: the face is only {side:.0f} pixels high; {LEAST_FACE} are needed, and from "
            f"{SMALL_FACE} on it looks sharp"
        )
    if side < SMALL_FACE:
        notes(f"{name}: the face is only {side:.0f} pixels high and will look soft")
    return chosen


def track(
    info: MediaInfo,
    chosen: ChosenFace,
    window: Window,
    side: int,
    *,
    trim: bool,
    progress: Progress,
    notes: Callable[[str], None],
    tracker: Tracker = "auto",
) -> Pictures:
    """Follow the face through ``window`` and keep the square pictures of ``side`` pixels.

    With ``trim``, a window in which the face is lost for long is cut to its longest good part, if
    that is at least half of it. Raises InputError with the times otherwise.
    """
    name = info.path.name
    fps = picture_rate(info)
    total = max(1, int(np.floor(window.seconds * float(fps) + 1e-3)))
    frames, sharpness = [], []
    with (
        LandmarkTracker(
            _first_box(chosen, side), faces=chosen.in_square, networks=landmark_networks(tracker)
        ) as following,
        _SquareStream(info, chosen.crop, window, fps, side) as squares,
    ):
        for number, square in enumerate(squares):
            progress("track the face", number, total)
            points = following.add(square)
            frames.append(encode(square))
            sharpness.append(_sharpness(square, points))
            if number + 1 == total:
                break
        points, found = following.result()
    if not found.any():
        raise InputError(
            f"no face found in {name} between {window.start:.1f} and "
            f"{window.start + window.seconds:.1f} s that could be followed"
        )
    if len(found) < total:  # the file ended early
        window = Window(start=window.start, seconds=len(found) / float(fps))
        if window.seconds < MIN_SECONDS and not info.is_image:
            raise InputError(
                f"{name}: only {window.seconds:.2f} s of its picture can be read; "
                f"{MIN_SECONDS:g} s are needed"
            )
    first, last = longest_run(found, float(fps))
    if (first, last) != (0, len(found)):
        seconds = (last - first) / float(fps)
        lost = lost_times(found, float(fps), start=window.start)
        if not trim or seconds < max(MIN_SECONDS, 0.5 * window.seconds):
            raise InputError(
                f"{name}: {lost}; choose a part in which it is seen throughout "
                "(--ref-start, --ref-seconds)"
            )
        window = Window(start=window.start + first / float(fps), seconds=seconds)
        notes(
            f"{name}: {lost}; using {window.start:.1f}-{window.start + window.seconds:.1f} s only"
        )
    kept = slice(first, last)
    return Pictures(
        frames=tuple(frames[kept]),
        landmarks=finish(points[kept], found[kept]),
        sharpness=np.array(sharpness[kept], np.float32),
        crop=chosen.crop,
        fps=fps,
        window=window,
    )


def follow(
    info: MediaInfo,
    *,
    seconds: float = 10.0,
    side: int = 512,
    face_index: int | None = None,
    tracker: Tracker = "auto",
) -> Pictures:
    """Find and follow the face in the first ``seconds`` of a clip, sound or none."""
    window = Window(start=0.0, seconds=min(seconds, info.video_seconds))
    scan = scan_faces(
        info, start=0.0, seconds=window.seconds, progress=silent, warn=_ignore, tracker=tracker
    )
    chosen = choose(scan, window, name=info.path.name, index=face_index, notes=_ignore)
    return track(
        info, chosen, window, side, trim=True, progress=silent, notes=_ignore, tracker=tracker
    )


def _ignore(line: str) -> None:
    """The callback for notes that drops them."""


def mattes(pictures: Pictures, progress: Progress) -> tuple[bytes, ...]:
    """Grey JPEGs of the person, one for each picture."""
    from omnitalk_cli.render.matte import person_mattes

    coded: list[bytes] = []
    stream = person_mattes(decoded(pictures.frames), pictures.landmarks)
    with silenced_stderr():  # the segmentation announces itself when it starts
        coded.append(encode(next(stream), _MATTE_QUALITY))
    for matte in stream:
        progress("cut out the person", len(coded), len(pictures.frames))
        coded.append(encode(matte, _MATTE_QUALITY))
    return tuple(coded)


def decoded(frames: Sequence[bytes]) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures of JPEGs, one at a time."""
    for data in frames:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def encode(picture: NDArray[np.uint8], quality: int = _JPEG_QUALITY) -> bytes:
    """JPEG of an RGB [H,W,3] or grey [H,W] picture."""
    ordered = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return bytes(cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


class _SquareStream:
    """Context manager over the cut-out squares of a window."""

    def __init__(
        self, info: MediaInfo, crop: Crop, window: Window, fps: Fraction, side: int
    ) -> None:
        # Pictures far larger than needed are shrunk by ffmpeg: a 4K pipe is slow.
        shrink = side / crop.size if crop.size > 1.5 * side else 1.0
        self._side = side
        self._crop = Crop(
            x=crop.x * shrink, y=crop.y * shrink, size=crop.size * shrink,
            source_width=crop.source_width, source_height=crop.source_height,
        )  # fmt: skip
        resized = shrink < 1
        self._stream = stream_frames(
            info.path, fps=fps, start=window.start, seconds=window.seconds, info=info,
            width=round(crop.source_width * shrink) if resized else None,
            height=round(crop.source_height * shrink) if resized else None,
        )  # fmt: skip

    def __enter__(self) -> Iterator[NDArray[np.uint8]]:
        self._stream.__enter__()
        return (cut(frame, self._crop, self._side) for frame in self._stream)

    def __exit__(self, *error: object) -> None:
        self._stream.close()


def _first_box(chosen: ChosenFace, side: int) -> Box:
    """Where the face is first seen, in pixels of the square."""
    scale = side / chosen.crop.size
    return chosen.track.boxes[0].moved(-chosen.crop.x, -chosen.crop.y).scaled(scale)


def _sharpness(square: NDArray[np.uint8], points: Float | None) -> float:
    """Variance of the Laplacian in the face's box, 0 where the face is not seen."""
    if points is None:
        return 0.0
    low = np.maximum(points[:, :2].min(axis=0), 0).astype(int)
    high = np.maximum(points[:, :2].max(axis=0), 0).astype(int)
    face = square[low[1] : high[1], low[0] : high[0]]
    if min(face.shape[:2]) < 4:
        return 0.0
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
