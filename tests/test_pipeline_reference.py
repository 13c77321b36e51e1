"""From a clip to a reference, and references on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from drawn_face import face_frames, write_clip
from omnitalk_cli.errors import InputError, UsageError, WorkError
from omnitalk_cli.face.codes import CODE_COUNT
from omnitalk_cli.face.crop import cut
from omnitalk_cli.face.finder import Sighting, track_of
from omnitalk_cli.face.mediapipe_models import Box
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.media.probe import probe
from omnitalk_cli.pipeline import reference_store
from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference, resolve_reference
from omnitalk_cli.pipeline.reference_pictures import picture_rate
from omnitalk_cli.pipeline.reference_text import sidecar, spoken_language
from omnitalk_cli.pipeline.reference_window import best_window, is_silent
from omnitalk_cli.types import MEL_RATE, Reference, Surroundings, Word

FACE = (150.0, 110.0, 110.0)
SMALL = ExtractOptions(frame_size=128)


@pytest.fixture(scope="module", autouse=True)
def _no_speech_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMNITALK_ASR_MODEL", raising=False)
        for name in ("HF_HUB_CACHE", "XDG_DATA_HOME", "OMNITALK_WEIGHTS_DIR"):
            patch.setenv(name, str(empty))
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drawn.mp4"
    return write_clip(path, face_frames(32, 320, 240, [FACE]))


@pytest.fixture(scope="module")
def extracted(clip: Path) -> tuple[Reference, list[str], set[str]]:
    notes: list[str] = []
    stages: set[str] = set()
    reference = extract_reference(
        clip, options=SMALL, notes=notes.append,
        progress=lambda stage, done, total: stages.add(stage),
    )  # fmt: skip
    return reference, notes, stages


@pytest.fixture
def reference(extracted: tuple[Reference, list[str], set[str]]) -> Reference:
    return extracted[0]


def test_all_parts_cover_the_same_window(reference: Reference) -> None:
    count = len(reference.frames)
    assert count == 32 == len(reference.mattes) == len(reference.sharpness)
    assert reference.codes.shape == (count, CODE_COUNT)
    assert reference.landmarks.shape == (count, 478, 3)
    assert reference.mel.shape[1] == 100 and reference.mel.dtype == np.float32
    assert abs(reference.seconds - count / reference.fps) <= 1 / MEL_RATE
    assert reference.fps == 25 and reference.source_name == "drawn.mp4"
    assert len(reference.source_sha256) == 64


def test_pictures_mattes_and_landmarks_belong_together(reference: Reference) -> None:
    picture = cv2.imdecode(np.frombuffer(reference.frames[5], np.uint8), cv2.IMREAD_COLOR)
    matte = cv2.imdecode(np.frombuffer(reference.mattes[5], np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (128, 128, 3) and matte.shape == (128, 128)
    nose = reference.landmarks[5, 1, :2]
    assert matte[int(nose[1]), int(nose[0])] > 200 and matte[2, 2] < 60
    blue, green, red = picture[int(nose[1]) - 12, int(nose[0]) + 14].astype(int)
    assert red > blue + 20  # skin, and in the right order of colours
    projected = FaceRig.load().project(reference.codes, reference.neutral, reference.pose_frame)
    away = np.linalg.norm((projected - reference.landmarks)[:, :, :2], axis=2)
    assert away.mean() < 0.01 * reference.pose_frame.scale
    assert (reference.sharpness > 0).all()


def test_missing_transcript_is_told_once(extracted: tuple[Reference, list[str], set[str]]) -> None:
    reference, notes, stages = extracted
    assert reference.transcript == "" and reference.language == "en"
    assert len(notes) == 1 and "--ref-text" in notes[0]
    assert {"find the face", "track the face", "cut out the person"} <= stages


def test_store_keeps_everything(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    full = replace(reference, words=(Word(text="你好", start=0.1, end=0.5),), transcript="你好")
    reference_store.save_reference(full, path)
    again = reference_store.load_reference(path)
    assert again.frames == full.frames and again.mattes == full.mattes
    for name in ("mel", "codes", "landmarks", "neutral", "sharpness"):
        assert np.array_equal(getattr(again, name), getattr(full, name))
    for name in ("fps", "crop", "pose_frame", "words", "transcript", "source_sha256"):
        assert getattr(again, name) == getattr(full, name)
    assert list(tmp_path.iterdir()) == [path]


def test_store_keeps_the_surroundings_and_reads_files_without(
    reference: Reference, tmp_path: Path
) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    around = Surroundings(picture=b"one", matte=b"another", crop=reference.crop)
    reference_store.save_reference(replace(reference, surroundings=around), path)
    assert reference_store.load_reference(path).surroundings == around
    reference_store.save_reference(replace(reference, surroundings=None), path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata=metadata | {"version": "1"})
    assert reference_store.load_reference(path).surroundings is None


def test_the_whole_picture_is_kept_beside_the_square(
    extracted: tuple[Reference, list[str], set[str]],
) -> None:
    reference = extracted[0]
    around = reference.surroundings
    assert around is not None
    picture = cv2.imdecode(np.frombuffer(around.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (around.crop.source_height, around.crop.source_width)
    assert max(picture.shape) <= 1920
    square = cut(np.asarray(picture, np.uint8), around.crop, reference.frame_size)
    apart = [
        np.abs(cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR).astype(int) - square)
        for frame in reference.frames
    ]
    assert min(part.mean() for part in apart) < 4  # it is one of the clip's own frames


def test_store_refuses_what_is_no_reference(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="no such features file"):
        reference_store.load_reference(path)
    path.write_bytes(b"not at all")
    with pytest.raises(InputError, match="damaged or not a features file"):
        reference_store.load_reference(path)
    save_file({"mel": np.zeros((2, 2), np.float32)}, path, metadata={"format": "weights"})
    with pytest.raises(InputError, match="not a features file of a reference but weights"):
        reference_store.load_reference(path)
    reference_store.save_reference(reference, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        reference_store.load_reference(path)


def test_store_refuses_newer_and_inconsistent_files(reference: Reference, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    reference_store.save_reference(reference, path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file(tensors, path, metadata=metadata | {"version": "99"})
    with pytest.raises(InputError, match="newer omnitalk"):
        reference_store.load_reference(path)
    save_file(tensors | {"codes": tensors["codes"][:3]}, path, metadata=metadata)
    with pytest.raises(InputError, match="codes has shape"):
        reference_store.load_reference(path)
    save_file(tensors | {"frames_offsets": tensors["frames_offsets"] + 1}, path, metadata=metadata)
    with pytest.raises(InputError, match="index of the frames"):
        reference_store.load_reference(path)
    assert json.loads(metadata["reference"])["fps"] == 25


def test_store_needs_a_folder(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="does not exist"):
        reference_store.save_reference(reference, tmp_path / "none" / "a.safetensors")


def test_cache_is_used_and_depends_on_options_and_text(
    clip: Path, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def extract(path: Path, *, options: ExtractOptions, **_: object) -> Reference:
        made.append(options)
        return replace(reference, transcript=options.ref_text or "")

    monkeypatch.setattr("omnitalk_cli.pipeline.reference.extract_reference", extract)
    cache = tmp_path / "cache"
    first, hit = resolve_reference(clip, options=SMALL, cache_dir=cache)
    assert not hit and len(made) == 1
    second, hit = resolve_reference(clip, options=SMALL, cache_dir=cache)
    assert hit and len(made) == 1 and np.array_equal(first.codes, second.codes)
    spoken = replace(SMALL, ref_text="hello")
    third, hit = resolve_reference(clip, options=spoken, cache_dir=cache)
    assert not hit and third.transcript == "hello"
    for file in (cache / "references").iterdir():
        file.write_bytes(b"damaged")
    _, hit = resolve_reference(clip, options=SMALL, cache_dir=cache)
    assert not hit
    _, hit = resolve_reference(clip, options=SMALL, cache_dir=None)
    assert not hit and len(made) == 4
    features = tmp_path / "features.safetensors"
    reference_store.save_reference(first, features)
    assert resolve_reference(features, cache_dir=cache)[0].source_sha256 == first.source_sha256


def test_unusable_cache_is_only_noted(
    clip: Path, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "omnitalk_cli.pipeline.reference.extract_reference", lambda *_, **__: reference
    )
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    notes: list[str] = []
    _, hit = resolve_reference(clip, options=SMALL, cache_dir=blocked, notes=notes.append)
    assert not hit and len(notes) == 1 and "not kept" in notes[0]


@pytest.mark.parametrize(
    ("seconds", "sound", "message"),
    [
        (1.2, None, "has no sound track"),
        (1.2, "0", "its sound track is silent"),
        (0.5, "0.1*sin(900*t)", r"only 0\.4. s can be used; .* at least 1 s"),
    ],
)
def test_clips_without_sound_or_too_short(
    tmp_path: Path, seconds: float, sound: str | None, message: str
) -> None:
    path = write_clip(
        tmp_path / "a.mp4", face_frames(round(25 * seconds), 160, 120, []), sound=sound
    )
    with pytest.raises(InputError, match=message) as caught:
        extract_reference(path, options=SMALL)
    assert caught.value.exit_code == 3 and "a.mp4" in str(caught.value)


def test_clip_without_a_face(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", face_frames(30, 160, 120, []))
    with pytest.raises(InputError, match="no face found in a.mp4"):
        extract_reference(path, options=SMALL)


def test_lost_face_is_told_with_times_or_cut_away(tmp_path: Path) -> None:
    gone = write_clip(tmp_path / "gone.mp4", face_frames(45, 256, 192, [FACE], hidden=(15, 32)))
    with pytest.raises(InputError, match=r"gone.mp4: the face is lost at 0\.\d-1\.\d s"):
        extract_reference(gone, options=SMALL)
    late = write_clip(tmp_path / "late.mp4", face_frames(45, 256, 192, [FACE], hidden=(0, 14)))
    notes: list[str] = []
    options = replace(SMALL, ref_text="hello there")
    reference = extract_reference(late, options=options, notes=notes.append)
    assert 0.5 <= reference.start_seconds <= 0.7
    assert abs(reference.seconds - len(reference.frames) / 25) <= 1 / MEL_RATE
    assert len(notes) == 2 and "using" in notes[0]
    assert "cannot be laid on the sound" in notes[1] and not reference.words


def test_two_faces_are_noted(tmp_path: Path) -> None:
    frames = face_frames(28, 480, 240, [(110, 125, 70), (340, 120, 110)])
    path = write_clip(tmp_path / "two.mp4", frames)
    notes: list[str] = []
    options = replace(SMALL, ref_text="")
    reference = extract_reference(path, options=options, notes=notes.append)
    assert reference.crop.x + reference.crop.size / 2 > 250
    assert any("2 faces" in note and "number 1" in note for note in notes)
    left = extract_reference(path, options=replace(options, face_index=0), notes=notes.append)
    assert left.crop.x + left.crop.size / 2 < 230


def test_picture_with_other_sound(tmp_path: Path, clip: Path) -> None:
    picture = tmp_path / "face.png"
    frame = face_frames(1, 320, 240, [FACE])[0]
    cv2.imwrite(str(picture), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    with pytest.raises(InputError, match="a still picture has no voice"):
        extract_reference(picture, options=SMALL)
    reference = extract_reference(picture, options=replace(SMALL, audio=clip, ref_text="hi"))
    assert len(reference.frames) >= 2 and len(set(reference.frames)) == 1
    assert abs(reference.seconds - len(reference.frames) / reference.fps) <= 1 / MEL_RATE


def test_start_beyond_the_end(clip: Path) -> None:
    with pytest.raises(InputError, match="less than 1 s is left"):
        extract_reference(clip, options=replace(SMALL, start=0.6))


@pytest.mark.parametrize(
    "bad", [{"seconds": 0.5}, {"seconds": 11}, {"start": -1.0}, {"frame_size": 10}]
)
def test_options_out_of_range(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ExtractOptions(**bad)


@pytest.mark.parametrize(
    ("fps", "kept"),
    [
        ("25", "25"), ("30", "30"), ("30000/1001", "30000/1001"), ("3002/100", "30"),
        ("60", "30"), ("60000/1001", "30000/1001"), ("50", "25"), ("48", "24"), ("36", "30"),
        ("120", "30"), ("240", "30"), ("8", "8"),
    ],
)  # fmt: skip
def test_picture_rate(clip: Path, fps: str, kept: str) -> None:
    assert picture_rate(replace(probe(clip), fps=Fraction(fps))) == Fraction(kept)


def _seen(first: int, last: int, *, side: float = 100, sharpness: float = 50):
    box = Box(x=10, y=10, width=side, height=side)
    return track_of(
        Sighting(sample=number, box=box, sharpness=sharpness) for number in range(first, last)
    )


def test_best_window_has_face_and_speech() -> None:
    rate, rng = 8000, np.random.default_rng(0)
    speech = rng.normal(0, 0.1, 30 * rate).astype(np.float32)
    speech[: 14 * rate] *= 0.001
    window = best_window(speech, rate, [_seen(0, 60)], 2.0, total=30, seconds=10)
    assert window.start >= 13.5
    window = best_window(speech, rate, [_seen(0, 24)], 2.0, total=30, seconds=10)
    assert window.start <= 2.5  # without a face, speech is worth nothing
    crowd = [_seen(0, 60), _seen(30, 44, side=90)]
    window = best_window(np.ones(30 * rate, np.float32), rate, crowd, 2.0, total=30, seconds=10)
    assert window.start + 10 <= 15.5  # alone
    whole = best_window(speech, rate, [], 2.0, total=8.0, seconds=10)
    assert (whole.start, whole.seconds) == (0.0, 8.0)


def test_quiet_is_not_silent() -> None:
    rate = 24000
    tone = np.sin(np.arange(rate) * 0.1).astype(np.float32)
    assert is_silent(np.zeros(rate, np.float32), rate)
    assert is_silent(1e-5 * tone, rate)
    assert not is_silent(2e-3 * tone, rate)


def test_text_beside_the_clip(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    assert sidecar(clip) == ""
    (tmp_path / "a.txt").write_text(" Dogs are\n sitting. ", encoding="utf-8")
    assert sidecar(clip) == "Dogs are sitting."
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        sidecar(clip)
    assert spoken_language("你好", "auto") == "zh" and spoken_language("hi", "auto") == "en"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_face_fullbody", "ravdess_08_calm"])
def test_real_clips(clips_dir: Path, name: str) -> None:
    reference = extract_reference(clips_dir / f"{name}.mp4")
    projected = FaceRig.load().project(reference.codes, reference.neutral, reference.pose_frame)
    away = np.linalg.norm((projected - reference.landmarks)[:, :, :2], axis=2).mean()
    assert away / reference.pose_frame.scale < 0.007
    assert len(reference.frames) > 90 and reference.frame_size == 512


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [("vertical_phone_silent", "no sound track"), ("landscape_silent_track", "silent")],
)
def test_real_clips_without_sound(clips_dir: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract_reference(clips_dir / f"{name}.mp4")
