"""The renderers that ``--renderer`` knows, by name. Another one is one more entry here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from omnitalk_cli.errors import UsageError
from omnitalk_cli.render.base import Renderer

AUTO = "auto"


def _mesh(device: str, workers: int, limit: bool) -> Renderer[Any]:
    from omnitalk_cli.render.mesh import MeshRenderer

    return MeshRenderer(workers=workers, limit=limit)


def _mesh_torch(device: str, workers: int, limit: bool) -> Renderer[Any]:
    from omnitalk_cli.render.torch_mesh import TorchMeshRenderer

    # Threads that only feed the device: one alone would leave it waiting.
    workers = max(workers, min(4, os.cpu_count() or 1))
    return TorchMeshRenderer(device=device, workers=workers, limit=limit)


# From the device to compute on, the number of worker threads and whether poses are limited.
RENDERERS: dict[str, Callable[[str, int, bool], Renderer[Any]]] = {
    "mesh": _mesh,
    "mesh-torch": _mesh_torch,
}


def check_renderer(name: str) -> str:
    """``name`` when it is known. Raises UsageError otherwise."""
    if name != AUTO and name not in RENDERERS:
        raise UsageError(f"renderer {name!r} is not known; one of {', '.join([AUTO, *RENDERERS])}")
    return name


def choose_renderer(name: str, device: str) -> str:
    """``auto`` is the batched renderer on an accelerator, frame by frame on the CPU."""
    if check_renderer(name) != AUTO:
        return name
    return "mesh" if device == "cpu" else "mesh-torch"


def make_renderer(name: str, *, device: str, workers: int = 1, limit: bool = True) -> Renderer[Any]:
    """The renderer ``name`` (or ``auto``) on ``device``, a torch device that is there. ``limit``
    keeps the head softly within what the reference shows.

    Raises UsageError for an unknown name.
    """
    return RENDERERS[choose_renderer(name, device)](device, workers, limit)
