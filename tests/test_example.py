"""The example in ``examples/``: the clip of a person who does not exist, and the batch script."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import av
import mediapipe as mp
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CLIP = EXAMPLES / "reference.mp4"


def test_clip_has_picture_and_sound_of_one_length() -> None:
    assert CLIP.stat().st_size <= 1_500_000
    with av.open(str(CLIP)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == (512, 512)
        assert video.codec_context.name == "h264" and audio.codec_context.name == "aac"
        assert float(video.average_rate) == 25.0
        seconds = float(video.duration * video.time_base)
        assert 6.0 <= seconds <= 8.0
        assert abs(float(audio.duration * audio.time_base) - seconds) <= 0.04
        loud = np.concatenate([f.to_ndarray().mean(axis=0) for f in container.decode(audio=0)])
    assert 0.3 < np.abs(loud).max() <= 1.0
    assert np.abs(loud[: int(0.2 * audio.rate)]).max() < 0.02  # begins in silence
    assert (EXAMPLES / "reference.txt").read_text(encoding="utf-8").count(" ") > 10


def test_tracker_finds_the_face_in_every_frame() -> None:
    apart, lids = [], []
    with (
        av.open(str(CLIP)) as container,
        mp.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=2) as tracker,
    ):
        for number, frame in enumerate(container.decode(video=0)):
            faces = tracker.process(frame.to_ndarray(format="rgb24")).multi_face_landmarks
            assert faces is not None and len(faces) == 1, f"frame {number}"
            points = np.array([(p.x, p.y) for p in faces[0].landmark]) * 512
            assert points.min() > 0 and points.max() < 512, f"frame {number}"
            eyes = np.linalg.norm(points[33] - points[263])
            apart.append(np.linalg.norm(points[13] - points[14]) / eyes)
            lids.append(np.linalg.norm(points[159] - points[145]) / eyes)
    assert len(apart) >= 150
    assert min(apart) < 0.02 and max(apart) > 0.07  # the lips close and open
    assert min(lids) < 0.6 * np.median(lids)  # she blinks


def test_batch_script_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", str(EXAMPLES / "batch.sh")], check=True)


@pytest.fixture()
def recorder(tmp_path: Path) -> Path:
    """A stand-in for omnitalk that notes its arguments and makes the output."""
    program = tmp_path / "fake omnitalk"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"with open({str(tmp_path / 'calls.jsonl')!r}, 'a') as log:\n"
        "    print(json.dumps(sys.argv[1:]), file=log)\n"
        "target = pathlib.Path(sys.argv[sys.argv.index('--output') + 1])\n"
        "sys.exit(3) if target.stem == 'bad' else target.write_bytes(b'x')\n"
    )
    program.chmod(0o755)
    return program


def _run(recorder: Path, *arguments: str) -> tuple[int, list[list[str]]]:
    import json

    log = recorder.parent / "calls.jsonl"
    log.unlink(missing_ok=True)
    command = ["bash", str(EXAMPLES / "batch.sh"), *arguments]
    code = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "OMNITALK": str(recorder)}, capture_output=True
    ).returncode
    lines = log.read_text().splitlines() if log.exists() else []
    return code, [json.loads(line) for line in lines]


def test_batch_script_keeps_quoting_and_resumes(recorder: Path, tmp_path: Path) -> None:
    text = 'Say "hi", $HOME; `ls` *\nand go on, café'
    with (tmp_path / "my jobs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)  # CRLF, doubled quotes, line breaks inside fields
        rows.writerow(["seed", "text", "name", "ref"])
        rows.writerow(["5", text, "first one", "a clip.mp4"])
        rows.writerow(["", "This one fails.", "bad", "/abs/b.mp4"])
        rows.writerow(["", "Last", "last", "a clip.mp4"])
    arguments = (str(tmp_path / "my jobs.csv"), str(tmp_path / "out put"), "--steps", "4")
    code, calls = _run(recorder, *arguments)
    assert code == 1  # one row failed, the others are done
    assert calls[0] == [
        "generate", "--ref", str(tmp_path / "a clip.mp4"), "--say", text,
        "--output", str(tmp_path / "out put" / "first one.mp4"), "--seed", "5", "--steps", "4",
    ]  # fmt: skip
    assert calls[1][2] == "/abs/b.mp4" and "--seed" not in calls[1]
    assert len(calls) == 3
    code, calls = _run(recorder, *arguments)
    assert code == 1 and len(calls) == 1  # only the failed row is tried again


def test_batch_script_runs_the_shipped_rows(recorder: Path, tmp_path: Path) -> None:
    code, calls = _run(recorder, str(EXAMPLES / "jobs.csv"), str(tmp_path / "out"))
    assert code == 0 and len(calls) == 3
    assert all(Path(call[2]).name == "reference.mp4" for call in calls)


def test_batch_script_refuses_a_table_without_its_columns(recorder: Path, tmp_path: Path) -> None:
    table = tmp_path / "jobs.csv"
    table.write_text("clip,words\na.mp4,hello\n")
    assert _run(recorder, str(table), str(tmp_path / "out")) == (2, [])
