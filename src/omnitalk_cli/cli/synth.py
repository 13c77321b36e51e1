"""``omnitalk synth``: the first half of generate, features and text become a performance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from omnitalk_cli.cli import driven
from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.stages import get_reference, perform, read_script, script_source
from omnitalk_cli.pipeline.request import given, reference_options, speech_settings
from omnitalk_cli.pipeline.settings import (
    PERFORMANCE_SUFFIX,
    check_input,
    check_output,
    choose_seed,
    default_output,
    make_folder,
)


def synth(
    ref: opt.Ref,
    text: opt.TextFile = None,
    say: opt.Say = None,
    audio: opt.Audio = None,
    output: Annotated[
        Path | None,
        opt.option(
            "--output", "-o",
            text=f"Performance file; otherwise <ref>-<script>{PERFORMANCE_SUFFIX} here.",
            panel=opt.SPEECH, env=False, metavar="FILE",
        ),
    ] = None,
    ref_text: opt.RefText = None,
    ref_start: opt.RefStart = None,
    ref_seconds: opt.RefSeconds = None,
    ref_audio: opt.RefAudio = None,
    face: opt.Face = None,
    asr_model: opt.AsrModel = None,
    tracker: opt.Tracker = None,
    cache: opt.Cache = True,
    lang: opt.Lang = "auto",
    model: opt.Model = "auto",
    vocoder: opt.Vocoder = None,
    steps: opt.Steps = None,
    cfg_text: opt.CfgText = None,
    cfg_audio: opt.CfgAudio = None,
    cfg_video: opt.CfgVideo = None,
    cfg_face: opt.CfgFace = None,
    cfg_interval: opt.CfgInterval = None,
    schedule: opt.Schedule = None,
    solver: opt.Solver = None,
    seed: opt.Seed = None,
    speed: opt.Speed = None,
    duration: opt.Duration = None,
    device: opt.Device = "auto",
    dtype: opt.DType = "auto",
    compile: opt.Compile = "auto",
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Make speech and motion only, as a file that render takes.

    With --audio it is the motion to that sound, which is kept in the file.
    """
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        source = (
            driven.check_audio(audio, text=text, say=say, speed=speed, duration=duration)
            if audio
            else script_source(text, say)
        )
        check_input(ref, "a clip of the person, or features made by extract")
        file = source if isinstance(source, Path) else None
        path = output or default_output(ref, file, PERFORMANCE_SUFFIX)
        check_output(path, suffixes=(".safetensors",), overwrite=overwrite, inputs=(ref,))
        script = None if audio else read_script(source, lang)
        recording = driven.hear(audio, console=console) if audio else None
        settings = speech_settings(
            model=model, device=device, dtype=dtype, compile=compile, vocoder=vocoder,
            language=script.language if script else None,
            options={
                "seed": choose_seed(seed),
                **given(
                    steps=steps, cfg_text=cfg_text, cfg_audio=cfg_audio, cfg_video=cfg_video,
                    cfg_face=cfg_face, cfg_interval=cfg_interval,
                    schedule=schedule, solver=solver, speed=speed, duration=duration,
                ),
            },
        )  # fmt: skip
        reference, cached = get_reference(
            ref,
            options=reference_options(
            ref, ref_text=ref_text, ref_start=ref_start, ref_seconds=ref_seconds,
            ref_audio=ref_audio, face=face, asr_model=asr_model, size=None,
            tracker=tracker, device=device,
        ),
            cache=cache,
            console=console,
        )  # fmt: skip
        from omnitalk_cli.pipeline.workshop import Workshop

        spoken = recording or script
        assert spoken is not None
        if settings.model.why:
            console.note(f"model {settings.model.name}: {settings.model.why}")
        performance = perform(reference, spoken, settings, workshop=Workshop(), console=console)
        from omnitalk_cli.pipeline.inspection import performance_facts, performance_lines
        from omnitalk_cli.pipeline.performance_store import save_performance

        make_folder(path)
        save_performance(performance, path)
        facts = {"path": str(path), "reference_cached": cached, **performance_facts(performance)}
        console.result(facts, [str(path), *performance_lines(performance)])
