"""Probing and decoding of what people really have: rotated, odd, variable, cut off, or no media."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_samples import cut_bytes, make_colour, make_video, run_ffmpeg
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.ffmpeg import has_encoder, has_filter
from omnitalk_cli.media.probe import probe
from omnitalk_cli.media.rates import exact_rate


def _frames(path: Path, **options: object) -> list[np.ndarray]:
    with stream_frames(path, **options) as stream:  # type: ignore[arg-type]
        return list(stream)


def test_plain_clip(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a b.mp4", seconds=1.2, size=(66, 50))
    info = probe(clip)
    assert (info.width, info.height, info.fps) == (66, 50, 25)
    assert (info.has_video, info.has_audio, info.is_image) == (True, True, False)
    assert (info.audio_rate, info.audio_channels) == (44100, 1)
    assert info.seconds == pytest.approx(1.2, abs=0.05)
    frames = _frames(clip, fps=25)
    assert len(frames) == 30 and frames[0].shape == (50, 66, 3) and frames[0].dtype == np.uint8
    sound = decode_audio(clip)
    assert sound.dtype == np.float32 and len(sound) == pytest.approx(1.2 * 24000, abs=600)
    spectrum = np.abs(np.fft.rfft(sound[2400:26400]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_flag(tmp_path: Path, degrees: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", seconds=0.3, size=(96, 48), tone=None)
    turned = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", degrees, "-i", plain, "-c", "copy", turned)
    info = probe(turned)
    upright, decoded = _frames(plain, fps=25)[0], _frames(turned, fps=25)[0]
    assert (info.height, info.width) == decoded.shape[:2]
    expected = np.rot90(upright, degrees // 90)  # the flag counts counter-clockwise
    difference = np.abs(decoded.astype(int) - expected.astype(int))
    assert difference.mean() < 6


@pytest.mark.parametrize(("source", "target"), [(8, 25), (60, 25), (25, 30), ("30000/1001", 25)])
def test_constant_rate(tmp_path: Path, source: int | str, target: int) -> None:
    clip = make_video(tmp_path / "c.mp4", seconds=2, fps=source, tone=None)
    assert probe(clip).fps == Fraction(source)
    assert len(_frames(clip, fps=target)) == pytest.approx(2 * target, abs=1 + target // 25)


def test_variable_rate_keeps_time(tmp_path: Path) -> None:
    # White from 1 s on; between 0.2 and 1 s the recording has hardly any frames.
    clip = tmp_path / "vfr.mkv"
    pictures = "color=black:s=64x64:r=50:d=2,drawbox=c=white:t=fill:enable='gte(t,1)'"
    keep = "select='lt(t,0.2)+eq(n,30)+gte(t,1)'"
    run_ffmpeg(
        "-f", "lavfi", "-i", pictures, "-vf", keep, "-fps_mode", "vfr", clip,
    )  # fmt: skip
    frames = _frames(clip, fps=25)
    assert len(frames) == pytest.approx(50, abs=1)
    bright = [index for index, frame in enumerate(frames) if frame.mean() > 128]
    assert bright[0] == pytest.approx(25, abs=1) and bright == list(range(bright[0], len(frames)))


def test_window_and_size(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "c.mp4", seconds=3, size=(128, 64))
    assert len(_frames(clip, fps=25, start=1, seconds=0.8)) == 20
    part = _frames(clip, fps=25, start=1.2, seconds=0.4)
    whole = _frames(clip, fps=25)
    assert np.abs(part[0].astype(int) - whole[30].astype(int)).mean() < 3
    assert _frames(clip, fps=25, seconds=0.1, width=32)[0].shape == (16, 32, 3)
    assert _frames(clip, fps=25, seconds=0.1, width=31, height=33)[0].shape == (33, 31, 3)
    assert len(decode_audio(clip, start=0.5, seconds=1)) == 24000
    with pytest.raises(InputError, match="only 3.0 s"):
        stream_frames(clip, fps=25, start=5)


def test_surround_and_late_sound(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "s.mkv", channels=6, arguments=["-c:a", "flac"])
    assert probe(clip).audio_channels == 6
    sound = decode_audio(clip)
    assert 0.25 < np.abs(sound).max() < 0.35  # the same tone in all channels keeps its level
    late = tmp_path / "late.mkv"
    run_ffmpeg("-i", clip, "-itsoffset", "0.5", "-i", clip, "-map", "0:v", "-map", "1:a",
               "-c", "copy", late)  # fmt: skip
    sound = decode_audio(late)
    assert np.abs(sound[: int(0.48 * 24000)]).max() < 0.01 < np.abs(sound[12400:14000]).max()


def test_stereo_keeps_its_level(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "s.mp4", channels=2)
    assert np.abs(decode_audio(clip)[2400:]).max() == pytest.approx(0.3, abs=0.02)


def test_odd_size_and_square_pixels(tmp_path: Path) -> None:
    shape = "scale=65:47,setsar=1"
    codec = ["-c:v", "ffv1"]
    odd = make_video(tmp_path / "o.mkv", seconds=0.2, video_filter=shape, arguments=codec)
    assert _frames(odd, fps=25)[0].shape == (47, 65, 3)
    wide = make_video(tmp_path / "w.mp4", seconds=0.2, tone=None, video_filter="setsar=15/16")
    assert probe(wide).display_size == (60, 48)
    assert _frames(wide, fps=25)[0].shape == (48, 60, 3)


@pytest.mark.parametrize(
    ("matrix", "tag"), [("bt709", True), ("smpte170m", True), ("smpte170m", False)]
)
def test_colours_come_back(tmp_path: Path, matrix: str, tag: bool) -> None:
    rgb = (200, 60, 90)
    clip = make_colour(tmp_path / "c.mp4", rgb, matrix=matrix, tag=tag)
    assert probe(clip).colour_tagged is tag
    mean = _frames(clip, fps=25)[0].reshape(-1, 3).mean(axis=0)
    assert np.abs(mean - rgb).max() < 4


def test_untagged_hd_is_bt709(tmp_path: Path) -> None:
    rgb = (200, 60, 90)
    clip = make_colour(tmp_path / "c.mp4", rgb, matrix="bt709", tag=False, size=(1280, 720))
    mean = _frames(clip, fps=25, seconds=0.1)[0].reshape(-1, 3).mean(axis=0)
    assert np.abs(mean - rgb).max() < 4


def test_hdr_is_brought_to_sdr(tmp_path: Path, ffmpeg_path: Path) -> None:
    if not (has_filter(ffmpeg_path, "zscale") and has_encoder(ffmpeg_path, "libx265")):
        pytest.skip("this ffmpeg cannot make an HDR clip")
    clip = tmp_path / "hlg.mp4"
    convert = "zscale=t=arib-std-b67:p=bt2020:m=bt2020nc:pin=bt709:tin=bt709:npl=203:r=tv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=c=0xc08070:s=64x64:d=0.1",
        "-vf", f"format=gbrp,{convert},format=yuv420p10le", "-c:v", "libx265",
        "-x265-params", "log-level=error", "-color_trc", "arib-std-b67",
        "-color_primaries", "bt2020", "-colorspace", "bt2020nc", clip,
    )  # fmt: skip
    assert probe(clip).is_hdr
    mean = _frames(clip, fps=25)[0].reshape(-1, 3).mean(axis=0)
    assert np.abs(mean - (0xC0, 0x80, 0x70)).max() < 15


def test_turned_photo(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20))
    orientation = photo.getexif()
    orientation[0x112] = 6
    photo.save(tmp_path / "p.jpg", exif=orientation)
    info = probe(tmp_path / "p.jpg")
    assert (info.width, info.height) == (20, 40)
    shape = _frames(tmp_path / "p.jpg", fps=25)[0].shape
    assert sorted(shape) == [3, 20, 40]  # ffmpeg turns photographs since version 8


def test_cut_off_file(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "w.mp4", seconds=4, arguments=["-movflags", "+faststart"])
    short = cut_bytes(whole, tmp_path / "short.mp4", keep=0.6)
    info = probe(short)
    assert info.is_truncated and 1 < info.usable_seconds < 3.4 < info.seconds
    heard: list[str] = []
    frames = _frames(short, fps=25, warn=heard.append)
    assert 25 < len(frames) < 85 and len(heard) == 1 and "cut off" in heard[0]
    assert len(decode_audio(short, warn=heard.append)) > 24000 and len(heard) == 2
    stump = cut_bytes(whole, tmp_path / "stump.mp4", keep=0.22)
    with pytest.raises(InputError, match="can be (read|decoded)"):
        _frames(stump, fps=25)


def test_cut_off_without_index(tmp_path: Path) -> None:
    broken = cut_bytes(make_video(tmp_path / "w.mp4"), tmp_path / "b.mp4", keep=0.6)
    with pytest.raises(InputError, match="b.mp4: is not a readable"):
        probe(broken)


def test_unusable_files(tmp_path: Path) -> None:
    text = tmp_path / "t.mp4"
    text.write_text("this is not a video\n" * 50)
    poem = tmp_path / "poem.txt"
    poem.write_text("this is not a video\n" * 50)
    titles = tmp_path / "t.srt"
    titles.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    empty = tmp_path / "e.mp4"
    empty.touch()
    for path in (text, poem, titles, empty, tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(InputError) as caught:
            probe(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_streams(tmp_path: Path) -> None:
    mute = make_video(tmp_path / "mute.mp4", tone=None, seconds=0.3)
    assert not probe(mute).has_audio
    with pytest.raises(InputError, match="no sound track"):
        decode_audio(mute)
    sound = tmp_path / "s.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", sound)
    assert not probe(sound).has_video
    with pytest.raises(InputError, match="no video"):
        stream_frames(sound, fps=25)


def test_still_picture(tmp_path: Path) -> None:
    for name in ("face 100%d.png", "face.jpg"):
        path = tmp_path / name
        Image.new("RGB", (40, 30), (250, 10, 10)).save(path)
        info = probe(path)
        assert info.is_image and info.has_video and (info.width, info.height) == (40, 30)
        frames = _frames(path, fps=25)
        assert len(frames) == 1 and frames[0].shape == (30, 40, 3)
        assert np.abs(frames[0].reshape(-1, 3).mean(axis=0) - (250, 10, 10)).max() < 4


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    cover, song = tmp_path / "c.png", tmp_path / "s.mp3"
    Image.new("RGB", (40, 40)).save(cover)
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", "-i", cover, "-map", "0", "-map", "1",
               "-disposition:v:0", "attached_pic", song)  # fmt: skip
    info = probe(song)
    assert info.has_audio and not info.has_video


def test_length_without_header(tmp_path: Path) -> None:
    live = tmp_path / "live.webm"
    source = make_video(tmp_path / "a.mkv", arguments=["-c:v", "vp8", "-c:a", "libopus"])
    run_ffmpeg("-i", source, "-c", "copy", "-live", "1", live)
    assert probe(live).video_seconds == pytest.approx(1, abs=0.1)
    assert len(_frames(live, fps=25)) == pytest.approx(25, abs=1)


def test_leaving_early_ends_ffmpeg(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "c.mp4", seconds=2, size=(320, 240))
    with stream_frames(clip, fps=25) as stream:
        next(stream)
    assert list(stream) == []


def test_exact_rate() -> None:
    assert exact_rate(25) == 25
    assert exact_rate(23.98) == exact_rate(23.976) == Fraction(24000, 1001)
    assert exact_rate("59.94") == Fraction(60000, 1001)
    assert exact_rate(12.5) == Fraction(25, 2)
    for bad in ("fast", 0, 1000.0, float("nan"), "1/0"):
        with pytest.raises(UsageError):
            exact_rate(bad)


def test_real_clips(clips_dir: Path) -> None:
    for clip in sorted(clips_dir.glob("*.mp4")):
        info = probe(clip)
        assert info.has_video and not info.is_truncated and info.video_seconds > 3, clip.name
        if info.has_audio:
            seconds = len(decode_audio(clip)) / 24000
            assert seconds == pytest.approx(info.audio_seconds, abs=0.05), clip.name
    for name in ("outdoor_talk", "webcam_glasses"):
        clip = clips_dir / f"{name}.mp4"
        with stream_frames(clip, fps=25, height=160, seconds=4, start=1.5) as stream:
            shapes = [frame.shape for frame in stream]
        assert shapes == [(160, 160, 3)] * 100  # one of them has pixels that are not square
