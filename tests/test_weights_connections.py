"""Pulling weights over bad connections, and from a hub that refuses or lies."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

import weights_samples as samples
from hub_server import Hub
from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.weights import catalog, store
from omnitalk_cli.weights.hub import refusals
from omnitalk_cli.weights.receipt import read_receipt
from weights_samples import get, left, run


# --- connections ---------------------------------------------------------------------------------
def test_cut_connection_goes_on_at_once(hub: Hub) -> None:
    hub.cut["v1/voice.bin"] = [10_000, 8_000]
    assert get("voice").read_bytes() == samples.VOICE[::-1]
    assert hub.ranges("voice.bin") == ["", "bytes=10000-", "bytes=18000-"]


def test_cut_connection_goes_on_at_the_next_pull(hub: Hub) -> None:
    hub.cut["v1/voice.bin"] = [5000, 0, 0, 0, 0]
    with pytest.raises(WorkError, match="broke off.*goes on"):
        get("voice")
    assert {Path(name).name for name in left()} == {"voice.bin.part"}
    hub.asked.clear()
    assert get("voice").read_bytes() == samples.VOICE[::-1]
    assert hub.ranges("voice.bin") == ["bytes=5000-"]


def test_server_that_knows_no_ranges_sends_all_again(hub: Hub) -> None:
    hub.ignores_ranges = True
    hub.cut["v1/voice.bin"] = [5000]
    assert get("voice").read_bytes() == samples.VOICE[::-1]


def test_longer_remains_than_the_file_are_thrown_away(hub: Hub) -> None:
    part = store.weights_folder() / ".staging" / "voice" / hub.commit / "voice.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(samples.VOICE) + 5))
    assert get("voice").read_bytes() == samples.VOICE[::-1]


def test_busy_server_is_asked_again(hub: Hub) -> None:
    hub.status["free.bin"] = [503, 429]
    get("free")


def test_finished_files_of_a_failed_pull_are_kept(hub: Hub) -> None:
    hub.status["v1/vocab.txt"] = [500] * 5
    with pytest.raises(WorkError, match="HTTP 500"):
        get("voice")
    hub.asked.clear()
    get("voice")
    assert hub.ranges("voice.bin") == []


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = run("pull", "free")
    assert result.exit_code == 4 and "no connection to http://127.0.0.1:9" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not left()


def test_no_network_to_another_server_than_the_hub(hub: Hub) -> None:
    face = catalog.catalog().entry("face")
    assert face.source is not None
    with (
        pytest.raises(SetupError, match="weights import FILE --as face$"),
        refusals(face, face.source.files[0]),
    ):
        raise httpx2.ConnectError("refused")


@pytest.mark.parametrize("variable", [True, False])
def test_offline_takes_the_cache_or_says_so(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    options = {} if variable else {"offline": True}
    if variable:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SetupError, match="free.bin is not in .*offline.*weights import"):
        get("free", **options)
    snapshot = tmp_path / "hf" / "hub" / "models--lab--free" / "snapshots" / hub.commit
    snapshot.mkdir(parents=True)
    (snapshot / "free.bin").write_bytes(samples.FREE)
    assert get("free", **options).read_bytes() == samples.FREE[::-1]
    assert not hub.asked


def test_offline_finds_what_main_was(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hf" / "hub" / "models--lab--moving"
    (folder / "snapshots" / hub.commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(hub.commit)
    (folder / "snapshots" / hub.commit / "moving.bin").write_bytes(samples.MOVING)
    (folder / "snapshots" / hub.commit / "config.json").write_bytes(b"{}")
    receipt = read_receipt(get("moving", offline=True).parent)
    assert receipt is not None and receipt.commit == hub.commit


def test_damaged_cache_is_not_used_nor_touched(hub: Hub, tmp_path: Path) -> None:
    snapshot = tmp_path / "hf" / "hub" / "models--lab--voice" / "snapshots" / hub.commit / "v1"
    snapshot.mkdir(parents=True)
    (snapshot / "voice.bin").write_bytes(b"damaged")
    assert get("voice").read_bytes() == samples.VOICE[::-1]
    assert (snapshot / "voice.bin").read_bytes() == b"damaged"


# --- a hub that refuses or lies ------------------------------------------------------------------
def test_gated_repository(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("lab/free")
    hub.token = "secret"
    with pytest.raises(SetupError, match=f"{hub.url}/lab/free.*HF_TOKEN"):
        get("free")
    monkeypatch.setenv("HF_TOKEN", "stale")
    with pytest.raises(SetupError, match="refuses your token .*renew it"):
        get("free")
    monkeypatch.setenv("HF_TOKEN", "sec\u200bret")  # copied from a page
    result = run("pull", "free")
    assert result.exit_code == 4 and "copy it again" in result.stderr
    assert "sec" not in result.stderr
    monkeypatch.setenv("HF_TOKEN", "secret")
    get("free")


@pytest.mark.parametrize("status", [401, 403])
def test_forbidden(hub: Hub, status: int) -> None:
    hub.status["free.bin"] = [status]
    with pytest.raises(SetupError, match="HF_TOKEN"):
        get("free")


def test_missing_file_repository_and_revision(hub: Hub) -> None:
    del hub.files["lab/voice"]["v1/vocab.txt"]
    with pytest.raises(WorkError, match="lab/voice has no file v1/vocab.txt"):
        get("voice")
    del hub.files["lab/free"]
    with pytest.raises(WorkError, match="lab/free has no file"):
        get("free")
    hub.commit = "0" * 40
    with pytest.raises(WorkError, match="no revision"):
        get("voice")
    assert not left()


@pytest.mark.parametrize("name", ["voice.bin", "vocab.txt"])
def test_content_that_is_not_what_was_announced(hub: Hub, name: str) -> None:
    """A large file is known by its SHA-256, a small one by its git hash."""
    content = hub.files["lab/voice"][f"v1/{name}"]
    hub.lie[f"v1/{name}"] = b"?" + content[1:]
    result = run("pull", "voice", "--accept-license", "NC-1")
    assert result.exit_code == 1 and name in result.stderr
    assert "nothing was installed" in result.stderr and "Traceback" not in result.stderr
    assert not any(name in item for item in left())
    with pytest.raises(SetupError, match="voice is not installed"):
        store.find_weights("voice")
    hub.lie.clear()
    get("voice")


def test_hub_that_announces_another_file_is_not_asked_for_it(hub: Hub) -> None:
    hub.files["lab/voice"]["v1/voice.bin"] = samples.VOICE[::-1]
    with pytest.raises(WorkError, match="another file"):
        get("voice")
    assert not hub.ranges("voice.bin")


def test_file_off_the_hub_is_checked(hub: Hub) -> None:
    hub.lie["face.task"] = b"?" * len(samples.FACE)
    with pytest.raises(WorkError, match="is not the file that is meant"):
        get("face")
    assert not left()


def test_server_that_is_no_hub(hub: Hub) -> None:
    hub.commit = ""
    with pytest.raises(WorkError, match="does not say which commit"):
        get("moving")
