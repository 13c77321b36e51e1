"""``omnitalk corpus build``: from videos of people to training clips of one who speaks."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import InputError, SetupError, WorkError
from omnitalk_cli.pipeline.request import given
from omnitalk_cli.pipeline.settings import check_input
from omnitalk_cli.training.curation.settings import CurationSettings, read_pace

_FIELDS = {field.name: field for field in fields(CurationSettings)}


def _threshold(name: str) -> Any:  # typer.Option's own type is private to it
    """The option of a number in CurationSettings: help, range and default are written there."""
    field = _FIELDS[name]
    facts = field.metadata
    return opt.option(
        f"--{name.replace('_', '-')}", text=f"{facts['help']} [{field.default:g}]",  # type: ignore[str-format]
        panel=opt.TRAINING, min=facts["low"], max=facts["high"], metavar="N",
    )  # fmt: skip


def build(
    videos: Annotated[
        list[Path], typer.Argument(help="Videos, or folders of them.", metavar="VIDEOS...")
    ],
    out: Annotated[
        Path,
        opt.option(
            "--out", "-o", text="Folder of the corpus; an earlier one is brought to these videos.",
            panel=opt.TRAINING, env=False, metavar="DIR",
        ),
    ],
    transcripts: Annotated[
        Path | None,
        opt.option(
            "--transcripts", text="Folder with a .srt, .vtt or .txt of each video's name.",
            panel=opt.TRAINING, metavar="DIR",
        ),
    ] = None,
    asr_model: opt.AsrModel = None,
    allow_no_text: Annotated[
        bool,
        opt.option("--allow-no-text", text="Keep clips without text too.", panel=opt.TRAINING),
    ] = False,
    language: Annotated[
        str | None,
        opt.option(
            "--language", text="Language of all videos (en, zh, ...); otherwise recognised.",
            panel=opt.TRAINING, metavar="CODE",
        ),
    ] = None,
    scene_threshold: Annotated[float | None, _threshold("scene_threshold")] = None,
    max_faces: Annotated[int | None, _threshold("max_faces")] = None,
    min_seconds: Annotated[float | None, _threshold("min_seconds")] = None,
    max_seconds: Annotated[float | None, _threshold("max_seconds")] = None,
    max_pause: Annotated[float | None, _threshold("max_pause")] = None,
    speaker_model: Annotated[
        Literal["sync", "light-asd"] | None,
        opt.option(
            "--speaker-model", text="Who speaks: by synchrony, or Light-ASD with its weights.",
            panel=opt.TRAINING,
        ),
    ] = None,
    speaker_weights: Annotated[
        Path | None,
        opt.option(
            "--speaker-weights", text="Light-ASD's weights as safetensors (docs/corpus.md).",
            panel=opt.TRAINING, metavar="FILE",
        ),
    ] = None,
    min_sync: Annotated[float | None, _threshold("min_sync")] = None,
    min_sync_confidence: Annotated[float | None, _threshold("min_sync_confidence")] = None,
    sync_margin: Annotated[float | None, _threshold("sync_margin")] = None,
    max_offset: Annotated[float | None, _threshold("max_offset")] = None,
    min_asd: Annotated[float | None, _threshold("min_asd")] = None,
    min_face_share: Annotated[float | None, _threshold("min_face_share")] = None,
    max_face_share: Annotated[float | None, _threshold("max_face_share")] = None,
    min_face_pixels: Annotated[float | None, _threshold("min_face_pixels")] = None,
    max_lost_share: Annotated[float | None, _threshold("max_lost_share")] = None,
    max_lost_seconds: Annotated[float | None, _threshold("max_lost_seconds")] = None,
    max_yaw: Annotated[float | None, _threshold("max_yaw")] = None,
    max_pitch: Annotated[float | None, _threshold("max_pitch")] = None,
    audio_quality: Annotated[
        Literal["auto", "dnsmos", "none"] | None,
        opt.option(
            "--audio-quality", text="auto: DNSMOS if its model is installed.", panel=opt.TRAINING
        ),
    ] = None,
    min_dnsmos: Annotated[float | None, _threshold("min_dnsmos")] = None,
    min_level: Annotated[float | None, _threshold("min_level")] = None,
    max_clipped: Annotated[float | None, _threshold("max_clipped")] = None,
    seconds_per_character: Annotated[
        list[str] | None,
        opt.option(
            "--seconds-per-character",
            text="Limits for a language, e.g. en=0.04:0.15; other=... for all that are not named. "
            "May be given several times.",
            panel=opt.TRAINING, env=False, metavar="LANG=LOW:HIGH",
        ),
    ] = None,
    heldout: Annotated[float | None, _threshold("heldout")] = None,
    shard_minutes: Annotated[
        float | None,
        opt.option(
            "--shard-minutes", text="Minutes in one file [30].", panel=opt.TRAINING, min=0.01,
            metavar="N",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        opt.option("--workers", text="Videos at once; as many as cores.", panel=opt.TRAINING),
    ] = None,
    dry_run: opt.DryRun = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Make training clips from videos; a run that was stopped goes on where it was.

    Every part of every video is in clips.csv with what became of it and why. Ends with 1 when none
    was kept.
    """
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        settings = CurationSettings(
            **given(
                scene_threshold=scene_threshold, max_faces=max_faces, min_seconds=min_seconds,
                max_seconds=max_seconds, max_pause=max_pause, speaker_model=speaker_model,
                min_sync=min_sync, min_sync_confidence=min_sync_confidence,
                sync_margin=sync_margin, max_offset=max_offset, min_asd=min_asd,
                min_face_share=min_face_share, max_face_share=max_face_share,
                min_face_pixels=min_face_pixels, max_lost_share=max_lost_share,
                max_lost_seconds=max_lost_seconds, max_yaw=max_yaw, max_pitch=max_pitch,
                audio_quality=audio_quality, min_dnsmos=min_dnsmos, min_level=min_level,
                max_clipped=max_clipped, heldout=heldout, language=language,
            ),
            allow_no_text=allow_no_text,
            seconds_per_character=read_pace(seconds_per_character or ()),
        )  # fmt: skip
        if transcripts is not None and not transcripts.is_dir():
            raise InputError(f"{transcripts}: no such folder; transcripts of the videos are needed")
        if speaker_weights is not None:
            check_input(speaker_weights, "weights of Light-ASD")
        import os

        from omnitalk_cli.speech.asr_models import find_model
        from omnitalk_cli.training.curation.build import build_corpus
        from omnitalk_cli.training.curation.planning import plan_build
        from omnitalk_cli.training.curation.statistics import lines_of
        from omnitalk_cli.training.curation.video import Tools

        model = find_model(asr_model)
        tools = Tools(speaker_weights=speaker_weights, transcripts=transcripts, asr_model=model)
        if model is None and transcripts is None and not allow_no_text:
            raise SetupError(
                "no text for the clips: give --transcripts DIR or --asr-model, or keep clips "
                "without text with --allow-no-text"
            )
        if dry_run:
            plan = plan_build(videos, out, settings=settings, tools=tools)
            console.result(plan.to_dict(), plan.lines())
            return
        made = build_corpus(
            videos, out, settings=settings, tools=tools, progress=console.progress,
            workers=workers or os.cpu_count() or 1, **given(shard_minutes=shard_minutes),
        )  # fmt: skip
        facts = made.to_dict()
        heading = f"{out}: {made.shards} shards, {made.new_shards} of them new"
        if made.dropped:
            console.note(
                f"{len(made.dropped)} videos of an earlier run were not named again, and are no "
                f"longer in it (such as {made.dropped[0]}); name them too to have them back"
            )
        console.result(facts, [heading, *lines_of(made.statistics)])
        if all(fate.verdict == "rejected" for fate in made.fates):
            console.complain(f"no clip was kept; {out / 'clips.csv'} says why of every part")
            raise typer.Exit(WorkError.exit_code)
