"""``omnitalk train``: train a model on a corpus; a run that was stopped goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.pipeline.request import given
from omnitalk_cli.pipeline.settings import check_input


def train(
    corpus: Annotated[
        Path, typer.Argument(help="Folder made by omnitalk corpus.", metavar="CORPUS")
    ],
    folder: Annotated[
        Path,
        opt.option(
            "--output", "-o", text="Folder of the run: checkpoint, state, log.",
            panel=opt.TRAINING, env=False, metavar="FOLDER",
        ),
    ],
    what: Annotated[
        Literal["tiny", "base"],
        opt.option(
            "--preset", text="The embedded model's size or the paper's.", panel=opt.TRAINING
        ),
    ] = "tiny",
    minutes: Annotated[
        float | None,
        opt.option(
            "--minutes", text="Budget in minutes of training.", panel=opt.TRAINING, min=0.01,
            metavar="N",
        ),
    ] = None,
    train_steps: Annotated[
        int | None,
        opt.option(
            "--train-steps", text="Budget in steps instead.", panel=opt.TRAINING, min=1,
            metavar="N",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        opt.option("--tokens", text="Tokens in a step.", panel=opt.TRAINING, min=16, metavar="N"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        opt.option(
            "--learning-rate", text="Highest learning rate.", panel=opt.TRAINING, min=0,
            metavar="N",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        opt.option(
            "--init", text="Checkpoint that a new run starts from, as far as its weights fit.",
            panel=opt.TRAINING, metavar="FILE",
        ),
    ] = None,
    seed: opt.FixedSeed = 0,
    device: opt.Device = "auto",
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Train a model on a corpus; a stopped run goes on where it was."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if (minutes is None) == (train_steps is None):
            raise UsageError("give the budget either as --minutes or as --train-steps")
        if not any(corpus.glob("shard-*.safetensors")):
            raise InputError(f"{corpus}: holds no corpus; make one with `omnitalk corpus speech`")
        if init is not None:
            check_input(init, "a checkpoint to start from")
        from omnitalk_cli.dit.config import DiTConfig
        from omnitalk_cli.pipeline.devices import choose_device
        from omnitalk_cli.text.vocabulary import Vocabulary
        from omnitalk_cli.training.loop import train as run
        from omnitalk_cli.training.train_config import TrainConfig

        phones: dict[str, Any] = {"vocabulary_size": len(Vocabulary.phones())}
        chosen: dict[str, Any] = {"seed": seed} | given(
            minutes=minutes, steps=train_steps, tokens=tokens, learning_rate=learning_rate
        )
        small = what == "tiny"
        result = run(
            DiTConfig.tiny() if small else DiTConfig.base(**phones),
            TrainConfig(**chosen) if small else TrainConfig.paper(**chosen),
            corpus=corpus,
            folder=folder,
            device=choose_device(device),
            init=init,
            progress=console.progress,
            log=console.detail,
        )
        scores = ", ".join(f"{name} {value:.3f}" for name, value in result.heldout.items())
        console.result(
            result.to_dict(),
            [
                str(result.checkpoint),
                f"{result.steps} steps, {result.minutes:.1f} minutes, "
                f"{result.hours_seen:.1f} hours heard; held out: {scores}",
            ],
        )
