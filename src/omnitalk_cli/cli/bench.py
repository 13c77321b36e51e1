"""``omnitalk bench``: how good and how fast the parts are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from omnitalk_cli.cli.commands import PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.options import (
    SPEECH,
    VIDEO,
    CfgInterval,
    Config,
    Device,
    Json,
    Quiet,
    Renderer,
    Verbose,
    Workers,
    option,
)
from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.settings import cache_folder, check_input, parse_interval

MARK_PARTS = ("video", "audio", "chain", "false", "cost")

app = command_group("Measure the parts on this machine.")


@app.command("render", cls=PanelCommand)
def bench_render(
    clips: Annotated[
        list[Path],
        typer.Argument(
            help="Clips, or features made by extract.", metavar="CLIP...", rich_help_panel=VIDEO
        ),
    ],
    renderer: Renderer = None,
    device: Device = "auto",
    workers: Workers = None,
    json_output: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Draw the second half of clips from their first half and compare with what was filmed."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        for clip in clips:
            check_input(clip, "a clip of a person, or features made by extract")
        import cv2

        from omnitalk_cli.evaluation.reenactment import mean, reenact, reference_of, table
        from omnitalk_cli.pipeline.devices import choose_device
        from omnitalk_cli.render.renderers import AUTO, make_renderer

        cv2.setNumThreads(1)  # frames per core are what is measured
        drawer = make_renderer(
            renderer or AUTO, device=choose_device(device), workers=workers or 1, limit=False
        )
        results = [
            reenact(reference_of(clip), renderer=drawer, progress=console.progress)
            for clip in clips
        ]
        rows = results + ([mean(results)] if len(results) > 1 else [])
        facts = {"reenactment": [one.to_dict() for one in rows]}
        console.result(facts, table(rows).split("\n"))


@app.command("marks", cls=PanelCommand)
def bench_marks(
    clips: Annotated[
        list[Path],
        typer.Argument(
            help="Videos (of people, at best) or recordings of speech.",
            metavar="CLIP...",
            rich_help_panel=VIDEO,
        ),
    ],
    only: Annotated[
        list[str] | None,
        option(
            "--only",
            text="Parts, with commas: video, audio, chain, false, cost.",
            env=False,
            metavar="PART",
        ),
    ] = None,
    seconds: Annotated[
        float,
        option("--max-seconds", text="Of a clip that are used.", env=False, min=1.0, metavar="N"),
    ] = 15.0,
    tries: Annotated[
        int,
        option("--tries", text="Of each kind without our mark.", env=False, min=1, metavar="N"),
    ] = 240,
    json_output: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Mark clips invisibly, treat them as platforms do, and read the marks back."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        parts = _parts(only)
        for clip in clips:
            check_input(clip, "a video or a recording of speech")
        import cv2

        from omnitalk_cli.evaluation import marks, marks_report

        cv2.setNumThreads(1)  # the cost on one core is what is measured
        made = marks.bench_marks(
            clips, parts=parts, seconds=seconds, tries=tries, progress=console.progress
        )
        console.result(marks_report.to_dict(made), marks_report.table(made))


def _parts(only: list[str] | None) -> list[str]:
    """What ``--only`` names; all parts without it."""
    named = [part for text in only or [] for part in _listed(text)]
    for part in named:
        if part not in MARK_PARTS:
            raise UsageError(f"--only {part}: is no part; one of {', '.join(MARK_PARTS)}")
    return named or list(MARK_PARTS)


@app.command("synth", cls=PanelCommand)
def bench_synth(
    shape: Annotated[
        Literal["auto", "tiny", "base", "f5"],
        option(
            "--shape",
            text="Of the network: tiny as embedded, base 0.8 B, f5 F5-TTS; auto is base on CUDA.",
            panel=SPEECH,
            env=False,
        ),
    ] = "auto",
    target: Annotated[
        float,
        option("--target", text="Seconds to make.", panel=SPEECH, env=False, min=0.1, metavar="N"),
    ] = 10.0,
    reference: Annotated[
        float,
        option(
            "--reference", text="Seconds of reference.", panel=SPEECH, env=False, min=0.1,
            metavar="N",
        ),
    ] = 5.0,
    steps: Annotated[
        str,
        option("--steps", text="Solver steps, with commas.", panel=SPEECH, env=False, min=None,
               max=None, metavar="N"),
    ] = "16",
    ways: Annotated[
        str | None,
        option(
            "--ways",
            text="Ways to run it, with commas: plain, tables, compiled, graphs, graphs-padded; "
            "otherwise plain, tables and, on CUDA, all.",
            panel=SPEECH, env=False, metavar="WAY",
        ),
    ] = None,
    dtypes: Annotated[
        str | None,
        option(
            "--dtypes",
            text="Number formats, with commas; otherwise bfloat16 on CUDA, else float32.",
            panel=SPEECH, env=False, metavar="NAME",
        ),
    ] = None,
    attention: Annotated[
        str,
        option(
            "--attention", text="Kinds of attention, with commas: auto, flash, cudnn, efficient, "
            "math.", panel=SPEECH, env=False, metavar="KIND",
        ),
    ] = "auto",
    guidance: Annotated[
        Literal["full", "joint", "none"],
        option(
            "--guidance", text="full: four evaluations a step; joint: two; none: one.",
            panel=SPEECH, env=False,
        ),
    ] = "full",
    cfg_interval: CfgInterval = None,
    runs: Annotated[
        int, option("--runs", text="Timed samplings of each.", env=False, min=1, metavar="N")
    ] = 3,
    vocoder: Annotated[
        str | None,
        option("--vocoder", text="Vocoders to time, with commas.", panel=VIDEO, env=False,
               metavar="NAME"),
    ] = None,
    device: Device = "auto",
    json_output: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:  # fmt: skip
    """Time the network that makes speech and motion, in several ways, with random weights."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.evaluation import speed, speed_report, speed_task
        from omnitalk_cli.pipeline.devices import choose_device

        place = choose_device(device)
        cuda = place.startswith("cuda")
        task = speed_task.Task(
            shape=("base" if cuda else "tiny") if shape == "auto" else shape,
            target=target, reference=reference, guidance=guidance, runs=runs,
            interval=parse_interval(cfg_interval or "0:1"),
        )  # fmt: skip
        settings = speed_task.settings_of(
            ways=_listed(ways) or (list(speed_task.WAYS) if cuda else ["plain", "tables"]),
            dtypes=_listed(dtypes) or ["bfloat16" if cuda else "float32"],
            steps=_listed(steps),
            attentions=_listed(attention),
        )
        made = speed.bench(
            task, settings, device=place, cache=cache_folder() / "compiled",
            vocoders=_listed(vocoder), progress=console.progress,
        )  # fmt: skip
        console.result(speed_report.to_dict(made), speed_report.table(made))


def _listed(text: str | None) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
