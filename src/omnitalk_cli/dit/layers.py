"""The parts that every block is made of. ``B`` batch, ``L`` tokens, ``D`` width, ``H`` heads."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def sinusoidal_positions(length: int, dim: int, device: torch.device) -> Tensor:
    """Absolute positions ``[L, D]``: cosines in the first half, sines in the second."""
    rate = 1.0 / (10_000.0 ** (torch.arange(0, dim, 2, device=device).float() / dim))
    angle = torch.arange(length, device=device).float()[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def rotary_angles(length: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary positions as cosine and sine, ``[L, head_dim / 2, 2]``."""
    rate = 1.0 / (10_000.0 ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim))
    angle = torch.arange(length, device=device).float()[:, None] * rate
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turns adjacent channel pairs of ``x`` ``[B, H, L, head_dim]`` by their position."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # which makes one kernel of this, and none of complex numbers
        turned = _turned_by_parts(pairs, angles)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(angles))
    return turned.flatten(-2).to(x.dtype)


def _turned_by_parts(pairs: Tensor, angles: Tensor) -> Tensor:
    (x, y), (cos, sin) = pairs.unbind(-1), angles.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)


class TimeEmbedding(nn.Module):
    """Flow time ``[B]`` in 0…1 to ``[B, D]``: 256 sinusoids at scale 1000, then an MLP."""

    def __init__(self, dim: int, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        half = self.frequencies // 2
        steps = torch.arange(half, device=time.device).float()
        rate = torch.exp(steps * (-math.log(10_000.0) / (half - 1)))
        angle = 1000.0 * time.float()[:, None] * rate
        features = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return self.mlp(features.to(next(self.parameters()).dtype))


class GlobalResponseNorm(nn.Module):
    """ConvNeXt-V2's GRN over the token axis of ``[B, L, D]``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        energy = x.norm(p=2, dim=1, keepdim=True)
        relative = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return self.gamma * (x * relative) + self.beta + x


class ConvNeXtBlock(nn.Module):
    """ConvNeXt-V2 block on ``[B, L, D]`` with a depthwise kernel of 7."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, inner)
        self.grn = GlobalResponseNorm(inner)
        self.pwconv2 = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)
        y = self.grn(F.gelu(self.pwconv1(self.norm(y))))
        return x + self.pwconv2(y)


class ConvPosition(nn.Module):
    """Relative positions by two grouped convolutions with Mish, added to ``[B, L, D]``."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.conv1d = nn.Sequential(
            nn.Conv1d(dim, dim, kernel, groups=groups, padding=kernel // 2),
            nn.Mish(),
            nn.Conv1d(dim, dim, kernel, groups=groups, padding=kernel // 2),
            nn.Mish(),
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = x.transpose(1, 2)
        keep = None if mask is None else mask[:, None].to(x.dtype)
        for layer in self.conv1d:
            # Padding must be silent before each convolution, as the border of the data is.
            if keep is not None and isinstance(layer, nn.Conv1d):
                y = y * keep
            y = layer(y)
        return x + y.transpose(1, 2)


class Modulator(nn.Module):
    """AdaLN-zero parameters of one block: shift, scale, gate for attention, then for the FFN.

    With ``shared`` given to ``forward`` (``[B, 6·D]``, one map for all blocks) only a table of
    ``6·D`` numbers is this block's own, and gates start at 1; else a linear layer of its own,
    whose gates start at 0. All are returned in one, ``[B, 6·D]``.
    """

    def __init__(self, dim: int, *, own_map: bool) -> None:
        super().__init__()
        self.linear: nn.Linear | None = None
        self.table: nn.Parameter | None = None
        if own_map:
            self.linear = nn.Linear(dim, 6 * dim)
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        else:
            table = torch.zeros(6, dim)
            table[2] = table[5] = 1.0
            self.table = nn.Parameter(table.flatten())

    def forward(self, time: Tensor, shared: Tensor | None) -> Tensor:
        if self.linear is not None:
            return self.linear(F.silu(time))
        assert shared is not None and self.table is not None
        return shared + self.table.to(shared.dtype)


class FeedForward(nn.Module):
    """Two linear layers with GELU-tanh between."""

    def __init__(self, dim: int, mult: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, dim * mult)
        self.outer = nn.Linear(dim * mult, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(F.gelu(self.inner(x), approximate="tanh"))


class QKV(nn.Module):
    """Queries, keys and values ``[B, H, L, head_dim]`` of one stream, optionally RMS-normed; the
    first ``rotary_heads`` heads (None: all) are turned by their positions."""

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        *,
        qk_norm: bool,
        rotary_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rotary_heads = heads if rotary_heads is None else rotary_heads
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.norm_q = nn.RMSNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.norm_k = nn.RMSNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = rearrange(self.to_qkv(x), "b l (n h d) -> n b h l d", n=3, h=self.heads)
        q, k = self.norm_q(q).to(v.dtype), self.norm_k(k).to(v.dtype)
        return self._turned(q, angles), self._turned(k, angles), v

    def _turned(self, x: Tensor, angles: Tensor) -> Tensor:
        if self.rotary_heads == self.heads:
            return rotate(x, angles)
        turned, plain = x.split([self.rotary_heads, self.heads - self.rotary_heads], dim=1)
        return torch.cat([rotate(turned, angles), plain], dim=1)


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """Softmax attention, heads merged: ``[B, L, H·head_dim]``. ``key_mask`` ``[B, L]`` is True
    on the keys that may be looked at."""
    mask = None if key_mask is None else key_mask[:, None, None, :]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return rearrange(out, "b h l d -> b l (h d)")
