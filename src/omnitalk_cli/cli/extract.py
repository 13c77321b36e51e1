"""``omnitalk extract``: the features of a reference clip, once, for later runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.stages import get_reference
from omnitalk_cli.pipeline.request import given, reference_options
from omnitalk_cli.pipeline.settings import check_input, check_output, make_folder, plain_name


def extract(
    clip: Annotated[Path, typer.Argument(help="Clip of the person.", metavar="CLIP")],
    output: Annotated[
        Path | None,
        opt.option(
            "--output", "-o", text="Features file; otherwise <clip>.safetensors here.",
            panel=opt.REFERENCE, env=False, metavar="FILE",
        ),
    ] = None,
    ref_text: opt.RefText = None,
    ref_start: opt.RefStart = None,
    ref_seconds: opt.RefSeconds = None,
    ref_audio: opt.RefAudio = None,
    face: opt.Face = None,
    lang: opt.Lang = "auto",
    size: opt.Size = None,
    asr_model: opt.AsrModel = None,
    tracker: opt.Tracker = None,
    device: opt.Device = "auto",
    cache: opt.Cache = True,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Extract a clip's features into one file that --ref takes later."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        check_input(clip, "a video clip")
        path = output or Path(f"{plain_name(clip)}.safetensors")
        check_output(path, suffixes=(".safetensors",), overwrite=overwrite, inputs=(clip,))
        reference, cached = get_reference(
            clip,
            options={
                **reference_options(
                    clip, ref_text=ref_text, ref_start=ref_start, ref_seconds=ref_seconds,
                    ref_audio=ref_audio, face=face, asr_model=asr_model, size=None,
                    tracker=tracker, device=device,
                ),
                **given(frame_size=size),
                "language": lang,
            },
            cache=cache,
            console=console,
        )  # fmt: skip
        from omnitalk_cli.pipeline.inspection import reference_facts, reference_lines
        from omnitalk_cli.pipeline.reference_store import save_reference

        make_folder(path)
        save_reference(reference, path)
        facts = {"path": str(path), "cached": cached, **reference_facts(reference)}
        console.result(facts, [str(path), *reference_lines(reference)])
