"""One file from a server to the disk: a cut connection goes on where it was, also next time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from omnitalk_cli.errors import OmnitalkError, WorkError

# A server that sends nothing any more is given up after so many tries without a single byte.
ATTEMPTS = 5
PAUSE = 1.0  # seconds before the second try; doubled each time
_REPORT_SECONDS = 0.1

Report = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a file can be had: its ``url``, the ``headers`` of the request, its size in bytes if
    that is known, and what to call it in messages."""

    url: str
    headers: dict[str, str]
    size: int | None
    label: str


class RefusedError(Exception):
    """The server answers, but not with the file: ``status`` is that of HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def download(address: Address, part: Path, *, report: Report, timeout: float) -> None:
    """Fetches the file into ``part``, going on after the bytes that ``part`` already holds.

    ``report`` gets how many bytes there are. What was fetched stays when anything goes wrong.
    Raises RefusedError for an answer that trying again does not change, WorkError when the
    connection does not last or the disk is full, and lets a ConnectError of a first try pass.
    """
    import httpx2

    failures = 0
    begun = False
    while address.size is None or _held(part) != address.size:
        before = _held(part)
        try:
            _receive(address, part, report=report, timeout=timeout)
            if address.size is None or _held(part) >= address.size:
                return
            trouble: Exception = _ServerError(f"{_held(part)} of {address.size} bytes came")
        except (httpx2.TransportError, _ServerError) as error:
            if isinstance(error, httpx2.ConnectError) and not begun:
                raise
            trouble = error
        begun = True
        failures = 1 if _held(part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise WorkError(
                f"{address.label}: the connection broke off ({_why(trouble)}); what was fetched "
                "is kept, the same command goes on from there"
            ) from trouble
        time.sleep(min(PAUSE * 2 ** (failures - 1), 16 * PAUSE))


class _ServerError(Exception):
    """An answer that may be another one in a moment."""


def _receive(address: Address, part: Path, *, report: Report, timeout: float) -> None:
    from huggingface_hub import get_session

    start = _held(part)
    # Ranges are counted in what is sent, so nothing may be compressed on the way.
    headers = {**address.headers, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream(
        "GET", address.url, headers=headers, timeout=timeout, follow_redirects=True
    ) as response:
        status = response.status_code
        if status == 416 and start:  # longer than the file: these bytes are not of it
            part.unlink()
            raise _ServerError("HTTP 416")
        if status in (408, 429) or status >= 500:
            raise _ServerError(f"HTTP {status}")
        if status not in (200, 206):
            raise RefusedError(status)
        goes_on = status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        )
        if status == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise _ServerError("another range than asked for")
        try:
            with part.open("ab" if goes_on else "wb") as file:
                _copy(response.iter_raw(), file, start if goes_on else 0, report)
        except OSError as error:
            raise disk_error(part, error) from error


def _copy(chunks: object, file: BinaryIO, done: int, report: Report) -> None:
    shown = 0.0
    for chunk in chunks:  # type: ignore[attr-defined]
        file.write(chunk)
        done += len(chunk)
        if time.monotonic() - shown >= _REPORT_SECONDS:
            shown = time.monotonic()
            report(done)
    report(done)


def disk_error(path: Path, error: OSError) -> OmnitalkError:
    """What is told when ``path`` cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkError(
            f"{path.parent}: disk full; free some space, or set OMNITALK_WEIGHTS_DIR to a folder "
            "elsewhere. What was fetched is kept"
        )
    why = (error.strerror or str(error)).lower()
    return WorkError(f"{path}: cannot be written ({why}); OMNITALK_WEIGHTS_DIR names another place")


def seconds(variable: str, default: float) -> float:
    """A time in seconds from the environment, as the hub's library reads it."""
    try:
        return float(os.environ.get(variable) or default)
    except ValueError:
        return default


def _held(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _why(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
