"""Scene cuts of a video (PySceneDetect), and the stretches between them that are worked on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from omnitalk_cli.errors import SetupError
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.training.curation.cutting import LEVEL_STEP
from omnitalk_cli.training.curation.tracks import picture_rate
from omnitalk_cli.types import Float

VERSION = 1
LONGEST_STRETCH = 60.0  # seconds; longer scenes are worked on in parts, to bound the memory
_EARLIEST = 30.0
_SMALL = 256  # pixels of the shorter side: PySceneDetect's own shrunk size
_SHORTEST_SCENE = 0.4  # seconds


def _detector(threshold: float, shortest: int) -> Any:
    try:
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise SetupError(
            f"scene cuts need PySceneDetect ({error}); install it with "
            "pip install 'omnitalk-cli[data]'"
        ) from error
    return AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=shortest)


def check_scene_detection() -> None:
    """Raises SetupError when PySceneDetect is not installed."""
    _detector(3.0, 1)


def find_scenes(info: MediaInfo, *, threshold: float) -> list[tuple[float, float]]:
    """(start, end) of every scene in seconds, in order, without gaps.

    ``threshold`` is that of PySceneDetect's AdaptiveDetector: change over that of the neighbouring
    pictures. Raises InputError when the video cannot be read, SetupError without PySceneDetect.
    """
    fps = picture_rate(info)
    detector = _detector(threshold, max(1, round(_SHORTEST_SCENE * float(fps))))
    width, height = info.display_size
    side = "height" if height <= width else "width"
    asked: dict[str, Any] = {side: _SMALL} if min(width, height) > _SMALL else {}
    cuts: list[int] = []
    count = 0
    with stream_frames(info.path, fps=fps, info=info, **asked) as frames:
        for frame in frames:
            cuts += detector.process_frame(count, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
    cuts += detector.post_process(count)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < count}), count]
    times = [edge / float(fps) for edge in edges]
    return list(zip(times[:-1], times[1:], strict=True))


def stretches(scenes: Sequence[tuple[float, float]], levels: Float) -> list[tuple[float, float]]:
    """The scenes, those of over a minute cut where it is quietest for longest.

    ``levels`` [n] is the loudness in dB of every 20 ms of the video's sound.
    """
    parts = []
    for start, end in scenes:
        while end - start > LONGEST_STRETCH:
            cut = _quietest(levels, start + _EARLIEST, start + LONGEST_STRETCH)
            parts.append((start, cut))
            start = cut
        parts.append((start, end))
    return parts


def _quietest(levels: Float, low: float, high: float) -> float:
    """The middle of the quietest half second between ``low`` and ``high``, in seconds."""
    first, last = round(low / LEVEL_STEP), round(high / LEVEL_STEP)
    part = levels[first:last].astype(np.float64)
    width = round(0.5 / LEVEL_STEP)
    if len(part) <= width:
        return high
    loudness = np.convolve(np.maximum(part, -90.0), np.ones(width) / width, mode="valid")
    return low + (int(loudness.argmin()) + width / 2) * LEVEL_STEP
