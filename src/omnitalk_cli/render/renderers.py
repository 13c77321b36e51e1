"""The renderers that ``--renderer`` knows, by name. Another one is one more entry here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from omnitalk_cli.errors import UsageError
from omnitalk_cli.render.base import Renderer

AUTO = "auto"


def _mesh(device: str, workers: int) -> Renderer[Any]:
    from omnitalk_cli.render.mesh import MeshRenderer

    return MeshRenderer(workers=workers)


def _mesh_torch(device: str, workers: int) -> Renderer[Any]:
    from omnitalk_cli.render.torch_mesh import TorchMeshRenderer

    # Threads that only feed the device: one alone would leave it waiting.
    return TorchMeshRenderer(device=device, workers=max(workers, min(4, os.cpu_count() or 1)))


# From the device to compute on and the number of worker threads to a renderer.
RENDERERS: dict[str, Callable[[str, int], Renderer[Any]]] = {
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


def make_renderer(name: str, *, device: str, workers: int = 1) -> Renderer[Any]:
    """The renderer ``name`` (or ``auto``) on ``device``, a torch device that is there.

    Raises UsageError for an unknown name.
    """
    return RENDERERS[choose_renderer(name, device)](device, workers)
