"""A training run as a command asks for it: vocabulary, beginning and corpus put together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.text.f5_tokens import F5Vocabulary
from omnitalk_cli.text.spelling import Spelling, f5, letters
from omnitalk_cli.training.scale.clips import ClipTable, read_table
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.initial import (
    Beginning,
    audio_habits,
    fresh,
    from_checkpoint,
    vocabulary_of,
    with_audio,
)
from omnitalk_cli.training.scale.state import states
from omnitalk_cli.training.scale.trainer import ScaleResult, ScaleTrainer
from omnitalk_cli.training.world import World


def train_clips(
    shape: DiTConfig,
    config: ScaleConfig,
    *,
    corpus: Path,
    folder: Path,
    device: str,
    vocabulary: Path | None = None,
    init: Path | None = None,
    init_audio: str | Path | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
) -> ScaleResult:
    """Trains a network of ``shape`` (its vocabulary is set to the one in use) on the clips in
    ``corpus``, or goes on in ``folder``. Under ``torchrun`` every process calls this.

    ``init`` is a checkpoint to begin with; ``init_audio`` one whose audio stream is taken, by path
    or by name ("f5-tts"), with its vocabulary and its ways. Raises InputError and UsageError for
    what does not fit together, SetupError for weights and devices that are not there.
    """
    if shape.text_layout != "filler":
        raise UsageError("clips have no timing of their words: the text layout must be 'filler'")
    if init is not None and init_audio is not None:
        raise UsageError("give either --init or --init-audio")
    if shape.audio_only:
        raise UsageError("this trains both streams: audio_only must be false")
    audio = _weights(init_audio) if init_audio is not None else None
    spelling = choose_spelling(vocabulary, init or audio)
    shape = dataclasses.replace(shape, vocabulary_size=spelling.size)
    if audio is not None:
        shape = dataclasses.replace(shape, **audio_habits(audio))
    if config.bucket % shape.patch:
        raise UsageError(f"buckets of {config.bucket} frames are no patches of {shape.patch}")
    table = read_table(
        corpus, spelling, shortest=config.shortest, longest=config.longest,
        most_frames=config.frames // config.bucket * config.bucket, patch=shape.patch,
    )  # fmt: skip
    with (
        World.joined(device) as world,
        # One process keeps other runs out for all; those of several machines share the folder.
        sole_user(folder) if world.main else contextlib.nullcontext(),
    ):
        tell = note if world.main else lambda text: None
        tell(_described(table))
        if states(folder):
            beginning = Beginning(network=fresh(shape, config.seed))
        elif audio is not None:
            beginning = with_audio(shape, config.seed, audio)
        elif init is not None:
            beginning = from_checkpoint(shape, config.seed, init)
        else:
            beginning = Beginning(network=fresh(shape, config.seed))
        trainer = ScaleTrainer(
            beginning, config, table=table, spelling=spelling, folder=folder, world=world,
            note=tell,
        )  # fmt: skip
        with contextlib.closing(trainer.engine):
            return trainer.run(progress if world.main else silent)


def choose_spelling(vocabulary: Path | None, checkpoint: Path | None) -> Spelling:
    """F5-TTS' tokens of a file or of a checkpoint that carries them, else letters and pinyin."""
    if vocabulary is not None:
        return f5(F5Vocabulary.read(vocabulary).tokens)
    tokens = None if checkpoint is None else vocabulary_of(checkpoint)
    return letters() if tokens is None else f5(tokens)


def _weights(name: str | Path) -> Path:
    from omnitalk_cli.weights.store import find_weights

    path = find_weights(name)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: is no safetensors file; convert it: omnitalk weights import")
    return path


def _described(table: ClipTable) -> str:
    seconds = sum(ref.frames for ref in table.train) / 93.75
    text = f"{len(table.train)} clips, {seconds / 3600:.2f} h; {len(table.heldout)} held out"
    if table.left_out:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(table.left_out.items()))
        text += f"; left out: {told}"
    return text
