"""BigVGAN: against a slow reading of its definition, lengths, streaming, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.bigvgan import (
    BigVGAN,
    BigVGANConfig,
    load_bigvgan,
    low_pass_filter,
    save_bigvgan,
)

Array = NDArray[np.float64]

TINY = BigVGANConfig(
    upsample_rates=(8, 8, 4), upsample_kernel_sizes=(16, 12, 8), upsample_initial_channel=16,
    resblock_kernel_sizes=(3, 7), resblock_dilation_sizes=((1, 3), (1, 5)),
)  # fmt: skip
VARIANTS = {
    "v2": TINY,
    "v1": replace(TINY, use_tanh_at_final=True, use_bias_at_final=True),
    "block 2": replace(TINY, resblock="2"),
    "snake": replace(TINY, activation="snake"),
    "linear": replace(TINY, snake_logscale=False),
}
# Half of NVIDIA's filter, which is symmetric (kaiser_sinc_filter1d(0.25, 0.3, 12)).
TAPS = [0.00202896469, 0.00938946567, -0.0255434588, -0.0576573834, 0.128572583, 0.443209797]


def _network(config: BigVGANConfig = TINY) -> BigVGAN:
    torch.manual_seed(0)
    model = BigVGAN(config).eval().requires_grad_(False)
    for name, value in model.named_parameters():
        if name.endswith(("alpha", "beta")):
            value.add_(torch.rand(value.shape))
    # At the level of speech, or the clamp at the end would hide differences.
    model.conv_post.weight.mul_(0.1 / model(_mel(30)).std())
    return model


def _mel(frames: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, 100, generator=torch.Generator().manual_seed(1)) * 2 - 5


# --- the definition, slowly -----------------------------------------------------------------------
def _activation(x: Array, alpha: Array, beta: Array) -> Array:
    taps = np.array(TAPS + TAPS[::-1])
    rows = []
    for row, a, b in zip(x, alpha, beta, strict=True):
        spread = np.zeros(2 * len(row) + 19)
        spread[::2] = np.pad(row, 5, mode="edge")
        wide = 2 * np.convolve(spread, taps)[15 : 15 + 2 * len(row)]
        wide = np.pad(wide + np.sin(a * wide) ** 2 / (b + 1e-9), (5, 6), mode="edge")
        rows.append([taps @ wide[2 * m : 2 * m + 12] for m in range(len(row))])
    return np.array(rows)


def _convolution(x: Array, weight: Array, bias: Array | float, dilation: int = 1) -> Array:
    reach = dilation * (weight.shape[-1] // 2)
    padded = np.pad(x, ((0, 0), (reach, reach)))
    out = np.zeros((len(weight), x.shape[1]))
    for k in range(weight.shape[-1]):
        out += weight[:, :, k] @ padded[:, k * dilation : k * dilation + x.shape[1]]
    return out + np.reshape(bias, (-1, 1))


def _upsampling(x: Array, weight: Array, bias: Array, rate: int) -> Array:
    kernel = weight.shape[-1]
    out = np.zeros((weight.shape[1], (x.shape[1] - 1) * rate + kernel))
    for i in range(x.shape[1]):
        out[:, i * rate : i * rate + kernel] += np.tensordot(x[:, i], weight, axes=(0, 0))
    cut = (kernel - rate) // 2
    return out[:, cut : out.shape[1] - cut] + bias[:, None]


def _slow(model: BigVGAN, mel: Array) -> Array:
    """Audio [S] of a mel [T,100], written down from the paper and NVIDIA's code."""
    config = model.config
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def convolved(name: str, x: Array, dilation: int = 1) -> Array:
        return _convolution(x, state[f"{name}.weight"], state.get(f"{name}.bias", 0.0), dilation)

    def activated(name: str, x: Array) -> Array:
        alpha = state[f"{name}.act.alpha"]
        beta = state.get(f"{name}.act.beta", alpha)
        return _activation(x, *(np.exp([alpha, beta]) if config.snake_logscale else (alpha, beta)))

    x = convolved("conv_pre", mel.T)
    count = len(config.resblock_kernel_sizes)
    for stage, rate in enumerate(config.upsample_rates):
        x = _upsampling(x, state[f"ups.{stage}.0.weight"], state[f"ups.{stage}.0.bias"], rate)
        outputs = []
        for number, dilations in enumerate(config.resblock_dilation_sizes):
            name, y = f"resblocks.{stage * count + number}", x
            for layer, dilation in enumerate(dilations):
                if config.resblock == "2":
                    z = activated(f"{name}.activations.{layer}", y)
                    y = y + convolved(f"{name}.convs.{layer}", z, dilation)
                    continue
                z = activated(f"{name}.activations.{2 * layer}", y)
                z = convolved(f"{name}.convs1.{layer}", z, dilation)
                z = activated(f"{name}.activations.{2 * layer + 1}", z)
                y = y + convolved(f"{name}.convs2.{layer}", z)
            outputs.append(y)
        x = np.mean(outputs, axis=0)
    x = convolved("conv_post", activated("activation_post", x))[0]
    return np.tanh(x) if config.use_tanh_at_final else np.clip(x, -1, 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_speech_bigvgan_computes_what_the_paper_says(variant: str) -> None:
    model = _network(VARIANTS[variant])
    mel = _mel(5)
    expected = _slow(model, mel[0].double().numpy())
    assert expected.std() > 0.03
    np.testing.assert_allclose(model(mel)[0].numpy(), expected, atol=5e-6)


def test_speech_bigvgan_filter_is_the_published_one() -> None:
    np.testing.assert_allclose(low_pass_filter().numpy(), TAPS + TAPS[::-1], atol=1e-8)


# --- lengths and streaming ------------------------------------------------------------------------
def test_speech_bigvgan_gives_a_hop_per_frame() -> None:
    model = _network()
    assert (model.sample_rate, model.mel, model.name) == (24_000, "bigvgan", "bigvgan")
    assert model(_mel(7, batch=2)).shape == (2, 7 * 256)
    assert model(_mel(1)).shape == (1, 256)
    for wrong in (_mel(5)[0], _mel(5)[:, :0], torch.zeros(1, 5, 80)):
        with pytest.raises(ValueError, match="mel must be"):
            model(wrong)
    with pytest.raises(ValueError, match="1 mel frames"):
        model.decode(_mel(5)[:, :0])


@pytest.mark.parametrize("variant", ["v2", "block 2"])
@pytest.mark.parametrize(("frames", "piece", "chunk"), [(90, 17, 20), (61, 90, 16), (3, 1, 1)])
def test_speech_bigvgan_streams_the_same_audio(
    variant: str, frames: int, piece: int, chunk: int
) -> None:
    model = _network(VARIANTS[variant])
    mel = _mel(frames, batch=2)
    whole = model(mel)
    parts = list(model.decode_stream(mel.split(piece, dim=1), chunk=chunk))
    streamed = torch.cat(parts, dim=-1)
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() < 1e-5
    assert all(part.shape[-1] <= (chunk + model.context) * 256 for part in parts)
    assert (model.decode(mel[0], chunk=chunk) - whole[0]).abs().max() < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_speech_bigvgan_context_is_as_long_as_the_network_looks(variant: str) -> None:
    model = _network(VARIANTS[variant])
    middle = model.context + 3
    reaches = []
    for sample in (0, 255):
        mel = _mel(2 * middle + 1).requires_grad_()
        model(mel)[0, middle * 256 + sample].backward()
        assert mel.grad is not None
        seen = torch.nonzero(mel.grad[0].abs().amax(-1)).flatten()
        reaches += [middle - int(seen.min()), int(seen.max()) - middle]
    assert max(reaches) == model.context


def test_speech_bigvgan_context_of_the_published_network() -> None:
    assert BigVGANConfig().context == 38


# --- half precision and files ---------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_speech_bigvgan_in_half_precision_stays_near(dtype: torch.dtype) -> None:
    model = _network()
    audio = model(_mel(12))
    model.convolve_in(dtype)
    assert model.ups[0][0].weight.dtype == model.resblocks[0].convs1[0].weight.dtype == dtype
    assert model.conv_pre.weight.dtype == model.conv_post.weight.dtype == torch.float32
    near = model(_mel(12))
    assert near.dtype == torch.float32
    assert (near - audio).std() < 0.05 * audio.std()


def test_speech_bigvgan_file_keeps_config_and_sound(tmp_path: Path) -> None:
    model = _network(VARIANTS["v1"])
    path = tmp_path / "b.safetensors"
    save_bigvgan(model, path, metadata={"license": "MIT"})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    loaded = load_bigvgan(path, dtype=torch.bfloat16)
    assert loaded.config == model.config and loaded.metadata["license"] == "MIT"
    assert loaded.ups[0][0].weight.dtype == torch.float32  # the CPU runs float32
    assert torch.equal(loaded(_mel(9)), model(_mel(9)))
    with pytest.raises(SetupError, match="not found"):
        load_bigvgan(tmp_path / "other.safetensors")
    path.write_bytes(b"x")
    with pytest.raises(SetupError, match="no usable vocoder"):
        load_bigvgan(path)


BAD: dict[str, dict[str, Any]] = {
    "multiply to 256": {"upsample_rates": [4, 4, 2, 2, 2]},
    "even number": {"upsample_kernel_sizes": [8, 8, 4, 4, 4, 3]},
    "upsample_kernel_sizes": {"upsample_kernel_sizes": [8, 8]},
    "must be odd": {"resblock_kernel_sizes": [3, 6, 11]},
    "one row per kernel": {"resblock_dilation_sizes": [[1, 3, 5]]},
    "halve": {"upsample_initial_channel": 100},
    "resblock must be": {"resblock": "3"},
    "activation must be": {"activation": "relu"},
    "unknown vocoder settings: depth": {"depth": 3},
}


@pytest.mark.parametrize("told", BAD)
def test_speech_bigvgan_config_refuses_what_it_cannot_be(told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BigVGANConfig.from_dict(BAD[told])
