"""results.csv and results.jsonl: whole, harmless, and not written too often."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitalk_cli.batch.jobs import JobResult
from omnitalk_cli.batch.records import COLUMNS
from omnitalk_cli.batch.result_tables import (
    CSV_FILE,
    JSONL_FILE,
    ResultTables,
    cell,
    write_tables,
)
from omnitalk_cli.errors import WorkError


def row(name: str = "a", **more: object) -> JobResult:
    return JobResult(id=name, line=2, state="done", **more)  # type: ignore[arg-type]


def read(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, object]]]:
    with (folder / CSV_FILE).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    text = (folder / JSONL_FILE).read_text(encoding="utf-8")
    return table, [json.loads(line) for line in text.split("\n") if line]


def test_both_tables_hold_every_field(tmp_path: Path) -> None:
    result = row(message='say "hi", then\tgo', seconds=2.5, timings={"render": 1.25}, attempts=2)
    write_tables(tmp_path, [result, row("b")])
    table, lines = read(tmp_path)
    assert tuple(table[0]) == COLUMNS == tuple(lines[0])
    assert lines[0] == result.to_dict()
    assert table[0]["message"] == result.message and table[0]["seconds"] == "2.5"
    assert json.loads(table[0]["timings"]) == {"render": 1.25}
    assert sorted(path.name for path in tmp_path.iterdir()) == [CSV_FILE, JSONL_FILE]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "  =", "＝"])
def test_formulas_are_harmless(tmp_path: Path, begin: str) -> None:
    text = begin + "HYPERLINK(1)"
    write_tables(tmp_path, [row(text, message=text)])
    table, lines = read(tmp_path)
    assert table[0]["id"] == table[0]["message"] == "'" + text
    assert lines[0]["id"] == text


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    write_tables(tmp_path, [row(exit_code=-9)])
    assert read(tmp_path)[0][0]["exit_code"] == "-9"


def test_a_line_is_a_row(tmp_path: Path) -> None:
    write_tables(tmp_path, [row(message="one\r\ntwo\rthree\nfour"), row("\r\n=1")])
    assert (tmp_path / CSV_FILE).read_text().count("\n") == 3
    table, lines = read(tmp_path)
    assert table[0]["message"] == "one two three four" and table[1]["id"] == "' =1"
    assert lines[0]["message"] == "one\r\ntwo\rthree\nfour"


@settings(max_examples=40)
@given(st.lists(st.text(), max_size=5))
def test_any_text_is_kept(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder, [row(f"r{number}", message=text) for number, text in enumerate(texts)])
    table, lines = read(folder)
    assert [line["message"] for line in lines] == texts
    expected = [str(cell(text)) for text in texts]
    assert [cells["message"] for cells in table] == expected


def test_text_that_is_no_unicode_is_written_somehow(tmp_path: Path) -> None:
    write_tables(tmp_path, [row(message="name \udcff")])
    assert "name" in str(read(tmp_path)[1][0]["message"])


class Slow:
    """Rows whose reading takes ``seconds`` on a clock that only moves so."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.times = 0

    def __call__(self) -> list[JobResult]:
        self.now += self.seconds
        self.times += 1
        return [row()]


@pytest.mark.parametrize(("seconds", "most"), [(0.001, 120), (2.0, 15)])
def test_tables_take_little_of_the_time(tmp_path: Path, seconds: float, most: int) -> None:
    rows = Slow(seconds)
    tables = ResultTables(tmp_path, rows, clock=lambda: rows.now)
    assert not tables.update()
    for _ in range(6000):  # ten minutes of rows
        rows.now += 0.1
        tables.update()
    assert most * 0.9 <= rows.times <= most * 1.1
    assert rows.times * seconds < 0.06 * rows.now
    before = rows.times
    tables.write()
    assert rows.times == before + 1


def test_a_table_that_cannot_be_written_does_not_stop_the_batch(tmp_path: Path) -> None:
    (tmp_path / CSV_FILE).mkdir()
    rows = Slow(0.001)
    tables = ResultTables(tmp_path / "missing", rows, clock=lambda: rows.now)
    rows.now += 100
    assert not tables.update()
    with pytest.raises(WorkError, match="does not exist"):
        tables.write()


def test_an_error_leaves_the_old_tables(tmp_path: Path) -> None:
    write_tables(tmp_path, [row("old")])

    def broken() -> list[JobResult]:
        raise WorkError("ledger: disk full")

    with pytest.raises(WorkError):
        ResultTables(tmp_path, broken).write()
    assert read(tmp_path)[0][0]["id"] == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CSV_FILE, JSONL_FILE]
