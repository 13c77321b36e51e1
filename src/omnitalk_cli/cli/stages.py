"""Steps that several commands share, between the options and the pipeline."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnitalk_cli.cli.console import Console
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.pipeline.request import REFERENCE_SUFFIX
from omnitalk_cli.pipeline.settings import cache_folder, check_input

if TYPE_CHECKING:
    from omnitalk_cli.pipeline.driven import Recording
    from omnitalk_cli.pipeline.performing import SpeechSettings
    from omnitalk_cli.pipeline.production import ProductionOptions
    from omnitalk_cli.pipeline.workshop import Workshop
    from omnitalk_cli.types import Performance, Reference, Script, Take

Language = Literal["auto", "en", "zh"]


def script_source(text: str | None, say: str | None) -> Path | str:
    """Where the script comes from: a file, stdin (``-``) or the command line itself.

    Raises UsageError unless exactly one is given, InputError for a file that cannot be read.
    """
    if (text is None) == (say is None):
        raise UsageError("give the script either as a file (--text FILE, - is stdin) or as --say")
    if say is not None:
        return say
    if text == "-":
        try:
            return sys.stdin.read()
        except UnicodeDecodeError as error:
            raise InputError(f"stdin: the script is not UTF-8 text ({error.reason})") from error
    return check_input(Path(text or ""), "a script in UTF-8 text")


def script_name(source: Path | str, text: str | None) -> str:
    """How the plan calls the script."""
    if isinstance(source, Path):
        return str(source)
    return "stdin" if text == "-" else "--say"


def read_script(source: Path | str, language: Language) -> Script:
    """The script, split and normalised."""
    from omnitalk_cli.pipeline.script import read_script as read

    return read(source, language=language)


def get_reference(
    path: Path, *, options: dict[str, Any], cache: bool, console: Console
) -> tuple[Reference, bool]:
    """The reference from a clip or a features file, and whether it came from the cache.

    ``options`` are ExtractOptions' fields that were given; a features file takes none of them.
    """
    if path.suffix == REFERENCE_SUFFIX:
        if options:
            names = ", ".join(f"--{_FLAGS.get(name, name)}" for name in options)
            raise UsageError(f"{path}: holds finished features, {names} would have no effect")
        from omnitalk_cli.pipeline.reference_store import load_reference

        return load_reference(path), False
    from omnitalk_cli.pipeline.reference import ExtractOptions, resolve_reference

    return resolve_reference(
        path,
        options=ExtractOptions(**options),
        cache_dir=cache_folder() if cache else None,
        progress=console.progress,
        notes=console.note,
    )


# Fields of ExtractOptions whose option has another name.
_FLAGS = {
    "start": "ref-start", "seconds": "ref-seconds", "face_index": "face", "audio": "ref-audio",
    "ref_text": "ref-text", "asr_model": "asr-model", "frame_size": "size",
}  # fmt: skip


def perform(
    reference: Reference,
    spoken: Script | Recording,
    settings: SpeechSettings,
    *,
    workshop: Workshop,
    console: Console,
) -> Performance:
    """Speech and motion for a script, or motion for recorded speech."""
    from omnitalk_cli.pipeline import performing

    return performing.perform(
        reference, spoken, settings, workshop, progress=console.progress, notes=console.note
    )


def preparing(
    reference: Reference, options: ProductionOptions, workshop: Workshop
) -> AbstractContextManager[None]:
    """Meanwhile makes what the pictures of ``produce`` will be made from."""
    from omnitalk_cli.pipeline import production

    return production.preparing(reference, options, workshop)


def produce(
    reference: Reference,
    performance: Performance,
    output: Path,
    *,
    options: ProductionOptions,
    console: Console,
    workshop: Workshop | None = None,
    clip: Path | None = None,
) -> Take:
    """The finished video; ``options`` come from ``video_options``."""
    from omnitalk_cli.pipeline import production

    return production.produce(
        reference, performance, output, options,
        clip=clip if clip is not None and clip.suffix != REFERENCE_SUFFIX else None,
        workshop=workshop,
        progress=console.progress, notes=console.note,
    )  # fmt: skip


def take_lines(result: dict[str, Any]) -> list[str]:
    """The finished video in words, from ``Take.to_dict()`` with or without a total time."""
    total = result["timings"].get("total")
    speed = ""
    if total:
        speed = f" in {total:.1f} s (real-time factor {total / max(result['seconds'], 0.01):.2f})"
    return [
        result["path"],
        f"{result['seconds']:.2f} s of {result['width']}x{result['height']} at "
        f"{result['fps']:g} fps{speed}, seed {result['seed']}",
    ]
