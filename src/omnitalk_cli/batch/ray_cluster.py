"""A cluster of Ray: reached or started, its machines, and how many rows each can make at once."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from omnitalk_cli.batch.maker import MakerSettings
from omnitalk_cli.errors import SetupError, UsageError, WorkError

_KNOCK_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_STORE_BYTES = 100_000_000  # of a cluster of our own: only words pass through it
_ADDRESS = re.compile(r"(?P<host>[^\s/:]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")
_AUTHENTICATION = "AuthenticationError"  # of Ray, in its versions that know tokens

# Read by Ray when it is imported or starts its processes.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tell nobody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no advice about this
    "RAY_DEDUP_LOGS": "1",  # lets the next one hold, which keeps Ray's own lines from stdout
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster with its ``cpus`` and ``gpus``, taken or free."""

    id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True, kw_only=True)
class Places:
    """``count`` actors of a node, each with its resources and settings."""

    count: int
    cpus: float
    gpus: float
    settings: MakerSettings


def check_ray() -> None:
    """Raises SetupError when Ray is not installed."""
    try:
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError as error:
        raise SetupError(
            "--engine ray needs Ray, which is not installed; run pip install 'omnitalk-cli[ray]'"
        ) from error


def places(node: Node, settings: MakerSettings) -> Places:
    """How rows are made on ``node``: one for each GPU, or one for each ``settings.threads`` cores.

    On a GPU machine the rows share the cores. ``settings.device`` may rule one or the other out.
    """
    device = settings.device
    gpus = int(node.gpus) if device in ("auto", "cuda") else 0
    if gpus:
        threads = max(1, min(settings.threads, int(node.cpus) // gpus))
        cpus = float(threads if node.cpus >= threads * gpus else 0)
        return Places(
            count=gpus, cpus=cpus, gpus=1.0,
            settings=replace(settings, device="cuda", threads=threads),
        )  # fmt: skip
    threads = min(settings.threads, int(node.cpus))
    count = int(node.cpus) // threads if threads and device != "cuda" else 0
    device = "cpu" if device == "auto" else device
    return Places(
        count=count, cpus=float(threads), gpus=0.0,
        settings=replace(settings, device=device, threads=max(1, threads)),
    )  # fmt: skip


@contextmanager
def cluster(address: str | None, cores: int) -> Iterator[Cluster]:
    """The cluster at ``address``, or one of this machine with ``cores``, which ends with this.

    Raises UsageError for an address that is none, WorkError when nothing answers there, SetupError
    when Ray is missing, of another version, or cannot start.
    """
    check_ray()
    os.environ.update(_ENVIRONMENT)
    if address is not None:
        _check_address(address)
    elif "RAY_AUTH_MODE" not in os.environ:
        # Nobody else may use a cluster of ours. Without these two Ray would make a token for good,
        # in the home folder.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    before = _signal_handler()
    try:
        import ray

        more: dict[str, Any] = {"address": address}
        if address is None:
            more = {
                "address": "local", "num_cpus": cores, "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
            }  # fmt: skip
        try:
            ray.init(logging_level=logging.FATAL, log_to_driver=False, **more)
        except Exception as error:
            raise _refusal(address, error) from error
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)  # Ray's would end us without tidying up
        yield Cluster(ray)
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


class Cluster:
    """What is asked of Ray beside the rows; errors are those of Ray."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self._sent: dict[Callable[..., Any], Any] = {}

    def nodes(self) -> dict[str, Node]:
        """The machines that are there now, by id."""
        return {
            node["NodeID"]: Node(
                id=node["NodeID"], name=node.get("NodeName") or node["NodeManagerAddress"],
                cpus=node["Resources"].get("CPU", 0.0), gpus=node["Resources"].get("GPU", 0.0),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        }  # fmt: skip

    def on(self, node: Node, thing: Callable[..., Any], *, cpus: float, gpus: float) -> Any:
        """``thing``, a function or class, as Ray's, to run on ``node`` and nowhere else, once."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        once = (
            {"max_restarts": 0, "max_task_retries": 0}
            if isinstance(thing, type)
            else {"max_retries": 0}
        )
        if thing not in self._sent:
            self._sent[thing] = self.ray.remote(thing)
        return self._sent[thing].options(
            num_cpus=cpus, num_gpus=gpus, **once,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )  # fmt: skip

    def free(self) -> str:
        """The free resources in words."""
        there, free = self.ray.cluster_resources(), self.ray.available_resources()
        return ", ".join(
            f"{free.get(name, 0.0):g} of {there.get(name, 0.0):g} {words}"
            for name, words in (("CPU", "cores"), ("GPU", "GPUs"))
        )


def version_of_node() -> Callable[[], str]:
    """A function that tells the version of this package where it runs ("": it is not there).

    Made here, so that Ray sends its code; one of a module's would need the package.
    """

    def version() -> str:
        try:
            from omnitalk_cli import __version__
        except ImportError:
            return ""
        return __version__

    return version


def first_line(error: BaseException) -> str:
    """The first line of an error that says something."""
    return _lines(error)[0]


def last_line(error: BaseException | None) -> str:
    """The last line, where errors with a traceback say what was wrong."""
    return "no reason is known" if error is None else _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    lines = [line.strip() for line in str(error).splitlines()]
    return [line for line in lines if line] or [type(error).__name__]


def _check_address(address: str) -> None:
    """Ray itself tries for minutes to reach an address where nothing is."""
    if address == "auto":
        return
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(
            f"--address {address}: give HOST:PORT of the cluster's head (as `ray start` tells it, "
            "usually port 6379), or auto on a machine of the cluster"
        )
    advice = "start the cluster with `ray start --head`, or correct the address"
    try:
        host = found["host"].strip("[]")
        socket.create_connection((host, int(found["port"])), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WorkError(f"--address {address}: nothing answers there ({why}); {advice}") from error
    if not _answers(address):
        raise WorkError(
            f"--address {address}: what answers there is no head of a Ray cluster; {advice}"
        )


def _answers(address: str) -> bool:
    # In a process of its own, since the libraries below Ray can neither be told how long to try
    # nor be interrupted.
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "health-check", "--skip-version-check",
        "--address", address,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_SECONDS,
            env=os.environ | _ENVIRONMENT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    # 2: a version of Ray that has no such check. Whether we are let in shows later.
    return done.returncode in (0, 2) or _AUTHENTICATION.encode() in done.stderr


def _refusal(address: str | None, error: Exception) -> SetupError:
    what = f"the Ray cluster at {address}" if address else "a Ray cluster of this machine"
    if _AUTHENTICATION in type(error).__name__ + str(error):
        return SetupError(
            f"{what} asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
            "RAY_AUTH_TOKEN_PATH) as they are on its other machines"
        )
    return SetupError(f"{what} cannot be used: {first_line(error)}")


def _signal_handler() -> Any:
    """What happens at SIGTERM (None: that cannot be changed here)."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.getsignal(signal.SIGTERM)
