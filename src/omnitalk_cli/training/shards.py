"""How the corpus lies on disk: safetensors shards of utterances, and of plain audio.

A shard ``shard-00000.safetensors`` holds ``mel`` f16 ``[sum T,100]`` (raw log-mel), ``codes`` f16
``[sum T,61]`` (motion at the mel rate), ``offsets`` int64 ``[U+1]``, and as metadata ``format``,
``version``, ``motion`` (``none``: the codes are zero, or ``synthetic``) and a JSON list
``utterances`` with the other fields of :class:`CorpusItem`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError, WorkError
from omnitalk_cli.types import HOP, SAMPLE_RATE

FORMAT, VERSION = "omnitalk-corpus", "1"
CODES = 61


@dataclass(frozen=True, kw_only=True)
class CorpusItem:
    """One utterance. ``mel`` ``[T,100]``, ``codes`` ``[T,61]``; ``words`` [(start, end)] s, one per
    ``text.split()`` item; ``phones`` [(symbol, start, end)] of ``alphabet`` or None; ``seed`` of
    its motion."""

    mel: NDArray[Any]
    codes: NDArray[Any] | None = None
    text: str
    words: list[tuple[float, float]]
    speaker: str
    source: str
    split: str = "train"
    phones: list[tuple[str, float, float]] | None = None
    alphabet: str = "espeak"
    seed: int = 0


class CorpusWriter:
    """Gathers utterances and writes them as one shard, all or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items: list[CorpusItem] = []

    def add(self, item: CorpusItem) -> None:
        """Raises ValueError where word times do not fit the text."""
        if len(item.words) != len(item.text.split()):
            raise ValueError(f"{len(item.words)} word times for {item.text!r}")
        self.items.append(item)

    @property
    def seconds(self) -> float:
        return sum(len(item.mel) for item in self.items) * HOP / SAMPLE_RATE

    def write(self, *, motion: str = "none") -> None:
        """``motion`` says where the codes come from: ``none`` (all zero) or ``synthetic``."""
        if not self.items:
            raise WorkError(f"{self.path}: no utterance to write")
        facts = []
        for item in self.items:
            fact = {k: v for k, v in vars(item).items() if k not in ("mel", "codes")}
            fact["words"] = [[round(a, 4), round(b, 4)] for a, b in item.words]
            if item.phones is not None:
                fact["phones"] = [[s, round(a, 4), round(b, 4)] for s, a, b in item.phones]
            facts.append(fact)
        lengths = [len(item.mel) for item in self.items]
        still = [np.zeros((length, CODES)) for length in lengths]
        codes = [z if i.codes is None else i.codes for i, z in zip(self.items, still, strict=True)]
        _save(
            self.path,
            {
                "mel": np.concatenate([item.mel.astype(np.float16) for item in self.items]),
                "codes": np.concatenate([c.astype(np.float16) for c in codes]),
                "offsets": np.cumsum([0, *lengths], dtype=np.int64),
            },
            {
                "format": FORMAT,
                "version": VERSION,
                "motion": motion,
                "utterances": json.dumps(facts, separators=(",", ":")),
            },
        )


def _save(path: Path, tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    save_file(tensors, unfinished, metadata=metadata)
    unfinished.replace(path)


def read_shard(path: Path) -> Iterator[CorpusItem]:
    """The utterances of a shard, arrays as float16 views of it. Raises InputError."""
    try:
        with safe_open(path, "np") as stored:
            about = stored.metadata() or {}
            if about.get("format") != FORMAT or about.get("version") != VERSION:
                raise InputError(f"{path} is not a corpus shard of version {VERSION}")
            mel, codes = stored.get_tensor("mel"), stored.get_tensor("codes")
            offsets = stored.get_tensor("offsets")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as a corpus shard ({error})") from error
    facts = json.loads(about["utterances"])
    for fact, start, end in zip(facts, offsets[:-1], offsets[1:], strict=True):
        fact["words"] = [(a, b) for a, b in fact["words"]]
        if fact["phones"] is not None:
            fact["phones"] = [(s, a, b) for s, a, b in fact["phones"]]
        yield CorpusItem(mel=mel[start:end], codes=codes[start:end], **fact)


def write_audio(path: Path, audios: Iterable[NDArray[Any]], sources: list[str]) -> None:
    """``audio`` int16 [sum S] at 24 kHz, ``offsets`` [U+1], ``sources`` as JSON metadata."""
    pcm = [
        a if a.dtype == np.int16 else np.clip(np.round(a * 32768), -32768, 32767).astype(np.int16)
        for a in audios
    ]
    offsets = np.cumsum([0, *map(len, pcm)], dtype=np.int64)
    tensors = {"audio": np.concatenate(pcm), "offsets": offsets}
    _save(path, tensors, {"format": "omnitalk-audio", "sources": json.dumps(sources)})
