"""A cluster of Ray on this machine for tests: each node is a process with children of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


class Nodes:
    """A head and nodes, all with the ``ray start`` of users. ``close`` kills what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        # For the nodes, and for whoever wants to use them.
        self.env = os.environ | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0", "CLUSTER": str(self.port),
            "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path))),
        }  # fmt: skip

    def start(self, *, cpus: int, gpus: int = 0, env: dict[str, str] | None = None) -> int:
        """One more node, the first of which is the head; returns its number."""
        number = len(self.processes)
        place = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block",
            *(["--address", self.address] if number else place),
            f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=80000000",
            "--disable-usage-stats",
        ]  # fmt: skip
        with (self.folder / f"node{number}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                    env=self.env | {"NODE": str(number)} | (env or {}),
                )
            )  # fmt: skip
        return number

    def kill(self, number: int) -> None:
        """SIGKILL to all processes of a node at the same moment, as when its power is cut."""
        for pid in self.pids(number):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.processes[number].wait(30)

    def pids(self, number: int) -> list[int]:
        """The processes of a node: those whose environment carries its number."""
        mark = f"NODE={number}".encode()
        port = f"CLUSTER={self.port}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in environment and port in environment:
                found.append(int(folder.name))
        return found

    def close(self) -> None:
        """End all nodes."""
        for number in reversed(range(len(self.processes))):
            self.kill(number)


def wait_for(condition: object, seconds: float) -> None:
    """Until ``condition()`` is true; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
