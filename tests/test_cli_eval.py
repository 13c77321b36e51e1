"""``omnitalk eval``: the default command, bad inputs, and scores from files to JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from drawn_face import face_frames, write_clip
from flat_face import drawn_reference, moving_codes
from marked_media import speech_like
from media_samples import run_ffmpeg
from omnitalk_cli.cli.app import app
from omnitalk_cli.evaluation.scores import items
from omnitalk_cli.evaluation.scores.evaluate import Item, Judges, Scored
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.pipeline.performance_store import save_performance
from omnitalk_cli.pipeline.reference_store import save_reference
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.types import Performance

torch = pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "b.mp4").write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.txt").write_text("Hello there.")
    (tmp_path / "blank.txt").write_text(" ")
    (tmp_path / "bad.csv").write_text("generated,refrence\na.mp4,b.mp4\n")
    (tmp_path / "gone.csv").write_text("generated,reference\na.mp4,gone.mp4\n")
    (tmp_path / "no.csv").write_text("generated,text\n,hello\n")
    return tmp_path


BAD = [
    (["--json"], 2, "--table"),
    (["gone.mp4"], 3, "gone.mp4"),
    (["empty.mp4"], 3, "is empty"),
    (["a.mp4", "--reference", "gone.mp4"], 3, "gone.mp4"),
    (["a.mp4", "b.mp4", "a.mp4", "--reference", "a.mp4", "--reference", "b.mp4"], 2, "2 refer"),
    (["a.mp4", "b.mp4", "--from-performance", "a.mp4"], 2, "1 performances for 2"),
    (["a.mp4", "--say", "x", "--text", "words.txt"], 2, "--say"),
    (["a.mp4", "--text", "gone.txt"], 3, "gone.txt"),
    (["a.mp4", "--text", "blank.txt"], 3, "holds no words"),
    (["a.mp4", "--table", "bad.csv"], 2, "--table"),
    (["--table", "bad.csv"], 3, "line 2: unknown column 'refrence'"),
    (["--table", "gone.csv"], 3, "gone.mp4"),
    (["--table", "no.csv"], 3, "generated is empty"),
    (["--table", "none.csv"], 3, "none.csv"),
    (["a.mp4"], 3, "a.mp4"),
    (["a.mp4", "--asr-model", "none/such"], 4, "none/such"),
    (["a.mp4", "--unknown"], 2, "--unknown"),
]


def test_an_odd_file_loses_no_scores_of_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(self: Judges, item: Item) -> Scored:
        if item.generated.name == "a.mp4":
            raise ValueError("codes hold values that are not finite")
        return Scored(item=item, scores={"wer": Score(value=0.5, model="m")})

    monkeypatch.setattr(Judges, "score", score)
    result = CliRunner().invoke(app, ["eval", "a.mp4", "b.mp4", "--json", "-q"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert "not finite" in told["items"][0]["error"]
    assert told["summary"]["means"]["wer"]["value"] == 0.5


@pytest.mark.parametrize(("words", "code", "part"), BAD, ids=lambda value: str(value)[:40])
def test_bad_inputs(folder: Path, words: list[str], code: int, part: str) -> None:
    result = CliRunner().invoke(app, ["eval", *words])
    said = result.stderr + (result.stdout if "--json" in words else "")
    assert result.exit_code == code, said
    assert part in said and "Traceback" not in said


def test_the_default_command_may_be_left_out() -> None:
    alone = CliRunner().invoke(app, ["eval"])
    assert alone.exit_code == 0 and "fusion" in alone.stdout and "videos" in alone.stdout
    assert CliRunner().invoke(app, ["eval", "--help"]).stdout == alone.stdout
    text = CliRunner().invoke(app, ["eval", "videos", "--help"]).stdout
    for flag in ("--reference", "--table", "--from-performance", "--asr-model", "--json"):
        assert flag in text
    assert "Table 4" in CliRunner().invoke(app, ["eval", "fusion", "--help"]).stdout


def test_tables_name_files_relative_to_themselves(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "list.csv").write_text(
        'generated;reference;text\n../a.mp4;../b.mp4;"One, two."\n../b.mp4;;../words.txt\n'
    )
    first, second = items.from_table(inner / "list.csv")
    assert first.generated.samefile("a.mp4") and first.text == "One, two."
    assert first.reference is not None and first.reference.samefile("b.mp4")
    assert second.reference is None and second.text == "Hello there."


def _performance(path: Path, seconds: float, jaw: float) -> None:
    mel = log_mel(torch.from_numpy(speech_like(seconds))).numpy()
    times = np.arange(len(mel)) / 93.75
    known = moving_codes(int(seconds * 25) + 1, jaw)
    codes = np.stack(
        [np.interp(times, np.arange(len(known)) / 25, column) for column in known.T], axis=1
    )
    save_performance(
        Performance(mel=mel, codes=codes.astype(np.float32), segments=(), settings={}), path
    )


def test_performances_are_scored_by_their_codes(folder: Path) -> None:
    _performance(folder / "same.safetensors", 3.0, 0.5)
    _performance(folder / "wild.safetensors", 3.0, 0.9)
    save_reference(drawn_reference(75, 0.5), folder / "person.safetensors")
    words = ["eval", "same.safetensors", "wild.safetensors", "--reference", "person.safetensors"]
    result = CliRunner().invoke(app, [*words, "--json", "-q"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    same, wild = (item["scores"] for item in found["items"])
    assert same["e_fid"]["value"] < 0.01 < wild["e_fid"]["value"]
    assert same["p_fid"]["value"] < 0.01 and same["e_fid"]["substitute"]
    assert same["sync_offset"]["value"] is not None
    for name, why in (("wer", "--say"), ("csim", "ArcFace"), ("e_dist", "no pictures")):
        assert same[name]["value"] is None and why in same[name]["note"]
    assert found["summary"]["means"]["e_fid"]["items"] == 2
    assert "I3D" in found["summary"]["not_measured"]["fvd"]
    table = CliRunner().invoke(app, [*words, "-q"]).stdout
    assert "E-FID*" in table and "wild.safetensors" in table and "CSIM: not measured" in table


@pytest.mark.slow
def test_a_clip_is_like_itself_and_a_bad_one_stops_nothing(folder: Path) -> None:
    frames = face_frames(75, 320, 320, [(160, 150, 150)])
    clip = write_clip(folder / "clip.mp4", frames)
    run_ffmpeg("-i", clip, "-vn", folder / "only.wav")
    (folder / "list.csv").write_text(
        "generated,reference\nclip.mp4,clip.mp4\na.mp4,clip.mp4\nonly.wav,clip.mp4\n"
    )
    result = CliRunner().invoke(app, ["eval", "--table", "list.csv", "--json", "-q"])
    assert result.exit_code == 1, result.stderr
    own, broken, sound = json.loads(result.stdout)["items"]
    for name in ("e_fid", "p_fid", "e_dist", "p_dist"):
        assert own["scores"][name]["value"] == pytest.approx(0, abs=1e-4)
    assert own["scores"]["sharpness"]["value"] == pytest.approx(1)
    assert broken["scores"] == {} and "a.mp4" in broken["error"]
    assert sound["error"] is None and "no pictures" in sound["scores"]["e_fid"]["note"]


@pytest.mark.slow
def test_codes_may_come_from_the_performance(folder: Path) -> None:
    clip = write_clip(folder / "clip.mp4", face_frames(60, 320, 320, [(160, 150, 150)]))
    _performance(folder / "p.safetensors", 2.4, 0.5)
    save_reference(drawn_reference(60, 0.5), folder / "person.safetensors")
    words = ["eval", str(clip), "--reference", "person.safetensors"]
    tracked, given = (
        json.loads(CliRunner().invoke(app, [*words, *more, "--json", "-q"]).stdout)["items"][0]
        for more in ([], ["--from-performance", "p.safetensors"])
    )
    assert given["scores"]["e_fid"]["value"] < 0.02 < tracked["scores"]["e_fid"]["value"]
    assert "from the performance" in given["scores"]["e_fid"]["note"]
