"""Trains the letter-to-sound network of ``text.pronunciation`` on the pronunciation dictionary.

Two bidirectional GRU layers read the letters; each letter gives ``slots`` frames of CTC (Graves et
al., 2006), so nothing has to be aligned and all phones come out at once. Words are batched by their
length: without padding, the states at both ends mean "here the word begins or ends".
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.text.phones import ARPABET
from omnitalk_cli.text.pronunciation import (
    LETTERS,
    LetterToSound,
    LetterToSoundConfig,
    dictionary_entries,
)

_HELD_OUT = 20  # one word in so many is never trained on
_TAKEN = frozenset(LETTERS)


@dataclass(frozen=True, kw_only=True)
class PronunciationTraining:
    """Settings of a run, bounded by ``minutes`` of wall time and by ``steps``."""

    model: LetterToSoundConfig = field(default_factory=LetterToSoundConfig)
    minutes: float = 10.0
    steps: int = 1_000_000
    batch: int = 192
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    dropout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"minutes > 0, batch >= 1 and dropout in [0, 1) needed: {self}")


@dataclass(frozen=True)
class Lesson:
    """A word and the ways it is said; the first one is trained on."""

    word: str
    readings: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Fractions over a list of words: wrong phones, and words that are right.

    A word is compared with that of its readings that is nearest.
    """

    phone_error: float
    word_accuracy: float
    words: int


class Network(nn.Module):
    """Letters ``[B, K]`` to log-probabilities ``[B, K·slots, phones + 1]``; class 0 is no phone."""

    def __init__(self, config: LetterToSoundConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(len(LETTERS), config.embedding)
        self.gru = nn.GRU(
            config.embedding, config.width, config.layers,
            batch_first=True, bidirectional=True, dropout=dropout,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * config.width, config.slots * (len(ARPABET) + 1))

    def forward(self, letters: Tensor) -> Tensor:
        state, _ = self.gru(self.embed(letters))
        logits = self.head(self.dropout(state))
        frames = logits.unflatten(-1, (self.config.slots, len(ARPABET) + 1)).flatten(1, 2)
        scores: Tensor = frames.log_softmax(-1)
        return scores


def lessons(slots: int = 2) -> tuple[list[Lesson], list[Lesson]]:
    """The dictionary's words that letters can teach: those to train on and those held out.

    Left out: possessives (a rule), words without a vowel letter (spelled), and words with more
    phones than CTC frames. The choice depends on the spelling alone, so it never changes.
    """
    trained: list[Lesson] = []
    held_out: list[Lesson] = []
    for word, readings in dictionary_entries().items():
        if len(word) < 2 or not _TAKEN.issuperset(word) or word.endswith(("'s", "s'")):
            continue
        if not set(word) & set("aeiouy") or _frames(readings[0]) > slots * len(word):
            continue
        kept = held_out if zlib.crc32(word.encode()) % _HELD_OUT == 0 else trained
        kept.append(Lesson(word, readings))
    return trained, held_out


def train(
    config: PronunciationTraining,
    items: Sequence[Lesson],
    *,
    start: LetterToSound | None = None,
    progress: Progress = silent,
) -> Network:
    """Train on ``items`` until the minutes or the steps are used up; returns the network.

    ``start``, of the sizes of ``config.model``, is trained further instead of chance weights.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = Network(config.model, config.dropout).train()
    if start is not None:
        network.load_state_dict({k: torch.from_numpy(v) for k, v in start.tensors.items()})
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    ctc = nn.CTCLoss(blank=0, reduction="sum", zero_infinity=True)
    number = {phone: index + 1 for index, phone in enumerate(ARPABET)}
    words = [torch.tensor([LETTERS.index(c) for c in item.word]) for item in items]
    sounds = [torch.tensor([number[p] for p in item.readings[0]]) for item in items]
    queue: list[list[int]] = []
    begin, step, fraction = time.monotonic(), 0, 0.0
    while fraction < 1:
        if not queue:
            queue = _batches(items, config.batch, rng)
        batch = queue.pop()
        letters = torch.stack([words[i] for i in batch])
        rate = config.learning_rate * min(1.0, (step + 1) / config.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * fraction))
        scores = network(letters).transpose(0, 1)
        lengths = torch.tensor([len(sounds[i]) for i in batch])
        frames = torch.full((len(batch),), scores.shape[0])
        loss = ctc(scores, torch.cat([sounds[i] for i in batch]), frames, lengths)
        optimiser.zero_grad()
        (loss / lengths.sum()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        spent = time.monotonic() - begin
        fraction = max(spent / (config.minutes * 60), step / config.steps)
        progress("pronunciation", min(spent, config.minutes * 60), config.minutes * 60)
    return network.eval()


def save(network: Network, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write the weights as float16 with the config in the metadata."""
    tensors = {name: value.detach().half().contiguous() for name, value in
               network.state_dict().items()}  # fmt: skip
    header = {"config": json.dumps(asdict(network.config)), **(metadata or {})}
    save_file(tensors, path, metadata=header)


def score(reader: LetterToSound, items: Sequence[Lesson]) -> Score:
    """How well ``reader`` says words that it may not know. Raises ValueError without words."""
    if not items:
        raise ValueError("no words to score")
    edits = phones = right = 0
    for item in items:
        said = reader.read(item.word)
        wrong, length = min((edit_distance(said, r), len(r)) for r in item.readings)
        edits, phones, right = edits + wrong, phones + length, right + (wrong == 0)
    return Score(
        phone_error=edits / phones, word_accuracy=right / len(items), words=len(items)
    )  # fmt: skip


def edit_distance(said: Sequence[str], meant: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn ``said`` into ``meant``."""
    row = list(range(len(meant) + 1))
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(meant, 1):
            before, row[j] = row[j], min(before + (one != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def _frames(phones: Sequence[str]) -> int:
    """CTC frames that ``phones`` need: one each, and a blank between equal neighbours."""
    return len(phones) + sum(a == b for a, b in zip(phones, phones[1:], strict=False))


def _batches(items: Sequence[Lesson], size: int, rng: np.random.Generator) -> list[list[int]]:
    """One pass over the words in random batches of equal length."""
    by_length: dict[int, list[int]] = {}
    for index in rng.permutation(len(items)):
        by_length.setdefault(len(items[index].word), []).append(int(index))
    cut = [group[i : i + size] for group in by_length.values() for i in range(0, len(group), size)]
    return [cut[i] for i in rng.permutation(len(cut))]
