"""How the corpus lies on disk: safetensors shards of utterances, and of plain audio.

A shard ``shard-00000.safetensors`` holds ``mel`` f16 ``[sum T,100]`` (raw log-mel) or ``audio``
int16 ``[sum S]`` (24 kHz: recordings that training varies), ``offsets`` int64 ``[U+1]`` into it,
``codes`` f16 ``[sum T,61]`` at the mel rate where real motion is known (with ``mel`` only; training
draws synthetic motion for the others), and as metadata ``format``, ``version`` and a JSON list
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

FORMAT, VERSION = "omnitalk-corpus", "2"


@dataclass(frozen=True, kw_only=True)
class CorpusItem:
    """One utterance: ``mel`` ``[T,100]`` or ``audio`` ``[S]`` int16, ``codes`` ``[T,61]`` where
    they are known; ``words`` [(start, end)] s, one per ``text.split()`` item; ``phones`` [(symbol,
    start, end)] of ``alphabet`` or None; ``bandwidth`` in Hz, above which ``audio`` is empty."""

    mel: NDArray[Any] | None = None
    audio: NDArray[np.int16] | None = None
    codes: NDArray[Any] | None = None
    text: str
    words: list[tuple[float, float]]
    speaker: str
    source: str
    split: str = "train"
    phones: list[tuple[str, float, float]] | None = None
    alphabet: str = "espeak"
    language: str = "en"
    bandwidth: float = SAMPLE_RATE / 2

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        if self.audio is not None:
            return len(self.audio) / SAMPLE_RATE
        return 0.0 if self.mel is None else len(self.mel) * HOP / SAMPLE_RATE


class CorpusWriter:
    """Gathers utterances and writes them as one shard, all or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items: list[CorpusItem] = []

    def add(self, item: CorpusItem) -> None:
        """Raises ValueError where word times do not fit the text, and on mel and audio mixed."""
        if len(item.words) != len(item.text.split()):
            raise ValueError(f"{len(item.words)} word times for {item.text!r}")
        if (item.mel is None) == (item.audio is None):
            raise ValueError("an utterance has either a mel or audio")
        if self.items and (self.items[0].mel is None) != (item.mel is None):
            raise ValueError("a shard holds either mels or audio")
        if self.items and (self.items[0].codes is None) != (item.codes is None):
            raise ValueError("a shard has the codes of all utterances or of none")
        self.items.append(item)

    @property
    def seconds(self) -> float:
        return sum(item.seconds for item in self.items)

    def write(self) -> None:
        """Raises WorkError when there is nothing to write."""
        if not self.items:
            raise WorkError(f"{self.path}: no utterance to write")
        facts = []
        for item in self.items:
            fact = {k: v for k, v in vars(item).items() if k not in ("mel", "audio", "codes")}
            fact["words"] = [[round(a, 4), round(b, 4)] for a, b in item.words]
            if item.phones is not None:
                fact["phones"] = [[s, round(a, 4), round(b, 4)] for s, a, b in item.phones]
            facts.append(fact)
        tensors: dict[str, NDArray[Any]] = {}
        for name, kind in (("mel", np.float16), ("audio", np.int16), ("codes", np.float16)):
            parts = [getattr(item, name) for item in self.items]
            if parts[0] is not None:
                tensors[name] = np.concatenate(parts).astype(kind)
        sounds = [item.mel if item.audio is None else item.audio for item in self.items]
        lengths = [len(sound) for sound in sounds if sound is not None]
        tensors["offsets"] = np.cumsum([0, *lengths], dtype=np.int64)
        _save(
            self.path,
            tensors,
            {
                "format": FORMAT,
                "version": VERSION,
                "utterances": json.dumps(facts, separators=(",", ":")),
            },
        )


def _save(path: Path, tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    save_file(tensors, unfinished, metadata=metadata)
    unfinished.replace(path)


def read_shard(path: Path) -> Iterator[CorpusItem]:
    """The utterances of a shard, arrays as views of it. Raises InputError."""
    try:
        with safe_open(path, "np") as stored:
            about = stored.metadata() or {}
            if about.get("format") != FORMAT or about.get("version") != VERSION:
                raise InputError(f"{path} is not a corpus shard of version {VERSION}; make it anew")
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as a corpus shard ({error})") from error
    offsets = tensors.pop("offsets")
    facts = json.loads(about["utterances"])
    for fact, start, end in zip(facts, offsets[:-1], offsets[1:], strict=True):
        fact["words"] = [(a, b) for a, b in fact["words"]]
        if fact["phones"] is not None:
            fact["phones"] = [(s, a, b) for s, a, b in fact["phones"]]
        yield CorpusItem(**{k: v[start:end] for k, v in tensors.items()}, **fact)


def write_audio(path: Path, audios: Iterable[NDArray[Any]], sources: list[str]) -> None:
    """``audio`` int16 [sum S] at 24 kHz, ``offsets`` [U+1], ``sources`` as JSON metadata."""
    pcm = [
        a if a.dtype == np.int16 else np.clip(np.round(a * 32768), -32768, 32767).astype(np.int16)
        for a in audios
    ]
    offsets = np.cumsum([0, *map(len, pcm)], dtype=np.int64)
    tensors = {"audio": np.concatenate(pcm), "offsets": offsets}
    _save(path, tensors, {"format": "omnitalk-audio", "sources": json.dumps(sources)})
