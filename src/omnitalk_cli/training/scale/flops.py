"""Arithmetic of the network by count: what an update costs, and how long a run would take.

Multiplications of matrices and convolutions are counted, two operations for each multiply-add, as
everybody does; the rest is under a per cent. Backward is twice forward.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from omnitalk_cli.dit.config import DiTConfig

_TIME_FREQUENCIES = 256
_TEXT_KERNEL = 7
H200_BF16 = 989e12  # operations per second, dense, by its data sheet


def forward_flops(config: DiTConfig, frames: int) -> float:
    """Operations of one forward pass over one clip of ``frames`` mel frames (no padding)."""
    tokens = frames // config.patch
    text = _text(config, frames)
    audio = _ends(config, config.dim, config.mel_bins, tokens)
    visual = _ends(config, config.visual_dim, config.code_count, tokens)
    single = sum(
        config.single_depth * (_block(config, dim, tokens) + _attention(config, tokens, tokens))
        for dim in (config.dim, config.visual_dim)
    )
    return text + audio + visual + single + config.fusion_depth * _fusion(config, tokens)


def training_flops(config: DiTConfig, frames: int, *, recompute: bool = False) -> float:
    """Operations of forward and backward per clip; ``recompute``: blocks are computed again."""
    return forward_flops(config, frames) * (4.0 if recompute else 3.0)


def _block(config: DiTConfig, dim: int, tokens: int) -> float:
    """Everything of a stream's block but its attention."""
    inner = config.attention_dim
    each = dim * 3 * inner + inner * dim + 2 * config.ff_mult * dim * dim
    own_map = 6 * dim * dim if config.modulation == "per_block" else 0
    return 2.0 * (tokens * each + own_map)


def _attention(config: DiTConfig, queries: int, keys: int) -> float:
    return 2.0 * 2 * queries * keys * config.attention_dim


def _fusion(config: DiTConfig, tokens: int) -> float:
    a, v, inner = config.dim, config.visual_dim, config.attention_dim
    blocks = _block(config, a, tokens) + _block(config, v, tokens)
    if config.fusion == "mm_attention":
        return blocks + _attention(config, 2 * tokens, 2 * tokens)
    blocks += 2 * _attention(config, tokens, tokens)
    if config.fusion == "cross_attention":
        maps = sum(2.0 * tokens * inner * (2 * own + 2 * other) for own, other in ((a, v), (v, a)))
        return blocks + maps + 2 * _attention(config, tokens, tokens)
    if config.fusion == "linear":
        return blocks + 2.0 * tokens * (a + v) ** 2
    return blocks + (0.0 if a == v else 4.0 * tokens * a * v)


def _ends(config: DiTConfig, dim: int, channels: int, tokens: int) -> float:
    patched = channels * config.patch
    flag = 1 if config.visible_flag else 0
    each = (2 * patched + config.text_dim + flag) * dim + dim * patched
    each += 2 * config.position_kernel * (dim // config.position_groups) * dim
    if config.given_sound and channels == config.code_count:
        each += config.mel_bins * config.patch * dim
    once = _TIME_FREQUENCIES * dim + dim * dim + 2 * dim * dim
    if config.modulation == "shared":
        once += 6 * dim * dim
    if config.reference_summary:
        once += (2 * (config.mel_bins + config.code_count) + 2) * dim + dim * dim
    return 2.0 * (tokens * each + once)


def _text(config: DiTConfig, frames: int) -> float:
    width = config.text_dim
    each = _TEXT_KERNEL * width + 2 * width * width * config.text_conv_mult
    return 2.0 * frames * config.text_conv_layers * each


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A run by arithmetic: ``updates`` of ``frames`` frames in each of ``devices``, clips of
    ``clip_frames``, ``share`` of a device's ``peak`` operations per second reached."""

    config: DiTConfig
    updates: int = 750_000
    frames: int = 12_800
    devices: int = 8
    clip_frames: int = 800
    share: float = 0.4
    peak: float = H200_BF16
    recompute: bool = False

    @property
    def flops_per_frame(self) -> float:
        """Operations of training on one frame."""
        whole = training_flops(self.config, self.clip_frames, recompute=self.recompute)
        return whole / self.clip_frames

    @property
    def frames_per_second(self) -> float:
        """Over all devices."""
        return self.devices * self.share * self.peak / self.flops_per_frame

    @property
    def hours(self) -> float:
        """Of the whole run."""
        frames = self.updates * self.frames * self.devices
        return frames / self.frames_per_second / 3600

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        facts = {k: v for k, v in asdict(self).items() if k != "config"}
        return facts | {
            "flops_per_frame": self.flops_per_frame,
            "frames_per_second": round(self.frames_per_second),
            "hours": round(self.hours, 1),
        }
