"""The ledger of a batch on files, folders and disks that cannot be used."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batch_rows import ask, make, make_job, result
from omnitalk_cli.batch.ledger import BatchLedger
from omnitalk_cli.batch.reader import LEDGER_FILE
from omnitalk_cli.errors import SetupError, WorkError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and limits")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def one_line(error: pytest.ExceptionInfo[Exception], path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def test_damaged_and_foreign_files_are_refused(out: Path) -> None:
    path = out / LEDGER_FILE
    out.mkdir()
    for content in (b"not a database " * 1000, b"SQLite format 3\0" + b"\xff" * 5000):
        path.write_bytes(content)
        with pytest.raises(SetupError, match="damaged") as error:
            BatchLedger(out)
        one_line(error, path)
        assert path.read_bytes() == content
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE letters (text)")
    with pytest.raises(SetupError, match="another program") as error:
        BatchLedger(out)
    one_line(error, path)
    path.unlink()
    BatchLedger(out).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(SetupError, match="newer version") as error:
        BatchLedger(out)
    one_line(error, path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SetupError, match="cannot be written") as error:
        BatchLedger(out)
    one_line(error, path)


def test_an_empty_file_is_a_new_ledger(out: Path) -> None:
    """Killed before the first byte was written."""
    out.mkdir()
    (out / LEDGER_FILE).touch()
    with BatchLedger(out) as ledger:
        assert ask(ledger, make_job(out)) == "run"


@pytest.mark.parametrize("damage", ["cut", "holes"])
def test_damage_inside_is_found_before_the_work(out: Path, damage: str) -> None:
    with BatchLedger(out) as ledger:
        ledger.enter(make_job(out, f"r{number}", number) for number in range(2000))
    path = out / LEDGER_FILE
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xaa" * 20_000
    path.write_bytes(content)
    with pytest.raises(SetupError, match="damaged") as error, BatchLedger(out) as ledger:
        ask(ledger, make_job(out))
    one_line(error, path)


def test_a_full_disk_loses_nothing(out: Path) -> None:
    jobs = [make_job(out, f"r{number}", number) for number in range(3000)]
    with BatchLedger(out) as ledger:
        make(ledger, jobs[0])
        with ledger._store.reading() as database:
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(WorkError, match="disk full") as error:
            ledger.enter(jobs)
        one_line(error, out / LEDGER_FILE)
        assert ledger.counts()["done"] == 1 and len(ledger.results()) == 1
        with ledger._store.reading() as database:
            database.execute("PRAGMA max_page_count = 100000")
        ledger.enter(jobs)
        assert len(ledger.results()) == 3000


@posix
def test_a_limit_on_file_size_is_one_line(out: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from omnitalk_cli.errors import WorkError\n"
        "from omnitalk_cli.batch.ledger import BatchLedger\n"
        "from batch_rows import make_job\n"
        "out = Path(sys.argv[1])\n"
        "with BatchLedger(out) as ledger:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    try:\n"
        "        ledger.enter(make_job(out, f'r{n}', n) for n in range(20_000))\n"
        "    except WorkError as error:\n"
        "        print(error)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.run(
        [sys.executable, "-c", code, out], env=os.environ | {"PYTHONPATH": paths},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{out / LEDGER_FILE}: ") and process.stdout.count("\n") == 1
    with BatchLedger(out) as ledger:
        assert ask(ledger, make_job(out)) == "run"


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder with a ledger in which this process may not write, also when it is root."""
    folder = Path(tempfile.mkdtemp())
    with BatchLedger(folder) as ledger:
        make(ledger, make_job(folder))
    (folder / LEDGER_FILE).chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@posix
def test_a_read_only_folder_can_be_read(unwritable: Path) -> None:
    with BatchLedger(unwritable) as ledger:
        assert result(ledger).state == "done"
        with pytest.raises(SetupError, match="cannot be written") as error:
            ask(ledger, make_job(unwritable, "b"))
        one_line(error, unwritable / LEDGER_FILE)
    with pytest.raises(SetupError, match="cannot be made"):
        BatchLedger(unwritable / "below")


@posix
def test_a_fork_is_refused(out: Path) -> None:
    with BatchLedger(out) as ledger:
        ledger._store._pid += 1
        with pytest.raises(RuntimeError, match="fork"):
            ledger.results()
        ledger._store._pid -= 1
