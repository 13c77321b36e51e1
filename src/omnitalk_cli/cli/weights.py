"""``omnitalk weights``: what is installed, and how public weights get here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.commands import PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.errors import UsageError, WorkError

if TYPE_CHECKING:
    from omnitalk_cli.weights.pull import Plan, Pulled
    from omnitalk_cli.weights.store import Installed

app = command_group("The weights that are installed, and public ones that can be.")

Names = Annotated[list[str], typer.Argument(help="Names of `weights list`.", metavar="NAME...")]
NoNames = Annotated[
    list[str] | None, typer.Argument(help="Names of `weights list`.", metavar="[NAME...]")
]
Accept = Annotated[
    list[str] | None,
    opt.option(
        "--accept-license",
        text="A licence that forbids commercial use and that you accept: its name, or that of the "
        "weights. May be given several times.",
        env=False,
        metavar="NAME",
    ),
]


@app.command("list", cls=PanelCommand)
def list_weights(
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """List all weights that omnitalk knows: embedded, installed and those that can be pulled."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.catalog import catalog
        from omnitalk_cli.weights.store import installed

        found = installed()
        lines = [f"{'name':<17} {'job':<13} {'size':>9}  {'licence':<17} file"]
        lines += [_line(item) for item in found]
        profiles = [
            {"name": item.name, "about": item.about, "members": list(item.members)}
            for item in catalog().profiles
        ]
        lines += ["", "(nc) forbids commercial use. Profiles for `weights pull --profile`:"]
        lines += [f"  {item['name']}: {', '.join(item['members'])}" for item in profiles]
        data = {"weights": [item.to_dict() for item in found], "profiles": profiles}
        console.result(data, lines)


@app.command("pull", cls=PanelCommand)
def pull_weights(
    names: NoNames = None,
    profile: Annotated[
        list[str] | None,
        opt.option("--profile", text="Several at once, such as voice.", env=False, metavar="NAME"),
    ] = None,
    accept_license: Accept = None,
    dry_run: opt.DryRun = False,
    offline: Annotated[
        bool,
        opt.option("--offline", text="Take only what the hub's cache holds; no network.",
                   env=False),
    ] = False,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Fetch public weights, check and convert them. A pull that was cut goes on where it was."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights import pull as puller

        wanted = puller.chosen(names or (), profile or ())
        if not wanted:
            raise UsageError("name what to pull, or --profile voice; see omnitalk weights list")
        if dry_run:
            plan = puller.plan_pull(wanted, overwrite=overwrite)
            console.result(plan.to_dict(), _plan_lines(plan))
            return
        done = puller.pull(
            wanted, accepted=accept_license or (), offline=offline, overwrite=overwrite,
            progress=console.progress, note=console.note,
        )  # fmt: skip
        data = {"weights": [item.to_dict() for item in done]}
        console.result(data, [_pulled(item) for item in done])


@app.command("import", cls=PanelCommand)
def import_weights(
    file: Annotated[
        Path, typer.Argument(help="Checkpoint, or a folder with it.", metavar="FILE")
    ],
    name: Annotated[
        str,
        opt.option("--as", text="Which weights it is, by its name in `weights list`.", env=False,
                   metavar="NAME"),
    ],
    accept_license: Accept = None,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Install weights from files: fetched elsewhere, or your own fine-tune. No network."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.local import import_file

        made = import_file(
            file, name, accepted=accept_license or (), overwrite=overwrite,
            progress=console.progress, note=console.note,
        )  # fmt: skip
        console.result(made.to_dict(), [f"{name}: {made.path}"])


@app.command("verify", cls=PanelCommand)
def verify_weights(
    names: NoNames = None,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Hash installed weights again (exit 1: a file is not what it was)."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.local import verify

        found = verify(names or (), progress=console.progress)
        lines = [
            f"{item.state:<8} {item.name} {item.file}{f' {item.why}' if item.why else ''}"
            for item in found
        ]
        bad = [item for item in found if item.state in ("differs", "missing")]
        data = {"ok": not bad, "files": [item.to_dict() for item in found]}
        console.result(data, lines or ["no public weights are installed"])
        if bad:
            raise typer.Exit(WorkError.exit_code)


@app.command("path", cls=PanelCommand)
def weights_path(
    name: Annotated[str, typer.Argument(help="A name of `weights list`.", metavar="NAME")],
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Print where the file of installed weights is (exit 4: not installed)."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.catalog import catalog
        from omnitalk_cli.weights.store import find_weights

        path = find_weights(catalog().entry(name).name)
        console.result({"name": name, "path": str(path)}, [str(path)])


@app.command("remove", cls=PanelCommand)
def remove_weights(
    names: Names,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Delete installed public weights."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.local import remove

        gone = remove(names, note=console.note)
        lines = [f"{item.entry.name}: {_removed(item)}" for item in gone]
        facts = [{"name": item.entry.name, "bytes": item.size} for item in gone if item.path]
        console.result({"deleted": facts}, lines)


def _line(item: Installed) -> str:
    from omnitalk_cli.weights.catalog import size_words

    entry = item.entry
    size = size_words(item.size) if item.path else entry.download
    licence = entry.licence.name + (" (nc)" if entry.licence.non_commercial else "")
    where = f"-> {entry.how_to_get}"
    if item.path is not None:
        where = f"{item.sha256[:12] or '(no receipt)'}  {item.path}"
    if item.problem:
        where = f"{item.problem}; {item.repair}"
    shown = "" if size == "size unknown" else size
    return f"{entry.name:<17} {entry.job:<13} {shown or '?':>9}  {licence:<17} {where}"


def _plan_lines(plan: Plan) -> list[str]:
    from omnitalk_cli.weights.catalog import size_words

    lines = [
        f"{item.name}: {item.download} from {item.source.page if item.source else '?'}, "
        f"{item.licence.summary}"
        + (f" (--accept-license {item.licence.name})" if item.licence.non_commercial else "")
        for item in plan.wanted
    ]
    lines += [f"{item.name}: installed" for item in plan.there]
    return [
        *lines,
        f"to fetch {size_words(plan.fetch)}, needs {size_words(plan.needed)} of disk on the way; "
        f"{size_words(plan.free)} are free in {plan.folder}",
    ]


def _pulled(item: Pulled) -> str:
    how = "installed" if item.fetched else "was installed already"
    return f"{item.item.entry.name}: {how}, {item.item.path}"


def _removed(item: Installed) -> str:
    from omnitalk_cli.weights.catalog import size_words

    return f"{size_words(item.size)} deleted" if item.path else "was not installed"
