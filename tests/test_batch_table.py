"""Tables as they are written: formats, line numbers, and rows that cannot be read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitalk_cli.batch import table, table_lines
from omnitalk_cli.batch.table import Row, read_rows
from omnitalk_cli.errors import InputError

PLAIN = [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]


def _rows(data: bytes, format: table.Format = "auto") -> list[Row]:
    return list(read_rows(io.BytesIO(data), format))


def _values(data: bytes, format: table.Format = "auto") -> list[dict[str, table.Value]]:
    rows = _rows(data, format)
    assert not any(row.fault for row in rows)
    return [row.values for row in rows]


@pytest.mark.parametrize(
    "data",
    [
        b"id,text\na,one\nb,two\n",
        b"id,text\na,one\nb,two",
        b"id,text\r\na,one\r\nb,two\r\n",
        b"id,text\ra,one\rb,two\r",
        b"\xef\xbb\xbfid,text\na,one\nb,two\n",
        b"\n\nid,text\n\na,one\n , \n\nb,two\n,\n\n",
        b'"id","text"\n"a","one"\n"b","two"\n',
        b"id , text\na,one\nb,two\n",
        b"id;text\na;one\nb;two\n",
        b"id\ttext\na\tone\nb\ttwo\n",
        b"id,text,,\na,one,,\nb,two,,,,\n",
        b'{"id": "a", "text": "one"}\n\n{"id": "b", "text": "two"}\n',
        b'\xef\xbb\xbf{"id": "a", "text": "one"}\r\n{"id": "b", "text": "two"}',
    ],
)
def test_forms_of_the_same_table(data: bytes) -> None:
    assert _values(data) == PLAIN


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"id,text\na,one\nb,two\n"),
        ("t.CSV", b"id;text\na;one\nb;two\n"),
        ("t.tsv", b"id\ttext\na\tone\nb\ttwo\n"),
        ("t.jsonl", b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'),
        ("t.ndjson", b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'),
        ("t.txt", b"id,text\na,one\nb,two\n"),
    ],
)
def test_format_by_ending(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert [row.values for row in read_rows(tmp_path / name)] == PLAIN


def test_stdin_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"id,text\na,one\nb,two\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert [row.values for row in read_rows(Path("-"))] == PLAIN
    assert stdin.read() == ""


def test_text_streams_are_taken() -> None:
    assert [row.values for row in read_rows(io.StringIO("\ufeffid,text\na,one\nb,two"))] == PLAIN


def test_format_that_is_given_beats_the_ending(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\tc\n1,2\t3\n")
    assert [row.values for row in read_rows(tmp_path / "t.csv", "tsv")] == [
        {"a,b": "1,2", "c": "3"}
    ]


def test_lines_are_those_where_rows_begin() -> None:
    data = b'\nid,text\na,"one\ntwo\r\n\nthree"\n\nb,x\n"c\n","\n"\nd,y'
    assert [(row.line, row.header) for row in _rows(data)] == [(3, 2), (8, 2), (9, 2), (12, 2)]


def test_json_values_keep_their_types() -> None:
    data = b'{"a": 1, "b": 2.5, "c": true, "d": null, "e": "\\u4f60"}\n'
    assert _values(data) == [{"a": 1, "b": 2.5, "c": True, "d": None, "e": "你"}]
    assert _rows(data)[0].header is None


# Rows that cannot be read: table, line of the fault, what it says, ids of the rows that can.
BROKEN = [
    (b"id,text\na\nb,x\n", 2, "has 1 of 2 cells", "b"),
    (b"id,text\na,b,c\nb,x\n", 2, "has 3 cells for 2 columns", "b"),
    (b"id;text\na;b;c\nb;x\n", 2, "contains a semicolon", "b"),
    (b"id,,text\na,b,c\nb,,x\n", 2, "column 2, which has no name", "b"),
    (b"id,text\na,x\nb,caf\xe9\nc,y\n", 3, "byte 6 of line 3 (0xe9) is not UTF-8", "ac"),
    (b'id,text\na,"\xe4\xbd\xa0\n\xe4\xbd\xa0\xff"\nc,y\n', 2, "byte 4 of line 3 (0xff)", "c"),
    (b"id,text\na,x\0y\nb,x\n", 2, "byte 4 of line 2 is a NUL", "b"),
    (b'id,text\na,"x"y\nb,x\n', 2, "quote inside a quoted cell", "b"),
    (b'id,text\na,"x\nb,"y"\nc,z\n', 2, "(lines 2 to 3)", "c"),
    (b'id,text\nb,x\na,"y\nc,z\n', 3, "never closed (lines 3 to 4)", "b"),
    (b'id,text\na,"' + b"x" * 140_000 + b"\n", 2, "nothing after this row was read", ""),
    (
        b'{"id": "b"}\n{"id": }\n{"id": "c"}\n',
        2,
        "is not JSON: Expecting value (character 8)",
        "bc",
    ),
    (b'{"id": "b"}\n["a"]\n', 2, "is not a JSON object", "b"),
    (b'{"id": "b"}\n{"id": ["a"]}\n', 2, "id: give one word", "b"),
    (b'{"id": "b"}\n{"id": "a", "id": "c"}\n', 2, "has 'id' twice", "b"),
    (b'{"id": "b"}\n' + b'{"id":' * 5000 + b"\n", 2, "nested too deeply", "b"),
    (b'{"id": "b"}\n{"id": 1' + b"0" * 5000 + b"}\n", 2, "limit", "b"),
    (b'{"id": "b"}\n{"id": "\xff"}\n', 2, "byte 9 of line 2", "b"),
    (b'{"id": "b"}\n{"id": "c\n"}\n', 2, "Invalid control character (character 10)", "b"),
]


@pytest.mark.parametrize(("data", "line", "message", "good"), BROKEN)
def test_broken_rows_do_not_hide_the_others(
    data: bytes, line: int, message: str, good: str
) -> None:
    rows = _rows(data)
    faults = [(row.line, row.fault) for row in rows if row.fault]
    assert faults[0][0] == line and message in faults[0][1]
    assert [row.values["id"] for row in rows if not row.fault] == list(good)
    assert all(not row.values for row in rows if row.fault)


NO_TABLES = [
    (b"", "is empty; the first line names the columns"),
    (b" \n\n \n", "is empty"),
    (b"\xef\xbb\xbf", "is empty"),
    (b"id,text\n", "holds no rows"),
    (b"id,text\n,\n\n", "holds no rows"),
    (b"{}\n{}\n", "holds no rows"),
    (b",,\na,b,c\n", "the header (line 1) names no columns"),
    (b"\nid,text,id\na,b,c\n", "the header (line 2) has the column 'id' twice"),
    (b"id,\xff\na,b\n", "byte 4 of line 1 (0xff) is not UTF-8"),
    (b'id,"text\na,b\n', "the header (line 1)"),
    (b'[{"id": "a"}]\n', "is JSON; name the file .jsonl"),
    (b"\xff\xfei\0d\0", "is UTF-16; save it as UTF-8"),
    (b"PK\x03\x04....", "is a workbook"),
]


@pytest.mark.parametrize(("data", "message"), NO_TABLES)
def test_what_is_no_table(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "jobs.csv" if not data.startswith(b"{") else tmp_path / "jobs.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        list(read_rows(path))
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.csv: no such file"):
        list(read_rows(tmp_path / "gone.csv"))
    with pytest.raises(InputError, match="is a directory"):
        list(read_rows(tmp_path))


def test_lines_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_lines, "LONGEST_LINE", 100)
    with pytest.raises(InputError, match="line 3 has no end"):
        _rows(b"id,text\na,b\n" + b"x" * 200)


def test_rows_come_one_at_a_time() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            line = b"id,text\n"
            buffer[: len(line)] = line
            return len(line)

    rows = read_rows(Endless())  # type: ignore[arg-type]
    assert [next(rows).line for _ in range(1000)] == list(range(2, 1002))


_cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_filled = st.lists(_cell, min_size=3, max_size=3).filter(lambda cells: any(map(str.strip, cells)))


@given(st.lists(_filled, min_size=1, max_size=8), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_what_csv_writes_is_read_back(cells: list[list[str]], delimiter: str, every: bool) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=delimiter, quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    )
    writer.writerow(["id", "ref", "text"])
    starts = []
    for row in cells:
        # A line ends with \n, \r\n or \r, as editors count.
        starts.append(len(io.StringIO(text.getvalue(), newline=None).readlines()) + 1)
        writer.writerow(row)
    rows = _rows(text.getvalue().encode("utf-8"))
    assert [list(row.values.values()) for row in rows] == cells
    assert [row.line for row in rows] == starts


_scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _cell


@given(st.lists(st.dictionaries(_cell, _scalar, min_size=1, max_size=4), min_size=1, max_size=6))
def test_what_json_writes_is_read_back(objects: list[dict[str, table.Value]]) -> None:
    objects = [{"id": "x", **one} for one in objects]
    for ascii_only in (True, False):
        text = "\n".join(json.dumps(one, ensure_ascii=ascii_only) for one in objects)
        assert _values(text.encode("utf-8"), "jsonl") == objects


@given(st.binary(max_size=200), st.sampled_from(["auto", "csv", "tsv", "jsonl"]))
def test_any_bytes_are_rows_or_an_input_error(data: bytes, format: table.Format) -> None:
    try:
        rows = _rows(data, format)
    except InputError:
        return
    assert rows and all(row.line >= 1 for row in rows)
