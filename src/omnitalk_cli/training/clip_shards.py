"""Clips of real people as training data: speech, motion and text in safetensors shards.

``clips-NNNNN.safetensors`` holds ``<i>.mel`` ``[T, 100]`` and ``<i>.codes`` ``[T, 61]`` (float16,
both at the mel rate) for its clips ``i`` = 0, 1, …, and who says what in its metadata. A shard is
written whole or not at all; its header alone says how long every clip is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError
from omnitalk_cli.types import MEL_BINS, MEL_RATE

FORMAT = "omnitalk-clips"
FORMAT_VERSION = "1"
PATTERN = "clips-*.safetensors"
_CODE_COUNT = 61


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What is known of a clip: ``frames`` mel frames, the ``text`` that is said and its language
    (``en``, ``zh`` …), the person (``speaker``, "" unknown), the video it is from and where in it
    it begins (seconds)."""

    id: str
    frames: int
    text: str
    language: str
    speaker: str
    source: str
    start: float
    split: Literal["train", "heldout"] = "train"

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / MEL_RATE


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip with its features: ``mel`` ``[T, 100]`` log-mel, ``codes`` ``[T, 61]``, float16."""

    facts: ClipFacts
    mel: NDArray[np.float16]
    codes: NDArray[np.float16]

    def __post_init__(self) -> None:
        frames = self.facts.frames
        if self.mel.shape != (frames, MEL_BINS) or self.codes.shape != (frames, _CODE_COUNT):
            raise ValueError(
                f"clip {self.facts.id}: mel {self.mel.shape} and codes {self.codes.shape} are not "
                f"{frames} frames of {MEL_BINS} and {_CODE_COUNT}"
            )


def write_clips(path: Path, clips: Sequence[Clip]) -> None:
    """Writes a shard, whole or not at all; the same clips make the same bytes."""
    tensors = {}
    for number, clip in enumerate(clips):
        tensors[f"{number}.mel"] = np.ascontiguousarray(clip.mel, np.float16)
        tensors[f"{number}.codes"] = np.ascontiguousarray(clip.codes, np.float16)
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "clips": json.dumps([asdict(clip.facts) for clip in clips]),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, str(temporary), metadata=metadata)
        _sort_header(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sort_header(path: Path) -> None:
    """Puts the header's keys in order: safetensors draws theirs, and equal shards would differ."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        # The same characters in another order, so the place is large enough.
        file.seek(8)
        file.write(text.encode().ljust(size))


def clip_facts(path: Path) -> list[ClipFacts]:
    """What the shard at ``path`` holds, in order. Raises InputError when it is no such shard."""
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
        if (metadata.get("format"), metadata.get("version")) != (FORMAT, FORMAT_VERSION):
            raise InputError(f"{path}: is not a shard of clips of version {FORMAT_VERSION}")
        return [ClipFacts(**facts) for facts in json.loads(metadata["clips"])]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a readable shard of clips ({error})") from error


def read_clips(path: Path, numbers: Sequence[int] | None = None) -> list[Clip]:
    """The clips ``numbers`` of a shard (None: all); only their part of the file is read.

    Raises InputError when it is no such shard.
    """
    facts = clip_facts(path)
    with safe_open(str(path), framework="np") as file:
        return [
            Clip(
                facts=facts[number],
                mel=file.get_tensor(f"{number}.mel"),
                codes=file.get_tensor(f"{number}.codes"),
            )
            for number in (range(len(facts)) if numbers is None else numbers)
        ]
