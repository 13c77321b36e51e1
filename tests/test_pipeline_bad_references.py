"""References that a user might give by mistake: each is used as far as it goes, or refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_face import face_frames, write_clip
from media_samples import run_ffmpeg
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference
from omnitalk_cli.pipeline.reference_pictures import Pictures, encode
from omnitalk_cli.pipeline.reference_quality import foreign, usable_pictures, without_lips
from omnitalk_cli.pipeline.reference_window import Window
from omnitalk_cli.types import Crop

FACE = (150.0, 110.0, 110.0)


def options(**more: object) -> ExtractOptions:
    return ExtractOptions(frame_size=128, ref_text="", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    run_ffmpeg("-f", "lavfi", "-i", "aevalsrc=0.3*sin(2*PI*180*t):s=24000:d=2", path)
    return path


def still(path: Path, size: tuple[int, int], faces: list[tuple[float, float, float]]) -> Path:
    picture = face_frames(1, *size, faces)[0]
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def test_still_without_a_voice_is_one_clear_line(tmp_path: Path) -> None:
    photo = still(tmp_path / "photo.png", (320, 240), [FACE])
    with pytest.raises(InputError) as caught:
        extract_reference(photo, options=options())
    assert str(caught.value) == (
        f"{photo}: a still picture has no voice; give one with --ref-audio"
    )


def test_still_with_a_silent_voice(tmp_path: Path) -> None:
    photo = still(tmp_path / "photo.png", (320, 240), [FACE])
    silent = tmp_path / "silent.wav"
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=24000:cl=mono", "-t", "2", silent)
    with pytest.raises(InputError, match=r"silent.wav: nothing is heard in it; give a recording"):
        extract_reference(photo, options=options(audio=silent))


def test_still_without_a_face_or_with_a_tiny_one(tmp_path: Path, voice: Path) -> None:
    empty = still(tmp_path / "empty.png", (320, 240), [])
    with pytest.raises(InputError, match="no face found in empty.png"):
        extract_reference(empty, options=options(audio=voice))
    small = still(tmp_path / "small.png", (24, 24), [(12, 12, 18)])
    with pytest.raises(InputError, match=r"small.png"):
        extract_reference(small, options=options(audio=voice))


def test_small_faces_are_used_with_a_note(tmp_path: Path, voice: Path) -> None:
    photo = still(tmp_path / "photo.png", (320, 240), [(150, 110, 60)])
    notes: list[str] = []
    reference = extract_reference(photo, options=options(audio=voice), notes=notes.append)
    assert any("pixels high and will look soft" in note for note in notes)
    assert len(set(reference.frames)) == 1 and (reference.sharpness > 0).all()


def test_still_of_two_faces_says_which_one_speaks(tmp_path: Path, voice: Path) -> None:
    photo = still(tmp_path / "pair.png", (640, 300), [(160, 150, 150), (460, 150, 120)])
    notes: list[str] = []
    first = extract_reference(photo, options=options(audio=voice), notes=notes.append)
    assert any("2 faces; following the most visible one, number 0" in note for note in notes)
    second = extract_reference(photo, options=options(audio=voice, face_index=1))
    assert second.crop.x > first.crop.x + 100


def test_pictures_behind_a_hand_are_left_out(tmp_path: Path) -> None:
    frames = face_frames(50, 320, 240, [FACE])
    for frame in frames[20:26]:
        cv2.ellipse(frame, (150, 135), (48, 40), 15, 0, 360, (40, 70, 130), -1)
    clip = write_clip(tmp_path / "hand.mp4", frames)
    notes: list[str] = []
    reference = extract_reference(clip, options=options(), notes=notes.append)
    hidden = np.flatnonzero(reference.sharpness == 0)
    start = round(reference.start_seconds * reference.fps)
    assert set(hidden + start) >= set(range(21, 25)) and len(hidden) <= 10
    assert any("hides the face at" in note or "the face is lost" in note for note in notes)


def test_face_that_leaves_the_frame_is_followed_as_long_as_it_is_there(tmp_path: Path) -> None:
    frames = face_frames(60, 320, 240, [FACE], hidden=(44, 60))
    clip = write_clip(tmp_path / "leaves.mp4", frames)
    notes: list[str] = []
    reference = extract_reference(clip, options=options(), notes=notes.append)
    assert 1.5 < len(reference.frames) / reference.fps < 1.9
    assert any("leaves.mp4: the face is lost at" in note for note in notes)


def made_pictures(count: int) -> Pictures:
    frames = face_frames(count, 128, 128, [(64, 60, 90)])
    points = np.zeros((count, 478, 3), np.float32)
    points[:, :, 0], points[:, :, 1] = 64, 60
    return Pictures(
        frames=tuple(map(encode, frames)),
        landmarks=points,
        sharpness=np.full(count, 10, np.float32),
        crop=Crop(x=0, y=0, size=128, source_width=128, source_height=128),
        fps=Fraction(25),
        window=Window(start=2.0, seconds=count / 25),
    )


def test_profile_views_are_refused_and_turns_left_out() -> None:
    pictures, codes = made_pictures(20), np.zeros((20, 61), np.float32)
    notes: list[str] = []
    codes[15:, CODE_INDEX["headYaw"]] = 0.9
    usable = usable_pictures(pictures, codes, name="a.mp4", still=False, notes=notes.append)
    assert usable.tolist() == [True] * 15 + [False] * 5
    assert notes == ["a.mp4: the face is turned away at 2.6-2.8 s; those pictures are not shown"]
    codes[:, CODE_INDEX["headYaw"]] = -0.9
    with pytest.raises(InputError, match="a.png: the face is seen from the side; use a picture"):
        usable_pictures(pictures, codes, name="a.png", still=True, notes=notes.append)


def test_foreign_things_differ_from_the_usual_face_and_light_does_not() -> None:
    rng = np.random.default_rng(0)
    face = rng.integers(60, 180, (32, 32, 3))
    faces = np.clip(face[None] + rng.normal(0, 6, (20, 32, 32, 3)), 1, 255)
    faces[4] = np.clip(faces[4] + 40, 1, 255)  # a lamp goes on
    faces[9, 14:30, 4:28] = 20  # a hand
    faces[:, :2] = 0  # outside the face
    assert np.flatnonzero(foreign(faces.astype(np.uint8))).tolist() == [9]
    assert not foreign(faces[:4].astype(np.uint8)).any()


def test_lips_behind_skin_are_missed() -> None:
    red = np.full(20, 0.12, np.float32)
    red[6:9] = 0.01
    assert np.flatnonzero(without_lips(red)).tolist() == [6, 7, 8]
    assert not without_lips(red / 10).any()  # lips that are hardly red say nothing
