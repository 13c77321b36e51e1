"""What is said in a clip: from a subtitle file, a text beside the video, or speech recognition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnitalk_cli.errors import InputError
from omnitalk_cli.types import Word

VERSION = 1
SUFFIXES = (".srt", ".vtt", ".txt")
_HAN = re.compile(r"[぀-ヿ㐀-鿿가-힯]")
_TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_TAGS = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_SLACK = 0.5  # seconds; cues stand a little longer than their words


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A subtitle: its time in seconds and its words."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Said:
    """The text of a clip, or ``reason`` why there is none."""

    text: str = ""
    language: str = ""
    source: str = ""
    reason: str = ""


def find_transcript(folder: Path, video: Path) -> Path | None:
    """The transcript of ``video`` in ``folder``: same name, ``.srt``, ``.vtt`` or ``.txt``.

    Where videos of different folders have the same name, theirs lie in folders of those names.
    """
    names = [f"{stem}{suffix}" for suffix in SUFFIXES for stem in (video.stem, video.name)]
    places = [folder / video.absolute().parent.name / name for name in names]
    places += [folder / name for name in names]
    return next((place for place in places if place.is_file()), None)


def read_text(path: Path) -> str:
    """A transcript as text in one line. Raises InputError when it is not UTF-8."""
    return " ".join(_decoded(path).split())


def read_cues(path: Path) -> list[Cue]:
    """The cues of an SRT or WebVTT file in order of time; cues without words are left out.

    Lines that are no cue are skipped. Raises InputError when the file is not UTF-8 or no cue is in
    it.
    """
    cues = []
    for block in re.split(r"\n\s*\n", _decoded(path).replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        for number, line in enumerate(lines):
            before, arrow, after = line.partition("-->")
            if not arrow:
                continue
            times = _TIME.search(before), _TIME.search(after)
            if times[0] is not None and times[1] is not None:
                text = " ".join(_TAGS.sub("", " ".join(lines[number + 1 :])).split())
                start, end = _seconds(times[0]), _seconds(times[1])
                if text and end > start:
                    cues.append(Cue(start=start, end=end, text=text))
            break
    if not cues:
        raise InputError(f"{path}: holds no subtitles; an SRT or WebVTT file is needed")
    return sorted(cues, key=lambda cue: cue.start)


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the transcript is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error


def _seconds(time: re.Match[str]) -> float:
    hours, minutes, seconds, fraction = time.groups()
    return (
        int(hours or 0) * 3600
        + int(minutes) * 60
        + int(seconds)
        + int(fraction.ljust(3, "0")) / 1e3
    )


def said_in_cues(cues: Sequence[Cue], start: float, end: float) -> tuple[str, str]:
    """The text of the cues in ``start``…``end``, or "" and the reason."""
    texts = []
    for cue in cues:
        inside = min(cue.end, end) - max(cue.start, start)
        if inside <= 0 or inside < min(_SLACK, 0.5 * (cue.end - cue.start)):
            continue
        if cue.start < start - _SLACK or cue.end > end + _SLACK:
            return "", f"a subtitle ({cue.start:.1f}-{cue.end:.1f} s) reaches beyond the clip"
        texts.append(cue.text)
    if not texts:
        return "", "the subtitles have no words for it"
    return join(texts), ""


def said_in_words(words: Sequence[Word], start: float, end: float) -> tuple[str, str]:
    """The words whose middle lies in ``start``…``end``, or "" and the reason."""
    inside = [word.text for word in words if start <= (word.start + word.end) / 2 < end]
    text = join([word for word in inside if word])
    return (text, "") if text else ("", "no words are heard in it")


def join(parts: Sequence[str]) -> str:
    """Words or lines as one text: with spaces, but none between signs of Chinese or Japanese."""
    text = ""
    for part in parts:
        glued = text and part and _HAN.match(part[0]) and _HAN.match(text[-1])
        text += part if glued or not text else f" {part}"
    return text.strip()


def guess_language(text: str) -> str:
    """``zh`` for a text in Chinese signs, ``ja`` and ``ko`` by their own, else ``en``."""
    if re.search(r"[぀-ヿ]", text):
        return "ja"
    if re.search(r"[가-힯]", text):
        return "ko"
    return "zh" if re.search(r"[㐀-鿿]", text) else "en"


def characters(text: str) -> int:
    """How many letters, digits and signs a text has: no spaces, no punctuation."""
    return sum(one.isalnum() for one in text)
