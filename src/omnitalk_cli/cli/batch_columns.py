"""The options of ``generate`` as columns of a table: same names, types, ranges and complaints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from omnitalk_cli.cli.commands import PanelCommand
from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.settings import check_input

# Parameters of generate that a table has in its own way (see batch.job_table).
_OWN = frozenset({"ref", "text", "say", "audio"})

# Parameters that hold for the whole run, and why a row cannot have them.
_WHOLE_RUN = {
    "output": "the names of all outputs come from --name and --out-dir",
    "overwrite": "give --overwrite to the whole batch",
    "dry_run": "give --dry-run to the whole batch",
    "json_output": "give --json to the whole batch",
    "config": "give --config to the whole batch",
    "quiet": "give --quiet to the whole batch",
    "verbose": "give --verbose to the whole batch",
    "workers": "give --workers to the whole batch",
    "device": "the rows are spread over the devices; give --device to the whole batch",
    "ffmpeg": "a table must not choose a program to run; give --ffmpeg to the whole batch",
}


def batch_columns(base: Path = Path()) -> dict[str, Callable[[str], Any]]:
    """What turns a cell into the option's value, by parameter of ``generate``.

    Files are relative to ``base``. The functions raise OmnitalkError, with the words of the
    command line, for cells that the option does not take.
    """
    command = _generate()
    context = typer.Context(command)
    return {
        option.name: partial(_parse, option, context, base)
        for option in command.params
        if option.name not in _OWN and option.name not in _WHOLE_RUN
    }


def refused_columns() -> dict[str, str]:
    """The options of ``generate`` that cannot be columns, with the reason."""
    names = {option.name: option.opts[0] for option in _generate().params}
    refused = {name: reason for name, reason in _WHOLE_RUN.items() if name in names}
    flags = {names[name].lstrip("-").replace("-", "_"): why for name, why in refused.items()}
    return {**refused, **flags}


def batch_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The command line's values for all rows: those given, checked as a row's are, with the files'
    places written out. ``options`` are parsed parameters of ``generate``; others are left out."""
    columns = batch_columns(Path.cwd())
    return {
        name: columns[name](str(value))
        for name, value in options.items()
        if value is not None and name in columns
    }


def _generate() -> Any:
    """The command ``generate`` by itself."""
    from omnitalk_cli.cli.generate import generate

    program = typer.Typer(add_completion=False)
    program.command("generate", cls=PanelCommand)(generate)
    return get_command(program)


def _parse(option: Any, context: typer.Context, base: Path, cell: str) -> Any:
    """The value of ``option`` in a cell."""
    cell = cell.strip()
    try:
        value = option.process_value(context, cell)
    except typer.BadParameter as error:
        told = error.message.rstrip(".")
        raise UsageError(told if repr(cell) in told else f"{cell!r}: {told}") from error
    if isinstance(value, Path):
        return check_input(_beside(base, cell), "the file of this option")
    check = _CHECKS.get(option.name)
    return check(value, base) if check else value


def _beside(base: Path, name: str) -> Path:
    from omnitalk_cli.batch.job_rows import resolve

    return resolve(name, base)


# --- options whose values the stages judge, or that name a file or something else -----------------
def _file_or_word(value: str, base: Path) -> str:
    """``value``, with its place when there is such a file."""
    path = _beside(base, value)
    return str(path) if path.is_file() else value


def _transcript(value: str, base: Path) -> str:
    """What is said in the clip, or the place of a .txt file with it, which must exist."""
    if "\n" in value or not value.lower().endswith(".txt"):
        return value
    return str(check_input(_beside(base, value), "the transcript"))


def _weights(value: str, base: Path) -> str:
    from omnitalk_cli.weights.catalog import entry
    from omnitalk_cli.weights.store import find_weights

    chosen = value if entry(value) else _file_or_word(value, base)
    find_weights(chosen)
    return chosen


def _model(value: str, base: Path) -> str:
    from omnitalk_cli.pipeline.models import AUTO

    return value if value == AUTO else _weights(value, base)


def _asr_model(value: str, base: Path) -> str:
    """The name of an installed speech model, or the place of its folder."""
    from omnitalk_cli.speech.asr_models import find_model

    path = _beside(base, value)
    chosen = str(path) if path.is_dir() else value
    find_model(chosen)
    return chosen


def _tracker(value: str, base: Path) -> str:
    if value == "landmarker":
        from omnitalk_cli.face.landmarker import landmarker_file

        landmarker_file()
    return value


def _vocoder(value: str, base: Path) -> str:
    from omnitalk_cli.speech.vocoders import AUTO, VOCODERS, find_vocoder

    chosen = value if value in (AUTO, *VOCODERS) else _file_or_word(value, base)
    if chosen != AUTO:
        find_vocoder(chosen)
    return chosen


def _background(value: str, base: Path) -> str:
    from omnitalk_cli.render.backdrop import parse_background

    chosen = _file_or_word(value, base)
    parse_background(chosen)
    return chosen


def _size(value: int, base: Path) -> int:
    from omnitalk_cli.pipeline.framing import frame_of

    frame_of(view="full", size=value, background="keep")
    return value


def _visible_mark(value: str, base: Path) -> str:
    from omnitalk_cli.provenance.visible import VisibleMark

    if value.lower() != "none":
        VisibleMark(text=value)
    return value


_CHECKS: dict[str, Callable[[Any, Path], Any]] = {
    "ref_text": _transcript,
    "asr_model": _asr_model,
    "tracker": _tracker,
    "model": _model,
    "vocoder": _vocoder,
    "background": _background,
    "size": _size,
    "visible_mark": _visible_mark,
}
