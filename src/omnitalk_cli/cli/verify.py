"""``omnitalk verify``: whether files carry marks of omnitalk, and what these say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.console import Console, one_line, session
from omnitalk_cli.errors import InputError

if TYPE_CHECKING:
    from omnitalk_cli.pipeline.verification import Verification

_NAMES = {"label": "label", "credentials": "credentials", "video": "video mark",
          "audio": "audio mark"}  # fmt: skip


def verify(
    files: Annotated[
        list[Path], typer.Argument(help="Videos, sounds or pictures of anybody.", metavar="FILE...")
    ],
    trust: Annotated[
        Path | None,
        opt.option(
            "--trust", text="Certificates (PEM) whose signatures are trusted, besides your own.",
            panel=opt.MARKS, metavar="FILE",
        ),
    ] = None,
    ffmpeg: opt.Ffmpeg = None,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Read the marks of files back: label, credentials, video mark, audio mark.

    Exit codes: 0 every file is marked, 1 one is not, 3 one was altered, contradicts itself or
    cannot be read.
    """
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        certificates = _certificates(trust)
        facts: list[dict[str, Any]] = []
        codes: list[int] = []
        for file in files:
            try:
                found = _verify(file, trust=certificates, ffmpeg=ffmpeg, console=console)
            except InputError as error:  # the other files are looked at all the same
                facts.append({"path": str(file), "error": str(error), "exit_code": error.exit_code})
                codes.append(error.exit_code)
                console.complain(str(error))
                continue
            facts.append(found.to_dict())
            if not json_output:
                console.result({}, describe(found))
            codes.append(found.exit_code)
        if json_output:
            console.result({"files": facts, "exit_code": max(codes)}, ())
        if max(codes):
            raise typer.Exit(max(codes))


def _certificates(file: Path | None) -> str | None:
    from omnitalk_cli.pipeline.verification import read_trusted

    return None if file is None else read_trusted(file)


def _verify(file: Path, *, trust: str | None, ffmpeg: str | None, console: Console) -> Verification:
    from omnitalk_cli.pipeline import verification

    return verification.verify(file, trust=trust, ffmpeg=ffmpeg, progress=console.progress)


def describe(found: Verification) -> list[str]:
    """The findings on one file in words."""
    from omnitalk_cli.pipeline.verification import id_text

    lines = [one_line(f"{found.path}: {found.words}")]
    for layer in found.layers:
        words = [layer.detail]
        if layer.id is not None:
            words.append(f"id {id_text(layer.id, layer.bits)}")
        if layer.confidence is not None:
            words.append(f"confidence {layer.confidence:.2f}")
        said = ", ".join(filter(None, words))
        lines.append(f"  {_NAMES[layer.name]:<12} {layer.state:<15} {one_line(said)}".rstrip())
    states = {layer.name: layer.state for layer in found.layers}
    if found.verdict == "made by omnitalk" and states["credentials"] == "absent":
        lines.append("  the credentials are gone: the file was copied or encoded anew since")
    for entry in found.entries:
        if found.unchanged:
            lines.append(f"  made here    on {entry.time} as {entry.output_name}, unchanged since")
            continue
        # Ids can be read by anybody, and put into other files.
        other = "" if found.unchanged is None else "; this is a changed copy or another file"
        lines.append(f"  known here   id given to {entry.output_name} on {entry.time}{other}")
    lines += [f"  note: {note}" for note in found.notes]
    return lines
