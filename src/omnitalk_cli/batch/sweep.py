"""Half-written outputs that killed runs left behind: ``.NAME.XXXXXXXX.part`` of media/files.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omnitalk_cli.media.files import part_path

STALE_SECONDS = 3600.0  # a file that no row accounts for is left alone for this long

_PART = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part", re.DOTALL)

Key = tuple[Path, str]


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A part file: its place, which output it was to be, and when it was last written (epoch)."""

    path: Path
    key: Key
    written: float


def output_key(path: Path) -> Key:
    """What an output has in common with its part files and those beside it (captions, say)."""
    return _key(path.parent, _PART.fullmatch(part_path(path).name))


def find_leftovers(folders: Iterable[Path]) -> list[Leftover]:
    """All part files in these folders, not in those below; folders that are missing are none."""
    found = []
    for folder in sorted(set(folders)):
        try:
            for path in folder.iterdir():
                match = _PART.fullmatch(path.name)
                if match and path.is_file() and not path.is_symlink():
                    key = _key(folder, match)
                    found.append(Leftover(path=path, key=key, written=path.stat().st_mtime))
        except OSError:  # gone meanwhile, or not ours to read
            continue
    return found


def remove_leftovers(
    leftovers: Iterable[Leftover], *, live: set[Key], known: set[Key], now: float
) -> list[Path]:
    """Remove those of rows that nobody makes now, and old ones that no row accounts for.

    ``live`` are the outputs that are being made, ``known`` all of the ledger; both must be read
    after ``leftovers``, so that a file of a run that began meanwhile is not among them. ``now`` is
    the time on the clock of the disk that holds them. Returns what is gone.
    """
    removed = []
    for leftover in leftovers:
        if leftover.key in live:
            continue
        if leftover.key in known or now - leftover.written > STALE_SECONDS:
            try:
                leftover.path.unlink(missing_ok=True)
            except OSError:  # it stays, and does no harm
                continue
            removed.append(leftover.path)
    return removed


def _key(folder: Path, match: re.Match[str] | None) -> Key:
    assert match is not None  # part_path makes such names
    name = match["name"]
    return folder, name.rpartition(".")[0] or name
