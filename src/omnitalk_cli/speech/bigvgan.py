"""BigVGAN: mel to audio by upsampling convolutions with periodic activations, free of aliases.

Paper: arXiv 2206.04658; version 2 is the same network without a final tanh and bias. Own code for
the published weights: names of parameters are those of a checkpoint without weight norm, and the
config is what its ``config.json`` says of the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from omnitalk_cli.speech.mel import MelKind
from omnitalk_cli.speech.streaming import Streaming
from omnitalk_cli.speech.vocoder_files import load_network, save_network
from omnitalk_cli.types import HOP, MEL_BINS

FORMAT = "omnitalk-bigvgan/1"
FILTER_TAPS = 12
_ACTIVATION_REACH = 5  # samples on either side that its two filters together look at
_DIVISOR_FLOOR = 1e-9


@dataclass(frozen=True, kw_only=True)
class BigVGANConfig:
    """Shape of a generator, with the keys of its ``config.json``; defaults: v2, 24 kHz, 100 bands.

    ``resblock`` "1" has two convolutions per dilation, "2" one. ``activation`` is "snake" (one
    parameter) or "snakebeta" (two), on a log scale with ``snake_logscale``. Files of the first
    version do not name the last two keys and mean true.
    """

    upsample_rates: tuple[int, ...] = (4, 4, 2, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (8, 8, 4, 4, 4, 4)
    upsample_initial_channel: int = 1536
    resblock: str = "1"
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    activation: str = "snakebeta"
    snake_logscale: bool = True
    use_tanh_at_final: bool = False
    use_bias_at_final: bool = False

    def __post_init__(self) -> None:
        if math.prod(self.upsample_rates) != HOP:
            raise ValueError(f"upsample_rates must multiply to {HOP}, not {self.upsample_rates}")
        if len(self.upsample_kernel_sizes) != len(self.upsample_rates) or any(
            kernel < rate or (kernel - rate) % 2
            for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True)
        ):
            raise ValueError("upsample_kernel_sizes must each be their rate plus an even number")
        if not self.resblock_kernel_sizes or any(k % 2 == 0 for k in self.resblock_kernel_sizes):
            raise ValueError(f"resblock_kernel_sizes must be odd: {self.resblock_kernel_sizes}")
        if len(self.resblock_dilation_sizes) != len(self.resblock_kernel_sizes):
            raise ValueError("resblock_dilation_sizes must be one row per kernel size")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ValueError("upsample_initial_channel must halve with every upsampling")
        if self.resblock not in ("1", "2"):
            raise ValueError(f"resblock must be '1' or '2', not {self.resblock!r}")
        if self.activation not in ("snake", "snakebeta"):
            raise ValueError(f"activation must be snake or snakebeta, not {self.activation!r}")

    @property
    def context(self) -> int:
        """Frames on either side that the 256 samples of a frame depend on (38 in v2).

        From the samples back to the frames, layer by layer: the first and the last that is seen.
        """
        pairs = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        block = max(sum(self._layer_reach(kernel, d) for d in row) for kernel, row in pairs)
        first, last = -_ACTIVATION_REACH - 3, HOP - 1 + _ACTIVATION_REACH + 3
        stages = list(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True))
        for rate, kernel in reversed(stages):
            cut = (kernel - rate) // 2
            first = math.ceil((first - block + cut - kernel + 1) / rate)
            last = (last + block + cut) // rate
        return max(3 - first, 3 + last)

    def _layer_reach(self, kernel: int, dilation: int) -> int:
        first = _ACTIVATION_REACH + dilation * (kernel // 2)
        return first + _ACTIVATION_REACH + kernel // 2 if self.resblock == "1" else first

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BigVGANConfig:
        """Config from its JSON form. Raises ValueError on unknown keys."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown vocoder settings: {', '.join(sorted(unknown))}")
        return cls(**{key: _tuples(value) for key, value in values.items()})


class BigVGAN(Streaming, nn.Module):
    """Generator of any size; meets ``vocoder.Vocoder``."""

    # Its widest layers hold 0.2 MB per frame; the context then costs a sixth.
    chunk_frames = 512
    least_frames = 1

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        self.config = config
        self.name = "bigvgan"
        self.mel: MelKind = "bigvgan"
        self.metadata: dict[str, str] = {}
        width = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(MEL_BINS, width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            up = nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(nn.ModuleList([up]))  # published names have a level more: ups.0.0
            width //= 2
            self.resblocks.extend(
                _AMPBlock(config, width, *shape)
                for shape in zip(
                    config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
                )
            )
        self.activation_post = _Activation(config, width)
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3, bias=config.use_bias_at_final)

    @property
    def context(self) -> int:
        """As its config has it."""
        return self.config.context

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel [B,T,100] of the kind ``bigvgan`` to audio [B,T*256] within −1…1, float32.

        Activations, the first and the last layer run in float32 whatever the dtype of the others:
        half precision would blur mel and phases. Raises ValueError for other shapes or no frame.
        """
        if mel.ndim != 3 or mel.shape[-1] != MEL_BINS or mel.shape[1] < 1:
            raise ValueError(f"mel must be [B, T >= 1, {MEL_BINS}], not {list(mel.shape)}")
        x: Tensor = self.conv_pre(mel.to(self.conv_pre.weight).transpose(1, 2))
        count = len(self.config.resblock_kernel_sizes)
        for stage, up in enumerate(self.ups):
            x = up[0](x.to(up[0].weight.dtype))  # type: ignore[index]
            blocks = self.resblocks[stage * count : (stage + 1) * count]
            total = blocks[0](x)
            for block in blocks[1:]:
                total = total + block(x)
            x = total / count
        x = self.conv_post(self.activation_post(x).float())
        x = x.tanh() if self.config.use_tanh_at_final else x.clamp(-1.0, 1.0)
        return x[:, 0]

    def convolve_in(self, dtype: torch.dtype) -> None:
        """Turn the weights of all convolutions but the first and the last into ``dtype``."""
        for part in (*self.ups.modules(), *self.resblocks.modules()):
            if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
                part.to(dtype)


class _AMPBlock(nn.Module):
    """Residual layers of different dilation, an anti-aliased activation before each convolution.

    Section 3.2 of the paper ("anti-aliased multi-periodicity").
    """

    def __init__(
        self, config: BigVGANConfig, width: int, kernel: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.paired = config.resblock == "1"

        def convolutions(steps: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(width, width, kernel, dilation=step, padding=step * (kernel // 2))
                for step in steps
            )

        if self.paired:
            self.convs1 = convolutions(dilations)
            self.convs2 = convolutions((1,) * len(dilations))
        else:
            self.convs = convolutions(dilations)
        layers = len(dilations) * (2 if self.paired else 1)
        self.activations = nn.ModuleList(_Activation(config, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """[B,D,S] to the same shape."""
        if not self.paired:
            for activation, convolution in zip(self.activations, self.convs, strict=True):
                x = x + convolution(activation(x))
            return x
        pairs = zip(self.activations[::2], self.activations[1::2], strict=True)
        for (first, second), one, two in zip(pairs, self.convs1, self.convs2, strict=True):
            x = x + two(second(one(first(x))))
        return x


class _Activation(nn.Module):
    """``x + sin²(αx)/β`` at twice the rate, between low-pass filters, so that nothing aliases."""

    filter: Tensor

    def __init__(self, config: BigVGANConfig, width: int) -> None:
        super().__init__()
        names = ("alpha", "beta") if config.activation == "snakebeta" else ("alpha",)
        begin = 0.0 if config.snake_logscale else 1.0
        self.act = nn.ParameterDict({name: torch.full((width,), begin) for name in names})
        self.log_scale = config.snake_logscale
        # On the CPU even while a network without storage ("meta") is built.
        with torch.device("cpu"):
            self.register_buffer("filter", low_pass_filter(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,D,S] to the same shape and dtype; the ends are continued by their last values."""
        width = x.shape[1]
        taps = self.filter.expand(width, 1, FILTER_TAPS)
        alpha = self.act["alpha"][:, None]
        beta = self.act["beta"][:, None] if "beta" in self.act else alpha
        if self.log_scale:
            alpha, beta = alpha.exp(), beta.exp()
        # Zeros between the samples halve the level, which the filter's gain of 2 makes up for.
        wide = nnf.pad(x.float(), (5, 5), mode="replicate")
        wide = nnf.conv_transpose1d(wide, 2.0 * taps, stride=2, padding=15, groups=width)
        wide = wide + (wide * alpha).sin_().square_().div_(beta + _DIVISOR_FLOOR)
        wide = nnf.pad(wide, (5, 6), mode="replicate")
        return nnf.conv1d(wide, taps, stride=2, groups=width).to(x.dtype)


def low_pass_filter() -> Tensor:
    """The 12 taps of both filters of an activation: a sinc of half the band in a Kaiser window.

    Cutoff 0.25 and transition 0.3 of the doubled rate; the window's shape follows from these by
    Kaiser's formula (Oppenheim and Schafer, section 7.6). The sum is 1.
    """
    half, cutoff, transition = FILTER_TAPS // 2, 0.25, 0.3
    attenuation = 2.285 * (half - 1) * math.pi * 4 * transition + 7.95  # 51 dB: over 50
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7))
    time = torch.arange(-half, half) + 0.5
    taps = 2 * cutoff * window * torch.sinc(2 * cutoff * time)
    return taps / taps.sum()


def load_bigvgan(
    path: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> BigVGAN:
    """Generator from a safetensors file whose metadata holds its config; ready to run.

    ``dtype`` as in ``vocoder.load_vocoder``. Raises SetupError when the file is missing, no
    generator or does not fit its config.
    """

    def build(values: dict[str, Any]) -> BigVGAN:
        with torch.device("meta"):
            return BigVGAN(BigVGANConfig.from_dict(values))

    model, metadata = load_network(path, format=FORMAT, build=build)
    model.metadata = metadata
    model.to(device)
    if torch.device(device).type != "cpu":
        model.convolve_in(dtype)
    return model


def save_bigvgan(model: BigVGAN, path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write ``model`` whole or not at all, in float32, config in the metadata."""
    save_network(model, path, format=FORMAT, config=asdict(model.config), metadata=metadata)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
