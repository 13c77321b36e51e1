"""What a video looks and sounds like at a glance: a small picture and a curve of loudness.

Both are kept in a small SQLite file, so that a report is made again without decoding anything.
The file is a cache: it may be deleted at any time, and what cannot be read in it is made anew.
"""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.probe import MediaInfo, probe
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import Float

POINTS = 120
HEIGHT, MAX_WIDTH = 90, 160
# The level of a point is its place in this alphabet: −63 dB of full scale (or less) to 0 dB.
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_AT_SECONDS = 1.0
_QUALITY = 72
_CURVE_RATE = 16_000
_FORMAT = 1  # PRAGMA user_version
_BUSY_SECONDS = 10.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS previews (name TEXT PRIMARY KEY, stamp TEXT NOT NULL,"
    " picture BLOB NOT NULL, curve TEXT NOT NULL) STRICT"
)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """``picture``: a JPEG at most 90 pixels high; ``curve``: 120 letters of ``LEVELS``.

    Each is empty when the video has none or cannot be read.
    """

    picture: bytes = b""
    curve: str = ""


class PreviewStore:
    """The previews in the file ``path``, which is made when the first one is stored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(
        self, videos: Iterable[Path], *, workers: int | None = None, progress: Progress = silent
    ) -> dict[Path, Preview]:
        """A preview of each video that exists; only new and changed ones are decoded.

        ``workers`` decode at the same time (default: one for each core, 4 at most). A store that
        is damaged or cannot be written costs time, never the preview.
        """
        stamps = {video: stamp for video in videos if (stamp := _stamp(video))}
        known = self._read()
        found: dict[Path, Preview] = {}
        missing = []
        for video, stamp in stamps.items():
            stored = known.get(self._name(video))
            if stored is not None and stored[0] == stamp:
                found[video] = stored[1]
            else:
                missing.append(video)
        for video, preview in _decode_all(missing, workers, progress):
            found[video] = preview
            self._write(video, stamps[video], preview)
        return found

    def _name(self, video: Path) -> str:
        # Relative, so that a folder that was moved or copied keeps its previews.
        try:
            name = os.path.relpath(video, self.path.parent)
        except ValueError:  # another drive
            name = str(video)
        return name.encode("utf-8", "backslashreplace").decode()

    def _read(self) -> dict[str, tuple[str, Preview]]:
        if not self.path.is_file():
            return {}
        try:
            with self._open() as database:
                rows = database.execute("SELECT name, stamp, picture, curve FROM previews")
                return {
                    name: (stamp, Preview(picture=picture, curve=curve))
                    for name, stamp, picture, curve in rows
                }
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # busy or unreadable is not damaged
                self.path.unlink(missing_ok=True)
            return {}

    def _write(self, video: Path, stamp: str, preview: Preview) -> None:
        try:
            with self._open() as database:
                database.execute(
                    "INSERT OR REPLACE INTO previews VALUES (?, ?, ?, ?)",
                    (self._name(video), stamp, preview.picture, preview.curve),
                )
        except sqlite3.Error:
            pass  # made again next time

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            if database.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                database.execute("DROP TABLE IF EXISTS previews")
                database.execute(_SCHEMA)
                database.execute(f"PRAGMA user_version = {_FORMAT}")
            # What a power cut takes away is made again: no waiting for the disk.
            database.execute("PRAGMA synchronous = OFF")
            yield database


def _stamp(video: Path) -> str:
    """What changes when the file does; empty if there is no file."""
    try:
        status = video.stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _decode_all(
    videos: list[Path], workers: int | None, progress: Progress
) -> Iterator[tuple[Path, Preview]]:
    """Previews in the order in which they are finished."""
    if not videos:
        return
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), "preview") as pool:
        tasks = {pool.submit(make_preview, video): video for video in videos}
        try:
            for number, task in enumerate(as_completed(tasks), 1):
                yield tasks[task], task.result()
                progress("previews", number, len(videos))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def make_preview(video: Path) -> Preview:
    """Picture and curve of ``video``; what cannot be read of it stays empty."""
    try:
        info = probe(video)
    except OmnitalkError:
        return Preview()
    return Preview(picture=_picture(info), curve=_curve(info))


def _picture(info: MediaInfo) -> bytes:
    if not info.has_video:
        return b""
    width, height = info.display_size
    tall = width * HEIGHT <= MAX_WIDTH * height
    start = min(_AT_SECONDS, info.video_seconds / 2)
    try:
        with stream_frames(
            info.path, fps=25, start=start, seconds=0.04, info=info,
            height=HEIGHT if tall else None, width=None if tall else MAX_WIDTH,
        ) as frames:  # fmt: skip
            frame = next(frames)
    except (OmnitalkError, StopIteration, OSError):
        return b""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def _curve(info: MediaInfo) -> str:
    if not info.has_audio:
        return ""
    try:
        sound = decode_audio(info.path, rate=_CURVE_RATE, info=info)
    except (OmnitalkError, OSError):
        return ""
    return loudness_curve(sound)


def loudness_curve(sound: Float, points: int = POINTS) -> str:
    """Loudness of ``sound`` ``[S]``: RMS in ``points`` equal parts, a letter of ``LEVELS`` each.

    Empty for no sound at all.
    """
    if not len(sound):
        return ""
    edges = np.linspace(0, len(sound), points + 1).astype(np.int64)
    # Less than one sample for each point: every part takes at least one.
    starts = np.minimum(edges[:-1], len(sound) - 1)
    lengths = np.maximum(edges[1:] - starts, 1)
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    power = (energy[starts + lengths] - energy[starts]) / lengths
    level = 10 * np.log10(np.maximum(power, 1e-10))
    steps = np.clip(np.rint(level) + len(LEVELS) - 1, 0, len(LEVELS) - 1).astype(int)
    return "".join(LEVELS[step] for step in steps)
