"""Exponential moving average of the weights, kept where they are kept.

Under DDP every process keeps all of it (4 bytes a weight: 3.1 GB for the paper's model), so that
held-out scores can be shared out; under FSDP each keeps the average of its own part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from omnitalk_cli.training.scale.parallel import local


class Average:
    """``shadow`` has a tensor like each parameter of ``module``, by its name."""

    def __init__(self, module: nn.Module) -> None:
        self._parameters = dict(module.named_parameters())
        self.shadow: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """Keeps ``keep`` of the average and takes the rest of the parameters."""
        torch._foreach_lerp_(
            [local(value) for value in self.shadow.values()],
            [local(parameter) for parameter in self._parameters.values()],
            1.0 - keep,
        )

    @contextmanager
    def used(self) -> Iterator[None]:
        """The module computes with the average meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            own, other = local(parameter), local(self.shadow[name])
            kept = own.clone()
            own.copy_(other)
            other.copy_(kept)
