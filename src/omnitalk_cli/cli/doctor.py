"""``omnitalk doctor``: what this machine can do, what is missing and how to get it."""

from __future__ import annotations

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import SetupError

_SIGNS = {"ok": "ok  ", "optional": "-   ", "missing": "LACK"}


def doctor(
    ffmpeg: opt.Ffmpeg = None,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Say what this machine can do and what is missing (exit 4: generate cannot work)."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.pipeline.diagnose import diagnose

        diagnosis = diagnose(ffmpeg=ffmpeg)
        lines = []
        for check in diagnosis.checks:
            lines.append(f"{_SIGNS[check.state]}  {check.name:<20} {check.found}")
            if check.remedy:
                lines.append(f"      {'':<20} -> {check.remedy}")
        lines.append("")
        lines.append("generate works here" if diagnosis.ready else "generate cannot work here yet")
        console.result(diagnosis.to_dict(), lines)
        if not diagnosis.ready:
            raise typer.Exit(SetupError.exit_code)
