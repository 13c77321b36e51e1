"""The fingerprint of a job changes with everything that its output depends on, and nothing else."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from omnitalk_cli.batch.fingerprint import ContentHashes, fingerprint_of
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.errors import InputError
from omnitalk_cli.weights import store

OPTIONS = {"seed": 1, "lang": "en", "cfg_video": 0.0, "speed": None}


def job(**options: Any) -> Job:
    return Job(
        id="a", line=2, ref=Path("clip.mp4"), text="hello", output=Path("a.mp4"),
        options=OPTIONS | options,
    )  # fmt: skip


def fingerprint(one: Job, **more: Any) -> str:
    facts = {
        "ref_sha256": "r",
        "text_sha256": "t",
        "audio_sha256": "",
        "versions": {"omnitalk": "1"},
    }
    return fingerprint_of(one, **facts | more)


def test_it_is_a_hash_that_never_changes_by_itself() -> None:
    value = fingerprint(job())
    assert len(value) == 64 and int(value, 16) >= 0
    assert value == "dedd6302369fc6abbb1ff055c1f35ee1e3456d699e74a7f45602e8e43fd1e9c8"
    turned = dataclasses.replace(job(), options=dict(reversed(OPTIONS.items())))
    assert fingerprint(turned) == value


@pytest.mark.parametrize(
    "options",
    [{"seed": 2}, {"seed": None}, {"cfg_video": 0.5}, {"lang": "zh"}, {"steps": 8}, {"speed": 1.0}],
)
def test_options_count(options: dict[str, Any]) -> None:
    assert fingerprint(job(**options)) != fingerprint(job())


@pytest.mark.parametrize(
    "facts",
    [
        {"ref_sha256": "x"}, {"text_sha256": "x"}, {"text_sha256": "", "audio_sha256": "t"},
        {"versions": {"omnitalk": "2"}}, {"versions": {"omnitalk": "1", "weights": "x"}},
    ],
)  # fmt: skip
def test_content_and_versions_count(facts: dict[str, Any]) -> None:
    assert fingerprint(job(), **facts) != fingerprint(job())


def test_names_places_and_machines_do_not_count() -> None:
    same = dataclasses.replace(
        job(workers=9, device="cuda:1", cache=False, overwrite=True, ffmpeg="/opt/ffmpeg"),
        id="b", line=99, output=Path("elsewhere.mp4"), ref=Path("copy.mp4"), text=None,
        text_file=Path("hello.txt"),
    )  # fmt: skip
    assert fingerprint(same) == fingerprint(job())


def test_files_in_options_count_by_content(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("1.wav", "2.wav", "3.wav"))
    first.write_bytes(b"voice")
    copy.write_bytes(b"voice")
    other.write_bytes(b"noise")
    for name, kind in (("ref_audio", Path), ("ref_text", str), ("background", str)):
        values = [fingerprint(job(**{name: kind(path)})) for path in (first, copy, other)]
        assert values[0] == values[1] != values[2]
    assert fingerprint(job(ref_text="voice")) != fingerprint(job(ref_text="voice ")), "plain words"
    assert fingerprint(job(ref_text="x" * 9000)) and fingerprint(job(ref_text="nul \0"))
    with pytest.raises(InputError, match=r"none\.wav.*cannot be read"):
        fingerprint(job(ref_audio=tmp_path / "none.wav"))
    with pytest.raises(TypeError):
        fingerprint(job(odd=object()))


def test_files_are_read_once_while_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    really = store.sha256
    monkeypatch.setattr(store, "sha256", lambda path: read.append(path) or really(path))
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"one")
    hashes = ContentHashes()
    first = hashes.of(path)
    assert hashes.of(path) == first and len(read) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(5, 5))
    assert hashes.of(path) != first and len(read) == 2
    replaced = tmp_path / "new"
    replaced.write_bytes(b"six")
    os.utime(replaced, ns=(5, 5))
    os.replace(replaced, path)
    assert hashes.of(path) == really(path) and len(read) == 3, "same size and time, another file"
