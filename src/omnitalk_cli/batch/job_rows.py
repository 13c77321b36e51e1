"""One row after the other becomes a job, or problems: files, scripts, options, names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.job_cells import OWN, SCRIPTS, Cells, Draft, Problem
from omnitalk_cli.batch.job_names import LONGEST_ID, NameTemplate, name_fault, name_key, shown
from omnitalk_cli.batch.jobs import Job, seed_of
from omnitalk_cli.batch.table import Row
from omnitalk_cli.errors import InputError, OmnitalkError, UsageError
from omnitalk_cli.pipeline.script import check_script
from omnitalk_cli.pipeline.settings import check_input

Parser = Callable[[str], Any]

TEXT_SUFFIXES = (".txt", ".md")
REMEMBERED = 1 << 14  # values of each column and files, once parsed or looked up

# Options without effect beside recorded speech, or beside a reference that is extracted already:
# a fault in a row, passed over when they come from the command line, which is for all rows.
NO_EFFECT_WITH_AUDIO = ("speed", "duration")
EXTRACTION = (
    "ref_text", "ref_start", "ref_seconds", "ref_audio", "face", "asr_model", "tracker",
)  # fmt: skip
FEATURES_SUFFIX = ".safetensors"

NEEDED = {
    "ref": "a clip of the person, or features made by extract",
    "text": "a script in UTF-8 text",
    "text_file": "a script in UTF-8 text",
    "audio": "a recording of speech",
}
_TO_SAY = "give words or a .txt file as text, or a recording as audio"


class RowChecker:
    """Checks rows; remembers what was seen in those before (see ``job_table.check_table``)."""

    def __init__(
        self,
        *,
        columns: Mapping[str, Parser],
        refused: Mapping[str, str],
        defaults: Mapping[str, Any],
        out_dir: Path,
        template: NameTemplate,
        base: Path,
    ) -> None:
        self._columns, self._defaults, self._template = columns, defaults, template
        self._out_dir, self._base = out_dir, base
        self._wanted = template.fields
        self._cells = Cells(columns, refused)
        self._jobs: list[Job] = []
        self._problems: list[Problem] = []
        self._ids: dict[str, tuple[str, int]] = {}  # by key: as written, line
        self._outputs: dict[str, int] = {}  # by key: line
        self._inputs: dict[str, str] = {}  # by key of the real path: who reads it
        self._memo: defaultdict[str, dict[Any, Any]] = defaultdict(dict)
        for value in defaults.values():
            if isinstance(value, Path):
                self._note_input(value, "the command line")

    def check(self, row: Row) -> None:
        """Judges one row: a job or problems are noted."""
        draft = self._cells.read(row)
        if row.fault:
            draft.fault("", row.fault)
            self._problems += draft.problems("")
            return
        identity = self._identity(draft)
        job = self._job(draft, identity)
        if draft.faults:
            self._problems += draft.problems(identity)
        elif job is not None and not draft.spoilt:
            self._jobs.append(job)

    def finish(self) -> tuple[list[Job], list[Problem]]:
        """The jobs and the problems by line, after what only all rows together can tell."""
        jobs = []
        for job in self._jobs:
            reader = self._inputs.get(name_key(str(job.output)))
            if reader is None:
                jobs.append(job)
                continue
            message = f"would write {job.output}, which {reader} reads; see --name and --out-dir"
            self._problems.append(Problem(line=job.line, column="", message=message, id=job.id))
        return jobs, sorted(self._cells.problems() + self._problems, key=lambda found: found.line)

    # --- the parts of a row --------------------------------------------------------------------
    def _identity(self, draft: Draft) -> str:
        """The row's id, "" when it has none; also noted so that no later row takes it."""
        identity = draft.cells.get("id", "").strip()
        if not identity:
            self._cells.missing(draft, "id", "every row needs a short name of its own")
            return ""
        if fault := name_fault(identity, longest=LONGEST_ID):
            draft.fault("id", f"{shown(identity)} {fault}")
            return identity
        first, line = self._ids.setdefault(name_key(identity), (identity, draft.row.line))
        if line != draft.row.line:
            same = "" if first == identity else f" as {shown(first)} (case does not count)"
            draft.fault("id", f"{shown(identity)} is on line {line} already{same}")
        return identity

    def _job(self, draft: Draft, identity: str) -> Job | None:
        """The row's job; None when something that it needs is missing."""
        own = self._options(draft)
        ref = self._reference(draft)
        script = self._script(draft)
        options = {**self._defaults, **own}
        options.pop("ref", None)
        if "audio" in script:
            _drop(options, NO_EFFECT_WITH_AUDIO, draft, "with recorded speech")
        if ref is not None and ref.suffix == FEATURES_SUFFIX:
            _drop(options, EXTRACTION, draft, "with finished features")
        if "seed" not in options and "id" not in draft.faults:
            options["seed"] = seed_of(identity)
        language = self._language(draft, script, options.get("lang", "auto"))
        found: dict[str, Any] = {"line": draft.row.line, "id": identity, "ref": ref, **script}
        said = script.get("text", script.get("text_file"))  # whichever column it is in
        names = {**options, **found, "lang": language, "text": said, "say": said}
        output = self._output(draft, names)
        if not identity or ref is None or not script or output is None:
            return None
        return Job(**found, output=output, options=options)

    def _options(self, draft: Draft) -> dict[str, Any]:
        values = {}
        for name, text in draft.cells.items():
            if name in OWN:
                continue
            try:
                value = values[name] = self._remember(name, text, self._columns[name])
            except OmnitalkError as error:
                draft.fault(name, str(error))
                continue
            if isinstance(value, Path):
                self._note_input(value, f"line {draft.row.line}")
        return values

    def _reference(self, draft: Draft) -> Path | None:
        if "ref" in draft.cells:
            return self._file(draft, "ref")
        ref: Path | None = self._defaults.get("ref")
        if ref is None:
            self._cells.missing(draft, "ref", f"{NEEDED['ref']} is needed")
        return ref

    def _script(self, draft: Draft) -> dict[str, Any]:
        """``text``, ``text_file`` or ``audio`` of the job; {} (and a problem) without one."""
        given = [name for name in SCRIPTS if name in draft.cells]
        if len(given) > 1:
            names = " and ".join(draft.written[name] for name in given)
            draft.fault("", f"has both {names}; give one of them")
            return {}
        if not given:
            empty = [name for name in SCRIPTS if name in draft.written]
            if len(empty) > 1:
                draft.fault("", f"nothing to say; {_TO_SAY}")
            else:
                self._cells.missing(draft, empty[0] if empty else "text", _TO_SAY)
            return {}
        name = given[0]
        text = draft.cells[name]
        if name == "say" or (name == "text" and not _is_file_name(text)):
            return {"text": text}
        path = self._file(draft, name)
        if path is None:
            return {}
        return {"audio" if name == "audio" else "text_file": path}

    def _language(self, draft: Draft, script: Mapping[str, Any], language: str) -> str:
        """The language that is spoken; the script's syntax is checked on the way."""

        def spoken(source: str | Path) -> str:
            return check_script(source, language=language)  # type: ignore[arg-type]

        try:
            if "text_file" in script:
                return str(self._remember(f"lang {language}", script["text_file"], spoken))
            if "text" in script:
                return spoken(script["text"])
        except InputError as error:
            column = next(name for name in SCRIPTS if name in draft.cells)
            draft.fault(column, str(error).removeprefix("script: "))
        return language

    def _output(self, draft: Draft, values: Mapping[str, Any]) -> Path | None:
        if draft.spoilt or not values["id"] or self._wanted & draft.faults.keys():
            return None  # told already; the name would add nothing
        try:
            name = self._template.name(values.get)
        except UsageError as error:
            draft.fault("", str(error))
            return None
        line = self._outputs.setdefault(name_key(name), draft.row.line)
        if line != draft.row.line and "id" not in draft.faults:
            draft.fault("", f"would write {name}, as line {line} does; see --name")
        return Path(os.path.join(self._out_dir, name))  # half the time of /

    # --- files and values ----------------------------------------------------------------------
    def _file(self, draft: Draft, column: str) -> Path | None:
        """The file in the cell of ``column``, when it can be read."""

        def find(text: str) -> Path:
            return check_input(resolve(text, self._base), NEEDED[column])

        try:
            path: Path = self._remember(column, draft.cells[column].strip(), find)
        except InputError as error:
            draft.fault(column, str(error))
            return None
        self._note_input(path, f"line {draft.row.line}")
        return path

    def _note_input(self, path: Path, reader: str) -> None:
        """Remembers a file that is read, so that no output replaces it."""
        self._inputs.setdefault(self._remember("real", str(path), self._real_key), reader)

    def _real_key(self, path: str) -> str:
        """The key of the file that ``path`` leads to, as a table's many files are found fast."""
        folder, name = os.path.split(path)
        if os.path.islink(path):
            return name_key(os.path.realpath(path))
        return name_key(os.path.join(self._remember("folder", folder, os.path.realpath), name))

    def _remember(self, kind: str, key: Any, make: Callable[[Any], Any]) -> Any:
        """``make(key)``, worked out once for each kind and key; its OmnitalkError too."""
        memo = self._memo[kind]
        known = memo.get(key, self)
        if known is self:
            try:
                known = make(key)
            except OmnitalkError as error:
                known = error
            if len(memo) >= REMEMBERED:
                memo.clear()
            memo[key] = known
        if isinstance(known, OmnitalkError):
            raise known.with_traceback(None)  # or every row would make it longer
        return known


def resolve(text: str, base: Path) -> Path:
    """The file that a cell names: ~ is the home folder, relative names start from ``base``."""
    if text.startswith("~"):
        text = os.path.expanduser(text)  # stays as it is when there is no such user
    return Path(os.path.abspath(os.path.join(base, text)))


def _is_file_name(text: str) -> bool:
    """Whether a cell of ``text`` is the name of a script: one line that ends in .txt or .md."""
    text = text.strip()
    return text.lower().endswith(TEXT_SUFFIXES) and "\n" not in text


def _drop(options: dict[str, Any], names: Iterable[str], draft: Draft, beside: str) -> None:
    """Takes options without effect out; a row's own are its fault."""
    for name in names:
        if name in draft.cells:
            draft.fault(name, f"has no effect {beside}; leave it empty")
        options.pop(name, None)
