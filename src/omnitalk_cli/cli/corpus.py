"""``omnitalk corpus``: make the data that the embedded model is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session


def corpus(
    folder: Annotated[Path, typer.Argument(help="Folder of the corpus.", metavar="FOLDER")],
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Make a training corpus of speech and motion."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        console.note(str(folder))
