"""The statistics of a corpus as a picture: histograms of the clips, and where the rest was lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.pipeline.charts import LINES, SOFT, Box, Chart
from omnitalk_cli.training.curation.statistics import Amount, Histogram, Statistics

_COLUMNS, _WIDTH, _HEIGHT = 4, 330, 150
_LEFT, _TOP, _ACROSS, _DOWN = 60, 90, 400, 230


def draw_statistics(numbers: Statistics) -> NDArray[np.uint8]:
    """The report's picture [height,width,3], RGB."""
    panels = len(numbers.histograms) + 2
    rows = -(-panels // _COLUMNS)
    chart = Chart(_LEFT + _COLUMNS * _ACROSS, _TOP + rows * _DOWN)
    chart.text(
        f"{numbers.kept.parts} clips, {_minutes(numbers.kept)} of {numbers.hours * 60:.1f} min in "
        f"{numbers.videos} videos", _LEFT, 40, size=0.6, bold=True,
    )  # fmt: skip
    for number, histogram in enumerate(numbers.histograms):
        _bars(chart, _place(number), histogram)
    place = len(numbers.histograms)
    _rows(chart, _place(place), "languages", numbers.languages, "of what was kept")
    _rows(chart, _place(place + 1), "where parts end", numbers.stages, "minutes by stage")
    return chart.picture()


def write_figure(numbers: Statistics, path: Path) -> None:
    """Writes the picture as PNG, replacing what is there."""
    picture = cv2.cvtColor(draw_statistics(numbers), cv2.COLOR_RGB2BGR)
    with atomic_output(path, overwrite=True) as part:
        part.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _place(number: int) -> Box:
    row, column = divmod(number, _COLUMNS)
    return Box(x=_LEFT + column * _ACROSS, y=_TOP + row * _DOWN + 10, width=_WIDTH, height=_HEIGHT)


def _bars(chart: Chart, box: Box, histogram: Histogram) -> None:
    most = max(*histogram.counts, 1)
    low, high = histogram.edges[0], histogram.edges[-1]
    chart.x_ticks(box, low, high, unit=histogram.unit)
    chart.y_ticks(box, 0, most)
    wide = box.width / len(histogram.counts)
    for number, count in enumerate(histogram.counts):
        if count:
            tall = box.height * count / most
            chart.fill(
                box.x + number * wide + 1, box.y + box.height - tall, wide - 2, tall, LINES[0]
            )
    middle = "" if histogram.median is None else f"median {histogram.median:.3g}"
    chart.frame(box, histogram.title, unit=middle)


def _rows(chart: Chart, box: Box, title: str, amounts: Mapping[str, Amount], unit: str) -> None:
    most = max((amount.hours for amount in amounts.values()), default=0.0) or 1.0
    tall = box.height / max(len(amounts), 5)
    for number, (name, amount) in enumerate(amounts.items()):
        y = box.y + number * tall
        colour = LINES[2] if name == "kept" or title == "languages" else LINES[1]
        chart.fill(box.x + 70, y + 2, 0.55 * box.width * amount.hours / most, tall - 4, colour)
        chart.text(name, box.x + 62, y + tall / 2 + 4, size=0.36, align="right")
        end = box.x + 74 + 0.55 * box.width * amount.hours / most
        chart.text(f"{_minutes(amount)}, {amount.parts}", end, y + tall / 2 + 4, size=0.34,
                   colour=SOFT)  # fmt: skip
    chart.frame(box, title, unit=unit)


def _minutes(amount: Amount) -> str:
    return f"{amount.hours:.1f} h" if amount.hours >= 10 else f"{amount.hours * 60:.1f} min"
