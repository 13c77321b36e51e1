"""From a table's rows to jobs: everything that can be told before any model loads is checked here.

Columns, in any order, with - or _ in their names:

* ``id``: needed, each one different also when case is ignored; it names the output and decides the
  seed, so it must stay the row's own when rows are added or sorted. Hence none is made up.
* ``ref``: the clip or features file; without it, the command line's.
* one of ``text`` (the words themselves, or a file when the cell ends in .txt or .md), ``say``
  (always words), ``text_file`` (always a file) and ``audio`` (recorded speech).
* any option of ``generate`` that a row can have. It is stronger than the command line's.

An empty cell is not given; files are relative to the table's folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.job_cells import OWN, Problem
from omnitalk_cli.batch.job_names import NameTemplate
from omnitalk_cli.batch.job_rows import NEEDED, Parser, RowChecker
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.table import Row
from omnitalk_cli.pipeline.settings import check_input

LISTED = 200  # problems, in problem_lines


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The sound rows of a table as jobs, in its order, and the problems of all others by line.

    ``rows`` counts both. A column that is unknown or refused spoils all rows that have it.
    """

    jobs: tuple[Job, ...]
    problems: tuple[Problem, ...]
    rows: int

    @property
    def broken(self) -> int:
        """How many rows cannot be used."""
        return self.rows - len(self.jobs)


def check_table(
    rows: Iterable[Row],
    *,
    columns: Mapping[str, Parser],
    defaults: Mapping[str, Any],
    out_dir: Path,
    name_template: str = "{id}.mp4",
    base: Path,
    refused: Mapping[str, str] | None = None,
) -> Checked:
    """Checks every row and makes jobs of the sound ones. Of files, only scripts are read.

    ``columns`` turn a cell of an option into its value, or raise OmnitalkError; ``refused`` are
    options that cannot be columns, with the reason. ``defaults`` are the command line's values
    (None: not given), ``ref`` may be among them. ``base`` is the folder that relative files start
    from. The paths of jobs are absolute.

    Raises UsageError for an unusable ``name_template``, InputError for an unusable ``ref`` of the
    command line, and what ``rows`` raises.
    """
    given = {
        name: Path(os.path.abspath(value)) if isinstance(value, Path) else value
        for name, value in defaults.items()
        if value is not None
    }
    if "ref" in given:
        check_input(given["ref"], NEEDED["ref"])
    checker = RowChecker(
        columns=columns,
        refused=refused or {},
        defaults=given,
        out_dir=Path(os.path.realpath(out_dir)),
        template=NameTemplate.parse(name_template, {"line", *OWN, *columns, *given}),
        base=Path(os.path.abspath(base)),
    )
    count = 0
    for row in rows:
        checker.check(row)
        count += 1
    jobs, problems = checker.finish()
    return Checked(jobs=tuple(jobs), problems=tuple(problems), rows=count)


def problem_lines(problems: Sequence[Problem], *, limit: int = LISTED) -> list[str]:
    """One line for each problem, in their order; after ``limit`` only how many more there are."""
    lines = [_problem_line(problem) for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"and {len(problems) - limit} more problems")
    return lines


def _problem_line(problem: Problem) -> str:
    where = f"line {problem.line}" + (f", {problem.column}" if problem.column else "")
    line = " ".join(f"{where}: {problem.message}".split())
    return "".join(character if character.isprintable() else "�" for character in line)


def table_folder(source: Path) -> Path:
    """Where a table's relative files start from: its own folder; the working folder for stdin."""
    return source.parent if source.is_file() else Path()
