"""Where secrets lie on this machine, and files there that only their owner can read."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

from omnitalk_cli.errors import SetupError

ENVIRONMENT_VARIABLE = "OMNITALK_KEY_DIR"


def key_folder() -> Path:
    """Where keys and the ledger lie: $OMNITALK_KEY_DIR, else the platform's user data folder."""
    from platformdirs import user_data_path

    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen) if chosen else user_data_path("omnitalk", appauthor=False) / "keys"


def check_key_folder() -> None:
    """Raises SetupError when ``key_folder()`` cannot be made or written; makes nothing."""
    folder = key_folder()
    above = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise SetupError(
            f"{folder}: the folder for keys cannot be written; "
            f"set {ENVIRONMENT_VARIABLE} to a folder that can"
        )


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


def make_private(path: Path, content: bytes) -> None:
    """A new file at ``path`` that only its owner can read; a file that is there already stays.

    Whoever comes first of several processes at the same time decides what it holds, so that the
    file must be read again afterwards. Raises SetupError when it cannot be made.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # A link, unlike a rename, never replaces what another process made just before.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def read_private(path: Path, limit: int) -> bytes:
    """What the file at ``path`` holds, at most its first ``limit`` bytes.

    Raises SetupError for a link, a pipe, a folder, and for a file that other users can read.
    """
    # Not through a link, and without waiting: someone may have put a pipe there.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise SetupError(f"{path}: is not a file; move it away, and a new one will be made")
            if sys.platform != "win32" and about.st_mode & 0o077:
                raise SetupError(
                    f"{path}: other users can read this key; run `chmod 600` on it, "
                    "or move it away, and a new one will be made"
                )
            return file.read(limit)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> SetupError:
    return SetupError(
        f"{path}: the key cannot be used ({error.strerror or error}); correct that, "
        f"or set {ENVIRONMENT_VARIABLE} to another folder"
    )
