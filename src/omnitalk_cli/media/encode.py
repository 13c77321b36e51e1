"""Frames and sound into an MP4 that is whole or not there.

One ffmpeg process takes the frames through a pipe, the sound from a temporary file and the visible
marks as pictures, and writes H.264 (BT.709, tagged) with AAC beside the destination.
"""

from __future__ import annotations

import errno
import math
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnitalk_cli.errors import OmnitalkError, UsageError, WorkError
from omnitalk_cli.media.codecs import CODECS
from omnitalk_cli.media.ffmpeg import (
    FFmpegProcess,
    command,
    disk_full,
    find_ffmpeg,
    local,
    write_error,
)
from omnitalk_cli.media.files import check_writable, commit, part_path
from omnitalk_cli.media.rates import exact_rate
from omnitalk_cli.provenance.labels import BASIC_METADATA
from omnitalk_cli.provenance.visible import VisibleMark, draw_label
from omnitalk_cli.types import SAMPLE_RATE, Float

AUDIO_RATE = 48_000
AUDIO_BITRATE = "128k"
# Metadata that ffmpeg writes into MP4's usual list (those of them that we use). Any other key needs
# a newer list, which iTunes and Explorer do not read and which holds all keys or none.
USUAL_KEYS = frozenset({"title", "artist", "comment", "copyright", "date", "description"})

_QUEUED_FRAMES = 8
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ of Linux


@dataclass(frozen=True, kw_only=True)
class TimedMark:
    """A visible mark from the first frame on: for at least ``seconds``, or (None) to the end."""

    mark: VisibleMark
    seconds: float | None = None


class VideoWriter:
    """Encodes a video while it is being made: ``write`` frames inside a ``with`` block.

    ``audio`` is a file, or mono float32 ``[S]`` at ``audio_rate`` (None: no sound). It is cut or
    filled with silence to the length of the video: to the sample when the number of ``frames`` is
    given beforehand (the block then fails with WorkError if it gets another number), else to the
    AAC packet (21 ms). Odd sizes lose their last row or column. ``labels`` are laid over the
    frames; ``metadata`` (names to text) goes into the container. Raises UsageError for a file that
    exists (without ``overwrite``), for bad options and for labels that do not fit, WorkError when
    writing fails; then, and at Ctrl-C, nothing is left behind. ``path`` exists when the block has
    ended well. ``finish`` gets the whole file before it has its name, and may change it.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: Fraction | float,
        audio: Path | Float | None = None,
        audio_rate: int = SAMPLE_RATE,
        frames: int | None = None,
        crf: int = 18,
        codec: str = "h264",
        preset: str | None = None,
        labels: Sequence[TimedMark] = (),
        metadata: Mapping[str, str] = BASIC_METADATA,
        overwrite: bool = False,
        ffmpeg_path: Path | None = None,
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        if width < 16 or height < 16:
            raise UsageError(f"a video of {width}x{height} is too small; 16x16 at least")
        if not 0 <= crf <= 51:
            raise UsageError(f"crf {crf} is outside 0 (best) to 51")
        if codec not in CODECS:
            raise UsageError(f"codec {codec!r} is not known; one of {', '.join(CODECS)}")
        check_writable(path, overwrite=overwrite)
        self.path = path
        self.fps = exact_rate(fps)
        self.width, self.height = width - width % 2, height - height % 2
        self.count = 0
        self._promised = frames
        self._frame_shape = (height, width, 3)
        self._overwrite = overwrite
        self._part = part_path(path)
        self._audio, self._audio_rate = audio, audio_rate
        self._crf, self._codec = crf, CODECS[codec]
        self._preset = preset or self._codec.preset
        self._labels = tuple(labels)
        self._metadata = dict(metadata)
        self._program = ffmpeg_path or find_ffmpeg()
        self._last_change = finish
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: FFmpegProcess | None = None
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_FRAMES)
        self._feeder = threading.Thread(target=self._feed, name="encoder", daemon=True)
        self._failure: OSError | None = None
        self._stop = threading.Event()

    def __enter__(self) -> VideoWriter:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="omnitalk-")
            arguments = command(self._graph(Path(self._folder.name)), self._program)
            self._process = FFmpegProcess(arguments, write=True)
            _widen_pipe(self._process)
            self._feeder.start()
        except OSError as error:
            self._clean()
            raise disk_full(self.path) if _is_full(error) else error from error
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._clean()

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Add a frame, ``uint8 [height, width, 3]`` RGB. The array may be reused afterwards."""
        if frame.shape != self._frame_shape or frame.dtype != np.uint8:
            raise ValueError(
                f"frame {self.count}: {frame.dtype} {frame.shape}, expected uint8 "
                f"{self._frame_shape}"
            )
        self._put(frame.tobytes())
        self.count += 1

    # The feeder

    def _put(self, item: bytes | None) -> None:
        while True:
            if self._failure is not None:
                raise self._encoder_error()
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue  # look again whether the encoder still lives
            return

    def _feed(self) -> None:
        assert self._process is not None
        try:
            while not self._stop.is_set():
                item = self._queue.get()
                if item is None:
                    return
                self._process.stdin.write(item)
        except (OSError, ValueError) as error:
            self._failure = error if isinstance(error, OSError) else OSError(str(error))

    def _finish(self) -> None:
        assert self._process is not None
        if not self.count:
            raise WorkError(f"{self.path}: no frame was made")
        if self._promised not in (None, self.count):
            raise WorkError(f"{self.path}: {self.count} of {self._promised} frames were made")
        self._put(None)
        self._feeder.join()
        status = self._process.wait()
        if status != 0 or self._failure is not None:
            raise self._encoder_error()
        self._check()
        if self._last_change is not None:
            self._last_change(self._part)
        try:
            commit(self._part, self.path, overwrite=self._overwrite)
        except OSError as error:
            raise WorkError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _encoder_error(self) -> OmnitalkError:
        assert self._process is not None
        self._process.wait()
        return write_error(self.path, self._process, self._failure)

    def _check(self) -> None:
        """A full disk can hide behind a good exit status: look at what was written."""
        try:
            with av.open(str(self._part), format="mp4") as container:
                stored = container.streams.video[0].frames
        except (av.error.FFmpegError, IndexError) as error:
            raise WorkError(f"{self.path}: the encoder wrote no valid file; disk full?") from error
        if stored != self.count:
            raise WorkError(f"{self.path}: {stored} of {self.count} frames arrived; disk full?")

    def _clean(self) -> None:
        self._stop.set()
        if self._process is not None:
            self._process.kill()
        while True:  # a feeder that waits for a frame gets the end mark
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                self._queue.get_nowait()
        if self._feeder.ident is not None:
            self._feeder.join()
        self._part.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.cleanup()

    # The command

    def _graph(self, folder: Path) -> Any:
        height, width, _ = self._frame_shape
        rate = f"{self.fps.numerator}/{self.fps.denominator}"
        picture = ffmpeg.input(
            "pipe:0", f="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=rate
        ).video
        if (self.width, self.height) != (width, height):
            picture = picture.filter("crop", self.width, self.height, 0, 0)
        # Without the explicit matrix ffmpeg converts by BT.601 and players shift the colours.
        picture = picture.filter(
            "scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd"
        ).filter("format", "yuv420p")
        for number, label in enumerate(self._labels):
            picture = self._overlay(picture, label, folder / f"mark{number}.png")
        outputs = [picture]
        options: dict[str, Any] = {
            "vcodec": self._codec.encoder,
            "preset": self._preset,
            "crf": self._crf,
            "pix_fmt": "yuv420p",
            "r": rate,
            "color_primaries": "bt709",
            "color_trc": "bt709",
            "colorspace": "bt709",
            "color_range": "tv",
            "movflags": self._flags(),
            "f": "mp4",
            **self._codec.options,
        }
        if self._audio is not None:
            outputs.append(self._sound(self._audio, folder))
            options |= {
                "acodec": "aac",
                "audio_bitrate": AUDIO_BITRATE,
                "ar": AUDIO_RATE,
            }
            if self._promised is None:
                options["shortest"] = None
        tags = {f"metadata:g:{i}": f"{k}={v}" for i, (k, v) in enumerate(self._metadata.items())}
        return ffmpeg.output(*outputs, local(self._part.absolute()), **options, **tags)

    def _flags(self) -> str:
        free = "" if USUAL_KEYS.issuperset(self._metadata) else "+use_metadata_tags"
        return f"+faststart{free}"

    def _overlay(self, picture: Any, timed: TimedMark, file: Path) -> Any:
        label = draw_label(timed.mark, width=self.width, height=self.height)
        Image.fromarray(label.rgba).save(file)
        still = ffmpeg.input(local(file)).video
        more = {}
        if timed.seconds is not None:
            # By number of frames: exact at any rate, and never a frame too few.
            more["enable"] = f"lt(n,{math.ceil(Fraction(timed.seconds) * self.fps)})"
        return ffmpeg.overlay(picture, still, x=label.x, y=label.y, format="yuv420", **more).filter(
            "format", "yuv420p"
        )

    def _sound(self, audio: Path | Float, folder: Path) -> Any:
        if isinstance(audio, Path):
            sound = ffmpeg.input(local(audio.absolute())).audio
        else:
            raw = folder / "sound.f32"
            samples = np.nan_to_num(np.asarray(audio, np.float32).reshape(-1))
            # Not tofile(): of a full disk it says only how many samples it wrote.
            raw.write_bytes(samples.clip(-1, 1).astype("<f4").data)
            sound = ffmpeg.input(local(raw), f="f32le", ar=self._audio_rate, ac=1).audio
        sound = sound.filter("aresample", AUDIO_RATE).filter("apad")
        if self._promised is None:
            return sound
        return sound.filter("atrim", end_sample=round(self._promised / self.fps * AUDIO_RATE))


def _widen_pipe(process: FFmpegProcess) -> None:
    """A frame is larger than the usual pipe: fewer switches between the programs."""
    try:
        import fcntl

        fcntl.fcntl(process.stdin.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, OSError, AttributeError):
        pass  # only a matter of speed


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
