"""What happens to videos after they leave us: the attacks that the marks must survive.

An attack is a few passes through ffmpeg, as platforms, editors and screen recorders make them.
``attacked`` runs it on a file; picture and sound are treated by the same passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from omnitalk_cli.errors import WorkError
from omnitalk_cli.media.ffmpeg import FFmpegProcess, command, find_ffmpeg, local
from omnitalk_cli.media.probe import probe

_SPEEDS: dict[str, dict[str, Any]] = {
    "libx264": {"preset": "medium"},
    "libx265": {"preset": "medium", "x265-params": "log-level=error"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": 6, "b:v": 0},
}
_ENDINGS = {"libvpx-vp9": ".webm", "libmp3lame": ".mp3", "libopus": ".opus", "pcm_s16le": ".wav"}


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run through ffmpeg: filters in ffmpeg's own words, encoders and their quality.

    Without ``codec`` the picture is dropped, without ``voice`` (an audio encoder) the sound.
    ``preset`` None: the usual one of the codec. ``rate`` in Hz, ``bitrate`` only where it applies.
    """

    filters: str = ""
    codec: str | None = None
    crf: int = 20
    preset: str | None = None
    sound_filters: str = ""
    voice: str | None = None
    bitrate: str | None = None
    rate: int = 48_000

    @property
    def ending(self) -> str:
        """Of a file that can hold what the encoders give."""
        return _ENDINGS.get(self.codec or self.voice or "", ".mp4")

    def options(self) -> dict[str, Any]:
        """What ffmpeg is told about its output."""
        made: dict[str, Any] = {"map_metadata": -1}
        if self.codec is None:
            made["vn"] = None
        else:
            made |= {"vcodec": self.codec, "crf": self.crf, "pix_fmt": "yuv420p"}
            made |= _SPEEDS[self.codec] | ({"preset": self.preset} if self.preset else {})
            made |= {"vf": self.filters} if self.filters else {}
        if self.voice is None:
            made["an"] = None
        else:
            made |= {"acodec": self.voice, "ar": self.rate}
            made |= {"audio_bitrate": self.bitrate} if self.bitrate else {}
            made |= {"af": self.sound_filters} if self.sound_filters else {}
        return made


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Passes one after the other; none leaves the file as it was written.

    ``middle`` keeps only so many seconds from its middle. ``asked`` attacks must be survived
    (``BAR``), the others are reported.
    """

    name: str
    passes: tuple[Pass, ...] = ()
    middle: float | None = None
    asked: bool = True


def _picture(name: str, filters: str = "", **more: Any) -> Attack:
    asked = more.pop("asked", True)
    options: dict[str, Any] = {"codec": "libx264", "crf": 23} | more
    step = Pass(filters=filters, **options)
    return Attack(name=name, passes=(step,), asked=asked)


def _x264(crf: int) -> Pass:
    return Pass(codec="libx264", crf=crf)


def _sound(name: str, filters: str = "", **more: Any) -> Attack:
    asked = more.pop("asked", True)
    options: dict[str, Any] = {"voice": "pcm_s16le"} | more
    step = Pass(sound_filters=filters, **options)
    return Attack(name=name, passes=(step,), asked=asked)


_BOX = "drawbox=x=iw*0.1:y=ih*0.65:w=iw*0.8:h=ih*0.25:color=black:t=fill"
VIDEO_ATTACKS = (
    Attack(name="none"),
    _picture("x264 crf 23"),
    _picture("x264 crf 28", crf=28),
    _picture("x264 crf 28, veryfast", crf=28, preset="veryfast"),
    _picture("x265 crf 28", codec="libx265", crf=28),
    _picture("VP9 crf 36", codec="libvpx-vp9", crf=36),
    _picture("half size (720 to 360)", "scale=trunc(iw/4)*2:trunc(ih/4)*2"),
    _picture("crop to 70 %", "crop=trunc(iw*0.35)*2:trunc(ih*0.35)*2"),
    _picture("crop to 90 %, scaled back", "crop=iw*0.9:ih*0.9,scale=trunc(iw/1.8)*2:-2"),
    _picture("blur", "gblur=sigma=1.2"),
    _picture("noise", "noise=alls=14:allf=t"),
    _picture("brightness, contrast", "eq=brightness=0.08:contrast=1.2"),
    _picture("20 fps", "fps=20"),
    _picture("mirrored", "hflip"),
    _picture("overlay box", _BOX),
    Attack(name="double compression", passes=(_x264(28), _x264(26))),
    Attack(name="1 s excerpt", passes=(_x264(23),), middle=1.0, asked=False),
    _picture("x264 crf 32", crf=32, asked=False),
    _picture("360 px, crf 28", "scale='if(gt(iw,ih),-2,360)':'if(gt(iw,ih),360,-2)'", crf=28,
             asked=False),
)  # fmt: skip
AUDIO_ATTACKS = (
    Attack(name="none"),
    *(_sound(f"AAC {rate}k", voice="aac", bitrate=f"{rate}k") for rate in (128, 96, 64)),
    _sound("MP3 64k", voice="libmp3lame", bitrate="64k"),
    _sound("Opus 24k", voice="libopus", bitrate="24k"),
    _sound("8 kHz", rate=8000),
    _sound("+6 dB", "volume=6dB"),
    _sound("-6 dB", "volume=-6dB"),
    _sound("loudnorm", "loudnorm"),
    _sound("trim 1.24 s", "atrim=start=1.24,asetpts=PTS-STARTPTS"),
    _sound("tempo +1 %", "atempo=1.01"),
    _sound("tempo -1 %", "atempo=0.99"),
    _sound("speed +1 %", "asetrate=48480,aresample=48000", asked=False),
    _sound("speed -1 %", "asetrate=47520,aresample=48000", asked=False),
    _sound("noise at -61 dBFS", "aeval=val(0)+0.003*(random(0)-0.5):c=same", asked=False),
)
CHAIN = Attack(
    name="screen share (360 px crf 28, AAC 64k, middle 5 s)",
    passes=(
        Pass(
            filters="scale='if(gt(iw,ih),-2,360)':'if(gt(iw,ih),360,-2)'",
            codec="libx264", crf=28, voice="aac", bitrate="64k",
        ),
    ),
    middle=5.0,
)  # fmt: skip


def attacked(source: Path, attack: Attack, folder: Path) -> Path:
    """``source`` after ``attack``, as a file in ``folder``. Raises WorkError when ffmpeg fails."""
    current = source
    for number, step in enumerate(attack.passes):
        options: dict[str, Any] = {}
        if attack.middle is not None and number == 0:
            length = probe(current).seconds
            cut = min(attack.middle, length)
            options = {"ss": f"{(length - cut) / 2:.3f}", "t": f"{cut:.3f}"}
        target = folder / f"attack{number}{step.ending}"
        made = step.options()
        if step.voice is not None and not probe(current).has_audio:
            del made["acodec"], made["ar"]
        graph = ffmpeg.input(local(current.absolute()), **options).output(
            local(target.absolute()), **made
        )
        with FFmpegProcess(command(graph, find_ffmpeg())) as process:
            if process.wait() != 0:
                raise WorkError(f"{attack.name}: {process.stderr_tail()}")
        current = target
    return current
