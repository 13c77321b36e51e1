"""Tensors of a checkpoint put into a network that must fit them name by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from omnitalk_cli.errors import InputError


def fill(
    model: nn.Module, state: Mapping[str, Tensor], path: Path, *, optional: Sequence[str] = ()
) -> None:
    """Give ``model`` the weights ``state`` of ``path``, in float32; ``optional`` may be missing.

    Raises InputError, naming the first tensor that is missing, unknown or of another shape.
    """
    wanted = model.state_dict()
    for name, ours in wanted.items():
        if name not in state and name not in optional:
            raise InputError(f"{path}: does not fit its config: {name} is missing")
        if name in state and state[name].shape != ours.shape:
            raise InputError(
                f"{path}: does not fit its config: {name} is {list(state[name].shape)}, "
                f"not {list(ours.shape)}"
            )
    unknown = sorted(set(state) - set(wanted))
    if unknown:
        raise InputError(f"{path}: does not fit its config: {unknown[0]} has no place in it")
    filled = {name: state[name].float() if name in state else wanted[name] for name in wanted}
    model.load_state_dict(filled, assign=True)
