"""Options that several commands share, each defined once: flag, help, range, environment name.

Where a value comes from, strongest first: command line, ``OMNITALK_<FLAG>``, the TOML file,
default. ``None`` means "not given": the stage that takes the value has its own default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnitalk_cli.cli.commands import PANELS
from omnitalk_cli.cli.config_file import read_config
from omnitalk_cli.pipeline.settings import RANGES, check_device, check_interval

_, BATCH, REFERENCE, SCRIPT, SPEECH, VIDEO, MARKS, TRAINING, COMMON = PANELS


def option(
    *names: str, text: str, panel: str = COMMON, env: bool = True, **more: Any
) -> Any:  # typer.Option's own type is private to it
    """An option named by its first flag; ``env`` lets ``OMNITALK_<FLAG>`` and the file set it."""
    flag = names[0].split("/")[0].lstrip("-").replace("-", "_")
    if flag in RANGES:
        low, high = RANGES[flag]
        more.setdefault("min", low)
        more.setdefault("max", high)
        more.setdefault("metavar", "N")
    return typer.Option(
        *names,
        help=text,
        rich_help_panel=panel,
        envvar=f"OMNITALK_{flag.upper()}" if env else None,
        show_envvar=False,
        **more,
    )


# --- every command -----------------------------------------------------------------------------
Config = Annotated[
    Path | None,
    option(
        "--config",
        text="TOML file with options; otherwise omnitalk.toml in the user's config folder.",
        is_eager=True,
        callback=read_config,
        metavar="FILE",
    ),
]
Quiet = Annotated[bool, option("--quiet", "-q", text="No progress and no remarks.")]
Verbose = Annotated[
    int,
    option("--verbose", "-v", text="More remarks; -vv adds tracebacks.", env=False, count=True),
]
Json = Annotated[
    bool, option("--json", text="One JSON object on stdout and nothing else.", env=False)
]
Overwrite = Annotated[bool, option("--overwrite", text="Replace the output when it exists.")]
DryRun = Annotated[
    bool, option("--dry-run", text="Check everything and print the plan; do nothing.", env=False)
]

# --- reference ---------------------------------------------------------------------------------
Ref = Annotated[
    Path,
    option(
        "--ref",
        text="Clip of the person (1-10 s are used), or a .safetensors file made by extract.",
        panel=REFERENCE,
        metavar="FILE",
    ),
]
RefText = Annotated[
    str | None,
    option(
        "--ref-text",
        text="What is said in the clip, or a file with it; skips speech recognition.",
        panel=REFERENCE,
        metavar="TEXT",
    ),
]
RefStart = Annotated[
    float | None,
    option(
        "--ref-start",
        text="Where the reference begins in the clip, in seconds; otherwise the best window.",
        panel=REFERENCE,
        metavar="SECONDS",
    ),
]
RefAudio = Annotated[
    Path | None,
    option(
        "--ref-audio",
        text="Another recording of the voice; with it --ref may be a still picture.",
        panel=REFERENCE,
        metavar="FILE",
    ),
]
RefSeconds = Annotated[
    float | None,
    option("--ref-seconds", text="Longest reference, in seconds.", panel=REFERENCE),
]
Face = Annotated[
    int | None,
    option(
        "--face",
        text="Which face, counted from the left from 0; otherwise the most visible one.",
        panel=REFERENCE,
        metavar="N",
    ),
]
AsrModel = Annotated[
    str | None,
    option(
        "--asr-model",
        text="Whisper model that transcribes the clip: auto, tiny, base, small, medium, large-v3, "
        "turbo, a folder of a faster-whisper model, or none.",
        panel=REFERENCE,
        metavar="NAME|FOLDER",
    ),
]
Tracker = Annotated[
    Literal["auto", "facemesh", "landmarker"] | None,
    option(
        "--tracker",
        text="What finds the landmarks of the face; auto is facemesh. landmarker must be pulled.",
        panel=REFERENCE,
    ),
]
Cache = Annotated[
    bool,
    option("--cache/--no-cache", text="Keep extracted features for the next run.", panel=REFERENCE),
]

# --- script ------------------------------------------------------------------------------------
TextFile = Annotated[
    str | None,
    option(
        "--text", text="Script file in UTF-8; - reads stdin.", panel=SCRIPT, env=False,
        metavar="FILE",
    ),
]  # fmt: skip
Say = Annotated[
    str | None,
    option("--say", text="The script itself.", panel=SCRIPT, env=False, metavar="TEXT"),
]
Audio = Annotated[
    Path | None,
    option(
        "--audio",
        text="Recorded speech (or a video of it) instead of a script: it is kept as it is, only "
        "the face is made. --cfg-face then weighs the sound.",
        panel=SCRIPT, env=False, metavar="FILE",
    ),
]  # fmt: skip
Lang = Annotated[
    Literal["auto", "en", "zh"], option("--lang", text="Language of what is said.", panel=SCRIPT)
]

# --- speech and motion -------------------------------------------------------------------------
Model = Annotated[
    str,
    option(
        "--model",
        text="auto, a name of weights list or a .safetensors file.",
        panel=SPEECH,
        metavar="NAME|FILE",
    ),
]
Steps = Annotated[int | None, option("--steps", text="Solver steps.", panel=SPEECH)]
CfgText = Annotated[
    float | None, option("--cfg-text", text="Guidance towards the text.", panel=SPEECH)
]
CfgAudio = Annotated[
    float | None, option("--cfg-audio", text="Guidance towards the voice.", panel=SPEECH)
]
CfgVideo = Annotated[
    float | None,
    option("--cfg-video", text="Guidance towards the face's style; 0 leaves it out.", panel=SPEECH),
]
CfgFace = Annotated[
    float | None,
    option("--cfg-face", text="Guidance of the face towards the text; more moves the lips more.",
           panel=SPEECH),
]  # fmt: skip
CfgInterval = Annotated[
    str | None,
    option(
        "--cfg-interval",
        text="Where in flow time, 0 noise and 1 done, there is guidance; elsewhere only the plain "
        "evaluation is made. Otherwise 0:1.",
        panel=SPEECH,
        callback=check_interval,
        metavar="LOW:HIGH",
    ),
]
Schedule = Annotated[
    Literal["uniform", "sway", "epss"] | None,
    option("--schedule", text="Times of the solver's steps.", panel=SPEECH),
]
Solver = Annotated[
    Literal["euler", "midpoint"] | None,
    option("--solver", text="How the flow is integrated.", panel=SPEECH),
]
Seed = Annotated[
    int | None,
    option("--seed", text="The same seed gives the same file; otherwise drawn.", panel=SPEECH),
]
FixedSeed = Annotated[int, option("--seed", text="Seed of everything random.", panel=TRAINING)]
Speed = Annotated[float | None, option("--speed", text="Speaking rate, 1 is normal.", panel=SPEECH)]
Duration = Annotated[
    float | None,
    option(
        "--duration",
        text="Length of the speech in seconds; otherwise estimated from the text.",
        panel=SPEECH,
        metavar="SECONDS",
    ),
]
Device = Annotated[
    str,
    option(
        "--device", text="auto, cpu, cuda, cuda:N or mps.", panel=SPEECH, callback=check_device,
        metavar="NAME",
    ),
]  # fmt: skip
Compile = Annotated[
    Literal["auto", "on", "off", "graphs"],
    option(
        "--compile",
        text="Compile the network's blocks: auto does on CUDA for long scripts and batches; graphs "
        "also records CUDA graphs.",
        panel=SPEECH,
    ),
]
DType = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    option("--dtype", text="Number format of the model.", panel=SPEECH),
]

# --- marks -------------------------------------------------------------------------------------
LabelProfile = Annotated[
    Literal["eu", "us", "cn", "all"] | None,
    option(
        "--label-profile",
        text="Whose rules the labels follow: words in the picture, and what the metadata says.",
        panel=MARKS,
    ),
]
VisibleMark = Annotated[
    str | None,
    option(
        "--visible-mark",
        text="Words of the visible mark; none leaves it out (and the duty to label to you).",
        panel=MARKS,
        metavar="TEXT|none",
    ),
]
VisiblePosition = Annotated[
    Literal["top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right"] | None,
    option("--visible-position", text="Where the visible mark is.", panel=MARKS),
]
VisibleSize = Annotated[
    float | None,
    option(
        "--visible-size",
        text="Height of its capital letters, as a share of the picture's shorter side.",
        panel=MARKS,
    ),
]
VisibleOpacity = Annotated[
    float | None,
    option("--visible-opacity", text="How opaque its dark plate is.", panel=MARKS),
]
VisibleFont = Annotated[
    str | None,
    option(
        "--visible-font",
        text="TrueType file for words that the built-in letters cannot write.",
        panel=MARKS,
        metavar="FILE",
    ),
]
Producer = Annotated[
    str | None,
    option(
        "--producer",
        text="Who answers for the video; goes into the metadata.",
        panel=MARKS,
        metavar="NAME",
    ),
]

# --- video -------------------------------------------------------------------------------------
Fps = Annotated[float | None, option("--fps", text="Frames per second.", panel=VIDEO)]
View = Annotated[
    Literal["face", "full"] | None,
    option("--view", text="face: the square around the head; full: the whole source picture.",
           panel=VIDEO),
]  # fmt: skip
Size = Annotated[
    int | None,
    option("--size", text="Shorter side of the picture, even; face 512, full as the source.",
           panel=VIDEO),
]  # fmt: skip
Background = Annotated[
    str | None,
    option(
        "--background",
        text="Behind the person: keep, blur, green, a colour #rrggbb or a picture.",
        panel=VIDEO,
        metavar="KIND|FILE",
    ),
]
Crf = Annotated[
    int | None, option("--crf", text="Quality of the encoder, smaller is better.", panel=VIDEO)
]
Codec = Annotated[Literal["h264"] | None, option("--codec", text="Video codec.", panel=VIDEO)]
Vocoder = Annotated[
    str | None,
    option(
        "--vocoder",
        text="What makes sound of the mel: source (no weights), vocoder (embedded), vocos or "
        "bigvgan (public weights) or a file of weights; auto takes what suits the model.",
        panel=VIDEO,
        metavar="NAME|FILE",
    ),
]
Renderer = Annotated[
    Literal["auto", "mesh", "mesh-torch"] | None,
    option(
        "--renderer",
        text="What draws the pictures: mesh, frame by frame on the CPU; mesh-torch, the same in "
        "batches on --device; auto takes what suits the device.",
        panel=VIDEO,
    ),
]
HeadMotion = Annotated[
    float | None, option("--head-motion", text="Gain of head movement, 1 as made.", panel=VIDEO)
]
Expression = Annotated[
    float | None, option("--expression", text="Gain of expression, 1 as made.", panel=VIDEO)
]
Gaze = Annotated[
    float | None, option("--gaze", text="Gain of eye movement, 1 as made.", panel=VIDEO)
]
BlinkRate = Annotated[
    float | None,
    option("--blink-rate", text="How many blinks: 0 none, 1 as made, 2 twice as many.",
           panel=VIDEO),
]  # fmt: skip
LookAtCamera = Annotated[
    float | None,
    option(
        "--look-at-camera",
        text="How far the eyes turn to the lens: 0 as made, 1 always there. (The lens is where "
        "the person of the reference looks most.)",
        panel=VIDEO,
    ),
]
Ffmpeg = Annotated[
    str | None, option("--ffmpeg", text="The ffmpeg program.", panel=VIDEO, metavar="PROGRAM")
]
Workers = Annotated[
    int | None, option("--workers", text="Rendering workers; as many as cores, four at most.",
                       panel=VIDEO),
]  # fmt: skip

# --- marks -------------------------------------------------------------------------------------
SignCert = Annotated[
    Path | None,
    option("--sign-cert", text="Certificate chain (PEM) to sign with; otherwise your own, made on "
           "first use.", panel=MARKS, metavar="FILE"),
]  # fmt: skip
SignKey = Annotated[
    Path | None,
    option("--sign-key", text="Private key (PEM) of --sign-cert.", panel=MARKS, metavar="FILE"),
]
TimestampUrl = Annotated[
    str | None,
    option("--timestamp-url", text="Server (RFC 3161) that confirms when the video was signed.",
           panel=MARKS, metavar="URL"),
]  # fmt: skip
