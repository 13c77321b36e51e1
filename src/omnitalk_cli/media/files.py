"""Outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnitalk_cli.errors import UsageError, WorkError


def part_path(path: Path) -> Path:
    """A fresh hidden name in the folder of ``path``, to be renamed to ``path`` at the end."""
    # Long names would pass the limit of 255 bytes with the additions: keep the beginning only.
    stem = path.name.encode("utf-8")[:160].decode("utf-8", "ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(4)}.part")


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Find out before the work whether ``path`` can be written.

    Raises UsageError when ``path`` is a folder, or exists and ``overwrite`` is false; WorkError
    when its folder is missing or refuses files.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; use --overwrite or another name")
    if not path.parent.exists():
        raise WorkError(f"{path}: the folder {path.parent} does not exist; create it first")
    trial = part_path(path)
    try:
        # Asking (os.access) is not enough: read-only mounts and quotas show only when one tries.
        descriptor = os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        trial.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def atomic_output(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it becomes ``path`` when the block ends well.

    When the block raises anything (Ctrl-C too), the temporary file is removed and what was at
    ``path`` stays. Raises what ``check_writable`` raises, and WorkError when the disk is full.
    """
    check_writable(path, overwrite=overwrite)
    part = part_path(path)
    try:
        yield part
        commit(part, path, overwrite=overwrite)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def commit(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished temporary file its name. Raises UsageError if another made it meanwhile."""
    if not overwrite and path.exists():
        raise UsageError(f"{path}: was made by another program meanwhile; use --overwrite")
    os.replace(part, path)


def _cannot_write(path: Path, error: OSError) -> WorkError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkError(f"{path}: disk full; free some space or write the output elsewhere")
    why = (error.strerror or str(error)).lower()
    return WorkError(f"{path}: cannot be written ({why}); choose a folder that you may write to")
