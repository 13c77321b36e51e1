"""Importing files, verifying, listing and removing: what needs no network."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import weights_samples as samples
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.speech.asr_models import installed_models
from omnitalk_cli.weights import catalog, store
from omnitalk_cli.weights.importers import plain
from omnitalk_cli.weights.local import verify
from omnitalk_cli.weights.receipt import read_receipt


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with the files of ``voice`` as another program fetched them; no hub."""
    hub = samples.new_hub()
    hub.port = 9
    samples.use(hub, tmp_path, monkeypatch)
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "tiny.safetensors")
    given = tmp_path / "given"
    given.mkdir()
    (given / "voice.bin").write_bytes(samples.VOICE)
    (given / "vocab.txt").write_bytes(samples.VOCAB)
    yield given
    catalog.catalog.cache_clear()


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["weights", *map(str, words)])


def take(folder: Path, *words: object) -> Any:
    return run("import", folder, "--as", "voice", "--accept-license", "NC-1", *words)


def test_import_converts_and_keeps_the_files(folder: Path) -> None:
    result = take(folder / "voice.bin", "--json")
    answer = json.loads(result.stdout)
    path = store.find_weights("voice")
    assert answer["path"] == str(path) and path.read_bytes() == samples.VOICE[::-1]
    receipt = read_receipt(path.parent)
    assert receipt is not None and receipt.origin == "import" and receipt.accepted == "NC-1"
    assert receipt.source == str((folder / "voice.bin").resolve()) and not receipt.commit
    assert [file.name for file in receipt.fetched] == ["voice.bin", "vocab.txt"]
    assert (folder / "voice.bin").read_bytes() == samples.VOICE
    assert "not the public one" not in result.stderr


def test_import_takes_a_folder_and_a_tuned_file(folder: Path) -> None:
    (folder / "voice.bin").write_bytes(b"tuned")
    result = take(folder)
    assert result.exit_code == 0 and "voice.bin is not the public one" in result.stderr
    assert store.find_weights("voice").read_bytes() == b"denut"


def test_imported_weights_are_not_pulled_over(folder: Path) -> None:
    take(folder)
    result = run("pull", "voice")  # nothing listens at the hub's port
    assert result.exit_code == 0 and "was installed already" in result.stdout


def test_import_replaces_only_when_told(folder: Path) -> None:
    take(folder)
    (folder / "voice.bin").write_bytes(b"tuned")
    result = take(folder)
    assert result.exit_code == 2 and "--overwrite" in result.stderr
    assert store.find_weights("voice").read_bytes() == samples.VOICE[::-1]
    assert take(folder, "--overwrite").exit_code == 0
    assert store.find_weights("voice").read_bytes() == b"denut"


def test_what_a_killed_run_was_about_to_replace_comes_back(folder: Path) -> None:
    take(folder)
    place = store.find_weights("voice").parent
    place.rename(place.parent / ".staging" / "voice.old-0123")  # killed between two renames
    (folder / "voice.bin").write_bytes(b"tuned")
    assert take(folder).exit_code == 2
    assert store.find_weights("voice").read_bytes() == samples.VOICE[::-1]
    assert not list(place.parent.glob(".staging/voice.old-*"))


def test_import_that_cannot_work_is_told(folder: Path) -> None:
    result = run("import", folder, "--as", "voice")
    assert result.exit_code == 2
    assert f"weights import {folder} --as voice --accept-license NC-1" in result.stderr
    (folder / "vocab.txt").unlink()
    result = take(folder)
    assert result.exit_code == 3 and "needs vocab.txt beside voice.bin" in result.stderr
    assert take(folder / "nothing.bin").exit_code == 3
    assert run("import", folder, "--as", "tiny").exit_code == 2
    assert run("import", folder, "--as", "voise").exit_code == 2
    (folder / "vocab.txt").write_bytes(b"")
    (folder / "voice.bin").write_bytes(b"broken")
    assert take(folder).exit_code == 3
    assert not (store.weights_folder() / "voice").exists()


def test_verify_finds_a_flipped_byte_and_a_lost_file(folder: Path) -> None:
    take(folder)
    assert run("verify").exit_code == 0 == run("verify", "voice").exit_code
    path = store.find_weights("voice")
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(content)
    path.with_name("companions.txt").unlink()
    result = run("verify", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1 and not answer["ok"]
    states = {item["file"]: item["state"] for item in answer["files"]}
    assert states == {"model.bin": "differs", "companions.txt": "missing"}
    assert "differs  voice model.bin was changed" in run("verify", "voice").stdout


def test_damage_is_seen_without_hashing(folder: Path) -> None:
    take(folder)
    path = store.find_weights("voice")
    path.with_name("companions.txt").unlink()
    again = "import them again: omnitalk weights import FILE --as voice --overwrite"
    assert f"companions.txt: is gone; {again}" in run("list").stdout
    assert again in run("verify").stdout
    result = run("path", "voice")
    assert result.exit_code == 4 and "is gone" in result.stderr and again in result.stderr
    path.with_name("companions.txt").write_text("vocab.txt")
    path.write_bytes(b"short")
    with pytest.raises(SetupError, match=r"has 5 bytes instead of 40960; import them again"):
        store.find_weights("voice")
    listed = json.loads(run("list", "--json").stdout)["weights"]
    assert next(item for item in listed if item["name"] == "voice")["get"]
    # No pull may put public weights in the place of a fine-tune.
    result = run("pull", "voice")
    assert result.exit_code == 1 and "import them again" in result.stderr
    assert path.read_bytes() == b"short"


def test_import_of_the_public_file_of_other_weights_is_told(folder: Path) -> None:
    (folder / "mine.bin").write_bytes(samples.FACE)
    result = run("import", folder / "mine.bin", "--as", "free")
    assert result.exit_code == 2 and "is the public face; use --as face" in result.stderr
    assert not (store.weights_folder() / "free").exists()


def test_verify_of_what_cannot_be_compared(folder: Path) -> None:
    assert "no public weights" in run("verify").stdout
    assert [item.state for item in verify(["tiny"])] == ["unknown"]
    with pytest.raises(SetupError, match="weights pull free"):
        verify(["free"])
    byhand = store.weights_folder() / "free"
    byhand.mkdir(parents=True)
    (byhand / "model.bin").write_bytes(b"x")
    assert [item.state for item in verify([])] == ["unknown"]
    (byhand / "receipt.json").write_text("{}")
    assert [item.state for item in verify([])] == ["differs"]


def test_path_prints_the_path_only(folder: Path) -> None:
    result = run("path", "voice")
    assert result.exit_code == 4 and result.stdout == ""
    assert "no commercial use); omnitalk weights pull voice" in result.stderr
    take(folder)
    assert run("path", "voice").stdout == f"{store.find_weights('voice')}\n"
    assert run("path", "tiny").stdout.strip().endswith("tiny.safetensors")
    assert run("path", "voise").exit_code == 2


def test_remove_deletes_public_weights_only(folder: Path) -> None:
    take(folder)
    result = run("remove", "voice", "tiny")
    assert result.exit_code == 2 and "part of omnitalk" in result.stderr
    assert store.find_weights("voice").is_file()
    answer = json.loads(run("remove", "voice", "--json").stdout)
    assert [item["name"] for item in answer["deleted"]] == ["voice"]
    assert answer["deleted"][0]["bytes"] >= len(samples.VOICE)
    assert not (store.weights_folder() / "voice").exists()
    assert "was not installed" in run("remove", "voice").stdout


def test_remove_makes_nothing_and_follows_no_link(folder: Path, tmp_path: Path) -> None:
    assert run("remove", "voice").exit_code == 0 and not store.weights_folder().exists()
    litter = store.weights_folder() / ".staging" / "voice.new-0000"
    litter.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.bin").write_bytes(b"x")
    (store.weights_folder() / "voice").symlink_to(elsewhere)
    assert run("remove", "voice").exit_code == 0
    assert not litter.exists() and not (store.weights_folder() / "voice").exists()
    assert (elsewhere / "model.bin").is_file()


def test_list_shows_all_with_licences(folder: Path) -> None:
    take(folder)
    answer = json.loads(run("list", "--json").stdout)
    by_name = {item["name"]: item for item in answer["weights"]}
    assert list(by_name) == ["tiny", "voice", "free", "moving", "face"]
    assert by_name["voice"]["installed"] and by_name["voice"]["non_commercial"]
    assert by_name["voice"]["get"] is None and by_name["voice"]["sha256"]
    assert by_name["free"]["get"] == "omnitalk weights pull free" and by_name["free"]["pinned"]
    assert by_name["moving"]["pinned"] is False
    assert by_name["face"]["download_bytes"] == len(samples.FACE)
    assert answer["profiles"][0]["members"] == ["voice", "free"]
    table = run("list").stdout
    assert "NC-1 (nc)" in table and "-> omnitalk weights pull free" in table
    (folder.parent / "tiny.safetensors").write_bytes(b"damaged")
    listed = run("list")
    assert listed.exit_code == 0 and "is not a safetensors file" in listed.stdout
    assert "install the omnitalk-cli wheel again" in listed.stdout
    assert run("verify", "tiny").exit_code == 1
    damaged = store.weights_folder() / "voice" / "receipt.json"
    damaged.write_text("no json")
    assert "cannot be read" in run("list").stdout


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"format": "other"}',
        '{"format": "omnitalk-weights/1", "fetched": [], "installed": 3}',
    ],
)
def test_damaged_receipts_are_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "receipt.json").write_text(content)
    with pytest.raises(InputError, match="receipt"):
        read_receipt(tmp_path)


# --- importers that copy -------------------------------------------------------------------------
def whisper(kind: bytes = b"WhisperSpec") -> bytes:
    """The head of a model in the format of CTranslate2, with something after it."""
    return struct.pack("<IH", 6, len(kind) + 1) + kind + b"\0" + b"tensors" * 20


def test_faster_whisper_folder_is_copied(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(whisper())
    (tmp_path / "config.json").write_text("{}")
    target = tmp_path / "new" / "model.bin"
    target.parent.mkdir()
    companions = {"config.json": tmp_path / "config.json"}
    plain.copy_ctranslate2(tmp_path / "model.bin", companions, target)
    assert target.read_bytes() == whisper()
    assert target.with_name("config.json").read_text() == "{}"


@pytest.mark.parametrize("vocabulary", ["vocabulary.txt", "vocabulary.json"])
def test_whisper_of_either_vocabulary_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary: str
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    given = tmp_path / "tuned"
    given.mkdir()
    for name in ("config.json", "tokenizer.json", vocabulary):
        (given / name).write_text("{}")
    (given / "model.bin").write_bytes(whisper())
    result = run("import", given, "--as", "whisper-base")
    assert result.exit_code == 0 and f"{vocabulary} is not the public one" in result.stderr
    (model,) = installed_models()
    assert model.name == "base" and (model.folder / vocabulary).is_file()
    assert not (model.folder / "preprocessor_config.json").exists()
    (given / "preprocessor_config.json").write_text('{"feature_size": 128}')
    assert run("import", given, "--as", "whisper-base", "--overwrite").exit_code == 0
    assert (model.folder / "preprocessor_config.json").is_file()
    (given / vocabulary).unlink()
    result = run("import", given, "--as", "whisper-base", "--overwrite")
    assert result.exit_code == 3 and "needs vocabulary.txt beside model.bin" in result.stderr


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torch", whisper(b"TransformerSpec")])
def test_other_files_are_no_whisper(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(InputError, match="is not a Whisper model"):
        plain.copy_ctranslate2(tmp_path / "model.bin", {}, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_task_files_are_archives_with_a_model(tmp_path: Path) -> None:
    task = tmp_path / "face.task"
    task.write_bytes(b"no zip")
    with pytest.raises(InputError, match="is not a MediaPipe"):
        plain.copy_task(task, {}, tmp_path / "target")
    with zipfile.ZipFile(task, "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(InputError, match="without a TensorFlow Lite model"):
        plain.copy_task(task, {}, tmp_path / "target")
    with zipfile.ZipFile(task, "w") as archive:
        archive.writestr("face.tflite", "x")
    plain.copy_task(task, {}, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == task.read_bytes()
