"""Mel to audio: the protocol that every vocoder meets and the built-in Vocos network.

Vocos (arXiv 2306.00814): a ConvNeXt backbone at the mel rate predicts magnitude and phase of an
STFT, whose inverse is the audio. The network classes are the ``vocos`` package's own. A small
network leaves audible errors, so a few rounds of ``refine`` can follow.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import LOG_FLOOR, N_FFT, MelKind, mel_filterbank
from omnitalk_cli.speech.streaming import Streaming
from omnitalk_cli.speech.vocoder_files import load_network, save_network
from omnitalk_cli.types import HOP, MEL_BINS

FORMAT = "omnitalk-vocoder/1"
REFINE_MOMENTUM = 0.8
REFINE_LIMIT = 10.0  # 20 dB: what one round may change
_WINDOW = "head.istft.window"  # a constant of the class, which need not be stored


class Vocoder(Protocol):
    """Turns log-mel of one kind into audio."""

    @property
    def name(self) -> str:
        """What it is called by ``--vocoder``, or its file."""

    @property
    def mel(self) -> MelKind:
        """The kind of ``speech.mel.log_mel`` that it reads."""

    @property
    def sample_rate(self) -> int:
        """Samples per second of the audio."""

    def __call__(self, mel: Tensor) -> Tensor:
        """``mel`` [B,T,100] to audio [B,samples_in(T, self.mel)], about −1…1, float32."""

    def decode_stream(self, mels: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pieces of mel [B,t,100] (or [t,100]) to pieces of audio; together as of one call."""


@dataclass(frozen=True, kw_only=True)
class VocosConfig:
    """Size of a Vocos network. The published 24 kHz model is dim 512, intermediate 1536, 8 layers.

    ``mel_mean`` and ``mel_scale`` normalise the input, ``(mel - mean) / scale``: published weights
    take it raw (0 and 1). ``padding`` must be "center", which pairs with ``speech.mel.log_mel``.
    ``rounds`` of ``refine`` follow the network (published weights: 0).
    """

    dim: int = 256
    intermediate_dim: int = 768
    num_layers: int = 6
    n_fft: int = 1024
    hop_length: int = HOP
    padding: str = "center"
    mel_mean: float = 0.0
    mel_scale: float = 1.0
    rounds: int = 0

    def __post_init__(self) -> None:
        if min(self.dim, self.intermediate_dim, self.num_layers) < 1 or self.mel_scale <= 0:
            raise ValueError(f"sizes and mel_scale must be positive: {self}")
        if self.rounds < 0:
            raise ValueError(f"rounds cannot be negative: {self}")
        if self.hop_length != HOP or self.padding != "center" or self.n_fft < 2 * HOP:
            raise ValueError(f"only hop {HOP}, padding 'center', n_fft >= {2 * HOP}: {self}")

    @property
    def context(self) -> int:
        """Frames on either side that a sample depends on.

        ±3 per convolution, the overlap of the inverse STFT, and ±4 per round of refinement.
        """
        overlap = self.n_fft // self.hop_length
        return 3 * (self.num_layers + 1) + overlap + self.rounds * N_FFT // HOP

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VocosConfig:
        """Config from its JSON form. Raises ValueError on unknown keys."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown vocoder settings: {', '.join(sorted(unknown))}")
        return cls(**values)


class VocosVocoder(Streaming, nn.Module):
    """Vocos network of any size; parameter names are those of published Vocos checkpoints."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        models, heads = _vocos_modules()
        self.config = config
        self.name = "vocos"
        self.mel: MelKind = "vocos"
        self.metadata: dict[str, str] = {}
        self.backbone = models.VocosBackbone(
            input_channels=MEL_BINS,
            dim=config.dim,
            intermediate_dim=config.intermediate_dim,
            num_layers=config.num_layers,
        )
        self.head = heads.ISTFTHead(
            dim=config.dim,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            padding=config.padding,
        )

    @property
    def context(self) -> int:
        """As its config has it."""
        return self.config.context

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel [B,T,100] to audio [B,(T-1)*256], float32.

        The head runs in float32 whatever the backbone's dtype: half precision would blur phases
        and has no FFT. Raises ValueError for other shapes or fewer than two frames.
        """
        if mel.ndim != 3 or mel.shape[-1] != MEL_BINS or mel.shape[1] < 2:
            raise ValueError(f"mel must be [B, T >= 2, {MEL_BINS}], not {list(mel.shape)}")
        weight = self.backbone.embed.weight
        normal = (mel.to(weight.device).float() - self.config.mel_mean) / self.config.mel_scale
        features = self.backbone(normal.to(weight.dtype).transpose(1, 2))
        audio = self.head(features.float())
        return refine(audio, mel.to(audio), rounds=self.config.rounds)


def refine(
    audio: Tensor,
    mel: Tensor,
    *,
    rounds: int,
    exponent: float = 1.0,
) -> Tensor:
    """Bring ``audio`` [B,S] nearer to the sound that has the log-mel ``mel`` [B,T,100].

    Griffin-Lim with momentum (Perraudin et al. 2013) in which the known quantity is the mel, not
    the magnitude: every round scales each STFT bin by what its mel bands lack and transforms
    back, which also removes the disagreement between overlapping frames. That evens changes out:
    with an ``exponent`` of the change of 1.3 fewer rounds do, from a start that is near; from 2 on
    the rounds swing. 0.2 % of real time per round on one thread. Differentiable, so that training
    can go through it.
    """
    if not rounds:
        return audio
    bank = mel_filterbank().to(audio)
    # Each bin's shares of its bands; bins 0 and 512 belong to no band and fall silent.
    shares = bank / bank.sum(dim=1, keepdim=True).clamp_min(1e-8)
    target = mel.exp().clamp_min(LOG_FLOOR) + LOG_FLOOR
    before: Tensor | None = None
    for _ in range(rounds):
        now = frames_of(audio)
        ahead = now
        if before is not None:
            ahead = torch.add((1 + REFINE_MOMENTUM) * now, before, alpha=-REFINE_MOMENTUM)
        before = now
        ratio = target / (ahead.abs() @ bank + LOG_FLOOR)
        gain = ratio.clamp(1 / REFINE_LIMIT, REFINE_LIMIT).pow(exponent) @ shares.T
        audio = overlapped(ahead * gain)
    return audio


def frames_of(audio: Tensor) -> Tensor:
    """STFT [B,T,513] of ``audio`` [B,S], as the mel's: ``torch.stft`` with time before frequency.

    Audio too short to be mirrored at its ends is continued by silence.
    """
    mode = "reflect" if audio.shape[-1] > N_FFT // 2 else "constant"
    padded = nnf.pad(audio[:, None], (N_FFT // 2, N_FFT // 2), mode=mode)[:, 0]
    window = torch.hann_window(N_FFT, device=audio.device)
    spectrum: Tensor = torch.fft.rfft(padded.unfold(-1, N_FFT, HOP) * window)
    return spectrum


def overlapped(spectrum: Tensor) -> Tensor:
    """Audio [B,(T-1)*256] of an STFT [B,T,513]: ``torch.istft``, sooner."""
    window = torch.hann_window(N_FFT, device=spectrum.device)
    frames: Tensor = torch.fft.irfft(spectrum, N_FFT) * window
    count, steps = frames.shape[1], N_FFT // HOP
    # Quarter windows, each moved to where it belongs, add up.
    audio = _sum_of_shifted(frames.reshape(-1, count, steps, HOP), count)
    squares = window.square().reshape(steps, HOP).expand(1, count, steps, HOP)
    inner = slice(N_FFT // 2, N_FFT // 2 + (count - 1) * HOP)
    return audio[:, inner] / _sum_of_shifted(squares, count)[:, inner]


def _sum_of_shifted(parts: Tensor, count: int) -> Tensor:
    """Sum over k of part k of [B,T,K,256] moved k hops later, [B,(T+K-1)*256]."""
    steps = parts.shape[2]
    total = parts.new_zeros(len(parts), count + steps - 1, HOP)
    for k in range(steps):
        total = total + nnf.pad(parts[:, :, k], (0, 0, k, steps - 1 - k))
    return total.flatten(1)


def load_vocoder(
    path: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    rounds: int | None = None,
) -> VocosVocoder:
    """Vocoder from a safetensors file whose metadata holds its config; ready to run.

    ``dtype`` is the backbone's; on the CPU it is float32, whatever is stored and asked for.
    ``rounds`` of refinement override those of the config.
    Raises SetupError when the file is missing, no vocoder or does not fit its config.
    """

    def build(values: dict[str, Any]) -> VocosVocoder:
        config = VocosConfig.from_dict(values)
        return VocosVocoder(config if rounds is None else replace(config, rounds=rounds))

    model, metadata = load_network(path, format=FORMAT, build=build, constants=(_WINDOW,))
    model.metadata = metadata
    model.to(device)
    if torch.device(device).type != "cpu":
        model.backbone.to(dtype)
    return model


def save_vocoder(
    model: VocosVocoder,
    path: Path,
    *,
    dtype: torch.dtype = torch.float16,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write ``model`` whole or not at all, weights as ``dtype``, config in the metadata."""
    save_network(
        model, path, format=FORMAT, config=asdict(model.config), constants=(_WINDOW,),
        dtype=dtype, metadata=metadata,
    )  # fmt: skip


def _vocos_modules() -> tuple[types.ModuleType, types.ModuleType]:
    """``vocos.models`` and ``vocos.heads``, also beside a torchaudio whose binary does not load.

    The package index's torchaudio is a CUDA build, and importing it beside a CPU torch fails in
    its compiled part, which nothing here uses: a stand-in for that part lets the rest load.
    """
    try:
        return importlib.import_module("vocos.models"), importlib.import_module("vocos.heads")
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed; pip install vocos") from error
    except (ImportError, OSError):
        for name in [n for n in sys.modules if n.split(".")[0] in ("torchaudio", "vocos")]:
            del sys.modules[name]
    stand_in = types.ModuleType("torchaudio._extension")
    stand_in._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    stand_in._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    stand_in.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
    try:
        return importlib.import_module("vocos.models"), importlib.import_module("vocos.heads")
    except (ImportError, OSError) as error:
        del sys.modules[stand_in.__name__]
        raise SetupError(f"the vocos package does not load: {error}") from error
