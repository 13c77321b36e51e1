"""``omnitalk generate``: the main job, a reference and a script become a marked video."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from omnitalk_cli.cli import driven
from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.stages import (
    get_reference,
    perform,
    preparing,
    produce,
    read_script,
    script_name,
    script_source,
    take_lines,
)
from omnitalk_cli.pipeline.request import (
    check_frame,
    given,
    reference_options,
    speech_settings,
    video_options,
)
from omnitalk_cli.pipeline.settings import (
    Plan,
    check_input,
    check_output,
    choose_seed,
    default_output,
    estimate_seconds,
    make_folder,
)


def generate(
    ref: opt.Ref,
    text: opt.TextFile = None,
    say: opt.Say = None,
    audio: opt.Audio = None,
    output: Annotated[
        Path | None,
        opt.option(
            "--output", "-o", text="The video; otherwise <ref>-<script>.mp4 here.",
            panel=opt.VIDEO, env=False, metavar="FILE",
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
    fps: opt.Fps = None,
    view: opt.View = None,
    size: opt.Size = None,
    background: opt.Background = None,
    crf: opt.Crf = None,
    codec: opt.Codec = None,
    label_profile: opt.LabelProfile = None,
    visible_mark: opt.VisibleMark = None,
    visible_position: opt.VisiblePosition = None,
    visible_size: opt.VisibleSize = None,
    visible_opacity: opt.VisibleOpacity = None,
    visible_font: opt.VisibleFont = None,
    producer: opt.Producer = None,
    vocoder: opt.Vocoder = None,
    renderer: opt.Renderer = None,
    head_motion: opt.HeadMotion = None,
    expression: opt.Expression = None,
    gaze: opt.Gaze = None,
    blink_rate: opt.BlinkRate = None,
    look_at_camera: opt.LookAtCamera = None,
    ffmpeg: opt.Ffmpeg = None,
    workers: opt.Workers = None,
    sign_cert: opt.SignCert = None,
    sign_key: opt.SignKey = None,
    timestamp_url: opt.TimestampUrl = None,
    dry_run: opt.DryRun = False,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Make a talking video of the person in --ref, saying --text (or speaking --audio)."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        source = (
            driven.check_audio(audio, text=text, say=say, speed=speed, duration=duration)
            if audio
            else script_source(text, say)
        )
        check_input(ref, "a clip of the person, or features made by extract")
        file = source if isinstance(source, Path) else None
        path = output or default_output(ref, file, ".mp4")
        inputs = (ref, file) if file else (ref,)
        check_output(path, suffixes=(".mp4",), overwrite=overwrite, inputs=inputs)
        script = None if audio else read_script(source, lang)
        recording = driven.hear(audio, console=console) if audio else None
        extraction = reference_options(
            ref, ref_text=ref_text, ref_start=ref_start, ref_seconds=ref_seconds,
            ref_audio=ref_audio, face=face, asr_model=asr_model, size=size,
            tracker=tracker, device=device,
        )  # fmt: skip
        speech = given(
            steps=steps, cfg_text=cfg_text, cfg_audio=cfg_audio, cfg_video=cfg_video,
            cfg_face=cfg_face, cfg_interval=cfg_interval,
            schedule=schedule, solver=solver, speed=speed, duration=duration,
        )  # fmt: skip
        speech["seed"] = choose_seed(seed)
        settings = speech_settings(
            model=model, device=device, dtype=dtype, compile=compile, vocoder=vocoder,
            options=speech, language=script.language if script else None,
        )  # fmt: skip
        model = settings.model.name
        if settings.model.why:
            console.note(f"model {model}: {settings.model.why}")
        video = given(
            fps=fps, view=view, size=size, background=background, crf=crf, codec=codec,
            label_profile=label_profile, visible_mark=visible_mark,
            visible_position=visible_position, visible_size=visible_size,
            visible_opacity=visible_opacity, visible_font=visible_font, producer=producer,
            ffmpeg=ffmpeg, head_motion=head_motion,
            expression=expression, gaze=gaze, blink_rate=blink_rate,
            look_at_camera=look_at_camera, workers=workers,
            vocoder=None if settings.prompted else vocoder, renderer=renderer,
            sign_cert=sign_cert, sign_key=sign_key, timestamp_url=timestamp_url,
        )  # fmt: skip
        production = video_options(overwrite=overwrite, device=device, dtype=dtype, options=video)
        if dry_run:
            seed = speech.pop("seed")
            everything = {
                name: str(value) if isinstance(value, Path) else value
                for name, value in {**extraction, **speech, **video}.items()
            }
            if audio and recording:
                driven.show_plan(
                    console, recording, reference=ref, audio=audio, model=model, seed=seed,
                    output=path, options=everything,
                )  # fmt: skip
            elif script:
                plan = Plan(
                    reference=ref, script=script_name(source, text), language=script.language,
                    segments=len(script.segments), model=model, seed=seed, output=path,
                    estimated_seconds=estimate_seconds(script, speed=speed, duration=duration),
                    options=everything,
                )  # fmt: skip
                console.result(plan.to_dict(), plan.lines())
            return

        started = time.monotonic()
        reference, cached = get_reference(ref, options=extraction, cache=cache, console=console)
        check_frame(reference, production)
        extracted = time.monotonic()
        spoken = recording or script
        assert spoken is not None
        from omnitalk_cli.pipeline.workshop import Workshop

        workshop = Workshop()
        with preparing(reference, production, workshop):
            performance = perform(reference, spoken, settings, workshop=workshop, console=console)
        performed = time.monotonic()
        make_folder(path)
        take = produce(
            reference,
            performance,
            path,
            options=production,
            console=console,
            workshop=workshop,
            clip=ref,
        )
        result = take.to_dict()
        result["reference_cached"] = cached
        result["timings"] = {
            "reference": round(extracted - started, 3),
            "synthesis": round(performed - extracted, 3),
            **result["timings"],
            "total": round(time.monotonic() - started, 3),
        }
        console.result(result, take_lines(result))
