"""A table's text line by line, from a file or a stream: counted, and judged as text.

Bytes that are no text do not stop the reading: the line that has them says so.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from omnitalk_cli.errors import InputError

LONGEST_LINE = 1 << 22  # characters; what is longer is no table, and would fill the memory
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as surrogateescape reads them
_BEGINNINGS = (
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    (b"PK\x03\x04", "is a workbook or an archive; save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "is a workbook; save the sheet as CSV in UTF-8"),
)
HEADER_HINT = "the first line names the columns, such as id,ref,text"


@contextmanager
def opened(source: Path | TextIO | BinaryIO) -> Iterator[tuple[str, TextIO]]:
    """The source's name for messages and its text, line ends kept; closes only what it opened."""
    if isinstance(source, Path) and str(source) != "-":
        try:
            file = source.open("rb")
        except OSError as error:
            raise _unreadable(str(source), error) from error
        with file:
            yield str(source), _text(str(source), file)
        return
    stream: Any = sys.stdin if isinstance(source, Path) else source
    name = "stdin" if stream is sys.stdin else str(getattr(stream, "name", "the table"))
    if isinstance(stream, io.TextIOBase) and not hasattr(stream, "buffer"):  # StringIO
        yield name, io.StringIO(stream.read().removeprefix("\ufeff"), newline="")
        return
    stream = getattr(stream, "buffer", stream)
    buffered = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    try:
        text = _text(name, buffered)
        try:
            yield name, text
        finally:
            text.detach()  # or the caller's stream would be closed with ours
    finally:
        if buffered is not stream:
            buffered.detach()


class Lines:
    """Lines of text with their ends, counted; remembers the first fault since the last ``fault``.

    ``number`` is that of the line handed out last.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name, self.number, self._stream = name, 0, stream
        self._pending: list[str] = []
        self._fault = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pending.pop() if self._pending else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        if not self._fault and (not line.isascii() or "\0" in line):
            self._fault = _line_fault(line, self.number)
        return line

    def first(self) -> str:
        """The first line with something in it, which is still to be handed out."""
        while True:
            line = self._read()
            if not line:
                raise InputError(f"{self.name}: is empty; {HEADER_HINT}")
            if line.strip():
                self._pending.append(line)
                return line
            self.number += 1

    def fault(self) -> str:
        """What was wrong with the lines since the last call; "" when nothing was."""
        found, self._fault = self._fault, ""
        return found

    def _read(self) -> str:
        try:
            line = self._stream.readline(LONGEST_LINE)
        except OSError as error:
            raise _unreadable(self.name, error) from error
        if len(line) >= LONGEST_LINE:
            raise InputError(f"{self.name}: line {self.number + 1} has no end; is this a table?")
        return line


def _line_fault(line: str, number: int) -> str:
    """What makes the ``number``-th line unusable; "" for good text."""
    broken = _ESCAPED.search(line)
    if broken:
        place = len(line[: broken.start()].encode("utf-8", "surrogateescape")) + 1
        byte = ord(broken.group()) - 0xDC00
        return f"byte {place} of line {number} (0x{byte:02x}) is not UTF-8; save the table as UTF-8"
    if "\0" in line:
        place = len(line[: line.index("\0")].encode("utf-8")) + 1
        return f"byte {place} of line {number} is a NUL; the file is damaged or not UTF-8 text"
    return ""


def _text(name: str, stream: io.BufferedReader) -> io.TextIOWrapper:
    try:
        beginning = stream.peek(4)[:4]
    except OSError as error:
        raise _unreadable(name, error) from error
    for mark, what in _BEGINNINGS:
        if beginning.startswith(mark):
            raise InputError(f"{name}: {what}")
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _unreadable(name: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name}: no such file; a table of jobs is needed")
    return InputError(f"{name}: cannot be read ({(error.strerror or str(error)).lower()})")
