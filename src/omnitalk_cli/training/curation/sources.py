"""Which files are videos to work on: those that are named, and those in the folders named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from omnitalk_cli.errors import InputError

# In a folder only these are taken; a file that is named may have any name.
SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf".split()
)


def find_videos(named: Sequence[Path], out: Path) -> list[Path]:
    """Videos in order: as named, those of a folder (and the folders in it) by name.

    Hidden files and the corpus' own folder ``out`` are left out, and so is a file that was there
    before. Raises InputError for a name that does not exist and when nothing is found.
    """
    found: dict[Path, Path] = {}
    own = out.absolute()
    for path in named:
        if path.is_dir():
            for one in _inside(path):
                if own not in one.absolute().parents:
                    found.setdefault(one.absolute(), one)
        elif path.exists():
            found.setdefault(path.absolute(), path)
        else:
            raise InputError(f"{path}: no such file or folder; give videos or folders of them")
    if not found:
        raise InputError(
            f"{', '.join(map(str, named))}: no videos in it ({' '.join(sorted(SUFFIXES))})"
        )
    return list(found.values())


def _inside(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(parent) / name
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(files)
