"""The rows of a table as it was written: CSV, TSV or JSON lines, one row at a time.

Only the form is judged here; what the cells mean is for ``job_table``. A row that cannot be read is
handed out with what is wrong with it, so that one bad row does not hide the others.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

from omnitalk_cli.batch.table_lines import HEADER_HINT, Lines, opened
from omnitalk_cli.errors import InputError

Format = Literal["auto", "csv", "tsv", "jsonl"]
Value = str | int | float | bool | None

FORMATS: tuple[Format, ...] = ("auto", "csv", "tsv", "jsonl")
_BY_SUFFIX: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_DELIMITERS = (",", ";", "\t")  # spreadsheets write ";" where "," is the decimal mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: ``values`` by column as written, ``line`` (from 1) where it begins.

    ``header`` is the line that names the columns; None when every row names its own (JSON lines).
    ``fault`` says why the row cannot be used; ``values`` are then empty.
    """

    line: int
    values: dict[str, Value] = field(default_factory=dict)
    header: int | None = None
    fault: str = ""


def read_rows(source: Path | TextIO | BinaryIO, format: Format = "auto") -> Iterator[Row]:
    """The rows of a file, of a stream or, for ``Path("-")``, of standard input.

    ``auto`` goes by the file's ending, else by the first line. UTF-8 with or without byte order
    mark; any line ends; rows without a filled cell are left out. The cells of a CSV file are told
    apart by commas, or by semicolons or tabs where the header does so.

    Raises InputError, naming the file, when it cannot be read, is no table, has no rows, or its
    header is unusable.
    """
    with opened(source) as (name, stream):
        lines = Lines(name, stream)
        first = lines.first()
        kind = _BY_SUFFIX.get(Path(name).suffix.lower(), format) if format == "auto" else format
        if kind == "auto":
            kind = "jsonl" if first.lstrip().startswith("{") else "csv"
        rows = _json_rows(lines) if kind == "jsonl" else _csv_rows(lines, first, kind)
        some = False
        for row in rows:
            some = True
            yield row
        if not some:
            raise InputError(f"{name}: holds no rows; write one for each video")


# --- CSV and TSV -------------------------------------------------------------------------------
def _csv_rows(lines: Lines, first: str, kind: Format) -> Iterator[Row]:
    delimiter = "\t" if kind == "tsv" else _delimiter(first)
    header_line = lines.number + 1
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        columns = _header(next(reader), delimiter)
        if fault := lines.fault():
            raise ValueError(fault)
    except (csv.Error, ValueError) as error:
        raise InputError(f"{lines.name}: the header (line {header_line}) {error}") from error
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault, over = _csv_fault(str(error), line, lines.number)
            lines.fault()
            yield Row(line=line, header=header_line, fault=fault)
            if over:
                return
            continue
        fault = lines.fault()
        if not fault and not any(map(str.strip, cells)):
            continue
        fault = fault or _ragged(cells, columns, delimiter)
        values: dict[str, Value] = {}
        if not fault:
            values = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
        yield Row(line=line, values=values, header=header_line, fault=fault)


def _delimiter(header: str) -> str:
    """What parts the header into most columns; the comma when nothing parts it better."""

    def parts(delimiter: str) -> int:
        return len(next(csv.reader([header], delimiter=delimiter), []))

    return max(_DELIMITERS, key=parts)


def _header(cells: list[str], delimiter: str) -> list[str]:
    """The columns' names; "" for a column without one. Raises ValueError for unusable headers."""
    columns = [cell.strip() for cell in cells]
    if not any(columns):
        raise ValueError(f"names no columns; {HEADER_HINT}")
    if columns[0].startswith(("{", "[")):
        raise ValueError("is JSON; name the file .jsonl, with one object on each line")
    doubled = next((name for name in columns if name and columns.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"has the column {doubled!r} twice; keep one of them")
    return columns


def _ragged(cells: list[str], columns: list[str], delimiter: str) -> str:
    """Why ``cells`` do not fit the header; "" when they do. Empty cells too many do no harm."""
    named = len(columns)
    while named and not columns[named - 1]:
        named -= 1
    mark = {"\t": "tab", ";": "semicolon"}.get(delimiter, "comma")
    if len(cells) < named:
        return f"has {len(cells)} of {named} cells; leave a cell empty, but keep its {mark}"
    if any(cell.strip() for cell in cells[len(columns) :]):
        return (
            f"has {len(cells)} cells for {named} columns; put a cell that contains a {mark} "
            'between quotes ("…")'
        )
    for place, (name, cell) in enumerate(zip(columns, cells, strict=False), 1):
        if not name and cell.strip():
            return f"has something in column {place}, which has no name in the header"
    return ""


def _csv_fault(message: str, first: int, last: int) -> tuple[str, bool]:
    """The reader's complaint in words, and whether nothing more can be read after it."""
    where = f" (lines {first} to {last})" if last > first else ""
    if "field limit" in message:
        return (
            f"has a cell of more than {csv.field_size_limit()} characters: either a quote is not "
            "closed, or the text belongs in a file; nothing after this row was read"
        ), True
    if "unexpected end" in message:
        return f'has a cell whose quote (") is never closed{where}', True
    if "expected after" in message:
        return f'has a quote inside a quoted cell{where}: write it twice (""), or close it', False
    return f"cannot be read{where}: {message}", False


# --- JSON lines --------------------------------------------------------------------------------
def _json_rows(lines: Lines) -> Iterator[Row]:
    for line in lines:
        if not line.strip():
            continue
        fault, values = lines.fault(), {}
        if not fault:
            try:
                values = _json_values(line)
            except ValueError as error:
                fault = str(error)
        if fault or any(value not in (None, "") for value in values.values()):
            yield Row(line=lines.number, values=values, fault=fault)


def _json_values(line: str) -> dict[str, Value]:
    try:
        document = json.loads(line, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        why = error.msg.removesuffix(" at")
        raise ValueError(f"is not JSON: {why} (character {error.pos + 1})") from error
    except RecursionError as error:
        raise ValueError("is not a row: it is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError('is not a JSON object; write {"id": …, "ref": …, "text": …} on one line')
    for name, value in document.items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"{name}: give one word, number or true/false, not a list or object")
    return document


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has {doubled!r} twice; keep one of them")
    return values
