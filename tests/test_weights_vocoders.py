"""Public vocoders become ours exactly, and what cannot is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from omnitalk_cli.errors import InputError
from omnitalk_cli.speech.bigvgan import BigVGAN, BigVGANConfig, load_bigvgan
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder, load_vocoder
from omnitalk_cli.weights.importers import bigvgan, vocos

VOCOS_YAML = """\
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {sample_rate: 24000, n_fft: 1024, hop_length: 256, n_mels: 100, padding: center}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 100, dim: 16, intermediate_dim: 24, num_layers: 2}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 16, n_fft: 1024, hop_length: 256, padding: center}
"""
BIGVGAN_JSON: dict[str, Any] = {
    "resblock": "1", "batch_size": 32, "learning_rate": 1e-4, "upsample_rates": [16, 16],
    "upsample_kernel_sizes": [32, 32], "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "activation": "snakebeta", "snake_logscale": True, "use_tanh_at_final": False,
    "use_bias_at_final": False, "num_mels": 100, "n_fft": 1024, "hop_size": 256, "win_size": 1024,
    "sampling_rate": 24000, "fmin": 0, "fmax": None, "fmax_for_loss": None,
}  # fmt: skip


def _mel(frames: int = 12) -> torch.Tensor:
    return torch.randn(1, frames, 100, generator=torch.Generator().manual_seed(1)) * 2 - 5


# --- Vocos ----------------------------------------------------------------------------------------
@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Any]:
    """A random Vocos as it is published, and the vocos package's own network."""
    VocosVocoder(VocosConfig(dim=8, intermediate_dim=8, num_layers=1))  # makes vocos load
    from vocos import Vocos

    (tmp_path / "config.yaml").write_text(VOCOS_YAML)
    torch.manual_seed(0)
    theirs = Vocos.from_hparams(str(tmp_path / "config.yaml")).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin", theirs


def test_weights_vocos_speaks_as_the_vocos_package(
    published: tuple[Path, Any], tmp_path: Path
) -> None:
    main, theirs = published
    target = tmp_path / "model.safetensors"
    vocos.convert(main, {"config.yaml": tmp_path / "config.yaml"}, target)
    ours = load_vocoder(target)
    assert ours.config == VocosConfig(dim=16, intermediate_dim=24, num_layers=2)
    assert torch.equal(ours.state_dict()["head.out.weight"], theirs.state_dict()["head.out.weight"])
    expected = theirs.decode(_mel().transpose(1, 2))
    assert expected.std() > 1e-3
    assert (ours(_mel()) - expected).abs().max() <= 1e-5


VOCOS_BAD: list[tuple[Callable[[str], str], str]] = [
    (lambda y: y.replace("MelSpectrogramFeatures", "EncodecFeatures"), "EnCodec codes, not a mel"),
    (lambda y: y.replace("ISTFTHead", "IMDCTCosHead"), "IMDCTCosHead"),
    (lambda y: y.replace("sample_rate: 24000", "sample_rate: 44100"), "another mel"),
    (lambda y: y.replace("n_mels: 100", "n_mels: 80"), "another mel"),
    (lambda y: y.replace("input_channels: 100", "input_channels: 80"), "another mel"),
    (lambda y: y.replace("256, padding: center}\n", "256}\n"), "padding 'center'"),
    (lambda y: y.replace("num_layers: 2", "num_layers: 3"), "convnext.2.* is missing"),
    (lambda y: y.replace("num_layers: 2", "num_layers: 1"), "convnext.1.* has no place"),
    (lambda y: y.replace("dim: 24", "dim: 32"), r"is \[24, 16\], not \[32, 16\]"),
    (lambda y: y.replace("dim: 24", "dim: many"), "config.yaml"),
    (lambda y: y.replace("num_layers: 2", "num_layers: 2, adanorm_num_embeddings: 4"), "adanorm"),
    (lambda y: y.replace(", num_layers: 2", ""), "'num_layers' is missing"),
    (lambda y: "head: {", "not the config of a Vocos"),
    (lambda y: "- 1\n", "not the config of a Vocos"),
    (lambda y: y.replace("head:", "tail:"), "not the config of a Vocos"),
    (lambda y: y + "x: !!python/object/apply:os.getcwd []\n", "not the config of a Vocos"),
]


@pytest.mark.parametrize(("change", "told"), VOCOS_BAD)
def test_weights_vocos_refuses_other_networks(
    published: tuple[Path, Any], tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    changed = change(VOCOS_YAML)
    assert changed != VOCOS_YAML
    (tmp_path / "config.yaml").write_text(changed)
    target = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=told):
        vocos.convert(published[0], {}, target)
    assert not list(tmp_path.glob("model.safetensors*"))


def test_weights_vocos_needs_its_config(published: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(InputError, match="the weights need the config.yaml"):
        vocos.convert(published[0], {}, tmp_path / "m.safetensors")


# --- BigVGAN --------------------------------------------------------------------------------------
def _generator(names: tuple[str, str] | None) -> tuple[dict[str, torch.Tensor], BigVGAN]:
    """Tensors of a random generator as they are published (weight norm under ``names``), and the
    same network."""
    torch.manual_seed(0)
    config = {k: v for k, v in BIGVGAN_JSON.items() if k in BigVGANConfig.__dataclass_fields__}
    model = BigVGAN(BigVGANConfig.from_dict(config)).eval().requires_grad_(False)
    model.conv_post.weight.mul_(30)
    state = {}
    for name, value in model.state_dict().items():
        if names is not None and name.endswith(".weight"):
            direction = value * torch.rand(len(value), *[1] * (value.ndim - 1)).add(0.5)
            norm = torch.linalg.vector_norm(value, dim=(1, 2), keepdim=True)
            stem = name.removesuffix(".weight")
            state[stem + names[0]], state[stem + names[1]] = norm, direction
        else:
            state[name] = value
    # Files carry the filters of the activations, too.
    state["activation_post.upsample.filter"] = model.activation_post.filter.reshape(1, 1, -1)
    return state, model


def _publish(folder: Path, state: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    torch.save({"generator": state}, folder / "bigvgan_generator.pt")
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "bigvgan_generator.pt"


@pytest.mark.parametrize(
    "names",
    [
        (".weight_g", ".weight_v"),
        (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
        None,
    ],
)
def test_weights_bigvgan_folds_the_norm_of_weights(
    tmp_path: Path, names: tuple[str, str] | None
) -> None:
    state, model = _generator(names)
    main, target = _publish(tmp_path, state, BIGVGAN_JSON), tmp_path / "model.safetensors"
    bigvgan.convert(main, {"config.json": tmp_path / "config.json"}, target)
    ours = load_bigvgan(target)
    assert ours.config == model.config
    expected = model(_mel())
    assert expected.std() > 1e-2
    assert (ours(_mel()) - expected).abs().max() <= 1e-5


def test_weights_bigvgan_of_the_first_version_ends_in_bias_and_tanh(tmp_path: Path) -> None:
    old = {k: v for k, v in BIGVGAN_JSON.items() if not k.endswith("at_final")} | {"fmax": 12000}
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = bigvgan.read_config(tmp_path / "config.json")
    assert config.use_tanh_at_final and config.use_bias_at_final


BIGVGAN_BAD: list[tuple[dict[str, Any], str]] = [
    ({"num_mels": 80}, "another mel"),
    ({"sampling_rate": 44100}, "another mel"),
    ({"fmax": 8000}, "another mel"),
    ({"hop_size": 512}, "another mel"),
    ({"activation": "relu"}, "activation must be"),
    ({"upsample_rates": [8, 8]}, "multiply to 256"),
    ({"resblock": None}, "resblock must be"),
    ({"upsample_rates": "16"}, "config.json"),
    ({"upsample_initial_channel": 32}, r"conv_pre.weight is \[16, 100, 7\], not \[32, 100, 7\]"),
    ({"use_bias_at_final": True}, "conv_post.bias is missing"),
    ({"activation": "snake"}, "beta has no place"),
]


@pytest.mark.parametrize(("change", "told"), BIGVGAN_BAD)
def test_weights_bigvgan_refuses_other_networks(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    state, _ = _generator((".weight_g", ".weight_v"))
    main = _publish(tmp_path, state, BIGVGAN_JSON | change)
    with pytest.raises(InputError, match=told):
        bigvgan.convert(main, {}, tmp_path / "model.safetensors")
    assert not list(tmp_path.glob("model.safetensors*"))


def test_weights_bigvgan_says_what_its_files_lack(tmp_path: Path) -> None:
    state, _ = _generator(None)
    target = tmp_path / "model.safetensors"
    other = state | {"activation_post.upsample.filter": torch.full((1, 1, 12), 1 / 12)}
    with pytest.raises(InputError, match="filter is not the filter"):
        bigvgan.convert(_publish(tmp_path, other, BIGVGAN_JSON), {}, target)
    half = {k: v for k, v in BIGVGAN_JSON.items() if k != "resblock"}
    with pytest.raises(InputError, match="lacks resblock"):
        bigvgan.convert(_publish(tmp_path, state, half), {}, target)
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(InputError, match="not the config of a BigVGAN"):
        bigvgan.convert(tmp_path / "bigvgan_generator.pt", {}, target)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="the weights need the config.json"):
        bigvgan.convert(tmp_path / "bigvgan_generator.pt", {}, target)
