"""Content Credentials: what is signed reads back, changes show, strangers' files do no harm."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import c2pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_samples import make_video, run_and_weigh, run_ffmpeg
from omnitalk_cli.errors import InputError, SetupError, UsageError, WorkError
from omnitalk_cli.provenance import c2pa_engine, certificates
from omnitalk_cli.provenance.claim import Claim, ClaimInput
from omnitalk_cli.provenance.credentials import read_credentials, sign
from omnitalk_cli.provenance.identity import Identity, local_anchor, local_identity
from omnitalk_cli.provenance.manifest_report import CredentialsReading, line_of, report

REFERENCE, SCRIPT, WEIGHTS = "ab" * 32, "cd" * 32, "ef" * 32
CLAIM = Claim(
    title="out.mp4",
    version="1.2.3",
    created=datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2))),
    mark_id=0x00C0FFEE,
    marks=("visible", "video", "audio"),
    inputs=(
        ClaimInput(kind="reference", sha256=REFERENCE),
        ClaimInput(kind="script", sha256=SCRIPT),
    ),
    model="base",
    weights_sha256=WEIGHTS,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")


@pytest.fixture(scope="module")
def identity(folder: Path) -> Identity:
    return local_identity(folder / "keys")


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    return make_video(folder / "plain.mp4", arguments=("-movflags", "+faststart"))


@pytest.fixture(scope="module")
def signed(folder: Path, identity: Identity, video: Path) -> Path:
    source = folder / ".out.part"
    source.write_bytes(video.read_bytes())
    sign(source, folder / ".out.2.part", CLAIM, identity)
    return folder / ".out.2.part"


def _manifests(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return json.loads(c2pa.Reader(None, file).detailed_json())["manifests"]


def _changed(path: Path, target: Path, place: int) -> Path:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    target.write_bytes(data)
    return target


@contextmanager
def _server(answer: bytes | None = None) -> Iterator[tuple[str, list[int]]]:
    """A server's address and its count of callers; None: it takes calls and says nothing."""
    calls: list[int] = []
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                calls.append(1)
                held.append(connection)
                if answer is not None:
                    connection.recv(1 << 16)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/it", calls


def test_what_is_signed_reads_back(signed: Path, identity: Identity, folder: Path) -> None:
    expected = CredentialsReading(
        state="trusted",
        ours=True,
        mark_id=0x00C0FFEE,
        bits=32,
        generator="omnitalk 1.2.3",
        signer="omnitalk local signer",
        issuer="omnitalk",
        time="2026-03-04T03:06:07Z",
        digital_source_type="trainedAlgorithmicMedia",
    )
    assert read_credentials(signed, anchors=local_anchor(folder / "keys")) == expected
    unknown = read_credentials(signed, anchors=None)
    assert replace(unknown, state="trusted", problems=()) == expected
    assert unknown.state == "valid-untrusted" and "untrusted" in unknown.problems[0]
    stranger = local_identity(folder / "other").anchor
    assert read_credentials(signed, anchors=stranger).state == "valid-untrusted"
    assert json.loads(json.dumps(expected.to_dict()))["problems"] == []


def test_picture_and_sound_are_as_before(signed: Path, video: Path, folder: Path) -> None:
    sums = [folder / "before.md5", folder / "after.md5"]
    for path, told in zip((video, signed), sums, strict=True):
        run_ffmpeg("-i", path, "-f", "framemd5", told)
    assert sums[0].read_text() == sums[1].read_text()


def test_claim_holds_hashes_and_nothing_of_the_inputs(signed: Path, identity: Identity) -> None:
    (manifest,) = _manifests(signed).values()
    store = manifest["assertion_store"]
    assert not [label for label in store if "thumbnail" in label]
    said = store["com.omnitalk.generation"]
    assert said["provider"] == said["system"] == "omnitalk"
    assert (said["version"], said["id"], said["time"]) == (
        "1.2.3",
        "00c0ffee",
        "2026-03-04T03:06:07Z",
    )
    assert (said["model"], said["weightsSha256"]) == ("base", WEIGHTS)
    assert [one["sha256"] for one in said["inputs"]] == [REFERENCE, SCRIPT]
    inputs = [store["c2pa.ingredient.v3"], store["c2pa.ingredient.v3__1"]]
    assert [one["relationship"] for one in inputs] == ["inputTo", "inputTo"]
    assert [one["description"][-64:] for one in inputs] == [REFERENCE, SCRIPT]
    made, marked = store["c2pa.actions.v2"]["actions"]
    assert made["action"] == "c2pa.created" and len(made["parameters"]["ingredients"]) == 2
    assert marked["action"] == "c2pa.watermarked.bound"
    bindings = [store["c2pa.soft-binding"], store["c2pa.soft-binding__1"]]
    assert {one["alg"] for one in bindings} == {
        "com.omnitalk.video-mark.1",
        "com.omnitalk.audio-mark.1",
    }
    assert {one["blocks"][0]["value"] for one in bindings} == {"00c0ffee"}


def test_other_claims(video: Path, identity: Identity, tmp_path: Path) -> None:
    short = replace(CLAIM, mark_id=0xBEE, bits=16, marks=("audio",), composite=True, inputs=())
    sign(video, tmp_path / "a", short, identity)
    reading = read_credentials(tmp_path / "a", anchors=identity.anchor)
    assert (reading.state, reading.mark_id, reading.bits) == ("trusted", 0xBEE, 16)
    assert reading.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    bare = Claim(title="", version="1", created=datetime.now(UTC))
    sign(video, tmp_path / "b", bare, identity)
    reading = read_credentials(tmp_path / "b", anchors=identity.anchor)
    assert (reading.state, reading.mark_id, reading.bits) == ("trusted", None, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"created": datetime(2026, 1, 1)},
        {"bits": 8},
        {"mark_id": 1 << 16, "bits": 16},
        {"mark_id": -1},
        {"weights_sha256": "short"},
    ],
)
def test_claims_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CLAIM, **wrong)
    with pytest.raises(ValueError):
        ClaimInput(kind="script", sha256="the script itself")
    with pytest.raises(ValueError):
        ClaimInput(kind="else", sha256=SCRIPT)  # type: ignore[arg-type]


def test_a_changed_byte_of_the_video_shows(signed: Path, identity: Identity, folder: Path) -> None:
    data = signed.read_bytes()
    for place in (data.index(b"mdat") + 300, data.index(b"mvhd") + 20, len(data) - 1):
        changed = _changed(signed, folder / "changed", place)
        reading = read_credentials(changed, anchors=identity.anchor)
        assert reading.state == "invalid" and reading.ours
        assert "changed after it was signed" in reading.problems[0]


@pytest.mark.parametrize(
    "inside",
    [b"00c0ffee", b"trainedAlgorithmicMedia", b"c2pa.watermarked", b"omnitalk local signer",
     REFERENCE.encode(), b"c2cl"],
)  # fmt: skip
def test_a_changed_byte_of_the_manifest_shows(
    signed: Path, identity: Identity, folder: Path, inside: bytes
) -> None:
    changed = _changed(signed, folder / "changed", signed.read_bytes().index(inside))
    reading = read_credentials(changed, anchors=identity.anchor)
    assert reading.state == "invalid" and reading.problems


@given(place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_no_changed_bit_makes_up_another_claim(
    signed: Path, identity: Identity, folder: Path, place: int, bit: int
) -> None:
    data = bytearray(signed.read_bytes())
    end = data.index(b"moov")  # half of the tries on the manifest, which comes before
    data[place % end if place % 2 else place % len(data)] ^= 1 << bit
    changed = folder / "bit"
    changed.write_bytes(data)
    reading = read_credentials(changed, anchors=identity.anchor)
    if reading.state == "trusted":  # a bit that nothing depends on, e.g. of padding
        assert reading == read_credentials(signed, anchors=identity.anchor)
    else:
        assert reading.state in ("invalid", "absent", "valid-untrusted") and reading.problems


def test_an_expired_certificate_is_no_change_of_the_file(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_DAYS", 5 / 86_400)
    target = tmp_path / "out.mp4"
    identity = local_identity(tmp_path / "keys")
    sign(video, target, CLAIM, identity)
    time.sleep(6)
    reading = read_credentials(target, anchors=identity.anchor)
    assert reading.state == "valid-untrusted" and reading.mark_id == CLAIM.mark_id
    assert any("had expired" in problem for problem in reading.problems)
    data = target.read_bytes()
    for place in (len(data) - 500, data.find(b"trainedAlgorithmic")):  # the video, the statement
        changed = _changed(target, tmp_path / "changed.mp4", place)
        assert read_credentials(changed, anchors=identity.anchor).state == "invalid"


def test_copying_by_ffmpeg_takes_them_off(signed: Path, folder: Path) -> None:
    run_ffmpeg("-i", signed, "-c", "copy", "-f", "mp4", folder / "copied")
    assert read_credentials(folder / "copied", anchors=None) == CredentialsReading(state="absent")


def test_cut_file_is_invalid(signed: Path, folder: Path) -> None:
    data = signed.read_bytes()
    (folder / "cut").write_bytes(data[: len(data) // 2])
    reading = read_credentials(folder / "cut", anchors=None)
    assert reading.state == "invalid" and reading.problems


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4a", "jpg", "png", "wav", "mp3", "gif"])
def test_other_files_are_read_by_content(
    video: Path, identity: Identity, tmp_path: Path, suffix: str
) -> None:
    plain = tmp_path / f"plain.{suffix}"
    short = {"jpg": ("-frames:v", 1), "png": ("-frames:v", 1), "gif": ("-t", 0.1)}
    run_ffmpeg("-i", video, *short.get(suffix, ()), plain)
    assert read_credentials(plain, anchors=None) == CredentialsReading(state="absent")
    foreign = tmp_path / "foreign.txt"
    _sign_as_stranger(plain, foreign, identity, builder={"thumbnail": {"enabled": False}})
    reading = read_credentials(foreign, anchors=identity.anchor)
    assert (reading.state, reading.ours, reading.mark_id) == ("trusted", False, None)
    assert reading.generator == "Other [31m tool 7" and reading.time == "2020-01-01T00:00:00Z"
    assert reading.digital_source_type == "x" * 199 + "…"


def _sign_as_stranger(source: Path, target: Path, identity: Identity, **settings: Any) -> None:
    """Credentials of another program, with hostile texts, and a binding that is none of ours."""
    mime = {
        "mp4": "video/mp4", "mov": "video/quicktime", "m4a": "audio/mp4", "jpg": "image/jpeg",
        "png": "image/png", "wav": "audio/wav", "mp3": "audio/mpeg", "gif": "image/gif",
    }[source.suffix[1:]]  # fmt: skip
    created = {
        "action": "c2pa.created",
        "when": "2020-01-01T00:00:00Z",
        "digitalSourceType": "http://example.com/" + "x" * 5000,
    }
    mark = {"alg": "com.other.1", "blocks": [{"scope": {}, "value": "00c0ffee"}]}
    definition = {
        "claim_generator_info": [{"name": "Other\x1b[31m\n\n tool", "version": "7"}],
        "format": mime,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": "c2pa.soft-binding", "data": mark},
        ],
    }
    builder = c2pa.Builder(definition, context=c2pa.Context.from_dict({"version": 1, **settings}))
    if "remote" in settings:
        builder.set_no_embed()
        builder.set_remote_url(settings["remote"])
    with source.open("rb") as before, target.open("w+b") as after:
        builder.sign(c2pa_engine.signer(identity), mime, before, after)


def test_nothing_is_fetched(video: Path, identity: Identity, tmp_path: Path) -> None:
    with _server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as (address, calls):
        _sign_as_stranger(video, tmp_path / "far", identity, remote=address)
        with pytest.raises(c2pa.C2paError), (tmp_path / "far").open("rb") as file:
            c2pa.Reader(None, file)
        assert calls == [1]  # as the library is by itself: the file does name the server
        reading = read_credentials(tmp_path / "far", anchors=identity.anchor)
        assert reading.state == "absent" and address in reading.problems[0]
        sign(video, tmp_path / "own", CLAIM, identity)
        read_credentials(tmp_path / "own", anchors=None)
        assert calls == [1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: 3\r\n"
        b"\r\nabc",
        b"nonsense",
    ],
)
def test_failing_time_stamps_leave_nothing(
    video: Path, identity: Identity, tmp_path: Path, answer: bytes
) -> None:
    with _server(answer) as (address, calls):
        with pytest.raises(WorkError, match="no time stamp") as caught:
            sign(video, tmp_path / "out", CLAIM, identity, timestamp_url=address)
        assert calls and str(caught.value).startswith(address) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    for wrong in ("", "x", "ftp://a/", "http://", "http://[", "http://a\n/"):
        with pytest.raises(UsageError, match="address"):
            sign(video, tmp_path / "out", CLAIM, identity, timestamp_url=wrong)


@pytest.mark.slow
def test_silent_time_stamp_server_is_not_waited_for_long(
    video: Path, identity: Identity, tmp_path: Path
) -> None:
    with _server() as (address, _), pytest.raises(WorkError, match="no time stamp"):
        began = time.monotonic()
        sign(video, tmp_path / "out", CLAIM, identity, timestamp_url=address)
    assert time.monotonic() - began < 45


def test_what_cannot_be_signed(video: Path, identity: Identity, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    for content in (b"", b"hello", video.read_bytes()[:40]):
        bad.write_bytes(content)
        with pytest.raises(WorkError, match="bad.mp4: Content Credentials cannot be written"):
            sign(bad, tmp_path / "out", CLAIM, identity, timestamp_url="http://127.0.0.1:1/")
        assert not (tmp_path / "out").exists()
    with pytest.raises(WorkError, match="none"):
        sign(tmp_path / "none", tmp_path / "out", CLAIM, identity)
    with pytest.raises(WorkError, match="no/out"):
        sign(video, tmp_path / "no" / "out", CLAIM, identity)


def test_credentials_of_the_reference_are_kept_without_its_picture(
    video: Path, signed: Path, identity: Identity, tmp_path: Path
) -> None:
    photo, own = tmp_path / "face.jpg", tmp_path / "credited.jpg"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=800x600", "-frames:v", 1, photo)
    _sign_as_stranger(photo, own, identity)
    (theirs,) = _manifests(own)
    assert "c2pa.thumbnail.claim" in _manifests(own)[theirs]["assertion_store"]
    broken = _changed(signed, tmp_path / "broken.mp4", signed.read_bytes().index(b"mdat") + 300)
    sources = {own: theirs, signed: next(iter(_manifests(signed))), broken: None, photo: None}
    for source, expected in sources.items():
        one = ClaimInput(kind="reference", sha256=REFERENCE, source_file=source)
        claim = replace(CLAIM, inputs=(one, CLAIM.inputs[1]))
        sign(video, tmp_path / "out", claim, identity)
        reading = read_credentials(tmp_path / "out", anchors=identity.anchor)
        assert reading.state == "trusted" and reading.ours and reading.mark_id == CLAIM.mark_id
        manifests = _manifests(tmp_path / "out")
        kept = [label for label in manifests if label == expected]
        assert len(manifests) == 1 + len(kept) and kept == ([expected] if expected else [])
        stores = [label for each in manifests.values() for label in each["assertion_store"]]
        assert not [label for label in stores if "thumbnail" in label]
        data = (tmp_path / "out").read_bytes()
        assert b"credited" not in data and b"face.jpg" not in data and b"JFIF" not in data
        assert len(data) < video.stat().st_size + 30_000
    missing = ClaimInput(kind="reference", sha256=REFERENCE, source_file=tmp_path / "none")
    sign(video, tmp_path / "out", replace(CLAIM, inputs=(missing,)), identity)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 5000, b"\0\0\0\x18ftypmp42", b"\0\0\0\x08ftyp" * 999, b"\xff\xd8\xff" * 99,
     b"\x89PNG\r\n\x1a\n" + b"\xff" * 99, b"RIFF\xff\xff\xff\xffWAVE", b"ID3\4\0\0\x7f\x7f\x7f\x7f",
     b"<?xml version='1.0'?><svg>", b"%PDF-1.7", b"PK\3\4", b"\x1a\x45\xdf\xa3" * 9],
)  # fmt: skip
def test_odd_files_are_absent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.mp4").write_bytes(content)
    assert read_credentials(tmp_path / "odd.mp4", anchors=None).state == "absent"


@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=6), st.integers(0, 40)),
        min_size=1,
        max_size=8,
    )
)
def test_broken_boxes_neither_crash_nor_hang(
    signed: Path, folder: Path, edits: list[tuple[int, bytes, int]]
) -> None:
    data = bytearray(signed.read_bytes())
    for place, content, removed in edits:
        place %= min(len(data), 12_000)
        data[place : place + removed] = content
    (folder / "broken").write_bytes(data)
    began = time.monotonic()
    reading = read_credentials(folder / "broken", anchors=None)
    assert time.monotonic() - began < 20
    assert reading.state in ("invalid", "absent", "valid-untrusted")


def test_trust_anchors_that_are_none(signed: Path, identity: Identity) -> None:
    assert identity.anchor is not None
    for anchors in ("", "junk", identity.anchor[:200], identity.private_key):
        with pytest.raises(InputError, match="trust anchors"):
            read_credentials(signed, anchors=anchors)


def test_nothing_is_signed_in_its_own_place(signed: Path, identity: Identity) -> None:
    before = signed.read_bytes()
    with pytest.raises(ValueError, match="own place"):
        sign(signed, signed, CLAIM, identity)
    assert signed.read_bytes() == before


def test_unreadable_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match="is not a file"):
            read_credentials(path, anchors=None)


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"ID3\4", b"", b"\0\0\0\x18ftypisom"])
def test_memory_stays_small_for_two_gigabytes(tmp_path: Path, signed: Path, head: bytes) -> None:
    big = tmp_path / "big"
    big.write_bytes(head)
    os.truncate(big, 2 << 30)
    state, megabytes = run_and_weigh(
        "import signal, sys; from pathlib import Path\n"
        "from omnitalk_cli.provenance.credentials import read_credentials\n"
        # Children of background jobs begin with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print(read_credentials(Path(sys.argv[1]), anchors=None).state)",
        big,
    )
    assert state == "absent" and megabytes < 300


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupting_ends_a_long_reading(signed: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    data = signed.read_bytes()
    size = 256 << 30  # a hole: it takes a minute to read, and no room
    big.write_bytes(data + (1).to_bytes(4, "big") + b"mdat" + (size + 16).to_bytes(8, "big"))
    os.truncate(big, big.stat().st_size + size)
    code = (
        "import signal, sys; from pathlib import Path\n"
        "from omnitalk_cli.provenance.credentials import read_credentials\n"
        # Children of background jobs begin with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('begun', flush=True)\n"
        "try: read_credentials(Path(sys.argv[1]), anchors=None)\n"
        "except KeyboardInterrupt: print('interrupted', flush=True); sys.exit(130)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, big],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (out, err, process.returncode) == ("interrupted\n", "", 130)


def test_nothing_is_said_on_standard_error(
    signed: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for place in range(40, 4000, 400):
        read_credentials(_changed(signed, folder / "changed", place), anchors=None)
    assert capfd.readouterr() == ("", "")


_NAMES = st.sampled_from(
    ["active_manifest", "manifests", "a", "assertions", "label", "data", "actions", "action",
     "digitalSourceType", "when", "c2pa.actions", "c2pa.soft-binding", "alg", "blocks", "value",
     "claim_generator_info", "name", "version", "signature_info", "common_name", "issuer", "time",
     "validation_state", "validation_results", "activeManifest", "failure", "code", "Trusted",
     "ingredientDeltas", "validationDeltas", "com.omnitalk.video-mark.1", "00c0ffee"]
)  # fmt: skip
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | _NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(_ANYTHING, _ANYTHING, _ANYTHING)
def test_reports_of_any_shape_are_understood(store: Any, manifest: Any, assertion: Any) -> None:
    whole = {"active_manifest": "a", "manifests": {"a": {"assertions": [assertion]}}}
    for each in (store, {"active_manifest": "a", "manifests": {"a": manifest}}, whole):
        reading = report(each)
        texts = [value for value in reading.to_dict().values() if isinstance(value, str)]
        for text in (*texts, *reading.problems):
            assert text.isprintable() and len(text) <= 300
        json.dumps(reading.to_dict())


@given(st.text(max_size=2000) | st.integers() | st.none())
def test_lines_are_short_and_printable(value: Any) -> None:
    text = line_of(value)
    assert text is None or (text.isprintable() and 0 < len(text) <= 200)


def test_library_that_does_not_load_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(SetupError, match="pip install"):
        c2pa_engine.library()


def test_nothing_heavy_is_imported_at_once() -> None:
    code = (
        "import sys; import omnitalk_cli.provenance.credentials\n"
        "print([name for name in ('c2pa', 'cryptography', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
