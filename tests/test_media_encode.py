"""Encoding: right lengths, right colours, marked, and whole or not there."""

from __future__ import annotations

import math
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media_samples import gradient_frames, make_video
from omnitalk_cli.errors import SetupError, UsageError, WorkError
from omnitalk_cli.media import encode
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.encode import TimedMark, VideoWriter
from omnitalk_cli.media.ffmpeg import FFmpegProcess, find_ffmpeg
from omnitalk_cli.media.files import atomic_output, check_writable
from omnitalk_cli.media.probe import probe
from omnitalk_cli.provenance.labels import BASIC_METADATA
from omnitalk_cli.provenance.visible import VisibleMark, draw_label


def _tone(seconds: float, rate: int = 24000) -> np.ndarray:
    time = np.arange(int(seconds * rate), dtype=np.float32) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def _write(path: Path, pictures: list[np.ndarray], **options: object) -> Path:
    height, width, _ = pictures[0].shape
    defaults: dict[str, object] = {"fps": 25, "width": width, "height": height}
    with VideoWriter(path, **(defaults | options)) as writer:  # type: ignore[arg-type]
        for frame in pictures:
            writer.write(frame)
    return path


def test_colours_tags_and_metadata(tmp_path: Path) -> None:
    frames = gradient_frames(6, 160, 128)
    out = _write(tmp_path / "out.mp4", frames, metadata={**BASIC_METADATA, "title": "A title"})
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    with stream_frames(out, fps=25) as stream:
        decoded = list(stream)
    assert len(decoded) == 6
    assert np.abs(np.stack(decoded).astype(int) - np.stack(frames)).mean() < 2
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited
        assert (frame.format.name, stream.codec_context.name) == ("yuv420p", "h264")
        assert container.metadata["title"] == "A title"
        assert "synthetic" in container.metadata["comment"].lower()
    data = out.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fps", [8, 25, Fraction(30000, 1001), 60])
@pytest.mark.parametrize("sound_seconds", [0.2, 5.0])
def test_lengths_agree(tmp_path: Path, fps: Fraction | int, sound_seconds: float) -> None:
    frames = gradient_frames(1, 32, 32) * 31
    for known in (31, None):
        out = _write(tmp_path / f"{known}.mp4", frames, fps=fps, audio=_tone(sound_seconds),
                     frames=known)  # fmt: skip
        info = probe(out)
        assert (info.audio_rate, info.audio_codec, info.fps) == (48000, "aac", fps)
        assert info.video_seconds == pytest.approx(31 / float(fps), abs=1e-4)
        heard = len(decode_audio(out, rate=48000)) / 48000
        assert heard == pytest.approx(info.video_seconds, abs=0.001 if known else 0.022)


def test_sound_is_where_it_was(tmp_path: Path) -> None:
    time = np.arange(12000, dtype=np.float32) / 24000
    sound = np.zeros(24000, np.float32)
    sound[12000:] = 0.3 * np.sin(2 * np.pi * (300 + 2000 * time) * time)  # no two lags look alike
    out = _write(tmp_path / "o.mp4", gradient_frames(1, 32, 32) * 25, audio=sound, frames=25)
    back = decode_audio(out)
    lags = np.arange(-480, 481)
    scores = [np.dot(sound[2000:22000], back[2000 + lag : 22000 + lag]) for lag in lags]
    assert abs(int(lags[int(np.argmax(scores))])) <= 2
    assert np.abs(back - sound[: len(back)]).mean() < 0.01


def test_sound_from_a_file(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "c.mkv", seconds=2, channels=2)
    out = _write(tmp_path / "o.mp4", gradient_frames(1, 32, 32) * 10, audio=clip, frames=10)
    assert probe(out).audio_seconds == pytest.approx(0.4, abs=0.001)


def test_odd_size(tmp_path: Path) -> None:
    info = probe(_write(tmp_path / "o.mp4", gradient_frames(2, 65, 47)))
    assert (info.width, info.height) == (64, 46)


def test_h265(tmp_path: Path) -> None:
    assert probe(_write(tmp_path / "o.mp4", gradient_frames(2, 64, 64), codec="h265")).video_codec


@pytest.mark.parametrize("background", [0, 128, 255])
def test_visible_mark(tmp_path: Path, background: int) -> None:
    frames = [np.full((256, 256, 3), background, np.uint8)] * 3
    out = _write(tmp_path / "o.mp4", frames, labels=[TimedMark(mark=VisibleMark())])
    with stream_frames(out, fps=25) as stream:
        picture = list(stream)[-1].astype(int)
    label = draw_label(VisibleMark(), width=256, height=256)
    height, width, _ = label.rgba.shape
    inside = picture[label.y : label.y + height, label.x : label.x + width]
    letters = label.rgba[..., :3].mean(axis=-1) > 250
    plate = (label.rgba[..., 3] > 100) & (label.rgba[..., 0] < 5)
    assert inside[letters].mean() - inside[plate].mean() > 90
    outside = np.ones((256, 256), bool)
    outside[label.y - 2 : label.y + height + 2, label.x - 2 : label.x + width + 2] = False
    assert np.abs(picture[outside] - background).max() <= 3


@pytest.mark.parametrize("fps", [8, Fraction(24000, 1001), 25, Fraction(30000, 1001), 60])
def test_opening_label_lasts_two_seconds_and_not_longer(
    tmp_path: Path, fps: Fraction | int
) -> None:
    opening = VisibleMark(text="人工智能生成合成", position="top", size=0.05)
    labels = [TimedMark(mark=VisibleMark()), TimedMark(mark=opening, seconds=2)]
    count = math.ceil(2 * fps)
    frames = [np.full((128, 192, 3), 90, np.uint8)] * (count + 3)
    out = _write(tmp_path / "o.mp4", frames, fps=fps, labels=labels)
    with av.open(str(out)) as container:
        shown, persistent = [], []
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="gray")
            shown.append(int(picture[:64].max()) > 180)
            persistent.append(int(picture[64:].max()) > 180)
    assert shown == [True] * count + [False] * 3
    assert all(persistent) and len(persistent) == count + 3
    assert count / fps >= 2 > (count - 1) / fps


def test_metadata_of_any_name(tmp_path: Path) -> None:
    tag = '{"Label":"1","ContentProducer":"A;b=\'c\' \\\\ 中"}'
    everything = {**BASIC_METADATA, "AIGC": tag}
    out = _write(tmp_path / "o.mp4", gradient_frames(2, 32, 32), metadata=everything)
    with av.open(str(out)) as container:
        assert {**container.metadata, **everything} == container.metadata
    # The usual list of tags, which every player reads, where it is enough.
    assert b"\xa9cmt" not in out.read_bytes()
    plain = _write(tmp_path / "p.mp4", gradient_frames(2, 32, 32))
    assert b"\xa9cmt" in plain.read_bytes() and b"mdta" not in plain.read_bytes()


class _Stop(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("error", [_Stop, KeyboardInterrupt, ValueError])
def test_nothing_left_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "o.mp4"
    with pytest.raises(error):  # noqa: SIM117
        with VideoWriter(out, width=64, height=64, fps=25, audio=_tone(1)) as writer:
            for frame in gradient_frames(30, 64, 64):
                writer.write(frame)
            raise error
    assert list(tmp_path.iterdir()) == []
    assert writer._process is not None and writer._process._process.poll() is not None


def test_existing_file(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    out.write_text("precious")
    frames = gradient_frames(2, 32, 32)
    with pytest.raises(UsageError, match="overwrite"):
        _write(out, frames)
    with pytest.raises(ValueError, match="stop"):  # noqa: SIM117
        with VideoWriter(out, width=32, height=32, fps=25, overwrite=True):
            raise ValueError("stop")
    assert out.read_text() == "precious"
    assert probe(_write(out, frames, overwrite=True)).has_video


def test_wrong_frames(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    with pytest.raises(WorkError, match="2 of 3 frames"):
        _write(out, gradient_frames(2, 32, 32), frames=3)
    with pytest.raises(WorkError, match="no frame"):  # noqa: SIM117
        with VideoWriter(out, width=32, height=32, fps=25):
            pass
    with pytest.raises(ValueError, match="expected"):
        _write(out, gradient_frames(1, 32, 32), width=64)
    for bad in ({"crf": 99}, {"codec": "theora"}, {"width": 4}, {"fps": 0}):
        with pytest.raises(UsageError):
            _write(out, gradient_frames(1, 32, 32), **bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = tmp_path / "part"
    part.symlink_to("/dev/full")
    monkeypatch.setattr(encode, "part_path", lambda path: part)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(80)]
    with pytest.raises(WorkError, match="disk full"):
        _write(tmp_path / "o.mp4", noise, crf=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_for_passing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Folder:
        def __init__(self, prefix: str) -> None:
            self.name = str(tmp_path)
            (tmp_path / "sound.f32").symlink_to("/dev/full")

        def cleanup(self) -> None:
            (tmp_path / "sound.f32").unlink()

    monkeypatch.setattr(encode.tempfile, "TemporaryDirectory", Folder)
    with pytest.raises(WorkError, match="disk full"):
        _write(tmp_path / "o.mp4", gradient_frames(2, 32, 32), audio=np.zeros(24_000, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(WorkError, match="does not exist"):
        check_writable(tmp_path / "none" / "o.mp4", overwrite=False)
    with pytest.raises(UsageError, match="folder"):
        check_writable(tmp_path, overwrite=True)
    with pytest.raises(WorkError, match="cannot be written"):
        check_writable(file / "o.mp4", overwrite=False)
    check_writable(tmp_path / ("x" * 240 + ".mp4"), overwrite=False)
    assert list(tmp_path.iterdir()) == [file]


def test_atomic_output(tmp_path: Path) -> None:
    out = tmp_path / "data.bin"
    with atomic_output(out, overwrite=False) as part:
        part.write_bytes(b"1")
        assert not out.exists()
    with pytest.raises(RuntimeError), atomic_output(out, overwrite=True) as part:
        part.write_bytes(b"2")
        raise RuntimeError
    assert out.read_bytes() == b"1" and list(tmp_path.iterdir()) == [out]


def test_find_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_ffmpeg()
    assert find_ffmpeg(str(real)) == real
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(SetupError, match="not a working ffmpeg"):
        find_ffmpeg(str(fake))
    monkeypatch.setenv("OMNITALK_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="OMNITALK_FFMPEG"):
        find_ffmpeg()
    monkeypatch.delenv("OMNITALK_FFMPEG")
    monkeypatch.setenv("PATH", str(tmp_path))  # a broken one on PATH is passed over
    assert "imageio_ffmpeg" in str(find_ffmpeg())


def test_dying_encoder_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\nhead -c 20000 >/dev/null\necho 'it caught fire' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(WorkError, match="it caught fire"):
        _write(tmp_path / "o.mp4", gradient_frames(60, 128, 128), ffmpeg_path=script)


def test_much_stderr_does_not_block() -> None:
    noisy = ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo 'a line of complaint' >&2; "
             "i=$((i+1)); done; echo last >&2"]  # fmt: skip
    with FFmpegProcess(noisy) as process:
        assert process.wait() == 0
        assert process.stderr_tail().endswith("last")


def test_no_fonts_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "none.conf"))
    labels = [TimedMark(mark=VisibleMark())]
    out = _write(tmp_path / "o.mp4", gradient_frames(2, 64, 64), labels=labels)
    assert subprocess.run([str(find_ffmpeg()), "-v", "error", "-i", out, "-f", "null", "-"],
                          check=False).returncode == 0  # fmt: skip
