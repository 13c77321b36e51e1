"""The picture that ``inspect --plot`` writes: sound and movement of a file on one page."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from omnitalk_cli.evaluation.motion import count_blinks, lip_opening
from omnitalk_cli.face.codes import CODE_INDEX, GAZE, ROTATION
from omnitalk_cli.pipeline.charts import INK, LINES, SOFT, Box, Chart, Picture, reach_of
from omnitalk_cli.pipeline.inspection import brow_raise, eye_closure
from omnitalk_cli.types import MEL_RATE, Float

WIDTH, HEIGHT = 1400, 900
_LEFT, _WIDE = 70, 900
_SIDE = 300  # edge of the square panels on the right


def draw_overview(
    title: str, mel: Float, codes: Float, fps: float, marks: Sequence[tuple[float, float, str]]
) -> Picture:
    """Mel, mouth, brows, lids and head over time; head place and gaze as heat maps.

    ``mel`` [T,100]; ``codes`` [N,61] at ``fps``; ``marks`` are (start, end, text) in seconds of
    the words or segments. Returns [900,1400,3], RGB.
    """
    chart = Chart(WIDTH, HEIGHT)
    seconds = max(len(mel) / MEL_RATE, len(codes) / fps, 1e-3)
    chart.text(title, _LEFT, 36, size=0.68, bold=True)
    chart.text(
        f"{seconds:.2f} s, {count_blinks(codes, fps)} blinks, {len(codes)} poses at {fps:g} fps",
        _LEFT + _WIDE, 36, size=0.44, colour=SOFT, align="right",
    )  # fmt: skip
    _mel_panel(chart, Box(x=_LEFT, y=90, width=_WIDE, height=220), mel, seconds, marks)
    mouth = [("lips apart", lip_opening(codes)), ("pucker", _code(codes, "mouthPucker")),
             ("smile", _code(codes, "mouthSmileLeft"))]  # fmt: skip
    _curve_panel(
        chart, Box(x=_LEFT, y=365, width=_WIDE, height=120), "Mouth",
        "lips apart in eye distances, the others 0 to 1", mouth, seconds,
        -0.1, max(0.5, min(1.0, _peak(mouth) + 0.05)),
    )  # fmt: skip
    upper = [("brows", brow_raise(codes)), ("lids closed", eye_closure(codes))]
    _curve_panel(
        chart, Box(x=_LEFT, y=540, width=_WIDE, height=120), "Brows and lids",
        "raised is positive", upper, seconds, -0.5, 1.05,
    )  # fmt: skip
    angles = np.degrees(codes[:, ROTATION])
    reach = reach_of(angles, least=10, step=5)
    head = [("yaw", angles[:, 1]), ("pitch", angles[:, 0]), ("roll", angles[:, 2])]
    _curve_panel(
        chart, Box(x=_LEFT, y=715, width=_WIDE, height=120), "Head rotation", "degrees", head,
        seconds, -reach, reach, labels=True,
    )  # fmt: skip
    place = codes[:, [CODE_INDEX["headX"], CODE_INDEX["headY"]]]
    _map_panel(chart, Box(x=1040, y=90, width=_SIDE, height=_SIDE), "Head position",
               "eye distances", place, least=0.4, step=0.2, colour=LINES[0])  # fmt: skip
    look = np.degrees(codes[:, GAZE]).reshape(len(codes), 2, 2).mean(axis=1)
    look[:, 1] *= -1  # positive pitch looks down
    _map_panel(chart, Box(x=1040, y=500, width=_SIDE, height=_SIDE), "Gaze", "degrees in the head",
               look, least=15, step=5, colour=LINES[1])  # fmt: skip
    return chart.picture()


def _mel_panel(
    chart: Chart, box: Box, mel: Float, seconds: float, marks: Sequence[tuple[float, float, str]]
) -> None:
    if len(mel):
        low, high = np.quantile(mel, (0.02, 0.998))
        levels = (mel.T - low) / max(float(high - low), 1e-6)
        columns = max(1, round(box.width * len(mel) / MEL_RATE / seconds))
        filled = Box(x=box.x, y=box.y, width=columns, height=box.height)
        chart.image(filled, levels.astype(np.float32), colour_map=cv2.COLORMAP_MAGMA)
    chart.frame(box, "Log-mel", unit="100 bands, low at the bottom")
    # HTK mel scale: where round frequencies lie among bands that reach 12 kHz.
    top = np.log10(1 + 12_000 / 700)
    for hertz in (500, 1000, 2000, 4000, 8000):
        y = box.y + box.height * (1 - np.log10(1 + hertz / 700) / top)
        chart.text(f"{hertz / 1000:g}k", box.x - 7, y + 4, size=0.36, colour=SOFT, align="right")
    free = float(box.x)
    for start, end, words in marks:
        x0, x1 = (box.x + box.width * min(t / seconds, 1) for t in (start, end))
        y = box.y + box.height + 5
        chart.line(np.array([(x0 + 1, y), (max(x1 - 1, x0 + 2), y)]), LINES[2], thickness=2)
        room = x1 - max(x0, free)
        short = words if len(words) * 7 <= room else words[: max(0, int(room / 7) - 2)] + ".."
        if short.isascii() and len(short) > 2:
            free = max(x0, free) + chart.text(short, max(x0, free), y + 15, size=0.36, colour=INK)
            free += 6


def _curve_panel(
    chart: Chart, box: Box, title: str, unit: str, curves: Sequence[tuple[str, Float]],
    seconds: float, low: float, high: float, *, labels: bool = False,
) -> None:  # fmt: skip
    chart.x_ticks(box, 0, seconds, unit="seconds", labels=labels)
    chart.y_ticks(box, low, high)
    chart.curves(box, curves, low, high)
    chart.frame(box, title, unit=unit)


def _map_panel(
    chart: Chart, box: Box, title: str, unit: str, points: Float, *,
    least: float, step: float, colour: tuple[int, int, int],
) -> None:  # fmt: skip
    reach = reach_of(points, least=least, step=step)
    chart.density(box, points[:, 0], points[:, 1], reach, colour=colour)
    chart.x_ticks(box, -reach, reach, unit="to the right of the picture")
    chart.y_ticks(box, -reach, reach, count=10)
    chart.frame(box, title, unit=unit)


def _code(codes: Float, name: str) -> Float:
    return np.asarray(codes[:, CODE_INDEX[name]], np.float32)


def _peak(curves: Sequence[tuple[str, Float]]) -> float:
    return max((float(curve.max()) for _, curve in curves if len(curve)), default=0.0)
