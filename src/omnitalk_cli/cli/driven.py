"""What ``generate`` and ``synth`` do differently with ``--audio``: recorded speech, no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitalk_cli.cli.console import Console
from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.settings import check_input

if TYPE_CHECKING:
    from omnitalk_cli.pipeline.driven import Recording


def check_audio(
    audio: Path, *, text: str | None, say: str | None, speed: float | None, duration: float | None
) -> Path:
    """``audio`` when it is a file and nothing is asked for that recorded speech cannot do.

    Raises UsageError for a script or a pace beside it, InputError when there is no such file.
    """
    if text is not None or say is not None:
        raise UsageError("give either a script (--text, --say) or recorded speech (--audio)")
    if speed is not None or duration is not None:
        option = "--speed" if speed is not None else "--duration"
        raise UsageError(f"{option} has no effect with --audio, which is kept as it is")
    return check_input(audio, "a recording of speech")


def hear(audio: Path, *, console: Console) -> Recording:
    """The recorded speech. Raises InputError when it cannot be used."""
    from omnitalk_cli.pipeline import driven

    return driven.hear(audio, notes=console.note)


def show_plan(
    console: Console,
    recording: Recording,
    *,
    reference: Path,
    audio: Path,
    model: str,
    seed: int,
    output: Path,
    options: dict[str, Any],
) -> None:
    """What would be done, as ``--dry-run`` tells it."""
    plan = {
        "dry_run": True, "reference": str(reference), "audio": str(audio), "model": model,
        "seed": seed, "seconds": round(recording.seconds, 1), "output": str(output),
        "options": options,
    }  # fmt: skip
    given = ", ".join(f"{name} {value}" for name, value in options.items())
    lines = [
        f"reference  {reference}",
        f"audio      {audio} ({recording.seconds:.1f} s, kept as it is)",
        f"model      {model}",
        f"seed       {seed}",
        f"options    {given or 'all by default'}",
        f"output     {output}",
    ]
    console.result(plan, lines)
