"""The ffmpeg program: where it is, and a process around it that cannot hang or leak.

Commands are built with ffmpeg-python and run here. Standard error goes to a temporary file,
because a pipe that nobody reads fills up and stops ffmpeg in the middle of a long clip.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ffmpeg

from omnitalk_cli.errors import InputError, OmnitalkError, SetupError, WorkError

ENVIRONMENT_VARIABLE = "OMNITALK_FFMPEG"
_TAIL_BYTES = 4000
_TAIL_LINES = 3


@lru_cache(maxsize=8)
def _runs(program: str) -> bool:
    try:
        done = subprocess.run(
            [program, "-hide_banner", "-version"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and done.stdout.startswith(b"ffmpeg")


def find_ffmpeg(option: str | None = None) -> Path:
    """The ffmpeg program: ``option``, else $OMNITALK_FFMPEG, else PATH, else imageio-ffmpeg's own.

    A name without a folder is looked up on PATH. Raises SetupError when the program that was asked
    for does not run (no silent change to another one), or when none is found.
    """
    environment = os.environ.get(ENVIRONMENT_VARIABLE)
    for wanted, source in ((option, "--ffmpeg"), (environment, ENVIRONMENT_VARIABLE)):
        if not wanted:
            continue
        found = shutil.which(wanted)
        if found is None or not _runs(found):
            raise SetupError(
                f"{source}: {wanted} is not a working ffmpeg; give the path of an ffmpeg program, "
                "or leave it out to use the one that is installed"
            )
        return Path(found)
    on_path = shutil.which("ffmpeg")
    if on_path is not None and _runs(on_path):
        return Path(on_path)
    bundled = _bundled_ffmpeg()
    if bundled is not None and _runs(bundled):
        return Path(bundled)
    raise SetupError(
        "no working ffmpeg: install ffmpeg, or `pip install imageio-ffmpeg`, "
        f"or set {ENVIRONMENT_VARIABLE} to the path of one"
    )


def _bundled_ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


@lru_cache(maxsize=8)
def _listed(program: str, what: str) -> frozenset[str]:
    done = subprocess.run(
        [program, "-hide_banner", f"-{what}"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    rows = (line.split() for line in done.stdout.decode("utf-8", "replace").splitlines())
    return frozenset(row[1] for row in rows if len(row) > 1)


def has_encoder(program: Path, name: str) -> bool:
    """Whether ffmpeg lists this encoder. For hardware encoders a listing is no proof."""
    return name in _listed(str(program), "encoders")


def has_filter(program: Path, name: str) -> bool:
    """Whether ffmpeg lists this filter."""
    return name in _listed(str(program), "filters")


def local(path: Path) -> str:
    """``path`` as ffmpeg must see it: never an option, a protocol or a pattern."""
    return f"file:{path}"


def command(stream: Any, program: Path) -> list[str]:
    """The argument list of an ffmpeg-python graph, quiet and without questions."""
    quiet = stream.global_args("-hide_banner", "-nostats", "-loglevel", "error")
    return [str(part) for part in ffmpeg.compile(quiet, cmd=str(program), overwrite_output=True)]


class FFmpegProcess:
    """A running ffmpeg with optional pipes; a context manager that leaves no process behind.

    ``finish()`` waits for a good end. Leaving the block any other way kills the process.
    It has its own process group, so that Ctrl-C reaches only Python, which then cleans up.
    ``time_limit``: seconds after which it is ended, as if its input had ended there.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        write: bool = False,
        read: bool = False,
        time_limit: float | None = None,
    ) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.PIPE if write else subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=os.name == "posix",
                bufsize=1 << 20 if read else -1,
            )
        except OSError as error:
            self._stderr.close()
            raise SetupError(f"{arguments[0]} could not be started: {error.strerror}") from error
        self._timer: threading.Timer | None = None
        if time_limit is not None:
            self._timer = threading.Timer(time_limit, self._process.kill)
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> FFmpegProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to write to (``write=True``)."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe to read from (``read=True``)."""
        assert self._process.stdout is not None
        return self._process.stdout

    def wait(self) -> int:
        """Close the input pipe, wait for the end, and return the exit status."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                pass  # ffmpeg ended first; its status and stderr say why
        return self._process.wait()

    def kill(self) -> None:
        """End the process at once (nothing happens when it has ended) and close everything."""
        if self._timer is not None:
            self._timer.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # what was still buffered cannot be written any more
        self._stderr.close()

    def stderr_tail(self) -> str:
        """The last few lines of what ffmpeg complained about, on one line."""
        if self._stderr.closed:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _TAIL_BYTES))
        text = self._stderr.read().decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "; ".join(lines[-_TAIL_LINES:])

    def full_stderr(self) -> str:
        """Everything that ffmpeg complained about (bounded to the last 64 KiB)."""
        if self._stderr.closed:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - (1 << 16)))
        return self._stderr.read().decode("utf-8", "replace")


def read_error(path: Path, process: FFmpegProcess) -> InputError:
    """The error for an input that ffmpeg could not decode."""
    why = process.stderr_tail().replace(local(path), path.name) or "ffmpeg gave no reason"
    return InputError(f"{path}: cannot be decoded ({why}); try another clip or re-encode it")


def write_error(path: Path, process: FFmpegProcess, cause: OSError | None = None) -> OmnitalkError:
    """The error for an output that ffmpeg could not write; a full disk is named as such."""
    complaint = process.full_stderr()
    no_space = cause is not None and cause.errno == errno.ENOSPC
    if no_space or "No space left on device" in complaint:
        return disk_full(path)
    if "Unknown encoder" in complaint:
        return SetupError(
            f"this ffmpeg lacks an encoder ({process.stderr_tail()}); use another ffmpeg "
            f"({ENVIRONMENT_VARIABLE}) or another --codec"
        )
    why = process.stderr_tail() or (str(cause) if cause else "ffmpeg gave no reason")
    return WorkError(f"{path}: the encoder failed ({why})")


def disk_full(path: Path) -> WorkError:
    """The error for a full disk."""
    return WorkError(f"{path}: disk full; free some space or write the output elsewhere")
