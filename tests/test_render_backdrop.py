"""Other backgrounds: what is given, and what the picture looks like then."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.render.backdrop import GREEN, Backdrop, Background, cover, parse_background

SIDE = 128
SKIN, WALL = np.array([200.0, 150.0, 130.0]), np.array([40.0, 60.0, 160.0])


def soft_disc() -> tuple[np.ndarray, np.ndarray]:
    """A person-coloured disc with a soft rim before a wall, and its matte."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    matte = np.clip((40 - np.hypot(x - 64, y - 64)) / 8 + 0.5, 0, 1)[..., None]
    picture = matte * SKIN + (1 - matte) * WALL
    return np.rint(picture).astype(np.uint8), np.rint(255 * matte[..., 0]).astype(np.uint8)


def test_words_and_colours() -> None:
    assert parse_background("keep").kind == "keep" and parse_background("Blur").kind == "blur"
    assert parse_background("green") == Background(kind="colour", colour=GREEN)
    assert parse_background("#1020fF").colour == (16, 32, 255)


@pytest.mark.parametrize("text", ["", "#12345", "#1234567", "red", "office", "notes.txt"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="background"):
        parse_background(text)


def test_a_picture_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png"):
        parse_background(str(tmp_path / "none.png"))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture"):
        Backdrop(parse_background(str(tmp_path / "a.png")), width=64, height=64)


def test_the_rim_takes_the_new_background_and_no_old_one() -> None:
    picture, matte = soft_disc()
    out = Backdrop(parse_background("#00b140"), width=SIDE, height=SIDE).lay(picture, matte)
    share = matte[..., None] / 255
    wanted = share * SKIN + (1 - share) * np.array(GREEN)
    assert np.abs(out - wanted).mean() < 1.5
    assert np.abs(out - wanted).max() < 24
    assert tuple(out[0, 0]) == GREEN
    np.testing.assert_array_equal(out[64, 64], picture[64, 64])


def test_blur_keeps_the_person_sharp_and_out_of_the_background() -> None:
    picture, matte = soft_disc()
    stripes = (np.arange(SIDE) // 8 % 2 * 60).astype(np.uint8)[None, :, None]
    striped = np.where(matte[..., None] > 128, picture, picture + stripes)
    out = Backdrop(Background(kind="blur"), width=SIDE, height=SIDE).lay(striped, matte)
    np.testing.assert_array_equal(out[64, 64], picture[64, 64])
    assert out[4].std(axis=0).max() < 0.6 * striped[4].std(axis=0).max()
    # Just outside the disc the wall's colours, not a glow of skin.
    assert np.abs(out[64, 10] - (WALL + 30)).max() < 25


def test_a_picture_covers_the_frame_undistorted() -> None:
    wide = np.zeros((50, 200, 3), np.uint8)
    wide[:, 75:125] = 255
    fitted = cover(wide, 100, 100)
    assert fitted.shape == (100, 100, 3) and fitted.min() > 190


def test_a_picture_comes_from_its_file(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = 200  # OpenCV writes BGR: red
    cv2.imwrite(str(tmp_path / "wall.png"), image)
    picture, matte = soft_disc()
    background = parse_background(str(tmp_path / "wall.png"))
    out = Backdrop(background, width=SIDE, height=SIDE).lay(picture, matte)
    assert tuple(out[0, 0]) == (200, 0, 0)
