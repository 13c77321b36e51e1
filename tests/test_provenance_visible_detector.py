"""The label is found in the picture after what platforms do to it, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from media_samples import run_ffmpeg
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.encode import TimedMark, VideoWriter
from omnitalk_cli.provenance.labels import PROFILES, LabelOptions
from omnitalk_cli.provenance.visible import POSITIONS, VisibleMark
from omnitalk_cli.provenance.visible_detector import VisibleLabelDetector, detect_label


def _moving(width: int, height: int, count: int = 12, seed: int = 0) -> list[np.ndarray]:
    """A blurred random picture that drifts, with some noise."""
    rng = np.random.default_rng(seed)
    large = rng.integers(0, 256, (height + 4 * count, width + 4 * count, 3), np.uint8)
    large = cv2.normalize(cv2.GaussianBlur(large, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)
    cut = [large[4 * i : 4 * i + height, 4 * i : 4 * i + width] for i in range(count)]
    return [(f + rng.normal(0, 3, f.shape)).clip(0, 255).astype(np.uint8) for f in cut]


@pytest.mark.parametrize(
    ("profile", "side"), [("eu", 512), ("cn", 512), ("all", 512), ("eu", 256), ("all", 256)]
)
def test_found_after_re_encoding_and_scaling(tmp_path: Path, profile: str, side: int) -> None:
    position: Any = POSITIONS[(len(profile) * side // 256) % len(POSITIONS)]
    options = LabelOptions(profile=profile, position=position)
    marks = [TimedMark(mark=mark) for mark in options.marks[:1] if mark is not None]
    made, sent = tmp_path / "made.mp4", tmp_path / "sent.mp4"
    with VideoWriter(made, width=side, height=side, fps=25, labels=marks) as writer:
        for frame in _moving(side, side):
            writer.write(frame)
    run_ffmpeg("-i", made, "-vf", "scale=360:360", "-c:v", "libx264", "-crf", 28, sent)
    for path in (made, sent):
        with stream_frames(path, fps=25) as stream:
            found = detect_label(stream)
        assert found.text == PROFILES[profile].text and found.position == position
        assert found.size == pytest.approx(max(0.03, 9 / side), rel=0.04)
        assert found.to_dict()["score"] == found.score > 0.85


@pytest.mark.parametrize("size", [(256, 256), (480, 360)])
def test_nothing_is_found_where_nothing_is(size: tuple[int, int]) -> None:
    found = detect_label(_moving(*size))
    assert found.text is None and found.position is None and found.score < 0.6
    flat = np.full((*size[::-1], 3), 200, np.uint8)
    assert detect_label([flat]).score == 0
    bars = np.where(np.arange(size[0]) // 3 % 2, 255, 0)[None, :, None]
    assert detect_label([np.broadcast_to(bars, (*size[::-1], 3)).astype(np.uint8)]).text is None


def test_other_words_are_not_ours(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    labels = [
        TimedMark(mark=VisibleMark(text=text, position=position))
        for text, position in (("Breaking news", "top-left"), ("A1 Studio", "bottom"))
    ]
    with VideoWriter(out, width=360, height=360, fps=25, labels=labels) as writer:
        for frame in _moving(360, 360):
            writer.write(frame)
    with stream_frames(out, fps=25) as stream:
        assert detect_label(stream).text is None


@pytest.mark.parametrize("shape", [(16, 16), (100, 3000), (160, 700), (1, 1)])
def test_pictures_that_hold_no_label(shape: tuple[int, int]) -> None:
    found = detect_label([np.zeros((*shape, 3), np.uint8)])
    assert (found.text, found.score, found.frames) == (None, 0.0, 1)


def test_no_frames_and_frames_of_other_sizes() -> None:
    detector = VisibleLabelDetector()
    assert detector.result().frames == 0
    for side in (200, 300, 200):
        detector.add(np.zeros((side, side, 3), np.uint8))
    assert detector.result().frames == 2
