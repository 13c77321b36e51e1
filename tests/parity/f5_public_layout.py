"""Checkpoints of F5-TTS as its authors publish them, with random weights, made by their package."""

from __future__ import annotations

import importlib.resources
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from omnitalk_cli.speech.vocoder import _vocos_modules

# As in their configuration files; "F5TTS_Base" is the first version.
VARIANTS: dict[str, dict[str, Any]] = {
    "f5-tts": {"text_mask_padding": True, "pe_attn_head": None},
    "f5-tts-v0": {"text_mask_padding": False, "pe_attn_head": 1},
}
BASE = {"dim": 1024, "depth": 22, "heads": 16, "ff_mult": 2, "text_dim": 512, "conv_layers": 4}


def vocabulary_file() -> Path:
    """The table of tokens that their package carries."""
    return Path(str(importlib.resources.files("f5_tts").joinpath("infer/examples/vocab.txt")))


def reference_model(variant: str, *, depth: int, seed: int = 0) -> nn.Module:
    """Their ``CFM`` around their ``DiT`` in float32, every weight random (theirs begin as zero,
    which would hide mistakes)."""
    _prepare_import()
    from f5_tts.model import CFM, DiT
    from f5_tts.model.utils import get_tokenizer

    tokens, size = get_tokenizer(str(vocabulary_file()), "custom")
    transformer = DiT(**(BASE | {"depth": depth} | VARIANTS[variant]), text_num_embeds=size)
    model = CFM(transformer=transformer, vocab_char_map=tokens).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        scale = 0.02 if parameter.ndim < 2 or "text_embed.weight" in name else fan_in**-0.5
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.requires_grad_(False)


def _prepare_import() -> None:
    """Their package imports without what only its training needs, and beside any torch."""
    _vocos_modules()  # makes torchaudio importable beside a torch of another build
    trainer = types.ModuleType("f5_tts.model.trainer")
    trainer.Trainer = None  # type: ignore[attr-defined]
    sys.modules.setdefault(trainer.__name__, trainer)


def publish(model: nn.Module, path: Path) -> None:
    """Writes ``model`` as their averaged weights are published."""
    tensors = {f"ema_model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {"initted": torch.ones(1), "step": torch.zeros(1)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def main() -> None:
    """``f5_public_layout.py VARIANT FOLDER [DEPTH]`` writes model.safetensors and vocab.txt."""
    variant, folder = sys.argv[1], Path(sys.argv[2])
    depth = int(sys.argv[3]) if len(sys.argv) > 3 else BASE["depth"]
    folder.mkdir(parents=True, exist_ok=True)
    publish(reference_model(variant, depth=depth), folder / "model.safetensors")
    (folder / "vocab.txt").write_bytes(vocabulary_file().read_bytes())


if __name__ == "__main__":
    main()
