"""Checkpoint files become installed weights, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from omnitalk_cli import __version__
from omnitalk_cli.errors import InputError, OmnitalkError, UsageError, WorkError, system_error
from omnitalk_cli.progress import Progress
from omnitalk_cli.weights.catalog import Entry
from omnitalk_cli.weights.download import disk_error
from omnitalk_cli.weights.importers.registry import IMPORTERS
from omnitalk_cli.weights.receipt import RECEIPT, FileFacts, Receipt
from omnitalk_cli.weights.store import sha256, weights_folder

Note = Callable[[str], None]
_POLL = 0.2  # seconds


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where checkpoint files come from, for the receipt: see ``Receipt``."""

    origin: str
    source: str
    revision: str
    commit: str
    accepted: str
    fetched: tuple[FileFacts, ...]


def staging_folder() -> Path:
    """Where weights are before they are installed; on the same disk as the installed ones."""
    return weights_folder() / ".staging"


@contextmanager
def only_one(entry: Entry, note: Note) -> Iterator[None]:
    """While this holds, no other omnitalk installs or removes ``entry``; it waits its turn."""
    from filelock import FileLock, Timeout

    try:
        staging_folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(staging_folder() / f"{entry.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            note(f"another omnitalk is at work on {entry.name}; waiting for it to finish")
            lock.acquire(poll_interval=_POLL)
    except OSError as error:
        raise disk_error(staging_folder(), error) from error
    try:
        yield
    finally:
        lock.release()


def install(
    entry: Entry, files: Mapping[str, Path], origin: Origin, *, overwrite: bool, progress: Progress
) -> Receipt:
    """Converts ``files`` (by base name) and puts the result in its place, with its receipt.

    Called under ``only_one``. Raises InputError for files that the importer refuses, WorkError when
    the disk is full, UsageError when there is something already and ``overwrite`` is false.
    """
    assert entry.source is not None
    sweep(entry)
    folder = weights_folder() / entry.name
    if folder.exists() and not overwrite:
        raise UsageError(f"{folder}: exists already; use --overwrite")
    importer = IMPORTERS[entry.source.importer]
    new = staging_folder() / f"{entry.name}.new-{secrets.token_hex(4)}"
    progress(f"converting {entry.name}", 0, 1)
    try:
        new.mkdir(parents=True)
        main = files[entry.source.files[0].base]
        companions = {name: path for name, path in files.items() if path != main}
        importer.load()(main, companions, new / entry.main)
        receipt = Receipt(
            name=entry.name,
            origin=origin.origin,
            source=origin.source,
            revision=origin.revision,
            commit=origin.commit,
            licence=entry.licence.name,
            accepted=origin.accepted,
            importer=entry.source.importer,
            importer_version=importer.version,
            omnitalk=__version__,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            fetched=origin.fetched,
            installed=_facts(new, entry),
        )
        receipt.write(new)
        _put(new, folder)
    except OmnitalkError:
        raise
    except Exception as error:
        trouble = error if isinstance(error, OSError) else system_error(error)
        if trouble is None:
            raise
        raise disk_error(new, trouble) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    progress(f"converting {entry.name}", 1, 1)
    return receipt


def sweep(entry: Entry) -> None:
    """Deletes what a killed run left half converted; what it had taken away and not replaced comes
    back. Called under ``only_one``."""
    folder = weights_folder() / entry.name
    for left in staging_folder().glob(f"{entry.name}.old-*"):
        if not folder.exists():
            os.replace(left, folder)
    for kind in ("new", "old"):
        for left in staging_folder().glob(f"{entry.name}.{kind}-*"):
            shutil.rmtree(left, ignore_errors=True)


def _facts(folder: Path, entry: Entry) -> tuple[FileFacts, ...]:
    if not (folder / entry.main).is_file():
        raise InputError(f"{entry.name}: its importer made no {entry.main}")
    return tuple(
        FileFacts(name=file.name, size=file.stat().st_size, sha256=sha256(file))
        for file in sorted(folder.iterdir())
        if file.name != RECEIPT
    )


def _put(new: Path, folder: Path) -> None:
    """Gives ``new`` its name; what was there before comes back when that fails."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = new.with_name(new.name.replace(".new-", ".old-"))
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:  # Ctrl-C, too
        if not folder.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if not (folder / RECEIPT).is_file():
        raise WorkError(f"{folder}: was changed by another program meanwhile; pull it again")
