"""What a media file holds, read with PyAV without running ffmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from omnitalk_cli.errors import InputError

MOST_PIXELS = 1 << 27  # a few bytes of a file can ask for any amount of memory

_TEXT_FORMATS = {"tty", "srt", "webvtt", "ass", "ffmetadata", "concat", "hls", "lrc", "microdvd"}
_UNTAGGED = (2, 3)  # "unspecified" and "reserved" matrices, ITU-T H.273 table 4
_HDR_TRANSFERS = (16, 18)  # PQ and HLG, ITU-T H.273 table 3


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """A media file in numbers.

    ``seconds`` is the longest stream, ``video_seconds``/``audio_seconds`` (0 if absent) each one;
    of a truncated file they count what the container promises, ``usable_seconds`` what is there.
    ``width``/``height`` are those of the stored picture after its rotation flag is applied
    (0 without video), not yet corrected for ``sample_aspect``. ``fps`` is the average rate.
    """

    path: Path
    container: str
    seconds: float
    usable_seconds: float
    is_image: bool
    has_video: bool
    video_index: int
    video_seconds: float
    width: int
    height: int
    rotation: int
    fps: Fraction
    video_codec: str
    sample_aspect: Fraction
    colour_tagged: bool
    is_hdr: bool
    has_audio: bool
    audio_index: int
    audio_seconds: float
    audio_rate: int
    audio_channels: int
    audio_codec: str

    @property
    def is_truncated(self) -> bool:
        """Whether more than half a second of what the container promises is missing."""
        return self.seconds - self.usable_seconds > 0.5

    @property
    def display_size(self) -> tuple[int, int]:
        """Width and height with square pixels, as a player shows it."""
        return max(1, round(self.width * self.sample_aspect)), self.height


def probe(path: Path) -> MediaInfo:
    """Look into a video, sound or picture file.

    Raises InputError, in one line, for a missing or empty file, a folder, text, or anything that
    has neither picture nor sound.
    """
    _check_file(path)
    try:
        # Subtitles, playlists and text are refused here: ffmpeg would "play" them.
        with av.open(str(path.absolute()), options={"protocol_whitelist": "file"}) as container:
            if container.format.name.split(",")[0] in _TEXT_FORMATS:
                raise InputError(f"{path}: is text, not a video; give a media file")
            return _describe(path, container)
    except av.error.FFmpegError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{path}: is not a readable video, sound or picture ({why})") from error
    except (EOFError, StopIteration, ValueError) as error:
        raise InputError(f"{path}: holds no readable video, sound or picture") from error


def _check_file(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: its name is not valid Unicode; rename the file") from error
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a media file")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; store the media in a file first")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error


def _describe(path: Path, container: Any) -> MediaInfo:
    video, audio = _video_stream(container), _audio_stream(container)
    if video is None and audio is None:
        raise InputError(f"{path}: holds neither video nor sound")
    name = container.format.name
    spans = _stream_seconds(container, [s for s in (video, audio) if s is not None])
    video_seconds = spans.get(video.index, 0.0) if video is not None else 0.0
    audio_seconds = spans.get(audio.index, 0.0) if audio is not None else 0.0
    is_image = video is not None and audio is None and _is_still(name, video)
    promised = 0.0 if is_image else max(video_seconds, audio_seconds)
    first = _first_frame(path, container, video) if video is not None else None
    rotation = int(round(getattr(first, "rotation", 0) or 0)) % 360
    width, height = (first.width, first.height) if first is not None else (0, 0)
    aspect = _aspect(video)
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    return MediaInfo(
        path=path,
        container=name,
        seconds=promised,
        usable_seconds=min(promised, _stored_seconds(path, name, video, audio, promised)),
        is_image=is_image,
        has_video=video is not None,
        video_index=video.index if video is not None else -1,
        video_seconds=0.0 if is_image else video_seconds,
        width=width,
        height=height,
        rotation=rotation,
        fps=_rate(video, video_seconds),
        video_codec=video.codec_context.name if video is not None else "",
        sample_aspect=aspect,
        colour_tagged=first is not None and int(first.colorspace) not in _UNTAGGED,
        is_hdr=first is not None and int(first.color_trc or 0) in _HDR_TRANSFERS,
        has_audio=audio is not None,
        audio_index=audio.index if audio is not None else -1,
        audio_seconds=audio_seconds,
        audio_rate=audio.rate if audio is not None else 0,
        audio_channels=audio.channels if audio is not None else 0,
        audio_codec=audio.codec_context.name if audio is not None else "",
    )


def _video_stream(container: Any) -> Any | None:
    """The largest moving picture; the cover of a music file is none."""
    cover = av.stream.Disposition.attached_pic
    usable = [s for s in container.streams.video if not s.disposition & cover and s.codec_context]
    return max(usable, key=lambda s: s.width * s.height, default=None)


def _audio_stream(container: Any) -> Any | None:
    return next((s for s in container.streams.audio if s.codec_context and s.rate), None)


def _is_still(container_name: str, video: Any) -> bool:
    if container_name.endswith("_pipe") or container_name.startswith("image2"):
        return True
    return video.frames == 1  # HEIC, AVIF, a GIF of one picture


def _first_frame(path: Path, container: Any, video: Any) -> Any:
    if video.width * video.height > MOST_PIXELS:
        raise InputError(
            f"{path}: a picture of {video.width}x{video.height} is too large; "
            f"{MOST_PIXELS // 1_000_000} megapixels are the most"
        )
    # Data that turn out larger than the container says are refused by the decoder itself.
    video.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    video.thread_type = "SLICE"  # frame threads would decode many frames ahead for nothing
    for packet in container.demux(video):
        try:
            for frame in packet.decode():
                return frame
        except av.error.InvalidDataError:
            continue  # a damaged beginning; later packets may decode
    raise InputError(f"{path}: not one picture can be decoded; the file may be cut off or damaged")


def _aspect(video: Any | None) -> Fraction:
    aspect = video.sample_aspect_ratio if video is not None else None
    return Fraction(aspect) if aspect else Fraction(1)


def _rate(video: Any | None, seconds: float) -> Fraction:
    if video is None:
        return Fraction(0)
    for rate in (video.average_rate, video.guessed_rate, video.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    if video.frames and seconds:
        return Fraction(video.frames / seconds).limit_denominator(1001)
    return Fraction(25)


def _stream_seconds(container: Any, streams: list[Any]) -> dict[int, float]:
    """Length of each stream. Recordings of browsers have no lengths: then packets are counted."""
    spans: dict[int, float] = {}
    for stream in streams:
        if stream.duration and stream.time_base:
            spans[stream.index] = float(stream.duration * stream.time_base)
        elif container.duration:
            spans[stream.index] = container.duration / av.time_base
    if spans or not streams:
        return spans
    for packet in container.demux(streams):
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            spans[packet.stream.index] = max(end, spans.get(packet.stream.index, 0.0))
    container.seek(0)
    return spans


def _stored_seconds(
    path: Path, container_name: str, video: Any | None, audio: Any | None, promised: float
) -> float:
    """Seconds whose data lie inside the file, by the index that MP4 and MOV carry in front."""
    if not container_name.startswith("mov"):
        return promised
    size = path.stat().st_size
    stored = promised
    for stream in (video, audio):
        if stream is None:
            continue
        lost = (
            entry.timestamp
            for entry in stream.index_entries
            if entry.pos + entry.size > size and entry.timestamp is not None
        )
        first_lost = min(lost, default=None)
        if first_lost is not None:
            stored = min(stored, float(first_lost * stream.time_base))
    return max(0.0, stored)
