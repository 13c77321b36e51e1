"""Names of a batch's jobs and files: which are usable on every system, and the ``--name`` template.

``{id}_{lang}.mp4`` takes its fields from a row's columns and options.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.settings import did_you_mean, plain_name

SUFFIX = ".mp4"
LONGEST_ID = 200  # bytes in UTF-8
LONGEST_NAME = 240  # bytes of a file's name: file systems take 255, temporary names need some

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f]')  # Windows' list and control characters
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
# Width and kind only: no nesting, and no widths that fill the memory.
_SPEC = re.compile(r"0?[0-9]{0,2}(?:\.[0-9])?[dfgs]?")
_SHOWN = 40


def name_fault(name: str, *, longest: int = LONGEST_NAME) -> str:
    """Why ``name`` cannot name a file on every system; "" when it can. ``longest`` is in bytes."""
    if not name:
        return "is empty"
    found = _FORBIDDEN.search(name)
    if found:
        return f"holds {found.group()!r}, which file names cannot hold"
    if name[0] in ". " or name[-1] in ". ":
        return "begins or ends with a dot or a space, which file names should not"
    if _RESERVED.fullmatch(name):
        return "is reserved for a device on Windows"
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not valid Unicode text"
    if size > longest:
        return f"is too long ({size} bytes; {longest} at most)"
    return ""


def name_key(name: str) -> str:
    """Equal for names that some file system takes for the same (case, composed accents)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shown(value: str) -> str:
    """A value as messages show it: quoted, on one line, cut when long."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


@dataclass(frozen=True)
class _Part:
    """Literal text and the field after it (None: the template ends here)."""

    literal: str
    field: str | None
    spec: str


@dataclass(frozen=True, kw_only=True)
class NameTemplate:
    """A checked template; ``fields`` are those that it uses. Make it with :meth:`parse`."""

    text: str
    parts: tuple[_Part, ...]

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> NameTemplate:
        """The template ``text`` over the fields ``known`` (with underscores).

        Raises UsageError for unknown fields, for names outside the output folder, and when the
        name does not end in .mp4.
        """
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise _wrong(text, f"{error}; write fields as {{id}}, a brace itself twice") from error
        parts = []
        for literal, name, spec, conversion in pieces:
            field = name.strip().replace("-", "_") if name is not None else None
            if field is not None and field not in known:
                hint = did_you_mean(field, known) or "; fields are columns, such as {id} or {lang}"
                raise _wrong(text, f"there is no field {{{name}}}{hint}")
            if conversion or not _SPEC.fullmatch(spec or ""):
                raise _wrong(text, f"{{{name}}} can be given a width only, such as {{line:04d}}")
            parts.append(_Part(literal, field, spec or ""))
        made = cls(text=text, parts=tuple(parts))
        trial = "".join(part.literal + ("x" if part.field is not None else "") for part in parts)
        if not trial.lower().endswith(SUFFIX) or trial.lower().endswith("/" + SUFFIX):
            raise _wrong(text, f"the name must end in {SUFFIX}, such as {{id}}{SUFFIX}")
        if trial.startswith(("/", "~")) or "\\" in trial or re.match("[A-Za-z]:", trial):
            raise _wrong(text, "it must be a name inside the output folder, with / between folders")
        if fault := path_fault(trial):
            raise _wrong(text, fault)
        return made

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it uses."""
        return frozenset(part.field for part in self.parts if part.field is not None)

    def name(self, value_of: Callable[[str], Any]) -> str:
        """The name for one row; ``value_of`` gives a field's value, None when there is none.

        Raises UsageError when a value is missing, does not fit, or makes an unusable name.
        """
        words = []
        for part in self.parts:
            words.append(part.literal)
            if part.field is None:
                continue
            word = _word(part, value_of(part.field))
            if "/" in word:  # only the template itself makes folders
                raise UsageError(f"its {part.field} {shown(word)} holds '/', which names cannot")
            words.append(word)
        made = "".join(words)
        if fault := path_fault(made):
            raise UsageError(f"would be named {shown(made)}: {fault}")
        return made


def path_fault(name: str) -> str:
    """Why ``name``, with / between folders, cannot be used below the output folder; else ""."""
    for part in name.split("/"):
        if fault := name_fault(part):
            return fault if part == name else f"its part {shown(part)} {fault}"
    return ""


def _word(part: _Part, value: Any) -> str:
    if value is None or value == "":
        raise UsageError(f"the name needs {part.field}, which neither row nor command line gives")
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, Path):
        value = plain_name(value)
    elif isinstance(value, float) and not part.spec:
        value = f"{value:g}"
    try:
        word = format(value, part.spec)
    except ValueError as error:
        raise UsageError(
            f"its {part.field} {shown(str(value))} does not fit {{{part.field}:{part.spec}}}"
        ) from error
    if not word.strip():
        raise UsageError(f"its {part.field} is empty, but the name needs it")
    return word


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"--name {text}: {why}")
