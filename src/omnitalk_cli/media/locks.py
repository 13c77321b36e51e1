"""One program at a time in a folder that it fills."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnitalk_cli.errors import UsageError

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def sole_user(folder: Path, place: Path | None = None) -> Iterator[None]:
    """Makes ``folder`` and keeps other runs out of it meanwhile; ``place`` is where the lock file
    lies (None: in the folder itself).

    The lock goes with the process, however that ends. Where there are no locks (some network disks,
    Windows) nobody is kept out. Raises UsageError when another run is in the folder, or when it
    cannot be made.
    """
    path = (place or folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{folder}: this folder cannot be made or written to ({why})") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise UsageError(
                f"{folder}: another run is at work in this folder; wait for it or name another"
            ) from error
