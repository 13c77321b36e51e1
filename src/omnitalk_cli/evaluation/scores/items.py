"""What is to be scored: from the command line, or from a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from omnitalk_cli.batch.job_table import table_folder
from omnitalk_cli.batch.table import Row, read_rows
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.evaluation.scores.evaluate import Item
from omnitalk_cli.pipeline.settings import check_input

COLUMNS = ("generated", "reference", "text", "performance")
_CLIP = "a video, a recording, features or a performance"
_PERFORMANCE = "a performance made by `omnitalk synth`"


def from_options(
    generated: Sequence[Path],
    references: Sequence[Path],
    performances: Sequence[Path],
    text: str | None,
) -> list[Item]:
    """Items of files; one reference serves all. Raises UsageError where the numbers do not fit."""
    if len(references) not in (0, 1, len(generated)):
        raise UsageError(
            f"{len(references)} references for {len(generated)} files; give one for all or one each"
        )
    if len(performances) not in (0, len(generated)):
        raise UsageError(
            f"{len(performances)} performances for {len(generated)} files; give one for each"
        )
    for path in (*generated, *references):
        check_input(path, _CLIP)
    for path in performances:
        check_input(path, _PERFORMANCE)
    return [
        Item(
            generated=path,
            reference=references[number % len(references)] if references else None,
            text=text,
            performance=performances[number] if performances else None,
        )
        for number, path in enumerate(generated)
    ]


def from_table(source: Path) -> list[Item]:
    """Items of a table (CSV, TSV or JSON lines) with the columns ``generated``, ``reference``,
    ``text`` (the words, or a .txt file) and ``performance``; all but the first may be missing.

    Files are relative to the table. Raises InputError naming the line of the first bad row.
    """
    folder = Path(os.path.abspath(table_folder(source)))
    items = []
    for row in read_rows(source):
        try:
            items.append(_item(row, folder))
        except InputError as error:
            raise InputError(f"{source}, line {row.line}: {error}") from error
    return items


def _item(row: Row, folder: Path) -> Item:
    if row.fault:
        raise InputError(row.fault)
    unknown = [name for name in row.values if name not in COLUMNS]
    if unknown:
        raise InputError(f"unknown column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    cells = {name: str(value).strip() for name, value in row.values.items() if value is not None}

    def file(name: str, what: str) -> Path | None:
        return check_input(folder / cells[name], what) if cells.get(name) else None

    generated = file("generated", _CLIP)
    if generated is None:
        raise InputError("the cell generated is empty; name the video to score")
    text = cells.get("text") or None
    if text is not None and text.endswith(".txt"):
        text = read_text(str(folder / text))
    return Item(
        generated=generated,
        reference=file("reference", _CLIP),
        text=text,
        performance=file("performance", _PERFORMANCE),
    )


def read_text(name: str) -> str:
    """The words in a UTF-8 file, or of standard input for ``-``. Raises InputError."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = data.decode("utf-8-sig").strip()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({(error.strerror or '').lower()})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not UTF-8 text") from error
    if not text:
        raise InputError(f"{name}: holds no words")
    return text
