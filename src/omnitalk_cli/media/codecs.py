"""The video encoders that ``--codec`` knows, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A video encoder of ffmpeg and the options that go with it."""

    encoder: str
    preset: str
    options: dict[str, Any]


CODECS: dict[str, Codec] = {
    "h264": Codec(encoder="libx264", preset="veryfast", options={}),
    "h265": Codec(
        encoder="libx265",
        preset="fast",
        options={"tag:v": "hvc1", "x265-params": "log-level=error"},
    ),
}
