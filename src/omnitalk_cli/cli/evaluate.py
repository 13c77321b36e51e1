"""``omnitalk eval``: score finished videos; ``omnitalk eval fusion``: the ablation of fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.commands import DefaultGroup, PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import InputError, UsageError, WorkError
from omnitalk_cli.pipeline.settings import check_input

app = command_group(
    "Score finished videos (`omnitalk eval FILE...`), or compare ways of fusion.", DefaultGroup
)


@app.command("videos", cls=PanelCommand)
def eval_videos(
    generated: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Generated videos, or performances made by synth.", metavar="[FILE...]",
        ),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        opt.option(
            "--reference", text="Clip of the real person (or its features): one for all, or one "
            "for each file.", panel=opt.REFERENCE, env=False, metavar="FILE",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        opt.option(
            "--table", text="Many at once: a table with the columns generated, reference, text.",
            panel=opt.BATCH, env=False, metavar="FILE",
        ),
    ] = None,
    performance: Annotated[
        list[Path] | None,
        opt.option(
            "--from-performance", text="Take the generated codes from this performance instead of "
            "tracking them; one for each file.", panel=opt.SPEECH, env=False, metavar="FILE",
        ),
    ] = None,
    text: opt.TextFile = None,
    say: opt.Say = None,
    lang: opt.Lang = "auto",
    asr_model: opt.AsrModel = None,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Score videos: words, voice, expression, head motion, lip sync, face (the default command)."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if table is not None and (generated or reference or performance or text or say):
            raise UsageError("--table names files and texts itself; give nothing else beside it")
        if table is not None:
            check_input(table, "a table with the columns generated, reference, text")
        elif not generated:
            raise UsageError("give the videos to score, or a --table of them")
        if text is not None and say is not None:
            raise UsageError("give the words either as --text or as --say")
        from omnitalk_cli.evaluation.scores import items as lists
        from omnitalk_cli.evaluation.scores.evaluate import Judges, evaluate
        from omnitalk_cli.evaluation.scores.summary import table as lines_of

        if table is not None:
            items = lists.from_table(table)
        else:
            words = lists.read_text(text) if text is not None else say
            items = lists.from_options(generated or [], reference or [], performance or [], words)
        found, summary = evaluate(
            items, Judges(asr_model=asr_model, language=lang), progress=console.progress
        )
        for one in found:
            for note in one.notes:
                console.note(note)
        failed = [one for one in found if one.error]
        rows = [(one.item.generated.name, one.scores, one.error) for one in found]
        console.result(
            {"items": [one.to_dict() for one in found], "summary": summary},
            lines_of(rows, summary),
        )
        if failed:
            raise typer.Exit(WorkError.exit_code)


@app.command("fusion", cls=PanelCommand)
def eval_fusion(
    corpus: Annotated[
        Path, typer.Argument(help="Folder made by omnitalk corpus.", metavar="CORPUS")
    ],
    folder: Annotated[
        Path,
        opt.option(
            "--output", "-o", text="Folder of the runs, one below it for each variant.",
            panel=opt.TRAINING, env=False, metavar="FOLDER",
        ),
    ],
    train_steps: Annotated[
        int | None,
        opt.option(
            "--train-steps", text="Steps of training for each variant (1600).",
            panel=opt.TRAINING, min=1, metavar="N",
        ),
    ] = None,
    sentences: Annotated[
        int,
        opt.option(
            "--sentences", text="Held-out sentences that each of them says.", panel=opt.TRAINING,
            min=2, metavar="N",
        ),
    ] = 30,
    judge: Annotated[
        Path | None,
        opt.option(
            "--judge", text="The judge of letters, made by training.judge.", panel=opt.TRAINING,
            metavar="FILE",
        ),
    ] = None,
    asr_model: opt.AsrModel = None,
    seed: opt.FixedSeed = 0,
    device: opt.Device = "auto",
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Train the four ways of fusion equally small, and score them beside the paper's Table 4."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if not any(corpus.glob("shard-*.safetensors")):
            raise InputError(f"{corpus}: holds no corpus; make one with `omnitalk corpus`")
        if judge is not None:
            check_input(judge, "the weights of a judge")
        from omnitalk_cli.evaluation import fusion, fusion_table
        from omnitalk_cli.evaluation.fusion_scores import FusionJudges, score_variants
        from omnitalk_cli.pipeline.devices import choose_device

        judges = FusionJudges(judge=judge, asr_model=asr_model)
        trained = fusion.train_variants(
            corpus, folder, steps=train_steps or fusion.DEFAULT_STEPS, seed=seed,
            device=choose_device(device), progress=console.progress,
        )  # fmt: skip
        scores = score_variants(
            trained, corpus, judges, sentences=sentences, seed=seed, progress=console.progress
        )
        console.result(fusion_table.to_dict(trained, scores), fusion_table.table(trained, scores))
