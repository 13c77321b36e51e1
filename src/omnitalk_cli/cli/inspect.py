"""``omnitalk inspect``: what is in a features, performance or weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.pipeline.settings import check_input, check_output, make_folder


def inspect(
    file: Annotated[
        Path, typer.Argument(help="Features, performance or weights file.", metavar="FILE")
    ],
    plot: Annotated[
        Path | None,
        opt.option(
            "--plot", text="Draw mel, lips, brows, head and gaze into this PNG.", env=False,
            metavar="PNG",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Say what is in a file that omnitalk made; --plot draws it."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        check_input(file, "a features or performance file")
        if plot is not None:
            check_output(plot, suffixes=(".png",), overwrite=overwrite, inputs=(file,))
        from omnitalk_cli.pipeline.inspection import draw, inspect_file

        found = inspect_file(file)
        facts, lines = {"path": str(file), **found.facts}, list(found.lines)
        if plot is not None:
            make_folder(plot)
            draw(found, plot, overwrite=overwrite)
            facts["plot"] = str(plot)
            lines.append(f"plot       {plot}")
        console.result(facts, lines)
