"""The ledger: a private file, unique ids, and clear errors for what is broken."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from omnitalk_cli.errors import SetupError
from omnitalk_cli.provenance.ledger import Ledger

HASH = "0123456789abcdef" * 4
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _record(ledger: Ledger, **more: object) -> int:
    return ledger.record(version="1", output_name="out.mp4", **more)  # type: ignore[arg-type]


def _together(code: str, folder: Path) -> list[str]:
    """Standard outputs of three processes that run ``code`` at the same time."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    return outputs


@posix
def test_file_is_the_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "keys"
        ledger = Ledger(folder)
        _record(ledger)
    finally:
        os.umask(before)
    assert _mode(folder) == 0o700
    assert _mode(ledger.path) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ledger.sqlite3"]


def test_rows_are_found_by_id_and_by_its_low_half(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.find(1) == [] and not ledger.path.exists()
    mark_id = _record(ledger, reference_hash=HASH, marks=("video", "audio"))
    others = {_record(ledger) for _ in range(50)}
    assert len(others | {mark_id}) == 51
    assert all(0 <= number < 2**32 for number in others)
    (row,) = ledger.find(mark_id)
    assert (row.id, row.reference_hash, row.marks) == (mark_id, HASH, ("video", "audio"))
    assert [row.id for row in ledger.find(mark_id & 0xFFFF, 16)] == [mark_id]
    ledger.complete(mark_id, output_hash=HASH, marks=("audio",))
    (row,) = ledger.find(mark_id)
    assert (row.output_hash, row.marks) == (HASH, ("audio",))
    assert row.to_dict()["marks"] == ["audio"]
    with pytest.raises(KeyError):
        ledger.complete((mark_id + 1) % 2**32, output_hash="", marks=())


def test_content_and_folders_do_not_get_in(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(ValueError):
        _record(ledger, text_hash="the script itself")
    mark_id = ledger.record(version="1", output_name="/home/someone/secret/a\nb.mp4")
    assert ledger.find(mark_id)[0].output_name == "a?b.mp4"


def test_an_id_is_never_given_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    drawn = iter([5, 5, 5 + (1 << 16), 9, 9, *[5] * 40])
    monkeypatch.setattr("secrets.randbits", lambda bits: next(drawn))
    # The third number is free, but its low half is taken: a better one is looked for.
    assert [_record(ledger), _record(ledger)] == [5, 9]
    with pytest.raises(SetupError):
        _record(ledger)


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; folder = Path(sys.argv[1])\n"
        "from omnitalk_cli.provenance.ledger import Ledger\n"
        "for _ in range(20): print(Ledger(folder).record(version='1', output_name='x'))"
    )
    lines = [output.split() for output in _together(code, tmp_path / "keys")]
    ids = [int(number) for each in lines for number in each]
    assert len(set(ids)) == 60
    ledger = Ledger(tmp_path / "keys")
    assert all(len(ledger.find(number)) == 1 for number in ids)


@pytest.mark.parametrize("kind", ["noise", "other tables", "newer", "folder"])
def test_broken_ledgers_give_one_clear_error(tmp_path: Path, kind: str) -> None:
    ledger = Ledger(tmp_path)
    if kind == "noise":
        ledger.path.write_bytes(bytes(range(256)) * 64)
    elif kind == "folder":
        ledger.path.mkdir()
    else:
        with sqlite3.connect(ledger.path) as database:
            database.execute("CREATE TABLE takes (id, name)")
            database.execute("INSERT INTO takes VALUES ('x', 'y')")
            database.execute("PRAGMA user_version = " + ("99" if kind == "newer" else "1"))
        database.close()
    for call in (lambda: _record(ledger), lambda: ledger.find(1)):
        with pytest.raises(SetupError, match=str(ledger.path)):
            call()
