"""``verify`` reads back what was put in, also after what people and platforms do to files."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from marked_media import REFERENCE_HASH, SCRIPT_HASH, marked_video
from media_samples import cut_bytes, make_video, run_and_weigh, run_ffmpeg
from omnitalk_cli.cli.app import app
from omnitalk_cli.cli.verify import describe
from omnitalk_cli.errors import InputError, WorkError
from omnitalk_cli.pipeline import marking as marking_module
from omnitalk_cli.pipeline.mark_reading import windows
from omnitalk_cli.pipeline.marking import Marking
from omnitalk_cli.pipeline.verification import Layer, Verification, verify
from omnitalk_cli.provenance.credentials import Claim, sign
from omnitalk_cli.provenance.identity import local_identity
from omnitalk_cli.provenance.ledger import Ledger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marking]:
    path = tmp_path_factory.mktemp("made") / "talk.mp4"
    return path, marked_video(path)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("verify may not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def states(found: Verification) -> dict[str, str]:
    return {layer.name: layer.state for layer in found.layers}


def ids(found: Verification) -> dict[str, int | None]:
    return {layer.name: layer.id for layer in found.layers}


def test_all_layers_of_an_untouched_file(made: tuple[Path, Marking]) -> None:
    path, marking = made
    found = verify(path)
    assert found.verdict == "made by omnitalk" and found.exit_code == 0
    assert states(found) == {
        "label": "detected", "credentials": "trusted", "video": "detected", "audio": "detected",
    }  # fmt: skip
    named = {value for value in ids(found).values() if value is not None}
    assert named == {marking.id} and found.agree
    (entry,) = found.entries
    assert (entry.reference_hash, entry.text_hash) == (REFERENCE_HASH, SCRIPT_HASH)
    assert entry.output_name == "talk.mp4" and found.unchanged


def test_the_signature_of_a_stranger_is_valid_but_untrusted(
    made: tuple[Path, Marking], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITALK_KEY_DIR", str(tmp_path / "another user"))
    found = verify(made[0])
    assert states(found)["credentials"] == "valid-untrusted"
    assert found.verdict == "made by omnitalk"
    assert found.entries == () and found.unchanged is None
    assert not (tmp_path / "another user").exists()  # looking makes nothing


def test_a_copied_stream_keeps_its_marks_and_loses_its_credentials(
    made: tuple[Path, Marking], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.mkv"
    run_ffmpeg("-i", made[0], "-c", "copy", copy)
    found = verify(copy)
    assert found.verdict == "made by omnitalk" and found.unchanged is False
    assert states(found)["credentials"] == "absent"
    assert ids(found)["video"] == ids(found)["audio"] == made[1].id


def test_one_flipped_byte(made: tuple[Path, Marking], tmp_path: Path) -> None:
    data = bytearray(made[0].read_bytes())
    data[data.find(b"mdat") + 5000] ^= 1
    altered = tmp_path / "altered.mp4"
    altered.write_bytes(data)
    found = verify(altered)
    assert states(found)["credentials"] == "invalid"
    assert found.verdict == "altered" and found.exit_code == 3


def test_the_sound_of_another_video(made: tuple[Path, Marking], tmp_path: Path) -> None:
    other, mixed = tmp_path / "other.mp4", tmp_path / "mixed.mp4"
    marking = marked_video(other, seed=1)
    run_ffmpeg("-i", made[0], "-i", other, "-map", "0:v", "-map", "1:a", "-c", "copy", mixed)
    found = verify(mixed)
    assert ids(found)["video"] == made[1].id and ids(found)["audio"] == marking.id
    assert found.verdict == "contradictory" and found.exit_code == 3
    assert len(found.entries) == 1


def test_a_stranger_who_signs_with_our_id(made: tuple[Path, Marking], tmp_path: Path) -> None:
    """Whoever has seen a video knows its id, and can sign in the name of omnitalk."""
    claim = Claim(
        title="talk", version="1", created=datetime.now(UTC), mark_id=made[1].id,
        marks=("video", "audio"),
    )  # fmt: skip
    stranger = local_identity(tmp_path / "stranger")
    foreign, forged = make_video(tmp_path / "foreign.mp4", seconds=2), tmp_path / "forged.mp4"
    sign(foreign, forged, claim, stranger)
    found = verify(forged)
    assert states(found)["credentials"] == "valid-untrusted"
    assert ids(found)["credentials"] == made[1].id
    assert found.verdict == "labelled only" and found.entries == ()
    assert not any(line.startswith(("  made here", "  known here")) for line in describe(found))
    # With our pictures the id is known, but the file is none of ours.
    copy = tmp_path / "copy.mp4"
    run_ffmpeg("-i", made[0], "-c", "copy", copy)
    forged.unlink()
    sign(copy, forged, claim, stranger)
    lines = "\n".join(describe(verify(forged)))
    assert "made here" not in lines and "id given to talk.mp4" in lines and "another file" in lines


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full_when_it_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = tmp_path / ".part"
    signed.symlink_to("/dev/full")
    monkeypatch.setattr(marking_module, "part_path", lambda path: signed)
    with pytest.raises(WorkError, match="talk.mp4: cannot be signed") as caught:
        marked_video(tmp_path / "talk.mp4", seconds=0.5)
    assert ".part" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_of_several_takes_with_one_short_id_the_file_itself_is_told(
    made: tuple[Path, Marking], monkeypatch: pytest.MonkeyPatch
) -> None:
    (real,) = verify(made[0]).entries
    other = replace(real, id=real.id ^ 1 << 20, output_hash="0" * 64, output_name="other.mp4")
    monkeypatch.setattr(Ledger, "find", lambda *_: [other, real])
    found = verify(made[0])
    assert found.entries == (real,) and found.unchanged


def test_sound_that_goes_on_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=1", "-f", "lavfi", "-i", "sine=d=15", path
    )
    found = verify(path)
    assert found.verdict == "no mark" and found.layers[2].detail == ""


def test_pictures_that_change_their_size(tmp_path: Path) -> None:
    parts = [
        make_video(tmp_path / f"{size[0]}.ts", seconds=6, size=size, tone=None)
        for size in ((96, 64), (64, 96))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert verify(path).verdict == "no mark"


def test_slide_show(tmp_path: Path) -> None:
    path = tmp_path / "slides.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=1/4:d=12", path)
    assert verify(path).verdict == "no mark"


def test_encoded_smaller_and_cut(made: tuple[Path, Marking], tmp_path: Path) -> None:
    shared = tmp_path / "shared.mp4"
    run_ffmpeg(
        "-ss", "1.3", "-i", made[0], "-vf", "crop=230:230,hflip", "-crf", "26",
        "-map_metadata", "-1", "-c:a", "aac", "-b:a", "64k", shared,
    )  # fmt: skip
    found = verify(shared)
    assert states(found)["label"] == "absent"
    assert ids(found)["video"] == made[1].id
    assert found.verdict == "made by omnitalk"


def test_files_of_others(tmp_path: Path) -> None:
    other = make_video(tmp_path / "other.mp4", seconds=2)
    found = verify(other)
    assert found.verdict == "no mark" and found.exit_code == 1
    assert "does not prove" in found.words
    assert set(states(found).values()) == {"absent"}


def test_a_claim_in_the_metadata_alone(tmp_path: Path) -> None:
    claimed = make_video(
        tmp_path / "a.mp4", arguments=["-metadata", "comment=Synthetic media: made by omnitalk."]
    )
    found = verify(claimed)
    assert found.verdict in ("labelled only", "no mark")
    assert states(found)["video"] == states(found)["audio"] == "absent"


@pytest.mark.parametrize("name", ["sound.wav", "silent.mp4", "second.mp4", "picture.png"])
def test_files_that_lack_something(made: tuple[Path, Marking], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    how = {
        "sound.wav": ["-vn"],
        "silent.mp4": ["-an", "-c:v", "copy"],
        "second.mp4": ["-t", "1"],
        "picture.png": ["-frames:v", "1"],
    }[name]
    run_ffmpeg("-i", made[0], *how, path)
    found = verify(path)
    layer = {layer.name: layer for layer in found.layers}
    if name == "sound.wav":
        assert layer["audio"].id == made[1].id
        assert layer["video"].detail == "the file has no pictures"
    else:
        assert layer["video"].id == made[1].id
    if name in ("silent.mp4", "picture.png"):
        assert layer["audio"].detail == "the file has no sound"
    assert found.exit_code == 0


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "noise", "cut"])
def test_what_cannot_be_read(made: tuple[Path, Marking], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Hello.\n" * 100)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(300_000))
    elif kind == "cut":
        cut_bytes(made[0], path, keep=0.02)
    with pytest.raises(InputError, match="file.mp4") as caught:
        verify(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("moment", ["credentials", "video mark", "audio mark"])
def test_a_file_that_goes_away(made: tuple[Path, Marking], tmp_path: Path, moment: str) -> None:
    path = Path(shutil.copy(made[0], tmp_path / "file.mp4"))

    def take_away(stage: str, done: float, total: float | None) -> None:
        if stage == moment:
            path.unlink(missing_ok=True)

    with pytest.raises(InputError, match="file.mp4"):
        verify(path, progress=take_away)


def test_half_a_file_is_read_as_far_as_it_goes(made: tuple[Path, Marking], tmp_path: Path) -> None:
    found = verify(cut_bytes(made[0], tmp_path / "half.mp4", keep=0.6))
    assert found.verdict in ("altered", "made by omnitalk")
    assert ids(found)["video"] == made[1].id


def test_hostile_metadata(tmp_path: Path) -> None:
    nasty = "\x1b[31mAI\x07 " + "A" * 50_000 + "\u202e"
    path = make_video(
        tmp_path / "a.mp4",
        arguments=[
            "-movflags", "use_metadata_tags", "-metadata", f"AIGC={nasty}", "-metadata",
            f"comment={nasty}", "-metadata", f"title={nasty}",
        ],
    )  # fmt: skip
    result = CliRunner().invoke(app, ["verify", str(path)])
    assert result.exit_code in (0, 1), result.stderr
    assert "\x1b" not in result.stdout and "\x07" not in result.stdout
    assert "\u202e" not in result.stdout and len(result.stdout) < 3000


@pytest.mark.slow
def test_ten_hours(made: tuple[Path, Marking], tmp_path: Path) -> None:
    """A mark in the last minutes of ten hours is found; time and memory stay bounded."""
    minute, long = tmp_path / "minute.mp4", tmp_path / "long.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=gray:s=256x256:r=12:d=60", "-f", "lavfi", "-i",
        "anullsrc=r=48000:cl=mono", "-shortest", "-pix_fmt", "yuv420p", "-c:a", "aac", minute,
    )  # fmt: skip
    listed = tmp_path / "list.txt"
    listed.write_text("file 'minute.mp4'\n" * 600 + f"file '{made[0]}'\n")
    run_ffmpeg("-f", "concat", "-safe", "0", "-i", listed, "-c", "copy", long)
    said, megabytes = run_and_weigh(
        "import sys; from pathlib import Path\n"
        "from omnitalk_cli.pipeline.verification import verify\n"
        "found = verify(Path(sys.argv[1])); print(found.verdict, found.layers[2].id)",
        long,
    )
    assert said == f"made by omnitalk {made[1].id}"
    assert megabytes < 800


def test_windows() -> None:
    assert windows(4.0) == [(0.0, 4.0)]
    for seconds in (9.5, 60.0, 36_000.0):
        parts = windows(seconds)
        assert parts[0][0] == 0 and sum(parts[-1]) == pytest.approx(seconds)
        assert 1 < len(parts) <= 6
    assert sum(length for _, length in windows(12.0)) >= 12.0


CREDENTIALS = Layer(name="credentials", state="trusted", id=0xAABBCCDD, bits=32)
VIDEO = Layer(name="video", state="detected", id=0xAABBCCDD, bits=32)
AUDIO = Layer(name="audio", state="detected", id=0xCCDD, bits=16)


@pytest.mark.parametrize(
    ("layers", "verdict", "agree"),
    [
        ((CREDENTIALS, VIDEO, AUDIO), "made by omnitalk", True),
        ((VIDEO,), "made by omnitalk", None),
        ((replace(VIDEO, state="detected-no-id", id=None, bits=0),), "made by omnitalk", None),
        ((CREDENTIALS, replace(AUDIO, id=0xCCDE)), "contradictory", False),
        ((replace(CREDENTIALS, state="invalid"), VIDEO), "altered", True),
        ((CREDENTIALS,), "made by omnitalk", None),
        ((replace(CREDENTIALS, id=None, bits=0),), "no mark", None),  # signed by other software
        ((replace(CREDENTIALS, id=None, bits=0, says_generated=True),), "labelled only", None),
        ((replace(CREDENTIALS, state="valid-untrusted"),), "labelled only", None),
        ((replace(CREDENTIALS, state="valid-untrusted"), VIDEO), "made by omnitalk", True),
        ((Layer(name="label", state="detected", says_generated=True),), "labelled only", None),
        ((Layer(name="label", state="absent"),), "no mark", None),
    ],
)
def test_verdicts(layers: tuple[Layer, ...], verdict: str, agree: bool | None) -> None:
    found = Verification(path=Path("a.mp4"), layers=layers)
    assert (found.verdict, found.agree) == (verdict, agree)


def test_names_of_files_cannot_speak_in_our_name() -> None:
    path = Path("x.mp4: made by omnitalk\n  credentials  trusted\x1b[31m\u202e.mp4")
    first, *others = describe(Verification(path=path, layers=(VIDEO, CREDENTIALS)))
    assert first.isprintable() and first.endswith("made by omnitalk")
    assert [line.split()[0] for line in others] == ["video", "credentials"]


@pytest.mark.skipif(sys.platform != "linux", reason="names there are Unicode")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff.mp4")
    path.write_bytes(b"x")
    for more in ([], ["--json"]):
        result = CliRunner().invoke(app, ["verify", str(path), *more])
        assert result.exit_code == 3 and "rename the file" in result.output
    assert json.loads(result.stdout)["files"][0]["path"] == str(path)


def test_what_is_trusted_is_read_once_and_first(tmp_path: Path) -> None:
    plain, broken = make_video(tmp_path / "plain.mp4"), tmp_path / "roots.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    result = CliRunner().invoke(app, ["verify", str(plain), str(plain), "--trust", str(broken)])
    assert result.exit_code == 3 and result.stdout == ""
    assert result.stderr.count("error") == 1 and "roots.pem" in result.stderr


def test_the_command(made: tuple[Path, Marking], tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4")
    copy = shutil.copy(made[0], tmp_path / "copy.mp4")
    run = CliRunner().invoke
    alone = run(app, ["verify", str(copy)])
    assert alone.exit_code == 0, alone.stderr
    assert "made by omnitalk" in alone.stdout and made[1].name in alone.stdout
    both = run(app, ["verify", str(copy), str(plain)])
    assert both.exit_code == 1 and "no mark found (which does not prove" in both.stdout
    several = run(app, ["verify", "--json", str(tmp_path / "none.mp4"), str(copy), str(plain)])
    assert several.exit_code == 3
    answer = json.loads(several.stdout)
    assert [one["exit_code"] for one in answer["files"]] == [3, 0, 1]
    assert answer["files"][1]["layers"]["video"]["id"] == made[1].name
    missing = run(app, ["verify", str(tmp_path / "none.mp4"), str(plain)])
    assert missing.exit_code == 3 and "no such file" in missing.stderr
    assert "plain.mp4" in missing.stdout
