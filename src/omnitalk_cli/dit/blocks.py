"""Transformer blocks: one stream (self-attention), and two streams fused in one of four ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.layers import QKV, FeedForward, Modulator, attend


@dataclass(frozen=True, kw_only=True)
class StreamContext:
    """What every block of a stream is given beside its tokens.

    ``angles`` the rotary positions ``[L, head_dim / 2, 2]``; ``mask`` ``[B, L]``, True on real
    tokens, or None. ``time`` ``[B, D]`` and ``shared`` ``[B, 6·D]`` or None (see ``Modulator``)
    are what a block makes its modulation of, unless that is known already: ``modulation``
    ``[B, 6·D]`` of one block, or ``[1, 6·D]`` for all samples alike (``dit.tables``).
    """

    angles: Tensor
    mask: Tensor | None
    time: Tensor | None = None
    shared: Tensor | None = None
    modulation: Tensor | None = None

    @property
    def known_time(self) -> Tensor:
        """``time``, which must be there."""
        assert self.time is not None
        return self.time


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised ``x`` ``[B, L, D]`` scaled and shifted by ``[B, 1, D]``, or ``[1, 1, D]``."""
    if len(shift) == 1:  # one kernel instead of two
        return F.layer_norm(x, x.shape[-1:], 1 + scale[0, 0], shift[0, 0], eps=1e-6)
    normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return torch.addcmul(shift, normed, 1 + scale)


class StreamBlock(nn.Module):
    """One DiT block of one stream: AdaLN-zero, attention, FFN (paper Table 5).

    ``forward`` is plain self-attention. Fused blocks call the three parts themselves, because
    attention then lies between two streams.
    """

    def __init__(self, config: DiTConfig, dim: int) -> None:
        super().__init__()
        self.modulator = Modulator(dim, own_map=config.modulation == "per_block")
        self.qkv = QKV(
            dim,
            config.heads,
            config.head_dim,
            qk_norm=config.qk_norm,
            rotary_heads=config.rotary_heads,
        )
        self.to_out = nn.Linear(config.attention_dim, dim)
        self.ff = FeedForward(dim, config.ff_mult)

    def open(
        self, x: Tensor, context: StreamContext
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]:
        """Queries, keys, values of ``x`` ``[B, L, D]``, and the six modulations."""
        values = context.modulation
        if values is None:
            values = self.modulator(context.known_time, context.shared)
        modulation = tuple(part[:, None] for part in values.chunk(6, dim=-1))
        shift, scale = modulation[0], modulation[1]
        return self.qkv(modulate(x, shift, scale), context.angles), modulation

    def close(self, x: Tensor, attended: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """Adds the attended values ``[B, L, H·head_dim]`` and the FFN to ``x``."""
        gate, ff_shift, ff_scale, ff_gate = modulation[2:]
        x = torch.addcmul(x, gate, self.to_out(attended))
        return torch.addcmul(x, ff_gate, self.ff(modulate(x, ff_shift, ff_scale)))

    def forward(self, x: Tensor, context: StreamContext) -> Tensor:
        (q, k, v), modulation = self.open(x, context)
        return self.close(x, attend(q, k, v, context.mask), modulation)


class CrossLink(nn.Module):
    """Lets a stream look at the other one through a gated cross-attention that starts at zero."""

    def __init__(self, config: DiTConfig, dim: int, other_dim: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.to_q = nn.Linear(dim, config.attention_dim)
        self.to_kv = nn.Linear(other_dim, 2 * config.attention_dim)
        self.to_out = nn.Linear(config.attention_dim, dim)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        other = F.layer_norm(other, other.shape[-1:], eps=1e-6)
        k, v = self.to_kv(other).chunk(2, dim=-1)
        out = attend(split(self.to_q(normed)), split(k), split(v), mask)
        return x + self.to_out(out)


class FusionBlock(nn.Module):
    """Two streams with weights of their own, fused as ``config.fusion`` says (paper Table 4).

    ``mm_attention`` joins both streams' keys and values in one attention; the others run
    self-attention per stream and then exchange: by cross-attention, by a linear map of the
    concatenated streams, or by adding the other stream (through a linear map only where the
    widths differ).
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        audio, visual = config.dim, config.visual_dim
        self.fusion = config.fusion
        self.audio = StreamBlock(config, audio)
        if config.audio_only:
            return
        self.visual = StreamBlock(config, visual)
        if config.fusion == "cross_attention":
            self.audio_link = CrossLink(config, audio, visual)
            self.visual_link = CrossLink(config, visual, audio)
        elif config.fusion == "linear":
            self.mix = nn.Linear(audio + visual, audio + visual)
            nn.init.zeros_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)
        elif config.fusion == "add":
            same = audio == visual
            self.to_audio = nn.Identity() if same else nn.Linear(visual, audio, bias=False)
            self.to_visual = nn.Identity() if same else nn.Linear(audio, visual, bias=False)

    def forward(
        self, audio: Tensor, visual: Tensor, at: StreamContext, vt: StreamContext
    ) -> tuple[Tensor, Tensor]:
        """``audio`` ``[B, L, D]`` and ``visual`` ``[B, L, D']`` after the block."""
        if self.fusion == "mm_attention":
            return self._joint(audio, visual, at, vt)
        audio, visual = self.audio(audio, at), self.visual(visual, vt)
        if self.fusion == "cross_attention":
            return (
                self.audio_link(audio, visual, vt.mask),
                self.visual_link(visual, audio, at.mask),
            )
        if self.fusion == "linear":
            change = self.mix(torch.cat([audio, visual], dim=-1))
            a, v = change.split([audio.shape[-1], visual.shape[-1]], dim=-1)
            return audio + a, visual + v
        return audio + self.to_audio(visual), visual + self.to_visual(audio)

    def _joint(
        self, audio: Tensor, visual: Tensor, at: StreamContext, vt: StreamContext
    ) -> tuple[Tensor, Tensor]:
        (qa, ka, va), audio_modulation = self.audio.open(audio, at)
        (qv, kv, vv), visual_modulation = self.visual.open(visual, vt)
        mask = None
        if at.mask is not None and vt.mask is not None:
            mask = torch.cat([at.mask, vt.mask], dim=1)
        k, v = torch.cat([ka, kv], dim=2), torch.cat([va, vv], dim=2)
        # One attention for both streams' queries would give the same, and pieces to be copied.
        return (
            self.audio.close(audio, attend(qa, k, v, mask), audio_modulation),
            self.visual.close(visual, attend(qv, k, v, mask), visual_modulation),
        )
