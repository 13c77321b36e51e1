"""From a script file to segments that can be spoken one by one.

Blank lines part paragraphs, ``[pause 0.8]`` is a silence in seconds, ``{行|hang2}`` sets a reading.
Sentences are found first, in the text as written; then each is normalised and cut to length.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.text.characters import is_han
from omnitalk_cli.text.normalise import OVERRIDE, Language, check_override, normalise
from omnitalk_cli.text.split import pieces, sentences
from omnitalk_cli.types import Script, Segment

SENTENCE_PAUSE = 0.25
COMMA_PAUSE = 0.1  # where a long sentence is cut after a comma
PARAGRAPH_PAUSE = 0.6
PLAIN_PAUSE = 0.5  # "[pause]" without a number
LONGEST_PAUSE = 30.0
MAX_BYTES = 1 << 20

_PAUSE = re.compile(r"\[\s*pause\b([^\[\]\n]*)\]", re.IGNORECASE)
_SECONDS = re.compile(r"[\s:=]*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(s|sec|seconds?|ms)?\s*", re.I)
_LIST_ITEM = re.compile(r"\s*(?:[-*•+]\s+|[0-9]{1,3}[.)]\s+|#{1,6}\s+)")
_CODINGS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def read_script(source: Path | str, *, language: Literal["auto", "en", "zh"] = "auto") -> Script:
    """Read a script: a file (``Path``), or the text itself (``str``).

    ``auto`` takes any Chinese character for a Chinese script, which may hold English words. Raises
    InputError, naming the file, when it cannot be read, is not UTF-8, holds nothing to be spoken,
    or is written in an alphabet that cannot be spoken.
    """
    if language not in ("auto", "en", "zh"):
        raise UsageError(f"language {language!r} is not known; one of auto, en, zh")
    name = str(source) if isinstance(source, Path) else "script"
    text = _read(source) if isinstance(source, Path) else source.removeprefix("\ufeff")
    try:
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: is not valid Unicode text; save it as UTF-8") from error
    spoken: Language = (
        ("zh" if any(map(is_han, text)) else "en") if language == "auto" else language
    )
    try:
        segments = tuple(_segments(text, spoken))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not any(segment.text for segment in segments):
        raise InputError(f"{name}: holds nothing that can be spoken; write at least one word")
    return Script(segments=segments, language=spoken, source_sha256=digest)


def check_script(source: Path | str, *, language: Literal["auto", "en", "zh"] = "auto") -> Language:
    """The language of a script, checked for what ``read_script`` refuses, at a small part of its
    cost (some 10 µs a line instead of 1 ms). Raises what it raises.

    Only what looks wrong is really read; a rare fault can stay hidden until ``read_script``.
    """
    text = _read(source) if isinstance(source, Path) else source.removeprefix("\ufeff")
    foreign = {character for character in text if character > "\x7f"}
    spoken: Language = "zh" if any(map(is_han, foreign)) else "en"
    if language != "auto":
        spoken = language
    if _is_dubious(text, spoken) or not all(_is_spoken(character, spoken) for character in foreign):
        read_script(source, language=language)
    return spoken


def _is_dubious(text: str, language: Language) -> bool:
    if not any(map(str.isalnum, _PAUSE.sub("", text))):
        return True
    try:
        for match in _PAUSE.finditer(text):
            _pause(match)
        if language == "zh":
            for match in OVERRIDE.finditer(text):
                check_override(match.group(1).strip(), match.group(2).strip().lower())
    except InputError:
        return True
    return False


@lru_cache(maxsize=8192)
def _is_spoken(character: str, language: Language) -> bool:
    try:
        normalise(character, language)
    except (InputError, UnicodeError):
        return False
    return not "\ud800" <= character <= "\udfff"


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a text file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is too large for a script (1 MiB at most); is it text?")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    for mark, coding in _CODINGS:
        if data.startswith(mark):
            raise InputError(f"{path}: is {coding}; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: is not UTF-8 (line {line}); save it as UTF-8 text") from error
    if "\x00" in text:
        raise InputError(f"{path}: is not a text file")
    return text


def _segments(text: str, language: Language) -> Iterator[Segment]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if language == "zh":
        for match in OVERRIDE.finditer(text):
            check_override(match.group(1).strip(), match.group(2).strip().lower())
    last: Segment | None = None
    explicit = False  # whether a written pause, not the usual one, follows ``last``
    number = 0
    for paragraph in re.split(r"\n[^\S\n]*\n", text):
        for part in _parts(paragraph):
            if isinstance(part, str):
                for segment in _sentence(part, language, number):
                    if last is not None:
                        apart = last.text and last.paragraph < number
                        pause = max(last.pause_after, PARAGRAPH_PAUSE if apart else 0.0)
                        yield replace(last, pause_after=pause)
                    last, explicit = segment, False
                continue
            if last is None:
                last = Segment(text="", pause_after=0.0, paragraph=number)
            # What is written replaces the usual pause; several in a row add up.
            before = last.pause_after if explicit else 0.0
            last, explicit = replace(last, pause_after=min(before + part, LONGEST_PAUSE)), True
        if last is not None and last.text and last.paragraph == number:
            number += 1
    if last is not None:
        yield last


def _parts(paragraph: str) -> Iterator[str | float]:
    """Sentences as written, and pauses in seconds."""
    position = 0
    for match in _PAUSE.finditer(paragraph):
        yield from _lines(paragraph[position : match.start()])
        yield _pause(match)
        position = match.end()
    yield from _lines(paragraph[position:])


def _lines(text: str) -> Iterator[str]:
    """A line break is a space, but list items and headings stand alone."""
    block: list[str] = []
    for line in text.split("\n"):
        item = _LIST_ITEM.match(line)
        if item and block:
            yield from sentences(" ".join(block))
            block = []
        block.append(line[item.end() :] if item and not item.group().strip()[0].isdigit() else line)
        if item and line.lstrip().startswith("#"):
            yield from sentences(" ".join(block))
            block = []
    yield from sentences(" ".join(block))


def _pause(match: re.Match[str]) -> float:
    if not match.group(1).strip():
        return PLAIN_PAUSE
    value = _SECONDS.fullmatch(match.group(1))
    if value is None:
        raise InputError(f"{match.group()}: write the seconds as a number, such as [pause 0.8]")
    seconds = float(value.group(1)) / (1000 if (value.group(2) or "").lower() == "ms" else 1)
    if seconds > LONGEST_PAUSE:
        raise InputError(f"{match.group()}: a pause lasts {LONGEST_PAUSE:g} seconds at most")
    return seconds


def _sentence(text: str, language: Language, paragraph: int) -> Iterator[Segment]:
    spoken = normalise(text, language)
    if not spoken:
        return
    if spoken[-1] not in ".?!":
        spoken = spoken.rstrip(",;:") + "."
    found = pieces(spoken)
    for index, piece in enumerate(found):
        pause = COMMA_PAUSE if piece[-1] in ",;:" else 0.0
        if index + 1 == len(found) or piece[-1] in ".?!":
            pause = SENTENCE_PAUSE
        yield Segment(text=piece, pause_after=pause, paragraph=paragraph)
