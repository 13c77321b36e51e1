"""A small F5-TTS in its published layout, and its forward pass written out naively.

Written from the description of the network, tensor by tensor, with nothing of ours in it: what the
importer and our classes make of the same tensors must come out equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as nnf

DIM, TEXT, DEPTH, HEADS, MEL = 128, 24, 2, 2, 100
TOKENS = (" ", *"abcdefghijklmnopqrstuvwxyz.,?!'", "ni3", "hao3", "hang2")


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of the transformer by their published names."""
    shapes: dict[str, tuple[int, ...]] = {
        "time_embed.time_mlp.0": (DIM, 256), "time_embed.time_mlp.2": (DIM, DIM),
        "input_embed.proj": (DIM, 2 * MEL + TEXT),
        "input_embed.conv_pos_embed.conv1d.0": (DIM, DIM // 16, 31),
        "input_embed.conv_pos_embed.conv1d.2": (DIM, DIM // 16, 31),
        "norm_out.linear": (2 * DIM, DIM), "proj_out": (MEL, DIM),
    }  # fmt: skip
    for i in range(2):
        name = f"text_embed.text_blocks.{i}"
        shapes |= {
            f"{name}.dwconv": (TEXT, 1, 7), f"{name}.pwconv1": (2 * TEXT, TEXT),
            f"{name}.pwconv2": (TEXT, 2 * TEXT), f"{name}.norm": (TEXT,),
        }  # fmt: skip
    for i in range(DEPTH):
        name = f"transformer_blocks.{i}"
        shapes |= {f"{name}.attn.to_{x}": (DIM, DIM) for x in ("q", "k", "v", "out.0")}
        shapes |= {
            f"{name}.attn_norm.linear": (6 * DIM, DIM), f"{name}.ff.ff.0.0": (2 * DIM, DIM),
            f"{name}.ff.ff.2": (DIM, 2 * DIM),
        }  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))

    found = {f"{name}.weight": draw(*shape) for name, shape in shapes.items()}
    found |= {f"{name}.bias": 0.1 * draw(shape[0]) for name, shape in shapes.items()}
    for i in range(2):
        for part in ("gamma", "beta"):
            name = f"text_embed.text_blocks.{i}.grn.{part}"
            found[name] = 0.3 * torch.randn(1, 1, 2 * TEXT, generator=generator)
    found["text_embed.text_embed.weight"] = draw(len(TOKENS) + 1, TEXT) * 4
    found["rotary_embed.inv_freq"] = 1 / 10_000 ** (torch.arange(0, 64, 2) / 64)
    return found


def publish(folder: Path, found: Mapping[str, Tensor], *, kind: str = "safetensors") -> Path:
    """Writes the checkpoint with its ``vocab.txt`` into ``folder``; ``kind`` is its ending."""
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    path = folder / f"model_1250000.{kind}"
    named = {f"ema_model.transformer.{name}": value for name, value in found.items()}
    named |= {"ema_model.mel_spec.window": torch.ones(4), "initted": torch.ones(1)}
    if kind == "safetensors":
        save_file(named, path)
    else:
        torch.save({"ema_model_state_dict": named, "update": 3}, path)
    return path


def forward(
    t: Mapping[str, Tensor], x: Tensor, given: Tensor, ids: Tensor, time: float, *, first: bool,
    drop: bool,
) -> Tensor:  # fmt: skip
    """The network's output ``[T, 100]``; ``first`` is the first version, ``drop`` without any
    condition."""

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(y: Tensor) -> Tensor:
        return (y - y.mean(-1, keepdim=True)) / (
            y.var(-1, keepdim=True, correction=0) + 1e-6
        ).sqrt()

    frames = len(x)
    half = torch.exp(torch.arange(128) * (-math.log(10_000) / 127)) * 1000 * time
    clock = torch.cat([half.sin(), half.cos()])
    clock = linear("time_embed.time_mlp.2", nnf.silu(linear("time_embed.time_mlp.0", clock)))
    padded = nnf.pad(ids, (0, frames - len(ids)))
    mask = (padded != 0)[:, None]
    if drop:
        padded, given = torch.zeros_like(padded), torch.zeros_like(given)
    text = t["text_embed.text_embed.weight"][padded]
    angle = torch.outer(torch.arange(frames), 1 / 10_000 ** (torch.arange(0, TEXT, 2) / TEXT))
    text = text + torch.cat([angle.cos(), angle.sin()], dim=1)
    text = text if first else text * mask
    for i in range(2):
        name = f"text_embed.text_blocks.{i}"
        y = nnf.conv1d(
            text.T[None], t[f"{name}.dwconv.weight"], t[f"{name}.dwconv.bias"], padding=3,
            groups=TEXT,
        )[0].T  # fmt: skip
        y = norm(y) * t[f"{name}.norm.weight"] + t[f"{name}.norm.bias"]
        y = nnf.gelu(linear(f"{name}.pwconv1", y))
        energy = y.square().sum(0).sqrt()
        gain = energy / (energy.mean() + 1e-6)
        y = t[f"{name}.grn.gamma"][0] * (y * gain) + t[f"{name}.grn.beta"][0] + y
        text = text + linear(f"{name}.pwconv2", y)
        text = text if first else text * mask
    h = linear("input_embed.proj", torch.cat([x, given, text], dim=1))
    y = h.T[None]
    for layer in (0, 2):
        name = f"input_embed.conv_pos_embed.conv1d.{layer}"
        y = nnf.conv1d(y, t[f"{name}.weight"], t[f"{name}.bias"], padding=15, groups=16)
        y = y * torch.tanh(nnf.softplus(y))
    h = h + y[0].T
    turn = torch.outer(torch.arange(frames), t["rotary_embed.inv_freq"])

    def rotated(y: Tensor) -> Tensor:
        even, odd = y[:, 0::2], y[:, 1::2]
        pairs = (even * turn.cos() - odd * turn.sin(), odd * turn.cos() + even * turn.sin())
        return torch.stack(pairs, dim=2).flatten(1)

    for i in range(DEPTH):
        name = f"transformer_blocks.{i}"
        six = linear(f"{name}.attn_norm.linear", nnf.silu(clock)).reshape(6, DIM)
        y = norm(h) * (1 + six[1]) + six[0]
        heads = []
        for head in range(HEADS):
            part = slice(64 * head, 64 * head + 64)
            q, k, v = (linear(f"{name}.attn.to_{letter}", y)[:, part] for letter in "qkv")
            if head == 0 or not first:
                q, k = rotated(q), rotated(k)
            heads.append(torch.softmax(q @ k.T / 8, dim=1) @ v)
        h = h + six[2] * linear(f"{name}.attn.to_out.0", torch.cat(heads, dim=1))
        y = norm(h) * (1 + six[4]) + six[3]
        y = nnf.gelu(linear(f"{name}.ff.ff.0.0", y), approximate="tanh")
        h = h + six[5] * linear(f"{name}.ff.ff.2", y)
    scale, shift = linear("norm_out.linear", nnf.silu(clock)).reshape(2, DIM)
    return linear("proj_out", norm(h) * (1 + scale) + shift)
