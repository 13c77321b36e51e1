"""The secret that the invisible marks are made and read with: made on first use, the owner's only.

Without it the marks can neither be read nor removed without trying. Copying the file to another
machine lets that machine read the marks too.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from omnitalk_cli.errors import SetupError

ENVIRONMENT_VARIABLE = "OMNITALK_KEY_DIR"
KEY_FILE = "mark.key"

_KEY_BYTES = 32
_KEY_TEXT = re.compile(rb"[0-9a-f]{%d}\n?" % (2 * _KEY_BYTES))


def key_folder() -> Path:
    """Where keys and the ledger lie: $OMNITALK_KEY_DIR, else the platform's user data folder."""
    from platformdirs import user_data_path

    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen) if chosen else user_data_path("omnitalk", appauthor=False) / "keys"


def private_folder(folder: Path) -> Path:
    """``folder``, made for its owner only if it is not there. Raises SetupError if it cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{folder}: the folder for keys cannot be made ({error.strerror}); "
            f"set {ENVIRONMENT_VARIABLE} to a folder that can"
        ) from error
    return folder


def mark_key(folder: Path | None = None) -> bytes:
    """The 32 bytes of the marks' key in ``folder`` (default ``key_folder()``), made if missing.

    The file holds them as 64 hexadecimal digits and is readable by its owner only. Several
    processes that begin at the same time get the same key. Raises SetupError when the file is
    damaged, open to other users, or cannot be made.
    """
    folder = private_folder(key_folder() if folder is None else folder)
    path = folder / KEY_FILE
    try:
        if not os.path.lexists(path):
            _make(path)
        return _read(path)
    except OSError as error:
        raise SetupError(
            f"{path}: the key of the marks cannot be used ({error.strerror or error}); "
            f"correct that, or set {ENVIRONMENT_VARIABLE} to another folder"
        ) from error


def _make(path: Path) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key that another process made just before.
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    # Not through a link, and without waiting: someone may have put a pipe there.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise SetupError(f"{path}: is not a file; move it away, and a new key will be made")
        if sys.platform != "win32" and about.st_mode & 0o077:
            raise SetupError(
                f"{path}: other users can read this key; run `chmod 600` on it, "
                "or move it away, and a new key will be made"
            )
        text = file.read(2 * _KEY_BYTES + 2)
    if not _KEY_TEXT.fullmatch(text):
        raise SetupError(
            f"{path}: is damaged, it should hold {2 * _KEY_BYTES} hexadecimal digits; "
            "restore it, or move it away, and a new key will be made (which cannot read old marks)"
        )
    return bytes.fromhex(text.decode().strip())
