"""The errors that users see. Each carries the exit code that the command line maps it to."""

from __future__ import annotations

import os
import re

_SYSTEM = re.compile(r"\(os error (\d+)\)\W*$")


class OmnitalkError(Exception):
    """Base of every error that is told to the user as one line: what, where, what to do.

    ``exit_code`` follows the table in the README: 1 the work failed, 2 wrong usage,
    3 unusable input, 4 the environment lacks something.
    """

    exit_code = 1


class WorkError(OmnitalkError):
    """The work itself failed (an encoder died, the disk filled up)."""

    exit_code = 1


class UsageError(OmnitalkError):
    """Options that do not fit together, or values out of range."""

    exit_code = 2


class InputError(OmnitalkError):
    """An input file or text cannot be used: no face, no speech, too short, unreadable."""

    exit_code = 3


class SetupError(OmnitalkError):
    """The machine lacks something: weights, ffmpeg, a device."""

    exit_code = 4


def system_error(error: Exception) -> OSError | None:
    """The system's error that ``error`` tells at its end: what is written in Rust, such as
    safetensors, has a full disk in its text only. None when there is none."""
    found = _SYSTEM.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None
