"""What is checked before and after weights are fetched: names, licences, space, hashes."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from omnitalk_cli.errors import UsageError, WorkError
from omnitalk_cli.weights.catalog import Entry, RemoteFile, catalog, size_words
from omnitalk_cli.weights.receipt import FileFacts
from omnitalk_cli.weights.store import sha256

_MARGIN = 1.05  # file systems need some room for themselves


class WrongFileError(WorkError):
    """A file that is not the one that was meant."""


def public_entry(name: str) -> Entry:
    """The public entry of that name. Raises UsageError for others."""
    found = catalog().entry(name)
    if found.embedded:
        raise UsageError(f"{name} is part of omnitalk: it needs no fetching and cannot be changed")
    return found


def accepted_licence(entry: Entry, accepted: Sequence[str]) -> str:
    """The licence of ``entry`` if it has to be and is among ``accepted``, by its own name or that
    of the entry; otherwise ''."""
    if entry.licence.non_commercial and {entry.licence.name, entry.name} & set(accepted):
        return entry.licence.name
    return ""


def check_licences(entries: Iterable[Entry], accepted: Sequence[str], command: str) -> None:
    """Raises UsageError, with the command to type, when a licence that forbids commercial use was
    not accepted, or when ``accepted`` names nothing that exists."""
    known = {item.licence.name for item in catalog().entries}
    known |= {item.name for item in catalog().entries}
    for name in accepted:
        if name not in known:
            raise UsageError(f"--accept-license {name}: no such licence or weights")
    open_ = [
        item
        for item in entries
        if item.licence.non_commercial and not accepted_licence(item, accepted)
    ]
    if not open_:
        return
    texts = {item.licence.name: item.licence.summary for item in open_}
    given = "".join(f" --accept-license {name}" for name in (*accepted, *texts))
    raise UsageError(
        f"{', '.join(item.name for item in open_)} is under {'; '.join(texts.values())}. "
        f"If you keep to that: {command}{given}"
    )


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises WorkError when the disk of ``folder`` has not ``needed`` bytes."""
    free = free_space(folder)
    if needed * _MARGIN > free:
        raise WorkError(
            f"{what} needs {size_words(int(needed * _MARGIN))} in {folder} and the disk has "
            f"{size_words(free)}; free some space, or set OMNITALK_WEIGHTS_DIR to a folder "
            "elsewhere"
        )


def free_space(folder: Path) -> int:
    """Free bytes on the disk where ``folder`` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_file(path: Path, file: RemoteFile, etag: str = "") -> FileFacts:
    """The facts of a file, after a comparison with what the catalogue and the server (``etag``)
    say of it. Raises WrongFileError."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise WrongFileError(f"{file.base}: has {size} bytes instead of {file.size}")
    digest = sha256(path)
    if file.sha256 is not None and digest != file.sha256:
        raise WrongFileError(
            f"{file.base}: is not the file that is meant (sha256 {digest[:12]}… instead of "
            f"{file.sha256[:12]}…)"
        )
    if re.fullmatch("[0-9a-f]{64}", etag) and digest != etag:
        raise WrongFileError(
            f"{file.base}: came damaged (sha256 {digest[:12]}… instead of {etag[:12]}…)"
        )
    if re.fullmatch("[0-9a-f]{40}", etag) and _git_hash(path, size) != etag:
        raise WrongFileError(f"{file.base}: came damaged (its git hash is not {etag[:12]}…)")
    return FileFacts(name=file.base, size=size, sha256=digest)


def check_announced(label: str, file: RemoteFile, size: int | None, etag: str) -> None:
    """Raises WrongFileError when a server announces another file than the catalogue knows: then
    nothing has to be fetched to see it."""
    other_size = file.size is not None and size is not None and size != file.size
    is_hash = re.fullmatch("[0-9a-f]{64}", etag) is not None
    if other_size or (file.sha256 is not None and is_hash and etag != file.sha256):
        raise WrongFileError(
            f"{label}: the server announces another file than the one that is known; nothing was "
            "fetched. Check HF_ENDPOINT"
        )


def _git_hash(path: Path, size: int) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
