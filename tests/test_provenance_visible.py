"""The label can be read on any background at any size, or it is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnitalk_cli.errors import UsageError
from omnitalk_cli.media.decode import stream_frames
from omnitalk_cli.media.encode import TimedMark, VideoWriter
from omnitalk_cli.provenance.lettering import Lettering, two_lines
from omnitalk_cli.provenance.strokes import STROKES
from omnitalk_cli.provenance.visible import (
    OPACITIES,
    POSITIONS,
    SIZES,
    Label,
    VisibleMark,
    draw_label,
)

WCAG_CONTRAST = 4.5  # WCAG 2.1, success criterion 1.4.3, for text of usual size
FRAMES = [(256, 256), (512, 512), (1024, 1024), (1920, 1080), (1080, 1920)]
TEXTS = ("AI-generated", "AI生成", "AI-generated · AI生成", "人工智能生成合成")


def _background(name: str, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (height, width, 3)
    if name == "noise":
        return rng.integers(0, 256, shape, np.uint8)
    if name == "skin":
        skin = np.array([236, 188, 160]) + rng.normal(0, 12, shape)
        return skin.clip(0, 255).astype(np.uint8)
    return np.full(shape, int(name), np.uint8)


def _laid(picture: np.ndarray, label: Label) -> np.ndarray:
    """``picture`` with the label over it, as ffmpeg lays it."""
    height, width, _ = label.rgba.shape
    place = picture[label.y : label.y + height, label.x : label.x + width]
    alpha = label.rgba[..., 3:] / 255
    place[:] = np.rint(place * (1 - alpha) + label.rgba[..., :3] * alpha)
    return picture


def _luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance of WCAG 2.1."""
    value = rgb.astype(float) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def _contrast(picture: np.ndarray, label: Label) -> float:
    """Between the letters' cores and the brighter parts of the plate around them."""
    height, width, _ = label.rgba.shape
    light = _luminance(picture[label.y : label.y + height, label.x : label.x + width])
    ink = label.rgba[..., 0] > 240
    rim = np.zeros((height, width), bool)
    rim[3:-3, 3:-3] = True
    plate = (label.rgba[..., 0] == 0) & rim
    return float((light[ink].mean() + 0.05) / (np.percentile(light[plate], 95) + 0.05))


@pytest.mark.parametrize("background", ["0", "128", "255", "noise", "skin"])
@pytest.mark.parametrize("opacity", OPACITIES)
def test_contrast_on_any_background(background: str, opacity: float) -> None:
    for width, height in FRAMES:
        for text in TEXTS:
            label = draw_label(
                VisibleMark(text=text, opacity=opacity, size=SIZES[0]), width=width, height=height
            )
            picture = _laid(_background(background, width, height), label)
            assert _contrast(picture, label) >= WCAG_CONTRAST


@pytest.mark.parametrize("background", ["128", "255", "noise", "skin"])
def test_contrast_after_hard_compression(tmp_path: Path, background: str) -> None:
    mark = VisibleMark(opacity=OPACITIES[0], size=SIZES[0], text="AI-generated · AI生成")
    frame = _background(background, 256, 256)
    out = tmp_path / "o.mp4"
    with VideoWriter(
        out, width=256, height=256, fps=25, crf=28, labels=[TimedMark(mark=mark)]
    ) as writer:
        for _ in range(3):
            writer.write(frame)
    with stream_frames(out, fps=25) as stream:
        picture = list(stream)[-1]
    assert _contrast(picture, draw_label(mark, width=256, height=256)) >= WCAG_CONTRAST


def test_lower_opacity_would_not_do() -> None:
    label = draw_label(VisibleMark(opacity=OPACITIES[0]), width=512, height=512)
    faint = label.rgba.copy()
    faint[..., 3] = np.where(faint[..., 0] == 0, faint[..., 3] * 0.5, faint[..., 3])
    faded = Label(rgba=faint, x=label.x, y=label.y, lines=label.lines, letters=label.letters)
    assert _contrast(_laid(_background("255", 512, 512), faded), faded) < WCAG_CONTRAST


@pytest.mark.parametrize("size", [SIZES[0], VisibleMark.size, 0.05, SIZES[1]])
def test_letters_have_a_readable_size(size: float) -> None:
    for width, height in FRAMES:
        for text in TEXTS:
            mark = VisibleMark(text=text, size=size)
            label = draw_label(mark, width=width, height=height)
            assert label.letters >= 9
            if label.lines == (text,):  # what was asked for, or a little less
                assert label.letters >= 0.75 * size * min(width, height)


def test_it_is_drawn_where_it_was_asked_for() -> None:
    for position in POSITIONS:
        for width, height in (*FRAMES, (64, 64), (90, 720), (16, 16)):
            label = draw_label(VisibleMark(position=position), width=width, height=height)
            high, wide, _ = label.rgba.shape
            assert label.x >= 0 and label.x + wide <= width and wide % 2 == 0
            assert label.y >= 0 and label.y + high <= height and high % 2 == 0
            assert label.rgba[..., 3].max() > 180 and label.x % 2 == label.y % 2 == 0
            if min(width, height) >= 256:
                vertical, _, horizontal = position.partition("-")
                middle = label.x + wide / 2
                assert (label.y < height / 4) == (vertical == "top")
                assert {"left": middle < width / 2, "right": middle > width / 2}.get(
                    horizontal, abs(middle - width / 2) <= 2
                )


def test_long_words_are_broken_and_longer_ones_refused() -> None:
    text = "Made with artificial intelligence, Example Studio"
    label = draw_label(VisibleMark(text=text), width=256, height=256)
    assert len(label.lines) == 2 and " ".join(label.lines) == text and label.letters >= 9
    assert draw_label(VisibleMark(text=text), width=1920, height=1080).lines == (text,)
    with pytest.raises(UsageError, match=r"80 characters cannot be read .* 256x256; use about \d+"):
        draw_label(VisibleMark(text="word " * 15 + "words"), width=256, height=256)
    with pytest.raises(UsageError, match="cannot be read"):
        draw_label(VisibleMark(text="W" * 40), width=256, height=256)  # nowhere to break


def test_breaks() -> None:
    lettering = Lettering()
    assert two_lines("AI-generated · AI生成", lettering) == ("AI-generated", "AI生成")
    assert two_lines("人工智能生成合成", lettering) == ("人工智能", "生成合成")
    assert two_lines("unbreakable", lettering) == ("unbreakable",)


def test_our_own_characters() -> None:
    """Each fills its square, stays inside the plate, and is unlike the others."""
    pictures = []
    for character in STROKES:
        label = draw_label(VisibleMark(text=character, size=0.1), width=512, height=512)
        ink = label.rgba[..., 0] > 128
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        side = 1.3 * label.letters
        assert 0.6 * side < np.ptp(rows) <= side + 1 and 0.8 * side < np.ptp(columns) <= side + 1
        assert rows[0] > 2 and rows[-1] < len(ink) - 3
        pictures.append(ink)
    for number, one in enumerate(pictures):
        for other in pictures[number + 1 :]:
            assert (one & other).sum() < 0.7 * min(one.sum(), other.sum())


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    for text in ("AI 视频", "Généré"):
        with pytest.raises(UsageError, match="built-in font has no .*--visible-font"):
            VisibleMark(text=text).check()
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    for font in (broken, tmp_path / "none.ttf", tmp_path):
        with pytest.raises(UsageError, match="not a readable font file"):
            VisibleMark(font=font).check()


@pytest.mark.parametrize(
    "bad",
    [
        {"text": " "}, {"text": "a\nb"}, {"text": "a\u202eb"}, {"text": "x" * 81},
        {"opacity": 0.5}, {"opacity": 1.1}, {"opacity": float("nan")}, {"size": 0.001},
        {"size": 0.5}, {"size": float("nan")}, {"margin": -1}, {"position": "centre"},
    ],
)  # fmt: skip
def test_bad_values(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="visible mark"):
        VisibleMark(**bad)  # type: ignore[arg-type]
