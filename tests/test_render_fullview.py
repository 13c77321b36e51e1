"""The square in the whole picture: place, seam, motion and light; on drawn pictures."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flat_face import drawn_reference
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.media.decode import decode_audio, stream_frames
from omnitalk_cli.media.probe import probe
from omnitalk_cli.pipeline.framing import Frame, Framing, frame_of
from omnitalk_cli.pipeline.production import ProductionOptions, produce
from omnitalk_cli.pipeline.surroundings import most_usual
from omnitalk_cli.provenance.ledger import Ledger
from omnitalk_cli.render.backdrop import Background
from omnitalk_cli.render.fullview import FullView, Still, still_of
from omnitalk_cli.types import HOP, MEL_RATE, Crop, Performance, Reference, Surroundings

WIDTH, HEIGHT = 400, 300
CROP = Crop(x=120, y=60, size=128, source_width=WIDTH, source_height=HEIGHT)


def scene(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A textured body before a textured wall, the body moved right by ``shift``; its matte."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.GaussianBlur(rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 3)
        for _ in range(2)
    ]
    wall, cloth = (np.clip((layer - 127) * 4 + level, 0, 255)
                   for layer, level in zip(layers, (150, 90), strict=True))  # fmt: skip
    move = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
    body = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(body, (184, 250), (95, 110), 0, 0, 360, (1.0,), -1, cv2.LINE_AA)
    body = cv2.warpAffine(cv2.GaussianBlur(body, (0, 0), 1), move, (WIDTH, HEIGHT))
    cloth = cv2.warpAffine(cloth, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    picture = body[..., None] * cloth + (1 - body[..., None]) * wall
    return np.rint(picture).astype(np.uint8), np.rint(body * 255).astype(np.uint8)


def square_of(picture: np.ndarray) -> np.ndarray:
    return picture[60:188, 120:248]


def test_the_own_square_gives_the_source_back() -> None:
    picture, matte = scene()
    view = FullView(Still(picture=picture, matte=matte, crop=CROP))
    out, person = view.paste(square_of(picture), square_of(matte))
    assert np.abs(out.astype(int) - picture).mean() < 0.2
    assert np.abs(person.astype(int) - matte).mean() < 0.5


def test_the_square_lies_in_its_place_and_the_far_is_untouched() -> None:
    picture, matte = scene()
    view = FullView(Still(picture=picture, matte=matte, crop=CROP))
    out, _ = view.paste(np.full((64, 64, 3), 90, np.uint8))
    assert np.abs(out[90:150, 150:220].astype(int) - 90).max() <= 1
    np.testing.assert_array_equal(out[:, 370:], picture[:, 370:])


def seam_error(out: np.ndarray, truth: np.ndarray) -> float:
    """Mean difference in a frame of 12 pixels around the square."""
    around = np.zeros((HEIGHT, WIDTH), bool)
    around[48:200, 108:260] = True
    around[60:188, 120:248] = False
    return float(np.abs(out[around].astype(int) - truth[around]).mean())


def test_the_body_follows_the_body_in_the_square() -> None:
    picture, matte = scene()
    moved, moved_matte = scene(4.0)
    view = FullView(Still(picture=picture, matte=matte, crop=CROP))
    for _ in range(8):  # time to follow
        out, person = view.paste(square_of(moved), square_of(moved_matte))
    assert seam_error(out, moved) < 0.5 * seam_error(picture, moved)
    assert seam_error(out, moved) < 12
    assert person.shape == matte.shape


def test_light_follows_too() -> None:
    picture, matte = scene()
    view = FullView(Still(picture=picture, matte=matte, crop=CROP))
    lighter = np.clip(picture.astype(int) + 15, 0, 255).astype(np.uint8)
    for _ in range(8):
        out, _ = view.paste(square_of(lighter))
    assert seam_error(out, lighter) < 0.5 * seam_error(picture, lighter)


@pytest.mark.parametrize("x", [-20.0, 300.0])
def test_a_square_that_reaches_over_the_border(x: float) -> None:
    picture, matte = scene()
    crop = Crop(x=x, y=-10, size=200, source_width=WIDTH, source_height=HEIGHT)
    view = FullView(Still(picture=picture, matte=matte, crop=crop))
    out, person = view.paste(np.full((96, 96, 3), 90, np.uint8), np.full((96, 96), 255, np.uint8))
    assert out.shape == picture.shape and person.shape == matte.shape
    edge = out[20, 2 if x < 0 else WIDTH - 3]
    assert np.abs(edge.astype(int) - 90).max() <= 1  # no seam at the picture's own border


def test_a_square_that_is_the_picture() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    crop = Crop(x=0, y=0, size=100, source_width=100, source_height=100)
    view = FullView(Still(picture=picture, matte=picture[..., 0], crop=crop))
    assert view.covers_all
    out, _ = view.paste(np.full((50, 50, 3), 77, np.uint8))
    assert (out == 77).all()


def with_surroundings() -> Reference:
    picture, matte = scene()
    around = Surroundings(
        picture=cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes(),
        matte=cv2.imencode(".jpg", matte)[1].tobytes(),
        crop=CROP,
    )
    return replace(drawn_reference(8), surroundings=around)


@pytest.mark.parametrize(("size", "shape"), [(None, (300, 400)), (256, (256, 342))])
def test_size_is_the_shorter_side(size: int | None, shape: tuple[int, int]) -> None:
    framing = Framing(with_surroundings(), Frame(view="full", size=size))
    assert (framing.height, framing.width) == shape
    frame = framing.finish(np.full((256, 256, 3), 90, np.uint8), None)
    assert frame.shape == (*shape, 3)


def test_face_view_sizes_and_backgrounds() -> None:
    reference = drawn_reference(8)
    assert Framing(reference, Frame()).width == 512
    for size in (256, 600):
        framing = Framing(reference, Frame(size=size, background=Background(kind="colour")))
        square = np.full((256, 256, 3), 90, np.uint8)
        matte = np.zeros((256, 256), np.uint8)
        matte[:, 128:] = 255
        out = framing.finish(square, matte)
        assert out.shape == (size, size, 3)
        assert tuple(out[5, 5]) == (0, 177, 64) and tuple(out[5, -5]) == (90, 90, 90)


def test_features_without_the_whole_picture_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="extract the clip again") as caught:
        still_of(drawn_reference(4))
    assert "\n" not in str(caught.value)


def test_frames_of_the_options() -> None:
    frame = frame_of(view="full", size=None, background="#102030")
    assert frame.background.colour == (16, 32, 48)
    with pytest.raises(UsageError, match="even"):
        frame_of(view="face", size=333, background="keep")
    with pytest.raises(UsageError, match="view"):
        frame_of(view="body", size=None, background="keep")  # type: ignore[arg-type]


def test_the_usual_frame_is_chosen_among_sharp_ones() -> None:
    def jpeg(level: int) -> bytes:
        picture = np.full((64, 64, 3), level, np.uint8)
        return cv2.imencode(".jpg", picture)[1].tobytes()

    frames = [jpeg(level) for level in (0, 90, 100, 104, 200)]
    assert most_usual(frames, np.full(5, 9, np.float32)) == 2
    assert most_usual(frames, np.array([9, 9, 1, 9, 9], np.float32)) in (1, 3)


@pytest.mark.parametrize(("fps", "background"), [(24.0, "keep"), (59.94, "#203040")])
def test_a_video_of_the_full_view(tmp_path: Path, fps: float, background: str) -> None:
    codes = np.zeros((94, 61), np.float32)
    performance = Performance(
        mel=np.full((94, 100), -9.0, np.float32), codes=codes, segments=(), settings={"seed": 1},
        sound=np.zeros(94 * HOP, np.float32),
    )  # fmt: skip
    options = ProductionOptions(
        view="full", size=256, fps=fps, background=background, look_at_camera=1.0, blink_rate=0.0
    )
    path = tmp_path / "a.mp4"
    take = produce(with_surroundings(), performance, path, options)
    info = probe(path)
    assert info.display_size == (take.width, take.height) == (342, 256)
    assert float(info.fps) == pytest.approx(fps, abs=0.01)
    assert info.video_seconds == pytest.approx(94 / MEL_RATE, abs=1 / fps)
    assert info.audio_seconds == pytest.approx(info.video_seconds, abs=0.03)


def test_two_videos_of_one_performance_differ_in_their_marks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    performance = Performance(
        mel=np.full((94, 100), -9.0, np.float32), codes=np.zeros((94, 61), np.float32),
        segments=(), settings={"seed": 1},
        sound=np.random.default_rng(0).normal(0, 0.05, 94 * HOP).astype(np.float32),
    )  # fmt: skip
    reference, options = with_surroundings(), ProductionOptions(size=256)

    def hashes(name: str) -> str:
        path = tmp_path / name
        produce(reference, performance, path, options)
        return decoded_hash(path)

    free = [hashes("a.mp4"), hashes("b.mp4")]
    assert free[0] != free[1]  # each has an id of its own
    monkeypatch.setattr(Ledger, "record", lambda self, **facts: 0xC0FFEE)
    monkeypatch.setattr(Ledger, "complete", lambda self, mark_id, **facts: None)
    assert hashes("c.mp4") == hashes("d.mp4")


def decoded_hash(path: Path) -> str:
    """Of all pictures and all sound."""
    digest = hashlib.sha256(decode_audio(path).tobytes())
    with stream_frames(path, fps=25) as frames:
        for frame in frames:
            digest.update(frame.tobytes())
    return digest.hexdigest()
