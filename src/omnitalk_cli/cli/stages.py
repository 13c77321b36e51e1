"""Steps that several commands share, between the options and the pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnitalk_cli.cli.console import Console
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.pipeline.settings import cache_folder, check_input

if TYPE_CHECKING:
    import torch

    from omnitalk_cli.pipeline.driven import Recording
    from omnitalk_cli.pipeline.production import ProductionOptions
    from omnitalk_cli.pipeline.synthesis import SynthesisOptions
    from omnitalk_cli.types import Performance, Reference, Script, Take

Language = Literal["auto", "en", "zh"]
REFERENCE_SUFFIX = ".safetensors"
USUAL_SIZE = 512  # side of the pictures that a reference keeps


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None. Zero and "" are values."""
    return {name: value for name, value in options.items() if value is not None}


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


def reference_text(value: str | None) -> str | None:
    """``--ref-text``: the text itself, or the content of the file that it names."""
    if value is None or len(value) > 1024 or "\n" in value:
        return value
    path = Path(value)
    try:
        if path.suffix != ".txt" or not path.is_file():
            return value
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the transcript is not UTF-8 text") from error


def reference_options(
    clip: Path,
    *,
    ref_text: str | None,
    ref_start: float | None,
    ref_seconds: float | None,
    ref_audio: Path | None,
    face: int | None,
    asr_model: str | None,
    size: int | None,
) -> dict[str, Any]:
    """ExtractOptions' fields that were given. Pictures are kept larger for a larger video only."""
    if ref_audio is not None:
        check_input(ref_audio, "a recording of the person's voice")
    large = size is not None and size > USUAL_SIZE and clip.suffix != REFERENCE_SUFFIX
    return given(
        start=ref_start,
        seconds=ref_seconds,
        face_index=face,
        asr_model=asr_model,
        ref_text=reference_text(ref_text),
        audio=ref_audio,
        frame_size=size if large else None,
    )


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


def speech_options(
    *, model: str, device: str, dtype: str, options: dict[str, Any]
) -> tuple[SynthesisOptions, str, torch.dtype]:
    """SynthesisOptions, device and format, with everything checked that synthesis needs.

    Raises UsageError for values that do not fit, SetupError for a device or weights not there.
    """
    from omnitalk_cli.pipeline.devices import choose_device, choose_dtype
    from omnitalk_cli.pipeline.synthesis import SynthesisOptions
    from omnitalk_cli.weights.store import find_weights

    where = choose_device(device)
    find_weights(model)
    return SynthesisOptions(**options), where, choose_dtype(dtype, where)


def video_options(
    *, overwrite: bool, options: dict[str, Any], device: str = "auto"
) -> ProductionOptions:
    """ProductionOptions, with everything checked that production needs.

    Raises UsageError for values that do not fit, InputError for an unusable certificate,
    SetupError without ffmpeg, the vocoder, the device or a place for keys and ledger.
    """
    from omnitalk_cli.media.ffmpeg import find_ffmpeg
    from omnitalk_cli.pipeline.devices import choose_device
    from omnitalk_cli.pipeline.marking import check_marking
    from omnitalk_cli.pipeline.production import ProductionOptions
    from omnitalk_cli.weights.store import find_weights

    where = choose_device(device)
    chosen = ProductionOptions(**options, device=where, overwrite=overwrite)
    find_ffmpeg(chosen.ffmpeg)
    check_marking(chosen.sign_cert, chosen.sign_key, chosen.timestamp_url)
    if chosen.vocoder != "source":
        find_weights("vocoder" if chosen.vocoder == "vocos" else chosen.vocoder)
    return chosen


def check_frame(reference: Reference, options: ProductionOptions) -> None:
    """Raises, before the long work, InputError when ``reference`` lacks what the view needs or the
    background cannot be read, UsageError when the labels do not fit into the picture."""
    from omnitalk_cli.pipeline.framing import Framing
    from omnitalk_cli.provenance.visible import draw_label

    framing = Framing(reference, options.frame)
    for mark in options.labels.marks:
        if mark is not None:
            draw_label(mark, width=framing.width, height=framing.height)


def perform(
    reference: Reference,
    spoken: Script | Recording,
    *,
    model: str,
    settings: tuple[SynthesisOptions, str, torch.dtype],
    console: Console,
) -> Performance:
    """Speech and motion for a script, or motion for recorded speech; ``settings`` come from
    ``speech_options``."""
    from omnitalk_cli.pipeline.driven import Recording, follow
    from omnitalk_cli.pipeline.synthesis import load_model, synthesise

    options, device, dtype = settings
    network = load_model(model, device=device, dtype=dtype)
    progress, notes = console.progress, console.note
    if isinstance(spoken, Recording):
        return follow(reference, spoken, network, options, progress=progress, notes=notes)
    return synthesise(reference, spoken, network, options, progress=progress, notes=notes)


def produce(
    reference: Reference,
    performance: Performance,
    output: Path,
    *,
    options: ProductionOptions,
    console: Console,
    recording: Recording | None = None,
) -> Take:
    """The finished video; ``options`` come from ``video_options``. Its sound is ``recording``, or
    made from the performance."""
    from omnitalk_cli.pipeline import production

    return production.produce(
        reference, performance, output, options,
        sound=recording.samples if recording else None,
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
