"""Vocos as published (``pytorch_model.bin`` with ``config.yaml``) → our vocoder file, exact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.speech.mel import N_FFT
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder, save_vocoder
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE
from omnitalk_cli.weights.importers.fitting import fill
from omnitalk_cli.weights.importers.tensors import read_tensors

CONFIG = "config.yaml"
_FEATURES = "feature_extractor."  # the mel's own constants, which we compute
_MEL = {
    "sample_rate": SAMPLE_RATE, "n_fft": N_FFT, "hop_length": HOP, "n_mels": MEL_BINS,
    "padding": "center",
}  # fmt: skip


def convert(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """Write ``target`` from the weights ``main`` and ``config.yaml`` of the same repository.

    The layout is that of ``vocos.Vocos.from_hparams``. Raises InputError for damaged files,
    another mel than ours, and the EnCodec variant, which reads codes instead of a mel.
    """
    config = read_config(companions.get(CONFIG, main.with_name(CONFIG)))
    tensors = read_tensors(main)
    state = {name: value for name, value in tensors.items() if not name.startswith(_FEATURES)}
    model = VocosVocoder(config)
    fill(model, state, main, optional=("head.istft.window",))
    save_vocoder(model, target, dtype=torch.float32, metadata={"imported_from": main.name})


def read_config(path: Path) -> VocosConfig:
    """The size of the network that a ``config.yaml`` describes. Raises InputError."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        features, backbone, head = (
            (
                str(document[part]["class_path"]).rsplit(".", 1)[-1],
                dict(document[part].get("init_args") or {}),
            )
            for part in ("feature_extractor", "backbone", "head")
        )
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(
            f"{path}: cannot be read ({why}); the weights need the {CONFIG} of their repository"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: is not the config of a Vocos (feature_extractor, backbone and head with "
            "class_path and init_args)"
        ) from error
    if "Encodec" in features[0]:
        raise InputError(
            f"{path}: this Vocos reads EnCodec codes, not a mel; use charactr/vocos-mel-24khz"
        )
    names = features[0], backbone[0], head[0]
    if names != ("MelSpectrogramFeatures", "VocosBackbone", "ISTFTHead"):
        raise InputError(
            f"{path}: only Vocos of MelSpectrogramFeatures, VocosBackbone and ISTFTHead can be "
            f"imported, not {', '.join(names)}"
        )
    return _config(path, features[1], backbone[1], head[1])


def _config(
    path: Path, features: dict[str, Any], backbone: dict[str, Any], head: dict[str, Any]
) -> VocosConfig:
    found = {key: features.get(key, ours) for key, ours in _MEL.items()}
    if found != _MEL or backbone.get("input_channels") != MEL_BINS:
        raise InputError(
            f"{path}: reads another mel ({found}, {backbone.get('input_channels')} channels); "
            f"only {_MEL} is made here"
        )
    if backbone.get("adanorm_num_embeddings"):
        raise InputError(f"{path}: conditional Vocos (adanorm_num_embeddings) cannot be imported")
    try:
        return VocosConfig(
            dim=backbone["dim"],
            intermediate_dim=backbone["intermediate_dim"],
            num_layers=backbone["num_layers"],
            n_fft=head["n_fft"],
            hop_length=head["hop_length"],
            padding=head.get("padding", "same"),
        )
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]!r} is missing in init_args") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
