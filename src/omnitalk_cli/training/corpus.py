"""The corpus that the model learns from: speech, text and phone times in safetensors shards.

Synthetic speech in many voices as mels, and human recordings as they are (training varies them).
Each shard is made on its own from the seed and its number, so that a broken-off run goes on where
it stopped. (espeak-ng draws some noise itself: synthetic shards repeat in all but that.)
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitalk_cli.errors import UsageError, WorkError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.aligner import Aligner
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.training import flite
from omnitalk_cli.training.augment import (
    Channel,
    fill_top_bands,
    retimed,
    scale_pitch,
    set_level,
    trim,
)
from omnitalk_cli.training.espeak import (
    ESPEAK_RATE,
    HELD_OUT_VARIANTS,
    Espeak,
    EspeakVoice,
    sample_voice,
)
from omnitalk_cli.training.human import LEVEL, load_prepared, prepare_part, read_metadata
from omnitalk_cli.training.shards import CorpusItem, CorpusWriter, write_audio
from omnitalk_cli.training.text_source import SentenceSource, normalise, read_sentences
from omnitalk_cli.types import SAMPLE_RATE, Float

LONGEST_S = 10.0
_PARTS = 4  # files per speaker while recordings are prepared, so that workers share the work


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What to make: hours of synthetic speech from ``text`` (files of English sentences), and the
    ``speakers`` of ``human``, a folder with ``metadata.csv``. ``flite_hours`` are for all of
    flite's voices together."""

    espeak_hours: float = 12.0
    flite_hours: float = 0.0
    shard_hours: float = 0.6
    text: tuple[str, ...] = ()
    human: str | None = None
    speakers: tuple[str, ...] = ("kathleen", "kerstin", "flemishguy", "nathalie")
    utterances_per_voice: int = 9
    held_out_sentences: int = 60
    audio_hours: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shard_hours <= 0 or self.utterances_per_voice < 1:
            raise UsageError("hours per shard and utterances per voice must be positive")

    def shards(self) -> list[tuple[str, int]]:
        """(kind, number within the kind) of every shard; those with held-out speech come first."""
        count = math.ceil(self.espeak_hours / self.shard_hours)
        human = len(self.speakers) if self.human else 0
        return (
            [("espeak-heldout", 0)]
            + [("human", k) for k in range(human)]
            + [("espeak", k) for k in range(count)]
            + [("flite", k) for k in range(len(flite.VOICES) if self.flite_hours else 0)]
        )


# --- sources -------------------------------------------------------------------------------------


def _cache(out_dir: Path) -> Path:
    return out_dir / ".cache"


def _prepared(out_dir: Path, speaker: str) -> list[Path]:
    return [_cache(out_dir) / f"{speaker}-{k}-of-{_PARTS}.safetensors" for k in range(_PARTS)]


@lru_cache(maxsize=1)
def _sentences(config: CorpusConfig) -> tuple[SentenceSource, list[str]]:
    """Where training texts come from, and the sentences held out."""
    natural = read_sentences(Path(file) for file in config.text)
    prompts: list[str] = []
    if config.human:
        for speaker in config.speakers:
            rows = read_metadata(Path(config.human), speaker)
            english = [row for row in rows if row["lang"] == "en"]
            texts = [(normalise(row["text"]), row["split"]) for row in english]
            secret = {text for text, split in texts if split == "heldout"}
            natural = [text for text in natural if text not in secret]
            prompts += [text for text, split in texts if text and split == "train"]
    rng = np.random.default_rng([config.seed, 1])
    order = [natural[int(i)] for i in rng.permutation(len(natural))]
    held = [text for text in order if 4 <= len(text.split()) <= 12][: config.held_out_sentences]
    natural = list(dict.fromkeys([*order, *prompts]))
    return SentenceSource(natural, held_out=held), held


def _speak(
    espeak: Espeak,
    text: str,
    voice: EspeakVoice,
    factor: float,
    channel: Channel,
    rng: np.random.Generator,
) -> tuple[Float, Float, dict[str, Any]] | None:
    """Audio, mel and times of one synthetic utterance; None when it cannot be used."""
    try:
        spoken = espeak.say(text, voice)
    except WorkError:
        return None
    raw, exact = scale_pitch(spoken.audio, factor, rate=ESPEAK_RATE)
    if len(raw) < 0.4 * SAMPLE_RATE or float(np.abs(raw).max()) < 0.01:
        return None
    audio, cut = trim(raw, rng)
    if not 0.5 <= len(audio) / SAMPLE_RATE <= LONGEST_S:
        return None
    audio = channel.apply(audio, rng)
    mel = fill_top_bands(log_mel(torch.from_numpy(audio)).numpy(), ESPEAK_RATE / 2 * exact)
    times = retimed(spoken.words, spoken.phones, 1 / exact, -cut, len(audio) / SAMPLE_RATE)
    return audio, mel, times


def _espeak_shard(config: CorpusConfig, number: int, writer: CorpusWriter) -> list[Float]:
    """Fill ``writer`` from many voices; returns the audio of its utterances."""
    source, _ = _sentences(config)
    audios: list[Float] = []
    espeak, voice_number = _espeak(), 0
    while writer.seconds < config.shard_hours * 3600:
        rng = np.random.default_rng([config.seed, 2, number, voice_number])
        voice, channel = sample_voice(rng), Channel.sample(rng)
        factor = (
            float(np.exp(rng.uniform(np.log(0.85), np.log(1.2)))) if rng.random() < 0.6 else 1.0
        )
        for _ in range(config.utterances_per_voice):
            pace = voice.rate / factor * rng.uniform(0.96, 1.04)
            varied = EspeakVoice(**{**asdict(voice), "rate": int(np.clip(pace, 85, 280))})
            made = None
            while made is None:
                text = source.draw(rng)
                made = _speak(espeak, text, varied, factor, channel, rng)
            audios.append(made[0])
            speaker = f"espeak-{config.seed}-{number:03d}-{voice_number:03d}"
            writer.add(
                CorpusItem(mel=made[1], text=text, speaker=speaker, source="espeak", **made[2])
            )
        voice_number += 1
    return audios


def _espeak_held_out(config: CorpusConfig, writer: CorpusWriter) -> None:
    _, held = _sentences(config)
    for index, variant in enumerate(HELD_OUT_VARIANTS):
        rng = np.random.default_rng([config.seed, 3, index])
        voice, channel = sample_voice(rng, variant=variant), Channel.sample(rng)
        for text in held:
            made = _speak(_espeak(), text, voice, 1.0, channel, rng)
            if made is not None:
                writer.add(
                    CorpusItem(
                        mel=made[1], text=text, speaker=f"espeak-heldout-{variant}",
                        source="espeak", split="heldout", **made[2],
                    )
                )  # fmt: skip


def _flite_shard(config: CorpusConfig, number: int, writer: CorpusWriter) -> None:
    """One voice, as audio: training makes many of it."""
    source, _ = _sentences(config)
    voice, aligner = flite.VOICES[number], Aligner()
    rng = np.random.default_rng([config.seed, 4, number])
    with tempfile.TemporaryDirectory() as folder:
        while writer.seconds < config.flite_hours * 3600 / len(flite.VOICES):
            text, stretch = source.draw(rng), float(rng.uniform(0.85, 1.2))
            said = flite.say(text, voice, Path(folder), stretch=stretch)
            audio = set_level(trim(said, rng)[0], LEVEL)
            timing = aligner.align(audio, text)
            if timing is None or len(audio) > LONGEST_S * SAMPLE_RATE:
                continue
            writer.add(
                CorpusItem(
                    audio=np.round(audio * 32767).astype(np.int16), text=text, words=timing[0],
                    phones=timing[1], speaker=f"flite-{voice}", source=f"flite:{voice}",
                    alphabet="arpabet", bandwidth=flite.FLITE_RATE / 2,
                )
            )  # fmt: skip


def _human_shard(out_dir: Path, speaker: str, writer: CorpusWriter) -> None:
    for recording in load_prepared(_prepared(out_dir, speaker)):
        writer.add(
            CorpusItem(
                audio=recording.audio, text=recording.text, words=recording.words,
                phones=recording.phones, speaker=speaker, source=f"human:{speaker}",
                split=recording.split, alphabet="arpabet", language=recording.language,
            )
        )  # fmt: skip


# --- work ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _espeak() -> Espeak:
    return Espeak()  # global state of the library: one per process, to its end


def _prepare(folder: Path, speaker: str, part: int, cache: Path) -> None:
    prepare_part(folder, speaker, part, _PARTS, cache, espeak=_espeak())


def _make_shard(config: CorpusConfig, out_dir: Path, audio_dir: Path | None, index: int) -> float:
    """Make shard ``index`` unless it is there; returns its seconds (0 when it was there)."""
    torch.set_num_threads(1)
    path = out_dir / f"shard-{index:05d}.safetensors"
    if path.exists():
        return 0.0
    kind, number = config.shards()[index]
    writer = CorpusWriter(path)
    if kind == "espeak":
        audios = _espeak_shard(config, number, writer)
        if audio_dir and (number + 1) * config.shard_hours <= config.audio_hours + 1e-6:
            sources = [item.speaker for item in writer.items]
            write_audio(audio_dir / f"audio-{100 + number:05d}.safetensors", audios, sources)
    elif kind == "espeak-heldout":
        _espeak_held_out(config, writer)
    elif kind == "flite":
        _flite_shard(config, number, writer)
    else:
        speaker = config.speakers[number]
        _human_shard(out_dir, speaker, writer)
        if audio_dir:
            train = [item for item in writer.items if item.split == "train"]
            sounds = [item.audio for item in train if item.audio is not None]
            sources = [item.source for item in train]
            write_audio(audio_dir / f"audio-{number:05d}.safetensors", sounds, sources)
    writer.write()
    return writer.seconds


def make_corpus(
    config: CorpusConfig,
    out_dir: Path,
    *,
    progress: Progress = silent,
    workers: int = 1,
    audio_dir: Path | None = None,
) -> float:
    """Make the shards that are missing in ``out_dir``; returns the seconds of speech made.

    ``audio_dir`` also gets sound for a vocoder. Raises InputError, SetupError, WorkError.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    plan = config.shards()
    parts: list[tuple[str, int]] = []
    if config.human:
        parts = [(speaker, k) for speaker in config.speakers for k in range(_PARTS)]
    shards = list(range(len(plan)))
    running: dict[Future[Any], str] = {}
    made, done = 0.0, 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:

        def next_task() -> tuple[Future[Any], str] | None:
            """Recordings are prepared by half of the workers while the others speak."""
            preparing = sum(name == "part" for name in running.values())
            if parts and preparing < max(workers // 2, 1):
                speaker, part = parts.pop(0)
                work = (Path(config.human or ""), speaker, part, _cache(out_dir))
                return pool.submit(_prepare, *work), "part"
            for index in shards:
                if plan[index][0] != "human" or not (parts or preparing):
                    shards.remove(index)
                    return pool.submit(_make_shard, config, out_dir, audio_dir, index), "shard"
            return None

        while True:
            while len(running) < workers and (task := next_task()) is not None:
                running[task[0]] = task[1]
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                result = future.result()
                if running.pop(future) == "shard":
                    made, done = made + result, done + 1
                    progress("corpus", done, len(plan))
    return made
