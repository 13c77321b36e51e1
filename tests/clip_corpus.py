"""A small corpus of clips of noise, and a small network of the paper's kind to train on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from omnitalk_cli.dit.checkpoint import Normalisation, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.clip_shards import Clip, ClipFacts, write_clips

SHAPE = {
    "dim": 32, "visual_dim": 32, "heads": 2, "head_dim": 8, "fusion_depth": 2, "single_depth": 1,
    "text_dim": 16, "text_conv_layers": 1, "position_kernel": 3, "position_groups": 2,
}  # fmt: skip
CONFIG = DiTConfig(vocabulary_size=len(Vocabulary.letters()), **SHAPE)


def make_clip(
    number: int, frames: int, *, split: str = "train", text: str = "", language: str = "en"
) -> Clip:
    """A clip whose streams move slowly around a level that all clips share: that can be learnt."""
    rng = np.random.default_rng(number)
    both = np.cumsum(rng.standard_normal((frames, 161)), axis=0) / 20
    both += 2.0 * np.random.default_rng(99).standard_normal(161)
    return Clip(
        facts=ClipFacts(
            id=f"clip{number}", frames=frames, text=text or f"hello world {'abcdefgh'[number % 8]}",
            language=language, speaker="s", source="a.mp4", start=0.0,
            split="heldout" if split == "heldout" else "train",
        ),
        mel=both[:, :100].astype(np.float16),
        codes=both[:, 100:].astype(np.float16),
    )  # fmt: skip


def make_corpus(folder: Path, *, clips: int = 40, frames: int | None = None) -> Path:
    """Two shards; every eighth clip is held out. ``frames`` makes all of one length."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = [
        make_clip(i, frames or int(rng.integers(100, 260)), split="train" if i % 8 else "heldout")
        for i in range(clips)
    ]
    write_clips(folder / "clips-00000.safetensors", made[: clips // 2])
    write_clips(folder / "clips-00001.safetensors", made[clips // 2 :])
    return folder


def stirred(network: DualBranchDiT, seed: int = 0) -> DualBranchDiT:
    """The network with every weight that begins at zero away from it: nothing is switched off."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def stirred_checkpoint(
    path: Path, config: DiTConfig = CONFIG, extras: dict[str, object] | None = None
) -> Path:
    """A checkpoint of such a network, to begin runs with."""
    torch.manual_seed(1)
    save_checkpoint(
        path, config=config, state=stirred(DualBranchDiT(config)).state_dict(),
        normalisation=Normalisation(
            mel_mean=torch.zeros(100), mel_std=torch.ones(100), code_mean=torch.zeros(61),
            code_std=torch.ones(61),
        ),
        extras=extras or {}, dtype=torch.float32,
    )  # fmt: skip
    return path


def log_rows(folder: Path, kind: str = "loss") -> list[dict[str, float]]:
    """The rows of a run's log that hold ``kind``, less what hangs on the clock."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    facts = ("step", "gradient", "rate", "epoch", "batch")
    return [
        {name: row[name] for name in facts if name in row} | row[kind]
        for row in rows
        if kind in row
    ]
