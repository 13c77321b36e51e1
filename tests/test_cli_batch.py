"""``omnitalk batch`` and ``omnitalk cache`` as people call them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flat_face import drawn_reference
from omnitalk_cli.cli.app import app
from omnitalk_cli.pipeline.reference_cache import ReferenceCache
from omnitalk_cli.pipeline.reference_store import save_reference


def run(*words: object, **more: object) -> object:
    return CliRunner().invoke(app, [str(word) for word in words], **more)  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"not looked into before it is needed")
    path = tmp_path / "jobs.csv"
    path.write_text("id,ref,text\na,clip.mp4,Hello there.\nb,clip.mp4,Good morning to you.\n")
    return path


def test_the_plan(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("batch", table, "--out-dir", out, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["rows"] == 2 and plan["unusable"] == 0 and plan["done"] == 0
    assert 1 < plan["video_seconds"] < 6 and plan["work_seconds"] > plan["video_seconds"]
    assert plan["bytes"] > 50_000 and not out.exists()
    words = run("batch", table, "--out-dir", out, "--dry-run").stdout
    assert "2, 0 of them done before" in words and "min" in words


def test_the_table_may_come_from_stdin(table: Path, tmp_path: Path) -> None:
    text = "id,text\nx,Hello.\n"
    words = ["batch", "-", "--out-dir", tmp_path / "o", "--ref", tmp_path / "clip.mp4"]
    result = run(*words, "--dry-run", "--json", input=text)
    assert result.exit_code == 0 and json.loads(result.stdout)["rows"] == 1


def test_bad_rows_are_told_with_their_lines(table: Path, tmp_path: Path) -> None:
    with table.open("a") as file:
        file.write("a,clip.mp4,Twice.\nc,none.mp4,Hello.\n")
    result = run("batch", table, "--out-dir", tmp_path / "o", "--dry-run")
    assert result.exit_code == 0
    assert "line 4, id:" in result.stderr and "line 5, ref:" in result.stderr
    strict = run("batch", table, "--out-dir", tmp_path / "o", "--dry-run", "--strict")
    assert strict.exit_code == 2 and "2 of 4 rows" in strict.stderr
    answer = run("batch", table, "--out-dir", tmp_path / "o", "--dry-run", "--json")
    assert len(json.loads(answer.stdout)["problems"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--shard", "3/2"], 2, "--shard 3/2"),
        (["--shard", "one/2"], 2, "give I/N"),
        (["--name", "{nothing}.mp4"], 2, "nothing"),
        (["--address", "10.0.0.1:6379"], 2, "--engine ray"),
        (["--steps", "0"], 2, "steps"),
        (["--ref", "none.mp4"], 3, "none.mp4"),
        (["--max-failures", "0"], 2, "max-failures"),
    ],
)
def test_wrong_usage(
    table: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    result = run("batch", table, "--out-dir", tmp_path / "o", "--dry-run", *words)
    assert result.exit_code == code and message in result.stderr
    assert not (tmp_path / "o").exists()


def test_a_table_without_a_usable_row(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("id,ref,text,colour\na,none.mp4,Hello.,red\n")
    result = run("batch", path, "--out-dir", tmp_path / "o")
    assert result.exit_code == 3 and "colour" in result.stderr
    missing = run("batch", tmp_path / "none.csv", "--out-dir", tmp_path / "o")
    assert missing.exit_code == 3 and "none.csv" in missing.stderr


def test_the_options_are_those_of_generate() -> None:
    text = run("batch", "--help").stdout
    for flag in ("--cfg-video", "--background", "--label-profile", "--sign-cert", "--no-cache"):
        assert flag in text
    assert "--say" not in text and "--output" not in text


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_CACHE_DIR", str(tmp_path))
    empty = json.loads(run("cache", "info", "--json").stdout)
    assert (empty["files"], empty["bytes"]) == (0, 0) and empty["most_bytes"] > 0
    kept = ReferenceCache(tmp_path)
    kept.folder.mkdir()
    for name, age in (("old", 10), ("new", 0)):
        kept.place(name).write_bytes(b"x" * 1000)
        os.utime(kept.place(name), (time.time() - 86_400 * age,) * 2)
    (kept.folder / "notes.txt").write_text("not ours")
    assert "2 references" in run("cache", "info").stdout
    assert json.loads(run("cache", "clear", "--older-than", "5", "--json").stdout) == {
        "deleted": 1, "bytes": 1000,
    }  # fmt: skip
    assert kept.place("new").exists() and not kept.place("old").exists()
    assert run("cache", "clear").exit_code == 0
    assert sorted(path.name for path in kept.folder.iterdir()) == ["notes.txt"]


def test_the_cache_drops_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnitalk_cli.pipeline.reference_cache.MOST_BYTES", 2500)
    kept = ReferenceCache(tmp_path)
    kept.folder.mkdir()
    for number in range(4):
        kept.place(str(number)).write_bytes(b"x" * 1000)
        os.utime(kept.place(str(number)), (1000 + number,) * 2)
    kept.prune(keep=kept.place("0"))
    assert [kept.place(str(number)).exists() for number in range(4)] == [True, False, False, True]


@pytest.mark.slow
def test_a_batch_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Real rows with the embedded model; SIGKILL in the middle, then the same command again."""
    save_reference(drawn_reference(60), tmp_path / "face.safetensors")
    table = tmp_path / "jobs.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ref", "text"])
        for number, text in enumerate(("One two.", "Three four.", "Five six.", "")):
            writer.writerow([f"r{number}", "face.safetensors", text])
    words = [
        sys.executable, "-m", "omnitalk_cli", "batch", str(table), "--out-dir",
        str(tmp_path / "out"), "--size", "256", "--steps", "2", "--workers", "1", "--json",
    ]  # fmt: skip
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (tmp_path / "out" / "r1.mp4").exists():
        assert time.monotonic() < end and first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    answer = json.loads(second.stdout)
    assert second.returncode == 1, second.stderr  # the row without a text
    assert answer["done"] + answer["skipped"] == 3 and answer["skipped"] >= 1
    assert answer["failed"] == 1 and answer["total"] == 4
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert [rows[f"r{number}"]["state"] for number in range(4)] == ["done"] * 3 + ["failed"]
    assert len({row["mark_id"] for row in rows.values()}) == 4
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert not [name for name in names if name.endswith(".part")]
    third = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert json.loads(third.stdout)["skipped"] == 3
