"""Results of stages on disk: by the video's content and all that the stage depends on.

One folder for each video, one file for each result, named after the stage and the hash of what it
depends on. A file is written whole or not at all; one that cannot be read is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from omnitalk_cli.errors import InputError, WorkError

T = TypeVar("T")


def digest(value: object) -> str:
    """A short hash of a JSON-able value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class StageCache:
    """The results for one video in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, stage: str, key: object, suffix: str) -> Path:
        """Where the result of ``stage`` for ``key`` is or would be."""
        return self._folder / f"{stage}-{digest(key)}{suffix}"

    def data(self, stage: str, key: object, make: Callable[[], T]) -> T:
        """A JSON-able result: the stored one, else what ``make`` returns (tuples become lists)."""
        path = self.place(stage, key, ".json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            pass
        text = json.dumps(make(), ensure_ascii=False)
        self._write(path, lambda part: part.write_text(text, encoding="utf-8"))
        return json.loads(text)  # as it will be read next time

    def arrays(
        self,
        stage: str,
        key: object,
        make: Callable[[], T],
        *,
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        """A result that ``save`` writes and ``load`` reads (safetensors)."""
        path = self.place(stage, key, ".safetensors")
        try:
            return load(path)
        except (OSError, KeyError, ValueError, SafetensorError):
            pass
        made = make()
        self._write(path, lambda part: save(made, part))
        return load(path)  # as it will be read next time, to the last bit

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Raises WorkError, so that a full disk is not taken for a bad video."""
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise WorkError(f"{path}: cannot be written ({why.lower()})") from error
        finally:
            part.unlink(missing_ok=True)


def content_hash(path: Path, index: Path) -> str:
    """SHA-256 of a file. ``index`` keeps it for as long as size and time of change stay.

    Raises InputError when the file cannot be read.
    """
    try:
        state = path.stat()
        known = [str(path.absolute()), state.st_size, state.st_mtime_ns]

        def read() -> dict[str, Any]:
            with path.open("rb") as file:
                return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}

        return str(StageCache(index).data("file", known, read)["sha256"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
