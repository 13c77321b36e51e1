"""BigVGAN as published (``bigvgan_generator.pt`` with ``config.json``) → our file of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from omnitalk_cli.errors import InputError
from omnitalk_cli.speech.bigvgan import BigVGAN, BigVGANConfig, low_pass_filter, save_bigvgan
from omnitalk_cli.speech.mel import N_FFT
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE
from omnitalk_cli.weights.importers.fitting import fill
from omnitalk_cli.weights.importers.tensors import read_tensors

CONFIG = "config.json"
_MEL = {
    "num_mels": MEL_BINS, "n_fft": N_FFT, "win_size": N_FFT, "hop_size": HOP,
    "sampling_rate": SAMPLE_RATE, "fmin": 0,
}  # fmt: skip
# The scale and direction of a weight, as torch's two ways of normalising name them.
_NORMS = (
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)
_ROOT = "generator."


def convert(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """Write ``target`` from the weights ``main`` and ``config.json`` of the same repository.

    Weight norm is folded into the weights, which stay in float32. Raises InputError for damaged
    files and another mel than ours.
    """
    config = read_config(companions.get(CONFIG, main.with_name(CONFIG)))
    tensors = read_tensors(main)
    if all(name.startswith(_ROOT) for name in tensors):
        tensors = {name.removeprefix(_ROOT): value for name, value in tensors.items()}
    state = without_filters(folded(tensors), main)
    with torch.device("meta"):
        model = BigVGAN(config)
    fill(model, state, main)
    save_bigvgan(model, target, metadata={"imported_from": main.name})


def read_config(path: Path) -> BigVGANConfig:
    """The network that a ``config.json`` describes, beside much about its training.

    Raises InputError.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        values = dict(document)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(
            f"{path}: cannot be read ({why}); the weights need the {CONFIG} of their repository"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: is not the config of a BigVGAN ({error})") from error
    found = {key: values.get(key) for key in _MEL}
    if found != _MEL or values.get("fmax") not in (None, SAMPLE_RATE // 2):
        raise InputError(
            f"{path}: reads another mel ({found}, fmax {values.get('fmax')}); only "
            f"{_MEL}, fmax null is made here: use nvidia/bigvgan_v2_24khz_100band_256x"
        )
    network = {field.name for field in fields(BigVGANConfig)}
    missing = network - set(values) - {"use_tanh_at_final", "use_bias_at_final"}
    if missing:
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}")
    # The first version, which does not name these two, has both.
    both = {"use_tanh_at_final": True, "use_bias_at_final": True}
    try:
        return BigVGANConfig.from_dict(both | {k: v for k, v in values.items() if k in network})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` with ``w = g v / |v|`` (norm over all axes but the first) for each g and v."""
    state = dict(tensors)
    for scale, direction in _NORMS:
        for name in [n for n in state if n.endswith(scale)]:
            stem = name.removesuffix(scale)
            if stem + direction in state:
                g, v = state.pop(name).float(), state.pop(stem + direction).float()
                norm = v.norm(dim=tuple(range(1, v.ndim)), keepdim=True)
                state[stem + ".weight"] = v * (g / norm)
    return state


def without_filters(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``state`` without the filters of the activations, which are constants of the network.

    Raises InputError when one is another filter than ours.
    """
    ours = low_pass_filter()
    for name, value in state.items():
        if name.endswith(".filter") and (
            value.numel() != ours.numel() or not torch.allclose(value.flatten(), ours, atol=1e-5)
        ):
            raise InputError(f"{path}: {name} is not the filter of a BigVGAN of NVIDIA's")
    return {name: value for name, value in state.items() if not name.endswith(".filter")}
