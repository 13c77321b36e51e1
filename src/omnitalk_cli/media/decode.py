"""Pictures and sound out of any file, through ffmpeg, in a stated rate, size and colour space.

Both readers share one clock: second 0 is the beginning of the file, and gaps at the beginning of a
stream are filled, so that frame ``n`` belongs to the sound at ``n / fps``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.ffmpeg import (
    FFmpegProcess,
    command,
    find_ffmpeg,
    has_filter,
    local,
    read_error,
)
from omnitalk_cli.media.probe import MOST_PIXELS, MediaInfo, probe
from omnitalk_cli.media.rates import exact_rate
from omnitalk_cli.types import SAMPLE_RATE, Float

Warn = Callable[[str], None]

MIN_USABLE_SECONDS = 1.0
_TOLERATED_LOSS = 0.5  # seconds; containers round their lengths, streams end apart
_HD_HEIGHT = 720
_HDR_WHITE = 203  # cd/m² of white paper in HDR, ITU-R BT.2408
_SCALER = "bicubic+accurate_rnd+full_chroma_int"


def _ignore(message: str) -> None:
    """The warning callback that drops the warning."""


class FrameStream:
    """Iterator over ``uint8 [height, width, 3]`` RGB frames at a constant rate.

    A context manager; ``close()`` ends ffmpeg early. Memory holds one frame at a time.
    ``width`` and ``height`` are those that ffmpeg really delivers, known after the first frame.
    ``count`` is how many frames were given out. At the end, a stream that lost more than half a
    second against what the container promises calls ``warn`` when at least a second was usable, and
    raises InputError otherwise.
    """

    def __init__(
        self,
        info: MediaInfo,
        arguments: list[str],
        fps: Fraction,
        expected: float,
        warn: Warn,
        time_limit: float | None = None,
    ) -> None:
        self.info = info
        self.fps = fps
        self.width = 0
        self.height = 0
        self.count = 0
        self._expected = expected
        self._warn = warn
        self._ended = False
        self._process = FFmpegProcess(arguments, read=True, time_limit=time_limit)

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return self

    def __next__(self) -> NDArray[np.uint8]:
        if self._ended:
            raise StopIteration
        frame = self._read_frame()
        if frame is None:
            self._end()
            raise StopIteration
        self.count += 1
        return frame

    def close(self) -> None:
        """End ffmpeg, whether or not all frames were read."""
        self._ended = True
        self._process.kill()

    def _read_frame(self) -> NDArray[np.uint8] | None:
        # Binary PPM: each frame says its own size, so the container need not be believed.
        pipe = self._process.stdout
        if pipe.readline() != b"P6\n":
            return None
        size = pipe.readline().split()
        if len(size) != 2 or pipe.readline() != b"255\n":
            return None
        self.width, self.height = int(size[0]), int(size[1])
        frame = np.empty((self.height, self.width, 3), np.uint8)
        view = memoryview(frame.data).cast("B")
        filled = 0
        while filled < len(view):
            got = pipe.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                return None
            filled += got
        return frame

    def _end(self) -> None:
        status = self._process.wait()
        error = read_error(self.info.path, self._process)
        self.close()
        if self.count == 0:
            raise error
        usable = self.count / float(self.fps)
        if status == 0 and self._expected - usable <= _TOLERATED_LOSS:
            return
        _report_loss(self.info.path, usable, self._expected, self._warn, error)


def _report_loss(
    path: Path, usable: float, expected: float, warn: Warn, error: InputError | None
) -> None:
    lost = expected - usable > _TOLERATED_LOSS
    if lost and usable < MIN_USABLE_SECONDS:
        raise InputError(
            f"{path}: is cut off or damaged: only {usable:.1f} of {expected:.1f} s can be read; "
            "copy or download it again"
        )
    if lost:
        warn(
            f"{path.name}: is cut off or damaged; using the {usable:.1f} s of {expected:.1f} s "
            "that can be read"
        )
    elif error is not None:
        warn(str(error))


def stream_frames(
    path: Path,
    *,
    fps: Fraction | float,
    start: float = 0.0,
    seconds: float | None = None,
    width: int | None = None,
    height: int | None = None,
    ffmpeg_path: Path | None = None,
    info: MediaInfo | None = None,
    warn: Warn = _ignore,
    time_limit: float | None = None,
) -> FrameStream:
    """Frames of ``path`` at a constant ``fps`` from ``start`` on, for ``seconds`` (None: all).

    Rotation flags, non-square pixels and variable frame rates are resolved, colours come out as
    full-range RGB. ``width``/``height`` ask for a final size; one alone keeps the proportions.
    A still picture gives one frame. After ``time_limit`` seconds the stream ends as a file that is
    cut off does. Raises InputError if there is no video or nothing to read.
    """
    info = info or probe(path)
    program = ffmpeg_path or find_ffmpeg()
    if not info.has_video:
        raise InputError(f"{path}: holds no video")
    rate = exact_rate(fps)
    available = 1 / float(rate) if info.is_image else info.video_seconds - start
    if available <= 0:
        raise InputError(f"{path}: is only {info.video_seconds:.1f} s long; nothing at {start:g} s")
    expected = available if seconds is None else min(seconds, available)
    picture = _input(info, start=start, seconds=seconds)[str(info.video_index)]
    if not info.is_image:
        picture = picture.filter("fps", fps=f"{rate.numerator}/{rate.denominator}", start_time=0)
    picture = _to_rgb(picture, info, width, height, program)
    options: dict[str, Any] = {"f": "image2pipe", "vcodec": "ppm", "pix_fmt": "rgb24"}
    if info.is_image:
        options["frames:v"] = 1
    elif seconds is not None:
        options["frames:v"] = max(1, math.ceil(seconds * rate - Fraction(1, 1000)))
    graph = ffmpeg.output(picture, "pipe:1", **options)
    return FrameStream(info, command(graph, program), rate, expected, warn, time_limit)


def _input(info: MediaInfo, *, start: float, seconds: float | None) -> Any:
    options: dict[str, Any] = {"max_pixels": MOST_PIXELS} if info.has_video else {}
    if not info.is_image:
        if start > 0:
            options["ss"] = f"{start:.6f}"
        if seconds is not None:
            options["t"] = f"{seconds + 0.5:.6f}"  # a margin: the exact cut is made after the rate
    elif info.container.startswith("image2"):
        options["pattern_type"] = "none"  # a "%d" in a name is not a sequence of pictures
    return ffmpeg.input(local(info.path.absolute()), **options)


def _to_rgb(
    picture: Any, info: MediaInfo, width: int | None, height: int | None, program: Path
) -> Any:
    """Scale and convert in one step; ffmpeg has already turned the picture."""
    if info.is_hdr and has_filter(program, "zscale") and has_filter(program, "tonemap"):
        # Phones record HLG: without tone mapping faces come out grey and flat.
        picture = (
            picture.filter("zscale", transfer="linear", npl=_HDR_WHITE)
            .filter("format", "gbrpf32le")
            .filter("zscale", primaries="bt709")
            .filter("tonemap", "mobius", desat=0)
            .filter("zscale", transfer="bt709", matrix="bt709", range="tv")
            .filter("format", "yuv444p")
        )
    square_width, square_height = info.display_size
    if width is None and height is None:
        width, height = square_width, square_height
        if info.sample_aspect == 1:  # whatever the pipe really carries
            size: dict[str, Any] = {"w": "iw", "h": "ih"}
        else:
            size = {"w": "max(1,round(iw*sar))", "h": "ih"}
    else:
        if width is None:
            assert height is not None
            width = max(1, round(square_width * height / square_height))
        elif height is None:
            height = max(1, round(square_height * width / square_width))
        size = {"w": width, "h": height}
    colours: dict[str, Any] = {}
    if not info.colour_tagged and not info.is_hdr:
        # Untagged YUV: players take BT.709 for HD and BT.601 below; swscale would always take 601.
        colours["in_color_matrix"] = "bt709" if info.height >= _HD_HEIGHT else "bt601"
    return (
        picture.filter("scale", **size, flags=_SCALER, **colours)
        .filter("setsar", 1)
        .filter("format", "rgb24")
    )


def decode_audio(
    path: Path,
    *,
    rate: int = SAMPLE_RATE,
    start: float = 0.0,
    seconds: float | None = None,
    ffmpeg_path: Path | None = None,
    info: MediaInfo | None = None,
    warn: Warn = _ignore,
    time_limit: float | None = None,
) -> Float:
    """Sound of ``path`` as mono float32 ``[S]`` at ``rate``, nominally −1…1.

    Stereo and surround are mixed down. ``time_limit`` (seconds) ends the reading early. Raises
    InputError if there is no sound track, or if nothing can be read of it; ``warn`` hears about a
    track that is cut off.
    """
    info = info or probe(path)
    program = ffmpeg_path or find_ffmpeg()
    if not info.has_audio:
        raise InputError(f"{path}: has no sound track")
    available = info.audio_seconds - start
    if available <= 0:
        raise InputError(f"{path}: its sound is only {info.audio_seconds:.1f} s long")
    expected = available if seconds is None else min(seconds, available)
    sound = _input(info, start=start, seconds=seconds)[str(info.audio_index)]
    # A track that begins late or has gaps is filled with silence, to stay on the common clock.
    sound = sound.filter("aresample", rate, **{"async": 1, "first_pts": 0})
    # As integers: ffmpeg mixes down to float without scaling, which makes stereo 3 dB too loud.
    graph = ffmpeg.output(sound, "pipe:1", f="s32le", acodec="pcm_s32le", ac=1, ar=rate)
    with FFmpegProcess(command(graph, program), read=True, time_limit=time_limit) as process:
        raw = process.stdout.read()
        status = process.wait()
        error = read_error(path, process)
    samples = np.frombuffer(raw[: len(raw) // 4 * 4], "<i4").astype(np.float32) / np.float32(2**31)
    if seconds is not None:
        samples = samples[: round(seconds * rate)]
    if not len(samples):
        raise error
    _report_loss(path, len(samples) / rate, expected, warn, error if status else None)
    return samples
