"""``omnitalk weights list``: which weights are installed."""

from __future__ import annotations

from omnitalk_cli.cli.commands import PanelCommand, command_group
from omnitalk_cli.cli.console import session
from omnitalk_cli.cli.options import Config, Json, Quiet, Verbose

app = command_group("The weights that are installed.")


@app.command("list", cls=PanelCommand)
def list_weights(
    json_output: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """List the embedded weights: size, checksum, what they are for."""
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        from omnitalk_cli.weights.store import installed

        found = installed()
        lines = [f"{'name':<10} {'job':<9} {'MB':>6} {'parameters':>11}  sha256        file"]
        for item in found:
            if item.path is None or item.header is None:
                lines.append(f"{item.entry.name:<10} {item.entry.job:<9} {'not installed':>18}")
                continue
            lines.append(
                f"{item.entry.name:<10} {item.entry.job:<9} {item.size / 1e6:>6.1f} "
                f"{item.header.parameters:>11,}  {item.sha256[:12]}  {item.path}"
            )
        console.result({"weights": [item.to_dict() for item in found]}, lines)
