"""``omnitalk corpus``: data to train on, from sentences and from videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.commands import PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.corpus_build import build
from omnitalk_cli.cli.corpus_speech import speech

app = command_group("Make the data that models are trained on.")
app.command("speech", cls=PanelCommand)(speech)
app.command("build", cls=PanelCommand)(build)


@app.command("report", cls=PanelCommand)
def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder made by omnitalk corpus build.", metavar="DIR")
    ],
    plot: Annotated[
        Path | None,
        opt.option(
            "--plot", text="Draw the histograms into this PNG file.", panel=opt.TRAINING, env=False,
            metavar="FILE",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Print the statistics of a corpus made from videos."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if plot is not None:
            from omnitalk_cli.pipeline.settings import check_output

            check_output(plot, suffixes=(".png",), overwrite=overwrite)
        from omnitalk_cli.training.curation.fates import read_fates
        from omnitalk_cli.training.curation.statistics import lines_of, statistics_of

        numbers = statistics_of(read_fates(folder))
        facts = {"folder": str(folder), **numbers.to_dict()}
        lines = lines_of(numbers)
        if plot is not None:
            from omnitalk_cli.training.curation.figure import write_figure

            write_figure(numbers, plot)
            facts["plot"] = str(plot)
            lines += ["", str(plot)]
        console.result(facts, lines)
