"""Human recordings for training: a folder with ``metadata.csv`` (file, speaker, lang, text).

English is aligned by pocketsphinx: words and ARPAbet phones. Other languages are aligned to what
espeak-ng makes of the text, in the phones of :mod:`omnitalk_cli.text.phones`.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.speech.aligner import Aligner
from omnitalk_cli.training.augment import fill_silence, set_level, trim
from omnitalk_cli.training.espeak import Espeak
from omnitalk_cli.training.foreign import align_all, normalise_foreign, trusted
from omnitalk_cli.training.text_source import normalise
from omnitalk_cli.types import SAMPLE_RATE, Float

HELD_OUT_SHARE = 0.05
LEVEL = 0.06
# Of prepared files. Version 1 (not written down) held other languages than English without text.
_VERSION = "2"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One aligned utterance. ``words`` [(start, end)] s, one per ``text.split()`` item; ``phones``
    [(symbol, start, end)] (ARPAbet, ``SIL``, for other languages also ``phones.EXTRA``) or None.

    ``text`` is lower case in the spelling of ``language`` (``en``, ``de``, ``nl``), whose letters
    may be none of the vocabulary's.
    """

    text: str
    words: list[tuple[float, float]]
    phones: list[tuple[str, float, float]] | None
    split: str
    audio: NDArray[np.int16]
    language: str = "en"

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    def samples(self) -> Float:
        """``[S]`` float32 −1…1, with room tone where the ends were padded."""
        audio = self.audio.astype(np.float32) / 32768.0
        return fill_silence(audio, np.random.default_rng(len(audio)))


def read_metadata(folder: Path, speaker: str) -> list[dict[str, str]]:
    """The rows of one speaker, sorted by file name, with ``split`` added. Raises InputError."""
    try:
        with open(folder / "metadata.csv", encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["speaker"] == speaker]
    except OSError as error:
        raise InputError(f"{folder}: no readable metadata.csv ({error.strerror})") from error
    rows.sort(key=lambda row: row["file"])
    held = len(rows) - round(len(rows) * HELD_OUT_SHARE)
    for place, row in enumerate(rows):
        row["split"] = "train" if place < held else "heldout"
    # Prompts that were read twice must not stand on both sides.
    secret = {row["text"] for row in rows[held:]}
    return [row for row in rows if row["split"] == "heldout" or row["text"] not in secret]


def decode(path: Path) -> Float:
    """The sound of a media file, mono, 24 kHz. Raises InputError, SetupError."""
    try:
        import av
    except ImportError as error:
        raise SetupError("reading recordings for training needs the package av") from error
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            parts: list[Any] = []
            for frame in container.decode(audio=0):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path}: cannot be decoded") from error
    sound: Float = np.concatenate(parts).astype(np.float32) / 32768.0
    return sound


def _decoded(rows: list[dict[str, str]], folder: Path, seed: int) -> list[NDArray[np.int16]]:
    """The recordings of ``rows``, trimmed and at the same level."""
    rng = np.random.default_rng(seed)
    found: list[NDArray[np.int16]] = []
    for row in rows:
        audio, _ = trim(decode(folder / row["file"]), rng)
        audio = set_level(audio, LEVEL)
        found.append(np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16))
    return found


def _aligned_english(rows: list[dict[str, str]], folder: Path, seed: int) -> list[Recording]:
    aligner = Aligner()
    found: list[Recording] = []
    for row, pcm in zip(rows, _decoded(rows, folder, seed), strict=True):
        text = normalise(row["text"])
        timing = aligner.align(pcm.astype(np.float32) / 32768.0, text) if text else None
        if text and timing:
            found.append(
                Recording(
                    text=text, words=timing[0], phones=timing[1], split=row["split"], audio=pcm
                )
            )
    return found


def _aligned_foreign(
    rows: list[dict[str, str]], folder: Path, language: str, seed: int, espeak: Espeak | None
) -> list[Recording]:
    """Without the recordings whose text is not spoken as written or whose timing is doubtful."""
    texts = [normalise_foreign(row["text"]) for row in rows]
    bare = [
        Recording(text=text, words=[], phones=None, split=row["split"], audio=pcm)
        for row, text, pcm in zip(rows, texts, _decoded(rows, folder, seed), strict=True)
        if text
    ]
    audios, spoken = [one.samples() for one in bare], [one.text for one in bare]
    timings = align_all(audios, spoken, language, espeak=espeak)
    return [
        replace(
            one, text=one.text.lower(), words=timing.words, phones=timing.phones, language=language
        )
        for one, timing, good in zip(bare, timings, trusted(timings), strict=True)
        if timing and good
    ]


def _is_current(target: Path) -> bool:
    """Whether a prepared file needs no making anew: older ones of English do not."""
    if not target.exists():
        return False
    with safe_open(target, "np") as stored:
        about = stored.metadata()
    facts = json.loads(about["recordings"])
    return about.get("version") == _VERSION or all(fact["phones"] is not None for fact in facts)


def prepare_part(
    folder: Path,
    speaker: str,
    part: int,
    parts: int,
    cache: Path,
    *,
    espeak: Espeak | None = None,
) -> Path:
    """Decode and align every ``parts``-th recording of ``speaker`` into a file below ``cache``.

    Does nothing when that file is there (and not of an older make). Returns its path.
    Other languages than English need espeak-ng: give the ``espeak`` of this process, if it has one.
    """
    target = cache / f"{speaker}-{part}-of-{parts}.safetensors"
    if _is_current(target):
        return target
    rows = read_metadata(folder, speaker)
    if not rows:
        raise InputError(f"{folder}: metadata.csv names no recordings of {speaker}")
    mine, language = rows[part::parts], rows[0]["lang"]
    if language == "en":
        recordings = _aligned_english(mine, folder, seed=part)
    else:
        recordings = _aligned_foreign(mine, folder, language, part, espeak)
    lengths = [len(recording.audio) for recording in recordings]
    facts = [
        {
            "text": r.text, "words": r.words, "phones": r.phones, "split": r.split,
            "language": r.language,
        }
        for r in recordings
    ]  # fmt: skip
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".tmp")
    save_file(
        {
            "audio": np.concatenate([r.audio for r in recordings]),
            "offsets": np.cumsum([0, *lengths], dtype=np.int64),
        },
        unfinished,
        metadata={"recordings": json.dumps(facts), "version": _VERSION},
    )
    unfinished.replace(target)
    return target


def load_prepared(files: list[Path]) -> list[Recording]:
    """The recordings of files made by :func:`prepare_part`."""
    found: list[Recording] = []
    for file in files:
        with safe_open(file, "np") as stored:
            audio, offsets = stored.get_tensor("audio"), stored.get_tensor("offsets")
            facts = json.loads(stored.metadata()["recordings"])
        for fact, start, end in zip(facts, offsets[:-1], offsets[1:], strict=True):
            fact["words"] = [(a, b) for a, b in fact["words"]]
            if fact["phones"] is not None:
                fact["phones"] = [(symbol, a, b) for symbol, a, b in fact["phones"]]
            found.append(Recording(audio=audio[start:end], **fact))
    return found
