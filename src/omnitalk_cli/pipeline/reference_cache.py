"""The features of clips, kept by what they depend on, below a size."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class CacheInfo:
    """What is kept in ``folder``: ``files`` of ``bytes`` together, at most ``most_bytes``."""

    folder: Path
    files: int
    bytes: int
    most_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"folder": str(self.folder)}

    def lines(self) -> list[str]:
        """The same in words."""
        return [
            str(self.folder),
            f"{self.files} references, {self.bytes / 1e6:.0f} MB of {self.most_bytes / 1e6:.0f} MB",
        ]


class ReferenceCache:
    """Features in ``folder``/references, one file for each key; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "references"

    def place(self, key: str) -> Path:
        """The file of ``key``, whether it is there or not."""
        return self.folder / f"{key}.safetensors"

    def info(self) -> CacheInfo:
        """What is kept now."""
        sizes = [size for _, size, _ in self._files()]
        return CacheInfo(
            folder=self.folder, files=len(sizes), bytes=sum(sizes), most_bytes=MOST_BYTES
        )

    def clear(self, *, older_than_days: float = 0.0) -> tuple[int, int]:
        """Delete what was not used for so many days; returns how many files and bytes it was.

        Raises OSError for a file that cannot be deleted.
        """
        before = time.time() - 86_400 * older_than_days
        gone = [(path, size) for path, size, used in self._files() if used <= before]
        for path, _ in gone:
            path.unlink(missing_ok=True)
        return len(gone), sum(size for _, size in gone)

    def prune(self, *, keep: Path) -> None:
        """Delete what was not used for longest until the rest is small enough; never ``keep``."""
        files = self._files()
        total = sum(size for _, size, _ in files)
        for path, size, _ in sorted(files, key=lambda file: file[2]):
            if total <= MOST_BYTES:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[tuple[Path, int, float]]:
        """Path, size and time of last use of each file."""
        found = []
        for path in self.folder.glob("*.safetensors"):
            try:
                facts = path.stat()
            except FileNotFoundError:  # another process deleted it meanwhile
                continue
            found.append((path, facts.st_size, facts.st_mtime))
        return found
