"""``omnitalk render``: the second half of generate, a performance becomes a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.stages import get_reference, produce, take_lines
from omnitalk_cli.pipeline.request import check_frame, given, reference_options, video_options
from omnitalk_cli.pipeline.settings import check_input, check_output, make_folder, plain_name


def render(
    performance: Annotated[
        Path, typer.Argument(help="Performance file made by synth.", metavar="PERFORMANCE")
    ],
    ref: opt.Ref,
    output: Annotated[
        Path | None,
        opt.option(
            "--output", "-o", text="The video; otherwise <performance>.mp4 here.",
            panel=opt.VIDEO, env=False, metavar="FILE",
        ),
    ] = None,
    ref_text: opt.RefText = None,
    ref_start: opt.RefStart = None,
    ref_seconds: opt.RefSeconds = None,
    ref_audio: opt.RefAudio = None,
    face: opt.Face = None,
    tracker: opt.Tracker = None,
    cache: opt.Cache = True,
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
    device: opt.Device = "auto",
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
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Draw a performance with the person of --ref and write the marked video."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        check_input(performance, "a performance file made by synth")
        check_input(ref, "a clip of the person, or features made by extract")
        path = output or Path(f"{plain_name(performance)}.mp4")
        check_output(path, suffixes=(".mp4",), overwrite=overwrite, inputs=(ref, performance))
        production = video_options(
            overwrite=overwrite,
            device=device,
            options=given(
                fps=fps, view=view, size=size, background=background, crf=crf, codec=codec,
                label_profile=label_profile, visible_mark=visible_mark,
                visible_position=visible_position, visible_size=visible_size,
                visible_opacity=visible_opacity, visible_font=visible_font, producer=producer,
                head_motion=head_motion, expression=expression,
                gaze=gaze, blink_rate=blink_rate, look_at_camera=look_at_camera, ffmpeg=ffmpeg,
                workers=workers, vocoder=vocoder, renderer=renderer,
                sign_cert=sign_cert, sign_key=sign_key, timestamp_url=timestamp_url,
            ),
        )  # fmt: skip
        from omnitalk_cli.pipeline.performance_store import load_performance

        loaded = load_performance(performance)
        reference, cached = get_reference(
            ref,
            options=reference_options(
                ref, ref_text=ref_text, ref_start=ref_start, ref_seconds=ref_seconds,
                ref_audio=ref_audio, face=face, asr_model=None, size=size,
                tracker=tracker, device=device,
            ),
            cache=cache,
            console=console,
        )  # fmt: skip
        check_frame(reference, production)
        make_folder(path)
        take = produce(reference, loaded, path, options=production, console=console, clip=ref)
        result = {**take.to_dict(), "reference_cached": cached}
        console.result(result, take_lines(result))
