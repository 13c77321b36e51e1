"""Which columns a table has, and the filled cells of its rows by column; problems found on the way.

What holds for all rows (an unknown column, a missing one) is told once, not for every row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from omnitalk_cli.batch.table import Row, Value
from omnitalk_cli.pipeline.settings import did_you_mean

SCRIPTS = ("text", "say", "text_file", "audio")  # exactly one of them is given
OWN = ("id", "ref", *SCRIPTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong in line ``line``; ``column`` as the table writes it, "" for the whole row.

    ``id`` is the row's, "" when it has none.
    """

    line: int
    column: str
    message: str
    id: str = ""


@dataclass(kw_only=True, slots=True)
class Draft:
    """A row while it is checked: its filled cells by column, and what was found.

    ``written`` are the columns as the table writes them. ``spoilt`` rows make no job although
    what is wrong with them is told elsewhere.
    """

    row: Row
    cells: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    spoilt: bool = False

    def fault(self, column: str, message: str) -> None:
        """Notes what is wrong with ``column``, "" for the whole row; the first of a column."""
        self.faults.setdefault(column, message)

    def problems(self, identity: str) -> list[Problem]:
        """The faults as problems of the row ``identity``."""
        return [
            Problem(
                line=self.row.line, column=self.written.get(name, name), message=text, id=identity
            )
            for name, text in self.faults.items()
        ]


@dataclass(slots=True)
class _Unknown:
    """A column that cannot be: where it first occurs, and in how many rows with own columns."""

    line: int
    message: str
    rows: int = 0


class Cells:
    """Reads the cells of rows; remembers the columns that are unknown or not there."""

    def __init__(self, columns: Collection[str], refused: Mapping[str, str]) -> None:
        """``columns`` are those known besides ``OWN``; ``refused`` say why they cannot be."""
        self._columns, self._refused = columns, refused
        self._names: dict[str, str | None] = {}  # by the name as written; None: cannot be
        self._unknown: dict[str, _Unknown] = {}
        self._absent: dict[str, Problem] = {}

    def read(self, row: Row) -> Draft:
        """The filled cells of ``row``."""
        draft = Draft(row=row)
        for written, value in row.values.items():
            if written in self._names:
                name = self._names[written]
            else:
                name = self._names[written] = self._column(written, row)
            if name is None:
                draft.spoilt = True
                self._unknown[written].rows += row.header is None
                continue
            if name in draft.written:
                draft.fault(written, f"is the same column as {draft.written[name]!r}")
                continue
            draft.written[name] = written
            text = value if isinstance(value, str) else cell_text(value)
            # Files of cells were checked as they were read; JSON can spell such characters.
            if row.header is None and ("\0" in text or not _is_unicode(text)):
                draft.fault(name, "holds a NUL or half a character; is the table damaged?")
            elif text and not text.isspace():
                draft.cells[name] = text
        return draft

    def missing(self, draft: Draft, column: str, need: str) -> None:
        """Notes that ``column`` is not filled: once when the header lacks it, else for the row."""
        header = draft.row.header
        if column in draft.faults:
            return
        if header is None or column in draft.written:
            draft.fault(column if column in draft.written else "", f"no {column}; {need}")
            return
        draft.spoilt = True
        if column not in self._absent:
            message = f"there is no column {column}; {need}"
            self._absent[column] = Problem(line=header, column="", message=message)

    def problems(self) -> list[Problem]:
        """What is wrong with the columns of the table, not with single rows."""
        found = list(self._absent.values())
        for written, unknown in self._unknown.items():
            more = f" (in {unknown.rows} rows)" if unknown.rows > 1 else ""
            found.append(Problem(line=unknown.line, column=written, message=unknown.message + more))
        return found

    def _column(self, written: str, row: Row) -> str | None:
        """The column that is meant by the name ``written``; None, and noted, when there is none."""
        name = written.strip().lower().replace("-", "_")
        if name in self._columns or name in OWN:
            return name
        if name in self._refused:
            message = f"cannot be a column: {self._refused[name]}"
        else:
            hint = did_you_mean(name, [*OWN, *self._columns]) or "; rename or remove it"
            message = f"unknown column{hint}"
        self._unknown[written] = _Unknown(line=row.header or row.line, message=message)
        return None


def cell_text(value: Value) -> str:
    """A value as it would stand in a CSV cell."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # JSON does not tell 8.0 from 8
    return str(value)


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
