"""Pulling weights from a hub that behaves, and from one that does not."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from safetensors import SafetensorError
from typer.testing import CliRunner

import weights_samples as samples
from hub_server import Hub, serve
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import InputError, SetupError, UsageError, WorkError
from omnitalk_cli.weights import catalog, store
from omnitalk_cli.weights import pull as pull_module
from omnitalk_cli.weights.hub import refusals
from omnitalk_cli.weights.importers.registry import IMPORTERS, Importer
from omnitalk_cli.weights.pull import chosen, pull
from omnitalk_cli.weights.receipt import read_receipt

NC = ("NC-1",)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in hub, with omnitalk pointed at it."""
    with serve(samples.new_hub()) as state:
        samples.use(state, tmp_path, monkeypatch)
        yield state
    catalog.catalog.cache_clear()


def get(*names: str, **options: Any) -> Path:
    """Pulls and returns the file of the first."""
    options.setdefault("accepted", NC)
    pull(chosen(names, ()), **options)
    return store.find_weights(names[0])


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["weights", *words])


def left() -> set[str]:
    """What lies in the weights' folder, staging without its locks included."""
    folder = store.weights_folder()
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


# --- what works ----------------------------------------------------------------------------------
def test_pull_fetches_checks_converts_and_installs(hub: Hub) -> None:
    path = get("voice")
    assert path.read_bytes() == samples.VOICE[::-1]
    assert path.with_name("companions.txt").read_text() == "vocab.txt"
    receipt = read_receipt(path.parent)
    assert receipt is not None
    assert (receipt.origin, receipt.source, receipt.commit) == ("pull", "lab/voice", hub.commit)
    assert (receipt.licence, receipt.accepted, receipt.importer) == ("NC-1", "NC-1", "sample")
    fetched = {file.name: (file.size, file.sha256) for file in receipt.fetched}
    assert fetched["voice.bin"] == (len(samples.VOICE), samples.sha256(samples.VOICE))
    assert fetched["vocab.txt"] == (len(samples.VOCAB), samples.sha256(samples.VOCAB))
    installed = {file.name: file.sha256 for file in receipt.installed}
    assert installed["model.bin"] == store.sha256(path)
    assert left() == {"voice/model.bin", "voice/companions.txt", "voice/receipt.json"}


def test_what_is_there_is_not_fetched_again(hub: Hub) -> None:
    get("free")
    hub.asked.clear()
    (done,) = pull(chosen(["free"], ()))
    assert not done.fetched and not hub.asked
    (done,) = pull(chosen(["free"], ()), overwrite=True)
    assert done.fetched and hub.asked


def test_what_is_damaged_is_fetched_again(hub: Hub) -> None:
    path = get("voice")
    path.with_name("companions.txt").unlink()
    (done,) = pull(chosen(["voice"], ()), accepted=NC)
    assert done.fetched and path.with_name("companions.txt").is_file()
    path.write_bytes(path.read_bytes()[:1000])
    assert "voice --overwrite" in run("verify", "voice").stdout
    (done,) = pull(chosen(["voice"], ()), accepted=NC)
    assert done.fetched and path.read_bytes() == samples.VOICE[::-1]


def test_what_is_there_may_lie_where_nobody_can_write(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    get("free")

    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("omnitalk_cli.weights.pull.only_one", denied)
    (done,) = pull(chosen(["free"], ()))
    assert not done.fetched


def test_a_newer_importer_makes_them_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    get("free")
    newer = Importer(function="weights_samples:convert", version=2)
    monkeypatch.setitem(IMPORTERS, "sample", newer)
    (done,) = pull(chosen(["free"], ()))
    assert done.fetched and done.item.receipt is not None
    assert done.item.receipt.importer_version == 2


def test_main_is_resolved_once_and_noted(hub: Hub) -> None:
    receipt = read_receipt(get("moving").parent)
    assert receipt is not None and (receipt.revision, receipt.commit) == ("main", hub.commit)
    resolved = [ask.path for ask in hub.asked if "/resolve/" in ask.path]
    assert sum("/resolve/main/" in path for path in resolved) == 1


def test_main_that_moved_is_not_mixed(hub: Hub) -> None:
    """What was begun of one commit is no part of the next one."""
    hub.cut["moving.bin"] = [100, 0, 0, 0, 0]
    with pytest.raises(WorkError, match="broke off"):
        get("moving")
    hub.commit = "beef" * 10
    hub.files["lab/moving"]["moving.bin"] = b"x" * 2000
    hub.cut["moving.bin"] = [0] * 5
    with pytest.raises(WorkError, match="broke off"):
        get("moving")
    assert all(hub.commit in name for name in left())
    hub.asked.clear()
    assert get("moving").read_bytes() == b"x" * 2000
    assert hub.ranges("moving.bin") == [""]
    receipt = read_receipt(store.weights_folder() / "moving")
    assert receipt is not None and receipt.commit == hub.commit
    assert {Path(name).parts[0] for name in left()} == {"moving"}


def test_the_hub_learns_no_more_than_it_must(hub: Hub) -> None:
    get("free")
    agents = {ask.agent for ask in hub.asked}
    assert all(agent.startswith("omnitalk/") and "torch" not in agent for agent in agents)


def test_files_off_the_hub_get_no_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert get("face").read_bytes() == samples.FACE[::-1]
    get("free")
    by_place = {"/cdn/" in ask.path: ask.authorization for ask in hub.asked}
    assert by_place == {True: "", False: "Bearer secret"}


def test_mirror_is_a_variable(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(samples.new_hub()) as mirror:
        monkeypatch.setenv("HF_ENDPOINT", f"{mirror.url}/")
        get("free")
        assert mirror.asked and not hub.asked


def test_profile_and_json(hub: Hub) -> None:
    result = run("pull", "--profile", "voice", "--accept-license", "NC-1", "--json")
    answer = json.loads(result.stdout)
    assert [item["name"] for item in answer["weights"]] == ["voice", "free"]
    assert all(item["fetched"] and item["installed"] for item in answer["weights"])
    assert answer["weights"][0]["commit"] == hub.commit


def test_progress_counts_megabytes_to_the_end(hub: Hub) -> None:
    seen: list[tuple[str, float, float | None]] = []
    get("voice", progress=lambda *state: seen.append(state))
    stage = [state for state in seen if "voice.bin" in state[0]]
    whole = len(samples.VOICE) / 1e6
    assert stage[-1][1:] == (whole, whole)
    assert all(0 <= done <= whole for _, done, _ in stage)


# --- licences ------------------------------------------------------------------------------------
def test_licence_must_be_accepted(hub: Hub) -> None:
    result = run("pull", "voice", "free")
    assert result.exit_code == 2 and not hub.asked
    assert "no commercial use" in result.stderr
    assert "omnitalk weights pull voice free --accept-license NC-1" in result.stderr
    assert run("pull", "voice", "--accept-license", "voice").exit_code == 0
    assert run("pull", "voice").exit_code == 0  # installed: nothing to accept


def test_unknown_licence_and_names_are_told(hub: Hub) -> None:
    assert run("pull", "free", "--accept-license", "MTI").exit_code == 2
    result = run("pull", "fre")
    assert result.exit_code == 2 and "did you mean free" in result.stderr
    assert run("pull", "--profile", "voise").exit_code == 2
    assert run("pull", "tiny").exit_code == 2
    assert run("pull").exit_code == 2


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


# --- importers that refuse -----------------------------------------------------------------------
def test_checkpoint_with_code_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, ("touch /tmp/omnitalk-was-here",))

    hub.files["lab/free"]["free.bin"] = pickle.dumps({"weight": Evil()}, protocol=2)
    importer = Importer(function="weights_samples:convert_tensors")
    monkeypatch.setitem(IMPORTERS, "sample", importer)
    with pytest.raises(InputError, match="could run code"):
        get("free")
    assert not Path("/tmp/omnitalk-was-here").exists()
    assert not (store.weights_folder() / "free").exists()


def test_refused_checkpoint_leaves_what_was_installed(hub: Hub) -> None:
    before = get("free").read_bytes()
    hub.files["lab/free"]["free.bin"] = b"broken"
    with pytest.raises(InputError, match="is broken"):
        get("free", overwrite=True)
    assert store.find_weights("free").read_bytes() == before
    assert not [name for name in left() if ".new-" in name]


# --- disks, signals, others ----------------------------------------------------------------------
def test_space_is_looked_at_first(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12, 50_000))
    with pytest.raises(WorkError, match="the disk has .*OMNITALK_WEIGHTS_DIR"):
        get("voice")
    assert not hub.ranges("voice.bin")


def test_space_is_looked_at_where_the_server_tells_no_size(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    locate = pull_module.hub.locate

    def silent(*words: Any) -> Any:
        found = locate(*words)
        return replace(found, address=replace(found.address, size=None))

    monkeypatch.setattr(pull_module.hub, "locate", silent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12, 50_000))
    with pytest.raises(WorkError, match="the disk has"):
        get("voice")


def test_interrupt_while_weights_are_replaced_leaves_the_old_ones(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = get("free").read_bytes()
    move = os.replace

    def stopped(source: Path, target: Path) -> None:
        if ".new-" in source.name:
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr("omnitalk_cli.weights.install.os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        get("free", overwrite=True)
    assert store.find_weights("free").read_bytes() == before


def test_disk_that_fills_up_on_the_way(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_for_safetensors(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("omnitalk_cli.weights.download._copy", full)
        with pytest.raises(WorkError, match="disk full"):
            get("free")
    with monkeypatch.context() as patch:
        patch.setattr("weights_samples.convert", full)
        with pytest.raises(WorkError, match="disk full"):
            get("free")
    with monkeypatch.context() as patch:
        patch.setattr("weights_samples.convert", full_for_safetensors)
        with pytest.raises(WorkError, match="disk full"):
            get("free")
    assert not (store.weights_folder() / "free").exists()
    get("free")


def test_two_pulls_at_once_fetch_once(hub: Hub) -> None:
    hub.slow = 0.02
    notes: list[str] = []
    done = []

    def work() -> None:
        done.extend(pull(chosen(["voice"], ()), accepted=NC, note=notes.append))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.fetched for item in done) == [False, True]
    assert len(hub.ranges("voice.bin")) == 1
    assert sum("another omnitalk" in note for note in notes) == 1


def test_interrupted_pull_goes_on(hub: Hub, tmp_path: Path) -> None:
    """Ctrl-C in a process of its own, which then leaves by the exit code for that."""
    hub.slow = 0.1
    program = (
        "import signal, sys; from pathlib import Path; import pytest, weights_samples as s;"
        # Children of background jobs begin with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from hub_server import Hub; patch = pytest.MonkeyPatch();"
        f"hub = Hub(commit={hub.commit!r}, port={hub.port});"
        "s.use(hub, Path(sys.argv[1]), patch);"
        "from omnitalk_cli.cli.app import main; sys.argv[1:] = sys.argv[2:]; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
    words = ["weights", "pull", "voice", "--accept-license", "NC-1"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), *words],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while hub.sent < 8192 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert {Path(name).name for name in left()} == {"voice.bin.part"}
    hub.slow = 0.0
    hub.asked.clear()
    assert get("voice").read_bytes() == samples.VOICE[::-1]
    (asked,) = hub.ranges("voice.bin")
    assert int(asked.removeprefix("bytes=").removesuffix("-")) > 0


def test_leftovers_of_killed_runs_are_swept(hub: Hub) -> None:
    litter = store.weights_folder() / ".staging" / "free.new-0000"
    litter.mkdir(parents=True)
    (litter / "model.bin").write_bytes(b"half")
    get("free")
    assert not litter.exists()


# --- plans ---------------------------------------------------------------------------------------
def test_dry_run_shows_sizes_licences_and_space(hub: Hub) -> None:
    get("free")
    result = run("pull", "--profile", "voice", "face", "--dry-run")
    assert result.exit_code == 0 and "free: installed" in result.stdout
    assert "no commercial use" in result.stdout and "are free in" in result.stdout
    hub.asked.clear()
    plan = json.loads(run("pull", "face", "--dry-run", "--json").stdout)
    assert plan["download_bytes"] == len(samples.FACE)
    assert plan["needed_bytes"] == 2 * len(samples.FACE) and plan["free_bytes"] > 0
    assert json.loads(run("pull", "voice", "--dry-run", "--json").stdout)["download_bytes"] is None
    assert not hub.asked


def test_names_are_chosen_once(hub: Hub) -> None:
    assert [item.name for item in chosen(["free", "free"], ["voice"])] == ["free", "voice"]
    with pytest.raises(UsageError, match="part of omnitalk"):
        chosen(["tiny"], ())
