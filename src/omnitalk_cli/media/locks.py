"""One program at a time in a folder that it fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from omnitalk_cli.errors import UsageError


@contextmanager
def sole_user(folder: Path, place: Path | None = None) -> Iterator[None]:
    """Makes ``folder`` and keeps other runs out of it meanwhile; ``place`` is where the lock file
    lies (None: in the folder itself).

    The lock goes with the process, however that ends. Where there are no locks (some network disks)
    nobody is kept out. Raises UsageError when another run is in the folder, or when it cannot be
    made.
    """
    path = (place or folder) / ".lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"{folder}: another run is at work in this folder; wait for it or name another"
        ) from error
    except NotImplementedError:
        pass
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{folder}: this folder cannot be made or written to ({why})") from error
    try:
        yield
    finally:
        lock.release()
