"""The whole build on small videos that tests make; faces are given, except in the slow test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from curation_samples import FPS, OTHER, TALK, course, make_talk, talking_sound, tracked
from drawn_face import draw_face, write_clip
from media_samples import cut_bytes, make_video, run_ffmpeg
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.media.probe import probe
from omnitalk_cli.training.clip_shards import read_clips
from omnitalk_cli.training.curation import build as build_module
from omnitalk_cli.training.curation import tracks, workers
from omnitalk_cli.training.curation.build import BuildResult, build_corpus
from omnitalk_cli.training.curation.fates import Fate, read_fates
from omnitalk_cli.training.curation.scenes import find_scenes
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.sources import find_videos
from omnitalk_cli.training.curation.video import Tools, split_of

SETTINGS = CurationSettings(allow_no_text=True, audio_quality="none", heldout=0.4)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three talks: two clips with a pause between, one clip, and a cut to another picture."""
    folder = tmp_path_factory.mktemp("videos")
    make_talk(folder / "a.mp4", seconds=8, gate="lt(t,3.2)+gt(t,5)")
    make_talk(folder / "b.mp4", seconds=5, picture="testsrc")
    make_talk(folder / "c.mp4", seconds=4, formula=TALK.replace("2.3", "2.2"), picture="smptebars")
    return folder


class Faces:
    """Stands in for the tracker: one face whose mouth goes with the sound. Counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, int]] = []

    def __call__(self, info: Any, *, start: float, seconds: float, most: int) -> list:
        self.calls.append((info.path.name, start, most))
        formula = TALK.replace("2.3", "2.2") if info.path.name == "c.mp4" else TALK
        opening = course(formula, round(seconds * FPS), start=start)
        return [tracked(opening, start=start)]


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> Faces:
    stand_in = Faces()
    monkeypatch.setattr(tracks, "follow_faces", stand_in)
    return stand_in


def build(videos: Path, out: Path, settings: CurationSettings = SETTINGS, **more: Any):
    return build_corpus([videos], out, settings=settings, shard_minutes=0.1, **more)


def contents(out: Path) -> dict[str, bytes]:
    """All that a corpus consists of."""
    names = ["clips.csv", "clips.jsonl", "report.json", "report.png"]
    names += sorted(path.name for path in out.glob("clips-*.safetensors"))
    return {name: (out / name).read_bytes() for name in names}


def check_complete(result: BuildResult) -> None:
    """Every part of every video once, in order, without overlap; ids are unique."""
    assert len({fate.id for fate in result.fates}) == len(result.fates)
    by_video: dict[str, list[Fate]] = {}
    for fate in result.fates:
        by_video.setdefault(fate.video, []).append(fate)
    for rows in by_video.values():
        edges = [edge for fate in rows for edge in (fate.start, fate.end)]
        assert edges == sorted(edges)
        assert len({fate.split for fate in rows if fate.verdict == "kept"}) <= 1


def test_kept_clips_are_in_the_shards(videos: Path, faces: Faces, tmp_path: Path) -> None:
    result = build(videos, tmp_path)
    check_complete(result)
    kept = [fate for fate in result.fates if fate.verdict == "kept"]
    assert [Path(fate.video).name for fate in kept] == ["a.mp4", "a.mp4", "b.mp4", "c.mp4"]
    shards = sorted(tmp_path.glob("clips-*.safetensors"))
    clips = [clip for path in shards for clip in read_clips(path)]
    assert {clip.facts.id for clip in clips} == {fate.id for fate in kept}
    by_id = {fate.id: fate for fate in kept}
    for clip in clips:
        row = by_id[clip.facts.id]
        assert clip.facts.seconds == pytest.approx(row.seconds, abs=0.02)
        assert clip.facts.split == row.split and clip.facts.start == round(row.start, 4)
        assert np.isfinite(clip.mel).all() and clip.mel.astype(float).std() > 0.5
        assert np.isfinite(clip.codes).all() and np.ptp(clip.codes[:, 54].astype(float)) > 0.3
    splits = [{clip.facts.split for clip in read_clips(path)} for path in shards]
    assert all(len(one) == 1 for one in splits)
    assert result.statistics.kept.parts == 4 and result.shards == len(shards)


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_result(
    videos: Path, faces: Faces, tmp_path: Path, after: int
) -> None:
    build(videos, tmp_path / "straight")
    straight = len(faces.calls)

    def stop(stage: str, done: float, total: float | None) -> None:
        if stage.startswith("curate") and f", {after} of" in stage:
            raise KeyboardInterrupt

    faces.calls.clear()
    with pytest.raises(KeyboardInterrupt):
        build(videos, tmp_path / "broken", progress=stop)
    assert not list((tmp_path / "broken").glob("clips*")) and len(faces.calls) == after
    for half in (tmp_path / "broken" / ".work").rglob("faces-*"):
        half.write_bytes(half.read_bytes()[:-7])  # as a power cut leaves it
        break
    build(videos, tmp_path / "broken")
    assert len(faces.calls) == straight + 1
    assert contents(tmp_path / "broken") == contents(tmp_path / "straight")


def test_an_interrupted_shard_is_written_again(videos: Path, faces: Faces, tmp_path: Path) -> None:
    build(videos, tmp_path / "straight")

    def stop(stage: str, done: float, total: float | None) -> None:
        if stage == "write the shards":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(videos, tmp_path / "broken", progress=stop)
    assert len(list((tmp_path / "broken").glob("clips-*"))) == 1
    made = build(videos, tmp_path / "broken")
    assert made.new_shards == made.shards - 1
    assert contents(tmp_path / "broken") == contents(tmp_path / "straight")


def test_a_shard_of_a_broken_run_is_not_taken_for_the_one_before(
    videos: Path, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(videos, tmp_path)
    before = contents(tmp_path)

    def killed(self: object, name: str, content: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # the shard is written, the index is not
        patch.setattr(build_module.features.ShardIndex, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            build(videos, tmp_path, replace(SETTINGS, heldout=1.0))
    assert contents(tmp_path) != before
    build(videos, tmp_path)
    assert contents(tmp_path) == before


def test_a_changed_threshold_redoes_what_depends_on_it(
    videos: Path, faces: Faces, tmp_path: Path
) -> None:
    first = build(videos, tmp_path)
    stretches = len(faces.calls)
    same = build(videos, tmp_path)
    assert len(faces.calls) == stretches and same.new_shards == 0
    assert same.fates == tuple(read_fates_as(first.fates, tmp_path))

    strict = build(videos, tmp_path, replace(SETTINGS, min_seconds=3.6))
    assert len(faces.calls) == stretches  # the same stretches: nobody is followed again
    assert strict.statistics.kept.parts == 2
    assert {f.stage for f in strict.fates} == {"cut", "kept"}
    build(videos, tmp_path, replace(SETTINGS, max_faces=2))
    assert len(faces.calls) == 2 * stretches
    back = build(videos, tmp_path)
    assert len(faces.calls) == 2 * stretches and back.fates == first.fates
    assert len(list(tmp_path.glob("clips-*.safetensors"))) == back.shards


def read_fates_as(fates: tuple[Fate, ...], folder: Path) -> tuple[Fate, ...]:
    """The rows in the folder, which are rounded, must be those that were returned."""
    assert [one.to_dict() for one in read_fates(folder)] == [
        json.loads(json.dumps(one.to_dict())) for one in fates
    ]
    return fates


def test_broken_files_are_rows_with_reasons(faces: Faces, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = make_talk(folder / "good.mp4", seconds=4)
    (folder / "copy.mp4").write_bytes(good.read_bytes())
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video at all\n" * 99)
    cut_bytes(good, folder / "half.mp4", keep=0.5)
    make_video(folder / "mute.mp4", tone=None)
    run_ffmpeg("-i", good, "-vn", folder / "voice.mkv")
    run_ffmpeg("-i", good, "-af", "volume=0", folder / "silent.mp4")
    run_ffmpeg("-i", good, "-frames:v", 1, "-update", 1, folder / "picture.png")
    result = build_corpus([folder, folder / "picture.png"], tmp_path / "out", settings=SETTINGS)
    check_complete(result)
    reasons = {Path(f.video).name: f.reason for f in result.fates}
    assert set(reasons) == {path.name for path in folder.iterdir()}
    for name, part in {
        "empty.mp4": "is empty", "text.mp4": "not a readable video", "mute.mp4": "no sound track",
        "voice.mkv": "no picture", "silent.mp4": "silent", "picture.png": "a picture",
        "good.mp4": "same file as", "copy.mp4": "", "half.mp4": "",
    }.items():  # fmt: skip
        assert part in reasons[name], (name, reasons[name])
    assert reasons["half.mp4"]  # nothing whole to read
    assert sum(fate.verdict == "kept" for fate in result.fates) == 1


def test_an_unexpected_error_stops_one_video_only(
    videos: Path, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(info: Any, **more: Any) -> list:
        if info.path.name == "b.mp4":
            raise ValueError("odd")
        return faces(info, **more)

    monkeypatch.setattr(tracks, "follow_faces", fail)
    rows = {Path(f.video).name: f for f in build(videos, tmp_path).fates}
    assert rows["b.mp4"].reason == "unexpected ValueError: odd" and rows["b.mp4"].end > 4
    assert rows["c.mp4"].verdict == "kept"


def test_videos_that_are_not_named_again_are_told(
    videos: Path, faces: Faces, tmp_path: Path
) -> None:
    assert build(videos / "a.mp4", tmp_path / "out").dropped == ()
    made = build(videos / "c.mp4", tmp_path / "out")
    assert made.dropped == (str(videos / "a.mp4"),)
    moved = tmp_path / "moved.mp4"
    moved.write_bytes((videos / "c.mp4").read_bytes())
    assert build(moved, tmp_path / "out").dropped == ()


def test_two_runs_do_not_share_a_folder(videos: Path, faces: Faces, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    with sole_user(folder, folder / ".work"), pytest.raises(UsageError, match="another run"):
        build_corpus([videos], folder, settings=SETTINGS)
    assert not faces.calls


def test_split_is_by_video(videos: Path, faces: Faces, tmp_path: Path) -> None:
    everything = build(videos, tmp_path / "all", replace(SETTINGS, heldout=1.0))
    assert {f.split for f in everything.fates if f.verdict == "kept"} == {"heldout"}
    some = build(videos, tmp_path / "some")
    for fate in some.fates:
        if fate.verdict == "kept":
            sha = build_module.content_hash(Path(fate.video), tmp_path / "index")
            assert fate.split == split_of(sha, SETTINGS.heldout)


def test_speaker_is_the_one_whose_mouth_goes_with_the_sound(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(info: Any, *, start: float, seconds: float, most: int) -> list:
        count = round(seconds * FPS)
        wrong, right = course(OTHER, count, start=start), course(TALK, count, start=start)
        return [tracked(wrong, start=start), tracked(right, start=start)]

    monkeypatch.setattr(tracks, "follow_faces", two)
    rows = [f for f in build(videos, tmp_path).fates if Path(f.video).name in ("a.mp4", "b.mp4")]
    assert [f.measures["face"] for f in rows] == [1.0, 1.0, 1.0]
    assert all(f.verdict == "kept" and f.measures["faces"] == 2 for f in rows)

    def nobody(info: Any, *, start: float, seconds: float, most: int) -> list:
        return [tracked(course(OTHER, round(seconds * FPS), start=start), start=start)] * 2

    monkeypatch.setattr(tracks, "follow_faces", nobody)
    rows = build(videos, tmp_path / "none").fates
    assert {f.stage for f in rows} == {"speaker"}
    monkeypatch.setattr(tracks, "follow_faces", lambda *a, **k: [])
    assert {f.reason for f in build(videos, tmp_path / "empty").fates} == {"no face is seen in it"}


def test_texts_come_from_transcripts(videos: Path, faces: Faces, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.srt").write_text(
        "1\n00:00:00,000 --> 00:00:03,300\nSome words that somebody may say here\n\n"
        "2\n00:00:05,000 --> 00:00:08,000\nHm\n"
    )
    (texts / "b.txt").write_text("今天天气很好我们一起去公园走走吧")
    made = build(
        videos, tmp_path / "out", replace(SETTINGS, allow_no_text=False),
        tools=Tools(transcripts=texts),
    )  # fmt: skip
    first, second, other, last = made.fates
    assert first.text.startswith("Some words") and first.language == "en"
    assert first.text_source == "subtitles" and first.measures["characters"] == 31
    assert second.stage == "pace" and "s per character of en" in second.reason
    assert other.language == "zh" and other.verdict == "kept"
    assert last.stage == "text" and "no transcript and no speech recognition" in last.reason
    texts_in = {c.facts.text for p in (tmp_path / "out").glob("clips-*") for c in read_clips(p)}
    assert texts_in == {first.text, other.text}


def test_words_of_recognition_are_shared_out(
    videos: Path, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnitalk_cli.speech.asr import Recognition, Transcript
    from omnitalk_cli.speech.asr_models import AsrModel
    from omnitalk_cli.training.curation import texts
    from omnitalk_cli.types import Word

    heard: list[float] = []

    def transcribe(audio: Any, model: AsrModel, *, language: str | None) -> Recognition:
        heard.append(len(audio) / 16_000)
        words = [
            Word(text=f"w{k}ord{'abcdefghij'[:k]}", start=0.5 * k, end=0.5 * k + 0.3)
            for k in range(round(heard[-1] * 2))
        ]
        return Recognition(
            transcript=Transcript(text="", language="nl", words=tuple(words)),
            language_probability=1.0, dropped=(), device="cpu",
        )  # fmt: skip

    monkeypatch.setattr(texts, "transcribe", transcribe)
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"x")
    model = AsrModel(name="base", folder=folder)
    settings = replace(SETTINGS, allow_no_text=False)
    made = build(videos, tmp_path / "out", settings, tools=Tools(asr_model=model))
    first, second = made.fates[:2]
    assert first.text.startswith("w0ord w1orda") and first.language == "nl"
    assert second.text.split()[0] == "w10ordabcdefghij" and second.text_source == "asr"
    assert len(heard) == 3 and heard[0] == pytest.approx(8, abs=0.1)
    build(videos, tmp_path / "out", replace(settings, min_sync=0.2), tools=Tools(asr_model=model))
    assert len(heard) == 3


def test_a_made_cut_is_found(tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    make_talk(one, seconds=2)
    make_talk(two, seconds=3, picture="smptebars")
    (tmp_path / "list.txt").write_text(f"file '{one}'\nfile '{two}'\n")
    whole = tmp_path / "whole.mp4"
    run_ffmpeg("-f", "concat", "-safe", 0, "-i", tmp_path / "list.txt", "-c", "copy", whole)
    scenes = find_scenes(probe(whole), threshold=3.0)
    assert len(scenes) == 2 and scenes[0][1] == pytest.approx(2.0, abs=0.09)
    assert scenes[0][0] == 0 and scenes[1][1] == pytest.approx(5.0, abs=0.2)
    assert find_scenes(probe(one), threshold=3.0) == [(0.0, 2.0)]


def test_without_scene_detection_the_extra_is_named(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scenedetect.detectors", None)
    with pytest.raises(SetupError, match=r"omnitalk-cli\[data\]"):
        build(videos, tmp_path)


def test_videos_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("b/x.MP4", "a/y.mkv", "a/.hidden.mp4", "a/notes.txt", "out/z.mp4", "odd.name"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    out = tmp_path / "out"
    found = find_videos([tmp_path, tmp_path / "a" / "y.mkv", tmp_path / "odd.name"], out)
    assert [path.name for path in found] == ["y.mkv", "x.MP4", "odd.name"]
    with pytest.raises(InputError, match="no such file"):
        find_videos([tmp_path / "gone"], out)
    with pytest.raises(InputError, match="no videos"):
        find_videos([out], out)


def run(words: str) -> Any:
    return CliRunner().invoke(app, words.split())


def test_command_line(videos: Path, faces: Faces, tmp_path: Path) -> None:
    base = f"corpus build {videos} -o {tmp_path}/c --workers 1 --audio-quality none -q"
    plan = json.loads(run(f"{base} --allow-no-text --dry-run --json").stdout)
    assert plan["videos"] == 3 and plan["hours"] * 3600 == pytest.approx(17, abs=0.2)
    assert not (tmp_path / "c").exists()
    answer = json.loads(run(f"{base} --allow-no-text --json").stdout)
    assert answer["kept"]["parts"] == 4 and answer["folder"] == f"{tmp_path}/c"
    table = run(f"{base} --allow-no-text --min-seconds 3.6").stdout
    assert (
        "3 videos, 15.1 s in 4 parts" in table
        and "2 clips" in table
        and "cut: only N s between pauses" in table
    )
    report = run(f"corpus report {tmp_path}/c --plot {tmp_path}/p.png").stdout
    assert report.splitlines()[0] in table and (tmp_path / "p.png").stat().st_size > 5000
    for words, code, part in (
        (base, 4, "--transcripts"),
        (f"{base} --allow-no-text --transcripts gone", 3, "gone"),
        (f"{base} --allow-no-text --min-seconds 20", 2, "must be below"),
        (f"{base} --allow-no-text --speaker-model light-asd", 4, "--speaker-weights"),
        (f"{base} --allow-no-text --seconds-per-character en", 2, "LANGUAGE=LOW:HIGH"),
        ("corpus report nowhere", 3, "corpus build"),
        (f"{base} --allow-no-text --min-level 0", 1, "no clip was kept"),
    ):
        result = run(words)
        assert result.exit_code == code and part in result.stderr, (words, result.stderr)


def test_options_may_stand_in_a_file(videos: Path, faces: Faces, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[corpus]\nmin-seconds = 3.2\nallow-no-text = true\n")
    words = f"corpus build {videos} -o {tmp_path}/c --config {tmp_path}/c.toml --dry-run --json"
    assert json.loads(run(words).stdout)["settings"]["min_seconds"] == 3.2
    (tmp_path / "c.toml").write_text("[corpus]\nmin-second = 3.2\n")
    assert "min-seconds" in run(words).stdout


def _odd(number: int) -> int:
    if number == 2:
        os._exit(9)
    return number * number


def _nothing() -> None: ...


def test_a_process_that_dies_takes_only_its_own_work_along() -> None:
    found = dict(workers.spread(_odd, [0, 1, 2, 3, 4], workers=2, setup=_nothing))
    assert found == {0: 0, 1: 1, 2: None, 3: 9, 4: 16}


@pytest.mark.slow
def test_two_drawn_faces_one_of_which_talks(tmp_path: Path) -> None:
    """Found, followed and judged by what is seen: first the left one talks, then the right one."""
    seconds = 6.0
    talk = course(TALK, round(seconds * FPS))
    other = course(OTHER, round(seconds * FPS))
    for name, left, right in (("left", talk, other), ("right", other, talk)):
        pictures = []
        for number in range(len(talk)):
            picture = np.full((240, 480, 3), 160, np.uint8)
            sway = 3 * np.sin(number / 9)
            draw_face(picture, (120 + sway, 115), 150, mouth=float(left[number]) / 1.5)
            draw_face(picture, (360 - sway, 115), 150, mouth=float(right[number]) / 1.5)
            pictures.append(picture)
        write_clip(tmp_path / f"{name}.mp4", pictures, sound=talking_sound())
    check: Callable[[str], Fate] = {
        Path(f.video).stem: f
        for f in build_corpus(
            [tmp_path / "left.mp4", tmp_path / "right.mp4"], tmp_path / "out", settings=SETTINGS,
            workers=2,
        ).fates
    }.__getitem__  # fmt: skip
    assert check("left").verdict == check("right").verdict == "kept"
    assert check("left").measures["face_x"] < 0.4 and check("right").measures["face_x"] > 0.6
    assert check("left").measures["sync"] > check("left").measures["runner_up"] + 0.2
