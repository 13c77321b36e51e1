"""How this command line differs from plain Typer: grouped help, and errors as JSON when asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from omnitalk_cli.cli.console import INTERRUPTED, report_error
from omnitalk_cli.errors import OmnitalkError

# Headings of the help, in this order: arguments come first, what every command shares last.
PANELS = (
    "Arguments", "Batch", "Reference", "Script", "Speech and motion", "Video", "Marks", "Training",
    "Run",
)  # fmt: skip


class PanelCommand(TyperCommand):
    """A command whose plain help lists the options under the headings of their panels.

    Rich could draw panels too, but importing it doubles the time of ``--help``.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """The help option, cheap to read."""
        return _cheap(super().get_help_option(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments first, then one section for each panel."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in PANELS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                argument = param.param_type_name == "argument"
                panel = PANELS[0] if argument else getattr(param, "rich_help_panel", None)
                sections[panel or PANELS[-1]].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Commands(TyperGroup):
    """The program: usage errors have the same form as every other error, here and in tests."""

    def get_help_option(self, ctx: Any) -> Any:
        """The help option, cheap to read."""
        return _cheap(super().get_help_option(ctx))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Parses and runs; always ends in SystemExit with an exit code of the README's table."""
        words = list(sys.argv[1:] if args is None else args)
        json_stream = sys.stdout if "--json" in words else None
        more["standalone_mode"] = False
        more.setdefault("prog_name", "omnitalk")
        try:
            status = super().main(words, *rest, **more)
        except OmnitalkError as error:  # raised while options are read
            report_error(str(error), error.exit_code, json_stream)
            status = error.exit_code
        except typer.TyperException as error:
            report_error(_hint(error), error.exit_code, json_stream)
            status = error.exit_code
        except (KeyboardInterrupt, typer.Abort):
            report_error("interrupted", INTERRUPTED, json_stream)
            status = INTERRUPTED
        sys.exit(status if isinstance(status, int) else 0)


def command_group(text: str, kind: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """A group of commands, described by ``text``; called alone it prints its help."""
    group = typer.Typer(help=text, cls=kind, invoke_without_command=True, rich_markup_mode=None)
    group.callback()(help_without_command)
    return group


class DefaultGroup(TyperGroup):
    """A group whose command ``default`` may be left out: what is no command's name is its argument.

    Alone, and with ``--help``, the group prints its own help.
    """

    default = "videos"

    def get_help_option(self, ctx: Any) -> Any:
        """The help option, cheap to read."""
        return _cheap(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the default command in front of arguments that name none."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named or not args else [self.default, *args])


def help_without_command(context: typer.Context) -> None:
    """Prints the help of a group that was called without a command, and ends."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def _cheap(option: Any) -> Any:
    """A flag whose default is a bool needs no coercion, and so no import of pydantic (0.1 s)."""
    if option is not None:
        option.default = False
    return option


def _hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context is not None else ""
    return error.format_message().rstrip(".") + where
