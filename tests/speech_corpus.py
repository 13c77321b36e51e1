"""A small speech corpus of noise, and a network and a budget to go with it."""

from pathlib import Path

import numpy as np

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.training.shards import CorpusItem, CorpusWriter
from omnitalk_cli.training.train_config import TrainConfig

SMALL = DiTConfig.tiny(
    dim=32, visual_dim=16, heads=2, head_dim=8, fusion_depth=1, single_depth=1, text_dim=16,
    position_kernel=3, position_groups=2,
)  # fmt: skip
QUICK = TrainConfig(
    steps=4, tokens=64, lengths=(32,), warmup_steps=2, bfloat16=False, checkpoint_minutes=1e9
)


def phones(seconds: float) -> list[tuple[str, float, float]]:
    """Nine phones that share the time evenly."""
    edges = np.linspace(0.1, seconds - 0.1, 10)
    names = "HH AH L OW W ER L D Z".split()
    return [(n, float(a), float(b)) for n, a, b in zip(names, edges, edges[1:], strict=False)]


def make_corpus(folder: Path) -> Path:
    """A corpus of noise in ``folder``: recordings without a face and clips with one."""
    rng = np.random.default_rng(0)
    writer = CorpusWriter(folder / "shard-00000.safetensors")
    recordings = CorpusWriter(folder / "shard-00001.safetensors")
    for number in range(6):
        seconds = 1.5 + 0.1 * number
        recordings.add(
            CorpusItem(
                audio=rng.normal(0, 3000, int(24_000 * seconds)).astype(np.int16),
                text="hello worlds", words=[(0.1, 0.8), (0.8, seconds - 0.1)], speaker="anna",
                source="human:anna", phones=phones(seconds), alphabet="arpabet",
                split="heldout" if number == 0 else "train",
            )
        )  # fmt: skip
    recordings.write()
    for number in range(24):
        frames = int(rng.integers(80, 200))
        codes = rng.random((frames, 61)).astype(np.float16)
        codes[:, CODE_INDEX["cheekPuff"]] = 0
        seconds = frames / 93.75
        writer.add(
            CorpusItem(
                mel=rng.normal(size=(frames, 100)).astype(np.float16), codes=codes,
                text="hello, world.", words=[(0.1, 0.4 * seconds), (0.5 * seconds, seconds - 0.1)],
                speaker=f"voice{number % 3}", source="test",
                split="heldout" if number % 6 == 0 else "train", phones=phones(seconds),
                alphabet="arpabet",
            )
        )  # fmt: skip
    writer.write()
    return folder
