"""Pulling weights: what is fetched, checked, converted and installed, and what goes wrong here."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import weights_samples as samples
from hub_server import Hub, serve
from omnitalk_cli.errors import InputError, UsageError, WorkError
from omnitalk_cli.weights import pull as pull_module
from omnitalk_cli.weights import store
from omnitalk_cli.weights.importers.registry import IMPORTERS, Importer
from omnitalk_cli.weights.pull import chosen, pull
from omnitalk_cli.weights.receipt import read_receipt
from weights_samples import NC, get, left, run


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


# --- importers that refuse -----------------------------------------------------------------------
def test_checkpoint_with_code_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "was-here"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(trace),))

    hub.files["lab/free"]["free.bin"] = pickle.dumps({"weight": Evil()}, protocol=2)
    importer = Importer(function="weights_samples:convert_tensors")
    monkeypatch.setitem(IMPORTERS, "sample", importer)
    with pytest.raises(InputError, match="could run code"):
        get("free")
    assert not trace.exists()
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
