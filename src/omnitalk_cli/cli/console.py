"""What a command says and how it ends: results to stdout, talk to stderr, errors to exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any, NoReturn, TextIO
from unicodedata import category

import typer

from omnitalk_cli.cli.progressbar import BarProgress, LineProgress
from omnitalk_cli.errors import OmnitalkError, system_error
from omnitalk_cli.progress import Progress, silent

INTERRUPTED = 130


class Console:
    """The two streams of one command.

    ``progress`` and ``note`` are the callbacks that the pipeline takes.
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, json_output: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.json_output = json_output
        self._stdout: TextIO = sys.stdout
        self._drawer: BarProgress | LineProgress | None = None
        if not quiet:
            self._drawer = BarProgress() if draws_bars(sys.stderr) else LineProgress(sys.stderr)

    @property
    def progress(self) -> Progress:
        """The progress callback."""
        return self._drawer or silent

    def note(self, text: str) -> None:
        """A remark of one line on stderr; ``-q`` hides it."""
        if self._drawer is not None:
            self._drawer.write(one_line(text))

    def detail(self, text: str) -> None:
        """A remark that only ``-v`` shows."""
        if self.verbose:
            self.note(text)

    def result(self, data: dict[str, Any], lines: Iterable[str]) -> None:
        """The command's answer on stdout: ``data`` as one JSON object, or ``lines`` for people."""
        self.close()
        text = _json(data, self._stdout) if self.json_output else "\n".join(lines)
        _say(text, self._stdout)

    def complain(self, message: str) -> None:
        """An error that does not end the command; with ``--json`` the answer tells it instead."""
        if not self.json_output:
            self.close()
            report_error(message, 0, None)

    def fail(self, message: str, exit_code: int) -> NoReturn:
        """Says why the command ends and ends it."""
        self.close()
        report_error(message, exit_code, self._stdout if self.json_output else None)
        raise typer.Exit(exit_code)

    def close(self) -> None:
        """Takes the progress display down."""
        if self._drawer is not None:
            self._drawer.close()


@contextmanager
def session(
    *, quiet: bool = False, verbose: int = 0, json_output: bool = False
) -> Iterator[Console]:
    """The frame around a command's work: signals, quiet libraries, errors as exit codes."""
    console = Console(quiet=quiet, verbose=verbose, json_output=json_output)
    _quieten_libraries(verbose)
    previous = _terminate_like_interrupt()
    try:
        # A library that prints must not spoil what a script reads from stdout.
        with redirect_stdout(sys.stderr):
            yield console
    except OmnitalkError as error:
        _trace(console)
        console.fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _trace(console)
        console.fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _swallow_stdout()
        raise typer.Exit(1) from None
    except (typer.Exit, typer.TyperException):
        raise
    except OSError as error:
        _trace(console)
        console.fail(_explain_os_error(error), 1)
    except MemoryError:
        _trace(console)
        console.fail("not enough memory; try a shorter script or a smaller --size", 1)
    except Exception as error:
        _trace(console)
        if (hidden := system_error(error)) is not None:
            console.fail(_explain_os_error(hidden), 1)
        hint = "" if verbose > 1 else "; -vv shows where"
        console.fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)
    finally:
        console.close()
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def report_error(message: str, exit_code: int, json_stream: TextIO | None) -> None:
    """One line on stderr, or one JSON object on ``json_stream``."""
    line = one_line(message)
    try:
        if json_stream is not None:
            _say(_json({"error": line, "exit_code": exit_code}, json_stream), json_stream)
        else:
            label = "\x1b[1;31merror:\x1b[0m" if colours(sys.stderr) else "error:"
            _say(f"{label} {line}", sys.stderr)
    except BrokenPipeError:
        _swallow_stdout()


def one_line(text: str) -> str:
    """``text`` with its line breaks and control characters taken out: names of files can hold
    any, and with them words in our name or commands to the terminal."""
    return "".join(c if category(c)[0] != "C" else "?" for c in " ".join(text.split()))


def _json(data: dict[str, Any], stream: TextIO) -> str:
    text = json.dumps(data, ensure_ascii=False)
    return text if text == _encodable(text, stream) else json.dumps(data)


def _say(text: str, stream: TextIO) -> None:
    print(_encodable(text, stream), file=stream, flush=True)


def _encodable(text: str, stream: TextIO) -> str:
    """``text`` as far as ``stream`` can write it: names of files need not be valid Unicode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def colours(stream: TextIO) -> bool:
    """Whether to colour what goes to ``stream`` (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def draws_bars(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal on which lines can be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _explain_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}disk full; free some space or write elsewhere"
    return f"{where}{(error.strerror or str(error)).lower()}"


def _trace(console: Console) -> None:
    if console.verbose > 1:
        import traceback

        console.close()
        traceback.print_exc(file=sys.stderr)


def _swallow_stdout() -> None:
    """The reader of our stdout has gone: let Python's last flush go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        pass  # there is no such descriptor, so nothing is left to flush


def _terminate_like_interrupt() -> Any:
    """SIGTERM cleans up as Ctrl-C does. Returns the handler to put back (None: not changed)."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return None  # not the main thread


def _quieten_libraries(verbose: int) -> None:
    import logging

    levels = {0: logging.ERROR, 1: logging.INFO}
    logging.basicConfig(
        stream=sys.stderr, format="%(name)s: %(message)s", level=levels.get(verbose, logging.DEBUG)
    )
    if verbose < 2:
        warnings.simplefilter("ignore")
        # Read by mediapipe and its TensorFlow Lite when they are first imported.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GLOG_minloglevel", "3")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
