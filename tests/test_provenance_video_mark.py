"""The mark in the picture: unseen, read after damage, and never read where there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from omnitalk_cli.provenance.video_detector import VideoMarkDetector, detect
from omnitalk_cli.provenance.video_mark import VideoMark, VideoMarker

Frame = NDArray[np.uint8]
ID = 0xC0FFEE11
COUNT = 10


def _scene(height: int, width: int, *, count: int = COUNT, seed: int = 0) -> list[Frame]:
    """A textured wall with a flat lower third and a disc that moves in front of it."""
    rng = np.random.default_rng(seed)
    wall = np.full((height, width, 3), 128, np.float32)
    for sigma, strength in ((2, 12), (8, 25), (40, 60)):
        noise = cv2.GaussianBlur(
            rng.standard_normal((height, width)).astype(np.float32), None, sigma
        )
        wall += (strength * noise / noise.std())[..., None] * rng.uniform(0.6, 1.0, 3)
    wall[2 * height // 3 :] = (90, 110, 130)
    frames = []
    for number in range(count):
        frame = np.clip(wall, 0, 255).astype(np.uint8)
        centre = (width // 2 + 2 * number, height // 2)
        cv2.circle(frame, centre, min(height, width) // 5, (200, 160, 140), -1, cv2.LINE_AA)
        frames.append(frame)
    return frames


def _marked(frames: list[Frame], mark: VideoMark) -> list[Frame]:
    marker = VideoMarker(mark)
    return [marker.mark(frame) for frame in frames]


@lru_cache(maxsize=1)
def _example() -> tuple[Frame, ...]:
    return tuple(_marked(_scene(512, 512), VideoMark(id=ID)))


def _jpeg(frame: Frame, quality: int = 60) -> Frame:
    done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def _crop_and_shrink(frame: Frame) -> Frame:
    return np.asarray(cv2.resize(frame[31:463, 50:482], (360, 360), interpolation=cv2.INTER_AREA))


def _psnr(one: list[Frame], two: list[Frame]) -> float:
    error = np.mean(
        [np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(one, two, strict=True)]
    )
    return float(10 * np.log10(255**2 / error))


def test_the_mark_cannot_be_seen_and_stands_still() -> None:
    frames = _scene(512, 512)
    untouched = [frame.copy() for frame in frames]
    marked = _marked(frames, VideoMark(id=ID))
    assert all((a == b).all() for a, b in zip(frames, untouched, strict=True))
    assert _psnr(frames, marked) > 44
    added = [b.astype(int) - a for a, b in zip(frames, marked, strict=True)]
    # Luma only: all three colours get the same, where none of them is at its limit.
    inside = np.abs(frames[0].astype(int) - 128).max(axis=2) < 115
    assert inside.mean() > 0.5
    assert np.ptp(added[0], axis=2)[inside].max() == 0
    flat = np.stack(added)[:, 400:, :, 0]
    assert np.abs(flat).max() <= 6
    assert np.abs(np.diff(flat, axis=0)).mean() < 0.05  # nothing flickers in flat areas
    assert flat.std() > 0.5  # and yet the mark is there


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("size", [(256, 256), (720, 406), (1080, 1920)])
def test_any_size_can_be_marked_and_read(size: tuple[int, int], bits: int) -> None:
    mark = VideoMark(id=0xBEEF, bits=bits)
    marked = _marked(_scene(*size, count=2), mark)
    assert marked[0].shape == (*size, 3)
    found = detect(marked)
    assert (found.id, found.bits, found.present) == (0xBEEF, bits, True)
    assert found.to_dict()["id"] == 0xBEEF


@pytest.mark.parametrize(
    "damage",
    [
        _jpeg,
        _crop_and_shrink,
        lambda frame: _jpeg(_crop_and_shrink(frame), 75),
        lambda frame: frame[:, ::-1].copy(),
        lambda frame: cv2.GaussianBlur(frame, None, 1.2),
        lambda frame: cv2.convertScaleAbs(frame, alpha=1.15, beta=8),
        lambda frame: frame[60:420, 100:460].copy(),
    ],
    ids=["jpeg", "crop-scale", "crop-scale-jpeg", "mirror", "blur", "brightness", "crop-70"],
)
def test_the_id_survives(damage: Callable[[Frame], Frame]) -> None:
    found = detect(damage(frame) for frame in _example())
    assert (found.id, found.bits) == (ID, 32)
    assert found.confidence > 0.5


def test_where_the_pattern_lies_is_told() -> None:
    found = detect(_crop_and_shrink(frame)[:, ::-1].copy() for frame in _example())
    assert found.id == ID
    assert found.mirrored
    assert found.scale == pytest.approx(512 / 432, rel=0.01)
    assert found.frames == COUNT


def test_pictures_without_a_mark_give_nothing() -> None:
    for seed in range(6):
        found = detect(_scene(512, 512, count=3, seed=seed))
        assert (found.id, found.present) == (None, False), seed
    flat = [np.full((300, 400, 3), 77, np.uint8)] * 2
    assert detect(flat).present is False
    grid = np.zeros((512, 512, 3), np.uint8)
    grid[::32], grid[:, ::32] = 255, 255  # regular, like the tile
    assert detect([grid, grid]).id is None
    assert detect([]).present is False
    sliver = np.zeros((2, 6000, 3), np.uint8)  # must not be blown up to gigabytes
    assert detect([sliver]).present is False


def test_a_mark_that_is_worn_away_is_no_wrong_id() -> None:
    rng = np.random.default_rng(5)
    for noise in (10, 20, 40, 80):
        worn = [
            np.clip(frame + noise * rng.standard_normal(frame.shape), 0, 255).astype(np.uint8)
            for frame in _example()[:2]
        ]
        assert detect(worn).id in (None, ID)


def test_two_keys_do_not_read_each_other() -> None:
    mine, other = b"first", b"second"
    frames = _scene(512, 512, count=3)
    marked = _marked(frames, VideoMark(id=7, key=mine))
    assert detect(marked, key=mine).id == 7
    found = detect(marked, key=other)
    assert (found.id, found.present) == (None, False)
    both = _marked(marked, VideoMark(id=9, key=other))  # and they live side by side
    assert detect(both, key=mine).id == 7
    assert detect(both, key=other).id == 9


def test_a_new_scene_gets_a_fresh_start() -> None:
    marker = VideoMarker(VideoMark(id=ID))
    for frame in _scene(512, 512, count=2, seed=1):
        marker.mark(frame)
    dark = [np.asarray(frame // 4, np.uint8) for frame in _scene(512, 512, count=2, seed=2)]
    marked = [marker.mark(frame) for frame in dark]
    assert detect(marked).id == ID
    assert _psnr(dark, marked) > 44


def test_wrong_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        VideoMarker(VideoMark(id=1)).mark(np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="does not fit"):
        VideoMark(id=1 << 16, bits=16)
    detector = VideoMarkDetector()
    detector.add(np.zeros((512, 512, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        detector.add(np.zeros((512, 900, 3), np.uint8))


def test_windows_add_up() -> None:
    plain, marked = _scene(512, 512, count=COUNT, seed=3), _example()
    windows = []
    for part in (plain, marked):
        window = VideoMarkDetector()
        for frame in part:
            window.add(frame)
        windows.append(window)
    assert [one.result().id for one in windows] == [None, ID]
    both = VideoMarkDetector().joined(windows[0]).joined(windows[1])
    found = both.result()
    assert (found.id, found.frames) == (ID, 2 * COUNT)
    assert windows[0].result().frames == COUNT  # what was joined is as it was
    assert VideoMarkDetector().joined(VideoMarkDetector()).result().frames == 0
    larger = VideoMarkDetector()
    larger.add(np.zeros((512, 900, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        both.joined(larger)
    with pytest.raises(ValueError, match="same key"):
        both.joined(VideoMarkDetector(b"another"))


def test_a_dark_smooth_picture_gets_less() -> None:
    strength = []
    for level in (20, 140):
        frames = [np.full((512, 512, 3), level, np.uint8)]
        added = _marked(frames, VideoMark(id=ID))[0].astype(float) - level
        strength.append(added.std())
    assert 0.6 < strength[0] / strength[1] < 0.9


def test_only_so_many_frames_are_read() -> None:
    assert detect(_example(), most=4).frames == 4
