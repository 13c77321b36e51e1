"""The invisible marks of any media file, in bounded time and memory however long the file is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.provenance import audio_mark
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.provenance.video_detector import VideoMarkDetector
from omnitalk_cli.provenance.visible_detector import VisibleFinding, VisibleLabelDetector
from omnitalk_cli.types import SAMPLE_RATE

NOTHING = Detection(id=None, bits=0, confidence=0.0, present=False)

_WINDOW_SECONDS = 6.0
_MOST_WINDOWS = 6
_MOST_RATE = 25.0  # the pattern stands still: more frames a second say nothing new
_LEAST_RATE = 1.0  # pictures of slide shows stand longer, and are seen more than once then
_MOST_SHORTER = 1080  # pixels of the shorter side; larger pictures are decoded smaller
_LABEL_STRIDE = 12  # of so many frames, one is looked at for the label
_TIME_LIMIT = 120.0  # seconds for the pictures of a file, and again for its sound


@dataclass(frozen=True, kw_only=True)
class MarkReading:
    """What was found, and ``problem``: why nothing could be looked at, or not all of it.

    ``label`` is what the pictures show to the eye (None: there are none).
    """

    detection: Detection
    problem: str = ""
    label: VisibleFinding | None = None


def windows(seconds: float) -> list[tuple[float, float]]:
    """Which parts (start, length) of a video of this length are looked at, in this order.

    All of a short one; of a longer one six parts, from its beginning to its end.
    """
    if seconds <= _WINDOW_SECONDS * 1.5:
        return [(0.0, seconds)]
    count = min(_MOST_WINDOWS, int(-(-seconds // _WINDOW_SECONDS)))
    starts = np.linspace(0, seconds - _WINDOW_SECONDS, count)
    return [(float(start), _WINDOW_SECONDS) for start in starts]


def read_video_mark(info: MediaInfo, *, ffmpeg: Path, progress: Progress = silent) -> MarkReading:
    """The mark in the pictures of a file: part by part until one gives an id, then all together."""
    if not info.has_video:
        return MarkReading(detection=NOTHING, problem="the file has no pictures")
    # Not the length of the file: its sound may go on without pictures.
    length = max(min(info.usable_seconds, info.video_seconds), 0.1)
    parts = [(0.0, 1.0)] if info.is_image else windows(length)
    width, height = _decoded_size(info)
    everything, label = VideoMarkDetector(), VisibleLabelDetector()
    best: Detection = NOTHING
    clock = _Clock()
    problem = ""
    for number, (start, seconds) in enumerate(parts):
        progress("video mark", number, len(parts))
        if clock.left <= 0:
            break
        detector = VideoMarkDetector()
        try:
            with stream_frames(
                info.path, fps=_rate(info), start=start, seconds=seconds, ffmpeg_path=ffmpeg,
                info=info, time_limit=clock.left, width=width, height=height,
            ) as frames:  # fmt: skip
                for at, frame in enumerate(frames):
                    detector.add(frame)
                    if at % _LABEL_STRIDE == 0:
                        label.add(frame)
        except InputError as error:
            problem = str(error)
        everything = everything.joined(detector)
        found = detector.result()
        best = max(best, found, key=_strength)
        if found.id is not None:
            break
    if best.id is None and len(parts) > 1:
        best = max(best, everything.result(), key=_strength)
    if best.id is not None:
        problem = ""
    return MarkReading(detection=best, problem=problem or clock.problem, label=label.result())


def read_audio_mark(info: MediaInfo, *, ffmpeg: Path, progress: Progress = silent) -> MarkReading:
    """The mark in the sound of a file: part by part until one gives an id."""
    if not info.has_audio:
        return MarkReading(detection=NOTHING, problem="the file has no sound")
    best: Detection = NOTHING
    clock = _Clock()
    problem = ""
    parts = audio_mark.excerpts(max(info.audio_seconds, 0.1))
    for number, (start, seconds) in enumerate(parts):
        progress("audio mark", number, len(parts))
        if clock.left <= 0:
            break
        try:
            sound = decode_audio(
                info.path, start=start, seconds=seconds, ffmpeg_path=ffmpeg, info=info,
                time_limit=clock.left,
            )  # fmt: skip
        except InputError as error:
            problem = str(error)
            continue
        found = audio_mark.detect(sound, SAMPLE_RATE)
        if found.id is not None:
            return MarkReading(detection=found)
        best = max(best, found, key=_strength)
    return MarkReading(detection=best, problem=clock.problem or problem)


class _Clock:
    """What is left of the time for one kind of mark."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _TIME_LIMIT

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    @property
    def problem(self) -> str:
        return f"the search was ended after {_TIME_LIMIT:g} s" if self.left <= 0 else ""


def _strength(one: Detection) -> tuple[bool, bool, float]:
    return one.id is not None, one.present, one.confidence


def _rate(info: MediaInfo) -> float:
    return max(_LEAST_RATE, min(float(info.fps) or _MOST_RATE, _MOST_RATE))


def _decoded_size(info: MediaInfo) -> tuple[int, int]:
    """Width and height to decode at: one size even where the pictures change theirs."""
    width, height = info.display_size
    share = min(1.0, _MOST_SHORTER / min(width, height))
    return max(1, round(width * share)), max(1, round(height * share))
