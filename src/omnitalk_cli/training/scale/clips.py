"""A corpus of clips as the trainer sees it: which there are, and their features one by one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.errors import InputError
from omnitalk_cli.text.spelling import Spelling
from omnitalk_cli.training.clip_shards import PATTERN, ClipFacts, clip_facts
from omnitalk_cli.types import MEL_BINS, MEL_RATE, Float


@dataclass(frozen=True, kw_only=True)
class ClipRef:
    """A clip that is trained on: where it lies, how many frames of it are used, its token ids."""

    path: Path
    number: int
    frames: int
    ids: tuple[int, ...]
    facts: ClipFacts


@dataclass(frozen=True, kw_only=True)
class ClipTable:
    """The usable clips of both splits, and how many are ``left_out``, by reason."""

    train: tuple[ClipRef, ...]
    heldout: tuple[ClipRef, ...]
    left_out: dict[str, int]

    @property
    def digest(self) -> str:
        """A hash of the clips that are trained on; the order of batches hangs on it."""
        names = "\n".join(f"{ref.path.name}:{ref.number}:{ref.frames}" for ref in self.train)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that are trained on."""
        return sorted({ref.facts.language for ref in self.train if ref.facts.language})


def has_clips(folder: Path) -> bool:
    """Whether ``folder`` holds shards of clips."""
    return any(folder.glob(PATTERN))


def read_table(
    folder: Path,
    spelling: Spelling,
    *,
    shortest: float,
    longest: float,
    most_frames: int,
    patch: int = 1,
) -> ClipTable:
    """Reads the headers of all shards in ``folder``. Lengths in seconds; clips of more than
    ``most_frames`` frames are left out, too.

    Raises InputError when there is no shard, or no clip in it that can be trained on.
    """
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise InputError(f"{folder}: holds no shards of clips; make them: omnitalk corpus build")
    found: dict[str, list[ClipRef]] = {"train": [], "heldout": []}
    reasons: Counter[str] = Counter()
    for path in paths:
        for number, facts in enumerate(clip_facts(path)):
            frames = facts.frames // patch * patch
            ids: list[int] = []
            reason = _unusable(facts, shortest, longest, most_frames)
            if not reason:
                try:
                    ids = spelling.encode(facts.text, facts.language)
                except InputError:
                    reason = "text cannot be written in the vocabulary"
            if not reason and not ids:
                reason = "no text"
            if not reason and len(ids) > frames:
                reason = "more tokens than frames"
            if reason:
                reasons[reason] += 1
                continue
            found[facts.split].append(
                ClipRef(path=path, number=number, frames=frames, ids=tuple(ids), facts=facts)
            )
    if not found["train"]:
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it is empty"
        raise InputError(f"{folder}: has no clip to train on ({told})")
    return ClipTable(
        train=tuple(found["train"]), heldout=tuple(found["heldout"]), left_out=dict(reasons)
    )


def _unusable(facts: ClipFacts, shortest: float, longest: float, most_frames: int) -> str:
    if facts.frames < shortest * MEL_RATE:
        return f"shorter than {shortest:g} s"
    if facts.frames > longest * MEL_RATE:
        return f"longer than {longest:g} s"
    return "longer than a batch" if facts.frames > most_frames else ""


class FeatureReader:
    """Features of clips; keeps the last shards open. Threads may share one."""

    def __init__(self, open_shards: int = 64) -> None:
        self._open = lru_cache(maxsize=open_shards)(lambda path: safe_open(path, framework="np"))

    def __call__(self, ref: ClipRef) -> Float:
        """Log-mel and codes of a clip side by side, ``[T, 161]``. Raises InputError."""
        try:
            shard = self._open(str(ref.path))
            parts = [shard.get_tensor(f"{ref.number}.{name}") for name in ("mel", "codes")]
        except (SafetensorError, OSError) as error:
            raise InputError(f"{ref.path}: clip {ref.facts.id} cannot be read ({error})") from error
        return np.concatenate([part[: ref.frames] for part in parts], axis=1).astype(np.float32)


def measure_normalisation(refs: Sequence[ClipRef], *, most: int = 2_000) -> Normalisation:
    """Mean and deviation per channel over at most ``most`` clips, spread evenly over the corpus.

    Channels that never move get deviation 1.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    read = FeatureReader()
    for number in np.unique(np.linspace(0, len(refs) - 1, min(most, len(refs))).astype(int)):
        features = read(refs[number]).astype(np.float64)
        count += len(features)
        total = total + features.sum(0)
        squares = squares + np.square(features).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    moving = deviation > 1e-4
    deviation = np.where(moving, np.maximum(deviation, 1e-3), 1.0)
    centre = torch.from_numpy(np.where(moving, mean, 0.0)).float()
    spread = torch.from_numpy(deviation).float()
    return Normalisation(
        mel_mean=centre[:MEL_BINS], mel_std=spread[:MEL_BINS],
        code_mean=centre[MEL_BINS:], code_std=spread[MEL_BINS:],
    )  # fmt: skip
