"""``omnitalk corpus speech``: the speech that the embedded model is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.request import given
from omnitalk_cli.pipeline.settings import check_input


def speech(
    folder: Annotated[Path, typer.Argument(help="Folder of the corpus.", metavar="FOLDER")],
    sentences: Annotated[
        list[Path] | None,
        opt.option(
            "--sentences", text="File of English sentences; may be given several times.",
            panel=opt.TRAINING, env=False, metavar="FILE",
        ),
    ] = None,
    hours: Annotated[
        float | None,
        opt.option(
            "--hours", text="Hours of synthetic speech.", panel=opt.TRAINING, min=0, metavar="N"
        ),
    ] = None,
    flite: Annotated[
        float | None,
        opt.option(
            "--flite", text="Hours of flite's voices.", panel=opt.TRAINING, min=0, metavar="N"
        ),
    ] = None,
    human: Annotated[
        Path | None,
        opt.option(
            "--human", text="Folder of recordings with metadata.csv.", panel=opt.TRAINING,
            metavar="FOLDER",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        opt.option(
            "--audio", text="Folder that also gets sound, to train a vocoder on.",
            panel=opt.TRAINING, metavar="FOLDER",
        ),
    ] = None,
    audio_hours: Annotated[
        float | None,
        opt.option(
            "--audio-hours", text="Hours of synthetic sound for it.", panel=opt.TRAINING, min=0,
            metavar="N",
        ),
    ] = None,
    shard_hours: Annotated[
        float | None,
        opt.option(
            "--shard-hours", text="Hours in one file.", panel=opt.TRAINING, min=0.001, metavar="N"
        ),
    ] = None,
    seed: opt.FixedSeed = 0,
    workers: opt.Workers = None,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Make a training corpus of speech; shards that are there are kept."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if not sentences:
            raise UsageError("give at least one file of English sentences: --sentences FILE")
        for file in sentences:
            check_input(file, "a text file of English sentences")
        if human is not None:
            check_input(human / "metadata.csv", "a folder of recordings with metadata.csv")
        from omnitalk_cli.training import corpus as maker

        plan = maker.CorpusConfig(
            text=tuple(str(file) for file in sentences),
            human=str(human) if human else None,
            seed=seed,
            **given(
                espeak_hours=hours, flite_hours=flite, audio_hours=audio_hours,
                shard_hours=shard_hours,
            ),
        )  # fmt: skip
        made = maker.make_corpus(
            plan, folder, progress=console.progress, workers=workers or 1, audio_dir=audio
        )
        shards = sorted(folder.glob("shard-*.safetensors"))
        facts = {"folder": str(folder), "shards": len(shards), "new_hours": round(made / 3600, 3)}
        console.result(facts, [f"{folder}: {len(shards)} shards, {made / 3600:.2f} hours are new"])
