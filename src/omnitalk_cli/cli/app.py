"""The program ``omnitalk``: its commands, ``--version``, and the way in."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from omnitalk_cli import __version__
from omnitalk_cli.cli import (
    batch,
    bench,
    cache,
    corpus,
    doctor,
    evaluate,
    extract,
    generate,
    inspect,
    render,
    synth,
    train,
    verify,
    weights,
)
from omnitalk_cli.cli.commands import Commands, PanelCommand, help_without_command

EPILOG = (
    "Options can also be set as OMNITALK_<OPTION> in the environment or in a TOML file (--config). "
    "Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 unusable input, "
    "4 something is missing on this machine, 130 interrupted."
)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="omnitalk",
    cls=Commands,
    help="A script and one short clip of a person become a marked talking video.",
    epilog=EPILOG,
    context_settings=CONTEXT,
    rich_markup_mode=None,  # rich takes longer to import than the help takes to read
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"omnitalk {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    help_without_command(context)


for _name, _function in (
    ("generate", generate.generate),
    ("batch", batch.batch),
    ("extract", extract.extract),
    ("synth", synth.synth),
    ("render", render.render),
    ("inspect", inspect.inspect),
    ("verify", verify.verify),
    ("doctor", doctor.doctor),
    ("train", train.train),
):
    app.command(_name, cls=PanelCommand, context_settings=CONTEXT)(_function)
app.add_typer(corpus.app, name="corpus")
app.add_typer(weights.app, name="weights")
app.add_typer(evaluate.app, name="eval")
app.add_typer(bench.app, name="bench")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """Entry point of the program."""
    # Read when torch and numpy are loaded. Threads that spin while they wait take the cores from
    # whatever else runs, another omnitalk for one: torch's may sleep instead, numpy's cannot, and
    # what we give them is small.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app()
