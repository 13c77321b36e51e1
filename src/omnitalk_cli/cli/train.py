"""``omnitalk train``: train a model on a corpus; a run that was stopped goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session


def train(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus.", metavar="CORPUS")],
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Train a model on a corpus; a stopped run goes on where it was."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        console.note(str(corpus))
