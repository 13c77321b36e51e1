"""``omnitalk cache``: the extracted features that are kept for the next run."""

from __future__ import annotations

from typing import Annotated

from omnitalk_cli.cli.commands import PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.options import Config, Json, Quiet, Verbose, option

app = command_group("The features of clips that are kept for the next run.")


@app.command("info", cls=PanelCommand)
def cache_info(
    json_output: Json = False, config: Config = None, quiet: Quiet = False, verbose: Verbose = 0
) -> None:
    """Say where the cache is, what is in it and how large it may become."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.pipeline.reference_cache import ReferenceCache
        from omnitalk_cli.pipeline.settings import cache_folder

        found = ReferenceCache(cache_folder()).info()
        console.result(found.to_dict(), found.lines())


@app.command("clear", cls=PanelCommand)
def cache_clear(
    days: Annotated[
        float | None,
        option("--older-than", text="Only what was not used for so many days.", env=False, min=0,
               metavar="DAYS"),
    ] = None,
    json_output: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:  # fmt: skip
    """Delete the kept features; they are extracted again when they are needed."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.pipeline.reference_cache import ReferenceCache
        from omnitalk_cli.pipeline.settings import cache_folder

        files, size = ReferenceCache(cache_folder()).clear(older_than_days=days or 0.0)
        facts = {"deleted": files, "bytes": size}
        console.result(facts, [f"{files} files deleted, {size / 1e6:.0f} MB"])
