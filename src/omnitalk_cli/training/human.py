"""Human recordings for training: a folder with ``metadata.csv`` (file, speaker, lang, text).

English is aligned by pocketsphinx: words and ARPAbet phones.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.signal import resample_poly

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.training.augment import (
    Channel,
    fill_silence,
    fill_top_bands,
    retimed,
    scale_pitch,
    set_level,
    stretched_mel,
    trim,
)
from omnitalk_cli.training.shards import CorpusItem
from omnitalk_cli.training.text_source import normalise
from omnitalk_cli.types import HOP, SAMPLE_RATE, Float

HELD_OUT_SHARE = 0.05
LEVEL = 0.06
_ALIGN_RATE = 16_000
_FRAME_S = 0.01
# (beam, word beam) and seconds of room tone put around the speech, until one succeeds. Decoding
# must end in silence; wider beams help some utterances and lose others.
_ATTEMPTS = (
    ((1e-48, 7e-29), 0.2),
    ((1e-48, 7e-29), 0.0),
    ((1e-48, 7e-29), 0.1),
    ((1e-80, 1e-60), 0.3),
    ((1e-80, 1e-60), 0.0),
)
_SILENCE = "SIL"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One aligned utterance. ``words`` [(start, end)] s; ``phones`` [(ARPAbet, start, end)] or
    None; ``text`` is empty where it is not known or the language is not English."""

    text: str
    words: list[tuple[float, float]]
    phones: list[tuple[str, float, float]] | None
    split: str
    audio: NDArray[np.int16]

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
    return np.concatenate(parts).astype(np.float32) / 32768.0


class Aligner:
    """Forced alignment of English by pocketsphinx; wider beams are tried on failure."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise SetupError("aligning recordings needs the package pocketsphinx") from error
        self._make = Decoder
        self._decoders: dict[tuple[float, float], Any] = {}

    def _decoder(self, beams: tuple[float, float]) -> Any:
        if beams not in self._decoders:
            self._decoders[beams] = self._make(
                lm=None, loglevel="FATAL", beam=beams[0], pbeam=beams[0], wbeam=beams[1]
            )
        return self._decoders[beams]

    def phones_of(self, word: str) -> str | None:
        """ARPAbet of ``word``, possessives by rule; None when it is not in the dictionary."""
        decoder = self._decoder(_ATTEMPTS[0][0])
        known = decoder.lookup_word(word)
        if known is None and word.endswith("'s"):
            stem = decoder.lookup_word(word[:-2])
            if stem:
                last = stem.split()[-1]
                ending = "AH Z" if last in ("S", "Z", "SH", "CH", "JH", "ZH") else "Z"
                known = f"{stem} {'S' if last in ('P', 'T', 'K', 'F', 'TH') else ending}"
        return known

    def align(
        self, audio: Float, text: str
    ) -> tuple[list[tuple[float, float]], list[tuple[str, float, float]]] | None:
        """Word times (one per ``text.split()`` item) and phones of ``audio``; None if it fails."""
        parts = [re.findall(r"[a-z']*[a-z][a-z']*", item) for item in text.split()]
        spoken = [part for item in parts for part in item]
        pronounced = {word: self.phones_of(word) for word in spoken}
        if not spoken or not all(parts) or any(p is None for p in pronounced.values()):
            return None
        for beams, pad in _ATTEMPTS:
            decoder = self._decoder(beams)
            for word, phones in pronounced.items():
                if decoder.lookup_word(word) is None:
                    decoder.add_word(word, phones)
            found = _force(decoder, _padded(audio, pad), pad, " ".join(spoken))
            if found and len(found[0]) == len(spoken):
                spans = iter(found[0])
                words = []
                for item in parts:
                    mine = [next(spans) for _ in item]
                    words.append((mine[0][0], mine[-1][1]))
                return words, found[1]
        return None


def _padded(audio: Float, pad: float) -> bytes:
    """16 kHz samples with ``pad`` seconds of the recording's own room tone on both sides."""
    count = round(pad * SAMPLE_RATE)
    edges = np.concatenate([audio[:960], audio[:960][::-1]])
    tone = np.tile(edges, count // len(edges) + 1)[:count]
    sound = resample_poly(np.concatenate([tone, audio, tone]), 2, 3)
    sound *= min(1.0, 0.9 / (np.abs(sound).max() + 1e-9)) * 32767
    return sound.astype(np.int16).tobytes()


def _force(
    decoder: Any, data: bytes, pad: float, text: str
) -> tuple[list[tuple[float, float]], list[tuple[str, float, float]]] | None:
    seconds = len(data) / 2 / _ALIGN_RATE - 2 * pad

    def time(frame: int) -> float:
        return round(min(max(frame * _FRAME_S - pad, 0.0), seconds), 3)

    try:
        decoder.set_align_text(text)
        for stage in range(2):  # words first, then phones within them
            if stage:
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(data, full_utt=True)
            decoder.end_utt()
        words: list[tuple[float, float]] = []
        phones: list[tuple[str, float, float]] = []
        for word in decoder.get_alignment():
            if not re.match(r"<|\[|\+", word.name):
                words.append((time(word.start), time(word.start + word.duration)))
            for phone in word:
                name = _SILENCE if phone.name.startswith("+") else phone.name
                start, end = time(phone.start), time(phone.start + phone.duration)
                if end > start:
                    phones.append((name, start, end))
        return words, phones
    except RuntimeError:
        return None


def _aligned(rows: list[dict[str, str]], folder: Path, lang: str, seed: int) -> list[Recording]:
    aligner = Aligner() if lang == "en" else None
    rng = np.random.default_rng(seed)
    found: list[Recording] = []
    for row in rows:
        audio, _ = trim(decode(folder / row["file"]), rng)
        audio = set_level(audio, LEVEL)
        pcm = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16)
        if aligner is None:
            found.append(Recording(text="", words=[], phones=None, split=row["split"], audio=pcm))
            continue
        text = normalise(row["text"])
        timing = aligner.align(audio, text) if text else None
        if text and timing:
            found.append(
                Recording(
                    text=text, words=timing[0], phones=timing[1], split=row["split"], audio=pcm
                )
            )
    return found


def prepare_part(folder: Path, speaker: str, part: int, parts: int, cache: Path) -> Path:
    """Decode and align every ``parts``-th recording of ``speaker`` into a file below ``cache``.

    Does nothing when that file is there. Returns its path.
    """
    target = cache / f"{speaker}-{part}-of-{parts}.safetensors"
    if target.exists():
        return target
    rows = read_metadata(folder, speaker)
    if not rows:
        raise InputError(f"{folder}: metadata.csv names no recordings of {speaker}")
    recordings = _aligned(rows[part::parts], folder, rows[0]["lang"], seed=part)
    lengths = [len(recording.audio) for recording in recordings]
    facts = [
        {"text": r.text, "words": r.words, "phones": r.phones, "split": r.split} for r in recordings
    ]
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".tmp")
    save_file(
        {
            "audio": np.concatenate([r.audio for r in recordings]),
            "offsets": np.cumsum([0, *lengths], dtype=np.int64),
        },
        unfinished,
        metadata={"recordings": json.dumps(facts)},
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


def vary(
    recording: Recording,
    *,
    factor: float,
    stretch: float,
    channel: Channel,
    rng: np.random.Generator,
    speaker: str,
    source: str,
) -> CorpusItem:
    """``recording`` as another voice: pitch and formants by ``factor``, duration by ``stretch``."""
    raw, factor = scale_pitch(recording.samples(), factor)
    # Resampling alone lasts 1/f as long, so the hop has to make up for f as well.
    mel, scale = stretched_mel(channel.apply(raw, rng), stretch * factor)
    mel = fill_top_bands(mel, SAMPLE_RATE / 2 * min(factor, 1.0))
    times = retimed(
        recording.words, recording.phones, scale / factor, 0.0, len(mel) * HOP / SAMPLE_RATE
    )
    return CorpusItem(
        mel=mel, text=recording.text, speaker=speaker, source=source, split=recording.split,
        alphabet="arpabet", seed=int(rng.integers(2**31)), **times,
    )  # fmt: skip
