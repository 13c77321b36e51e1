"""A face drawn well enough for the detector and the mesh, for clips that tests make themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from media_samples import run_ffmpeg

_SKIN, _SHADE, _HAIR = (222, 178, 150), (188, 138, 112), (60, 42, 34)
_LIP, _MOUTH, _WHITE, _IRIS = (176, 84, 82), (70, 26, 30), (244, 240, 236), (74, 92, 60)


def draw_face(
    picture: NDArray[np.uint8],
    centre: tuple[float, float],
    size: float,
    *,
    mouth: float = 0.0,
    lids: float = 1.0,
) -> None:
    """Draw a face into ``picture`` [H,W,3]: ``size`` pixels from chin to hairline; ``mouth`` and
    ``lids`` say how open they are (0…1)."""
    unit = size / 200
    layer = picture.copy()

    def at(x: float, y: float) -> tuple[int, int]:
        return round(centre[0] + x * unit), round(centre[1] + y * unit)

    def oval(x: float, y: float, a: float, b: float, colour: tuple[int, int, int]) -> None:
        axes = (max(1, round(a * unit)), max(1, round(b * unit)))
        cv2.ellipse(layer, at(x, y), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    def line(points: list[tuple[float, float]], width: float, colour: tuple[int, int, int]) -> None:
        path = np.array([at(x, y) for x, y in points], np.int32)
        cv2.polylines(layer, [path], False, colour, max(1, round(width * unit)), cv2.LINE_AA)

    oval(0, -25, 98, 112, _HAIR)
    cv2.rectangle(layer, at(-36, 70), at(36, 150), _SHADE, -1)
    oval(0, 165, 120, 50, (70, 84, 120))
    oval(0, 0, 76, 102, _SKIN)
    oval(0, -92, 70, 26, _HAIR)
    for side in (-1, 1):
        oval(side * 76, 8, 9, 22, _SHADE)
        line([(side * 52, -36), (side * 34, -44), (side * 15, -38)], 7, _HAIR)
        oval(side * 33, -18, 20, 13, _SHADE)
        oval(side * 33, -17, 16, 8 * lids + 1, _WHITE)
        if lids > 0.3:
            oval(side * 33, -17, 7, min(7, 8 * lids), _IRIS)
            oval(side * 33, -17, 3, 3, (16, 14, 12))
        line([(side * 17, -16), (side * 33, -18 - 9 * lids), (side * 50, -16)], 3, _HAIR)
    line([(-6, -10), (-9, 22), (-13, 30)], 3, _SHADE)
    oval(0, 32, 13, 8, _SHADE)
    oval(-7, 36, 4, 2.5, (110, 66, 56))
    oval(7, 36, 4, 2.5, (110, 66, 56))
    oval(0, 62, 28, 9 + 12 * mouth, _LIP)
    oval(0, 62, 23, 1.2 + 12 * mouth, _MOUTH)
    picture[:] = cv2.GaussianBlur(layer, (0, 0), max(0.5, 0.9 * unit))


def face_frames(
    count: int,
    width: int,
    height: int,
    faces: list[tuple[float, float, float]],
    *,
    fps: float = 25.0,
    hidden: tuple[int, int] = (0, 0),
) -> list[NDArray[np.uint8]]:
    """Talking, blinking, slightly moving faces at ``faces`` (x, y, size); none in ``hidden``."""
    frames = []
    across = np.linspace(0.0, 30.0, width)[None, :, None]
    ground = np.broadcast_to(150.0 + across, (height, width, 3)).astype(np.uint8)
    for number in range(count):
        picture = ground.copy()
        time = number / fps
        for x, y, size in faces if not hidden[0] <= number < hidden[1] else []:
            draw_face(
                picture,
                (x + 0.03 * size * np.sin(2.1 * time), y + 0.02 * size * np.sin(3.3 * time)),
                size,
                mouth=max(0.0, float(np.sin(9 * time))),
                lids=0.1 if (number + 10) % 40 < 4 else 1.0,
            )
        frames.append(picture)
    return frames


def write_clip(
    path: Path,
    frames: list[NDArray[np.uint8]],
    *,
    fps: float = 25.0,
    sound: str | None = "0.3*sin(2*PI*180*t)*gt(sin(2*PI*2*t),0)",
) -> Path:
    """Write ``frames`` as a clip with a sound of ffmpeg's ``aevalsrc`` (None: no track)."""
    folder = path.with_suffix(".frames")
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    track = ["-f", "lavfi", "-i", f"aevalsrc='{sound}':s=24000:d={len(frames) / fps}"]
    run_ffmpeg(
        "-framerate", fps, "-i", folder / "%05d.jpg", *(track if sound else []),
        "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-crf", "14", path,
    )  # fmt: skip
    return path
