"""The TOML file with options: ``--config``, else ``omnitalk.toml`` in the user's config folder.

Keys at the top hold for every command that has them, a table for the command or the group of
commands that it is named after:

    steps = 8
    [generate]
    visible-mark = "Made with AI"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from omnitalk_cli.errors import UsageError
from omnitalk_cli.pipeline.settings import config_file, did_you_mean


def read_config(context: typer.Context, value: Path | None) -> Path | None:
    """Option callback: makes the file's values the command's defaults.

    It runs before the other options are read (``is_eager``). Without ``--config`` a missing file
    is no error. Raises typer.BadParameter for an unreadable file and for keys or values that no
    option takes.
    """
    path = value or config_file()
    if context.resilient_parsing or (value is None and not path.is_file()):
        return value
    try:
        context.default_map = _defaults(_parse(path), context)
    except UsageError as error:
        raise typer.BadParameter(f"{path}: {error}") from error
    return value


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError((error.strerror or str(error)).lower()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not valid TOML: {error}") from error


def _defaults(document: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """Values for ``context``'s command; every key of the file is checked, whichever command."""
    commands = getattr(context.find_root().command, "commands", {})
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    shared = {key: value for key, value in document.items() if key not in tables}
    everything = {
        name: option for command in commands.values() for name, option in _options(command).items()
    }
    _check(shared, everything, "", context)
    for name, table in tables.items():
        if name not in commands:
            raise UsageError(f"no command [{name}]{did_you_mean(name, commands)}")
        _check(table, _options(commands[name]), f"[{name}] ", context)
    known = _options(context.command)
    mine = {**shared, **tables.get(_name(context), {})}
    return {known[_flag(key)].name: value for key, value in mine.items() if _flag(key) in known}


def _name(context: typer.Context) -> str:
    """The command's table: a command of a group has that of the group."""
    here: Any = context  # its parents are of click's own class
    while here.parent is not None and here.parent.parent is not None:
        here = here.parent
    return here.info_name or ""


def _options(command: Any) -> dict[str, Any]:
    """The options of a command, or of all commands of a group, that a file may set (those with an
    environment name)."""
    inner = getattr(command, "commands", {}).values()
    return {name: option for one in inner for name, option in _options(one).items()} | {
        option.envvar.removeprefix("OMNITALK_").lower(): option
        for option in command.params
        if getattr(option, "envvar", None) and option.name != "config"
    }


def _check(
    values: dict[str, Any], options: dict[str, Any], where: str, context: typer.Context
) -> None:
    for key, value in values.items():
        option = options.get(_flag(key))
        if option is None:
            raise UsageError(f"{where}unknown key {key!r}{did_you_mean(_flag(key), options)}")
        try:
            option.process_value(context, value)
        except typer.BadParameter as error:
            raise UsageError(f"{where}{key}: {error.message}") from error


def _flag(key: str) -> str:
    return key.replace("-", "_")
