"""The corpus that the model learns from: mel, motion, text and word times in safetensors shards.

Synthetic speech in many voices, human recordings and variations of them. Each shard is made on its
own from the seed and its number, so that a broken-off run goes on where it stopped. (espeak-ng
draws some noise itself: synthetic shards repeat in all but that.)
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import zlib
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitalk_cli.errors import UsageError, WorkError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.training.augment import Channel, fill_top_bands, retimed, scale_pitch, trim
from omnitalk_cli.training.espeak import (
    ESPEAK_RATE,
    HELD_OUT_VARIANTS,
    Espeak,
    EspeakVoice,
    sample_voice,
)
from omnitalk_cli.training.human import (
    Recording,
    load_prepared,
    prepare_part,
    read_metadata,
    vary,
)
from omnitalk_cli.training.shards import CorpusItem, CorpusWriter, read_shard, write_audio
from omnitalk_cli.training.text_source import SentenceSource, normalise, read_sentences
from omnitalk_cli.types import HOP, SAMPLE_RATE, Float

LONGEST_S = 10.0


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What to make. Hours per kind of source; ``human`` is a folder with ``metadata.csv``,
    ``english`` its aligned speakers, ``others`` those used without text; ``text`` files of English
    sentences; ``copies`` of every English recording, the first being the original."""

    espeak_hours: float = 12.0
    human_hours: float = 7.2
    other_hours: float = 1.5
    shard_hours: float = 0.6
    text: tuple[str, ...] = ()
    human: str | None = None
    english: tuple[str, ...] = ("kathleen",)
    others: tuple[str, ...] = ("kerstin", "flemishguy", "nathalie")
    copies: int = 6
    virtual_speakers: int = 80
    utterances_per_voice: int = 9
    held_out_sentences: int = 60
    audio_hours: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shard_hours <= 0 or self.copies < 1 or self.virtual_speakers < 1:
            raise UsageError("shard hours, copies and virtual speakers must be positive")

    def shards(self) -> list[tuple[str, int]]:
        """(kind, number within the kind) of every shard, the kinds interleaved."""
        counts = {"espeak": math.ceil(self.espeak_hours / self.shard_hours)}
        plan: list[tuple[float, str, int]] = [(-2.0, "espeak-heldout", 0)]
        if self.human:
            counts["human"] = math.ceil(self.human_hours / self.shard_hours)
            counts["other"] = math.ceil(self.other_hours / self.shard_hours)
            plan.append((-1.0, "human-heldout", 0))
        for kind, count in counts.items():
            plan += [((k + 0.5) / count, kind, k) for k in range(count)]
        return [(kind, k) for _, kind, k in sorted(plan)]


# --- sources -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """What a worker holds between shards."""

    config: CorpusConfig
    out_dir: Path
    recordings: dict[str, list[Recording]] = field(default_factory=dict)

    def human(self, speaker: str, split: str) -> list[Recording]:
        if speaker not in self.recordings:
            self.recordings[speaker] = load_prepared(_prepared(self.config, self.out_dir, speaker))
        return [r for r in self.recordings[speaker] if r.split == split]


def _prepared(config: CorpusConfig, out_dir: Path, speaker: str) -> list[Path]:
    parts = _parts(config, speaker)
    return [_cache(out_dir) / f"{speaker}-{k}-of-{parts}.safetensors" for k in range(parts)]


def _parts(config: CorpusConfig, speaker: str) -> int:
    return 8 if speaker in config.english else 2  # aligning takes longer


def _cache(out_dir: Path) -> Path:
    return out_dir / ".cache"


@lru_cache(maxsize=1)
def _sentences(config: CorpusConfig) -> tuple[SentenceSource, list[str]]:
    """Where training texts come from, and the sentences held out."""
    natural = read_sentences(Path(file) for file in config.text)
    prompts: list[str] = []
    if config.human:
        for speaker in config.english:
            rows = read_metadata(Path(config.human), speaker)
            texts = [(normalise(row["text"]), row["split"]) for row in rows]
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


def _espeak_shard(maker: _Maker, number: int, writer: CorpusWriter) -> list[Float]:
    """Fill ``writer`` from many voices; returns the audio of its utterances."""
    config = maker.config
    source, _ = _sentences(config)
    limit = config.shard_hours * 3600
    audios: list[Float] = []
    espeak, voice_number = _espeak(), 0
    while writer.seconds < limit:
        rng = np.random.default_rng([config.seed, 2, number, voice_number])
        voice, channel = sample_voice(rng), Channel.sample(rng)
        factor = (
            float(np.exp(rng.uniform(np.log(0.85), np.log(1.2)))) if rng.random() < 0.6 else 1.0
        )
        for take in range(config.utterances_per_voice):
            pace = voice.rate / factor * rng.uniform(0.96, 1.04)
            varied = EspeakVoice(**{**asdict(voice), "rate": int(np.clip(pace, 85, 280))})
            made = None
            while made is None:
                text = source.draw(rng)
                made = _speak(espeak, text, varied, factor, channel, rng)
            audios.append(made[0])
            speaker = f"espeak-{number:03d}-{voice_number:03d}"
            writer.add(
                CorpusItem(
                    mel=made[1], text=text, speaker=speaker, source="espeak",
                    seed=_seed(speaker, take), **made[2],
                )
            )  # fmt: skip
        voice_number += 1
    return audios


def _espeak_held_out(maker: _Maker, writer: CorpusWriter) -> None:
    _, held = _sentences(maker.config)
    for index, variant in enumerate(HELD_OUT_VARIANTS):
        rng = np.random.default_rng([maker.config.seed, 3, index])
        voice, channel = sample_voice(rng, variant=variant), Channel.sample(rng)
        for take, text in enumerate(held):
            made = _speak(_espeak(), text, voice, 1.0, channel, rng)
            if made is not None:
                speaker = f"espeak-heldout-{variant}"
                writer.add(
                    CorpusItem(
                        mel=made[1], text=text, speaker=speaker, source="espeak",
                        split="heldout", seed=_seed(speaker, take), **made[2],
                    )
                )  # fmt: skip


def _virtual(config: CorpusConfig, base: str, index: int) -> tuple[float, float, Channel]:
    """Factor, stretch and channel of virtual speaker ``index`` (0: the original voice)."""
    rng = np.random.default_rng([config.seed, 4, zlib.crc32(base.encode()), index])
    if index == 0:
        return 1.0, 1.0, Channel.plain()
    factor = 1.0
    while abs(factor - 1) < 0.04:
        factor = float(np.exp(rng.uniform(np.log(0.75), np.log(1.3))))
    return factor, float(np.exp(rng.uniform(np.log(0.87), np.log(1.13)))), Channel.sample(rng)


def _human_shard(maker: _Maker, kind: str, number: int, writer: CorpusWriter) -> None:
    """One part of all (recording, copy) pairs, in an order given by the seed."""
    config = maker.config
    shards = sum(1 for name, _ in config.shards() if name == kind)
    speakers = config.english if kind == "human" else config.others
    hours = config.human_hours if kind == "human" else config.other_hours
    pool = [(s, r) for s in speakers for r in maker.human(s, "train")]
    order = np.random.default_rng([config.seed, 5, len(pool)])
    pairs: list[tuple[int, int]] = []
    if kind == "human":
        pairs = [(i, copy) for copy in range(config.copies) for i in range(len(pool))]
        pairs = [pairs[int(k)] for k in order.permutation(len(pairs))]
    else:
        pairs = [(int(i), 1) for i in order.permutation(len(pool))]
    virtual = config.virtual_speakers if kind == "human" else max(config.virtual_speakers // 10, 1)
    rng = np.random.default_rng([config.seed, 6, number, len(pool)])
    # A shard has a dozen of the virtual speakers, so that each has many utterances together.
    active = [1 + (number * 12 + k) % virtual for k in range(min(12, virtual))]
    for i, copy in pairs[number::shards]:
        speaker, recording = pool[i]
        original = copy == 0 or rng.random() < 0.1
        index = 0 if original else active[int(rng.integers(len(active)))]
        factor, stretch, channel = _virtual(config, speaker, index)
        if copy:
            stretch *= float(rng.uniform(0.97, 1.03))
        item = vary(
            recording, factor=factor, stretch=float(np.clip(stretch, 0.85, 1.15)), channel=channel,
            rng=rng, speaker=f"{speaker}-{index:02d}" if index else speaker,
            source=f"human:{speaker}",
        )  # fmt: skip
        if 0.4 <= len(item.mel) * HOP / SAMPLE_RATE <= LONGEST_S:
            writer.add(item)
        if writer.seconds >= hours / shards * 3600:
            return


def _human_held_out(maker: _Maker, writer: CorpusWriter) -> None:
    config = maker.config
    for speaker in (*config.english, *config.others):
        rng = np.random.default_rng([config.seed, 7, zlib.crc32(speaker.encode())])
        recordings = maker.human(speaker, "heldout")
        for recording in recordings if speaker in config.english else recordings[:20]:
            writer.add(
                vary(
                    recording, factor=1.0, stretch=1.0, channel=Channel.plain(), rng=rng,
                    speaker=speaker, source=f"human:{speaker}",
                )
            )  # fmt: skip


def _seed(speaker: str, take: int) -> int:
    return zlib.crc32(f"{speaker}/{take}".encode())


# --- work ----------------------------------------------------------------------------------------

_makers: dict[tuple[CorpusConfig, Path], _Maker] = {}


@lru_cache(maxsize=1)
def _espeak() -> Espeak:
    return Espeak()  # global state of the library: one per process, to its end


def _make_shard(config: CorpusConfig, out_dir: Path, audio_dir: Path | None, index: int) -> float:
    """Make shard ``index`` unless it is there; returns its seconds (0 when it was there)."""
    torch.set_num_threads(1)
    maker = _makers.setdefault((config, out_dir), _Maker(config=config, out_dir=out_dir))
    path = out_dir / f"shard-{index:05d}.safetensors"
    if path.exists():
        return 0.0
    kind, number = config.shards()[index]
    writer = CorpusWriter(path)
    if kind == "espeak":
        audios = _espeak_shard(maker, number, writer)
        if audio_dir and (number + 1) * config.shard_hours <= config.audio_hours + 1e-6:
            sources = [item.speaker for item in writer.items]
            write_audio(audio_dir / f"audio-{100 + number:05d}.safetensors", audios, sources)
    elif kind == "espeak-heldout":
        _espeak_held_out(maker, writer)
    elif kind == "human-heldout":
        _human_held_out(maker, writer)
    else:
        _human_shard(maker, kind, number, writer)
    writer.items, motion = _with_motion(writer.items)
    writer.write(motion=motion)
    return writer.seconds


def _export_human_audio(config: CorpusConfig, out_dir: Path, audio_dir: Path) -> None:
    for number, speaker in enumerate((*config.english, *config.others)):
        path = audio_dir / f"audio-{number:05d}.safetensors"
        if not path.exists():
            recordings = load_prepared(_prepared(config, out_dir, speaker))
            chosen = [r.samples() for r in recordings if r.split == "train"]
            write_audio(path, chosen, [f"human:{speaker}"] * len(chosen))


def _with_motion(items: list[CorpusItem]) -> tuple[list[CorpusItem], str]:
    """``items`` with synthetic motion, one style per speaker; unchanged without the module."""
    try:
        from omnitalk_cli.training.motion import MotionStyle, Phone, synthesise_motion
    except ImportError:
        return items, "none"
    moved = []
    for item in items:
        style = MotionStyle.sample(np.random.default_rng(zlib.crc32(item.speaker.encode())))
        phones = None
        if item.phones is not None:
            phones = [Phone(symbol=s, start=a, end=b) for s, a, b in item.phones]
        codes = synthesise_motion(
            phones, item.mel.astype(np.float32), style, np.random.default_rng(item.seed),
            alphabet="arpabet" if item.alphabet == "arpabet" else "espeak",
        )  # fmt: skip
        moved.append(CorpusItem(**{**vars(item), "codes": codes}))
    return moved, "synthetic"


def remake_motion(path: Path) -> None:
    """Write the shard ``path`` anew with fresh motion. Raises WorkError without its maker."""
    writer = CorpusWriter(path)
    writer.items, motion = _with_motion(list(read_shard(path)))
    if motion == "none":
        raise WorkError("the maker of synthetic motion is missing")
    writer.write(motion=motion)


def make_corpus(
    config: CorpusConfig,
    out_dir: Path,
    *,
    progress: Progress = silent,
    workers: int = 1,
    audio_dir: Path | None = None,
) -> float:
    """Make the shards that are missing in ``out_dir``; returns the seconds of speech made.

    ``audio_dir`` also gets recordings for a vocoder. Raises InputError, SetupError, WorkError.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    plan = config.shards()
    speakers = (*config.english, *config.others) if config.human else ()
    parts = [(speaker, k) for speaker in speakers for k in range(_parts(config, speaker))]
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
                folder, count = Path(config.human or ""), _parts(config, speaker)
                work = (folder, speaker, part, count, _cache(out_dir))
                return pool.submit(prepare_part, *work), "part"
            for index in shards:
                if plan[index][0].startswith("espeak") or not (parts or preparing):
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
            if config.human and audio_dir and not parts and "part" not in running.values():
                _export_human_audio(config, out_dir, audio_dir)
    return made


def main(arguments: list[str] | None = None) -> None:
    """``python -m omnitalk_cli.training.corpus``: a bare way to the two functions above."""
    parser = argparse.ArgumentParser(prog="omnitalk-corpus", description=main.__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--hours", type=float, nargs=3, default=(12, 7.2, 1.5))
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--human")
    parser.add_argument("--audio-out", type=Path)
    parser.add_argument("--audio-hours", type=float, default=2.4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remake-motion", type=Path, metavar="DIR")
    chosen = parser.parse_args(arguments)

    def tell(stage: str, done: float, total: float | None) -> None:
        print(f"{stage} {done:g}/{total or 0:g}", file=sys.stderr, flush=True)

    if chosen.remake_motion:
        shards = sorted(chosen.remake_motion.glob("shard-*.safetensors"))
        for done, path in enumerate(shards):
            remake_motion(path)
            tell("motion", done + 1, len(shards))
        return
    spoken, human, other = chosen.hours
    config = CorpusConfig(
        espeak_hours=spoken, human_hours=human, other_hours=other, text=tuple(chosen.text),
        human=chosen.human, audio_hours=chosen.audio_hours, seed=chosen.seed,
    )  # fmt: skip
    make_corpus(
        config, chosen.out, progress=tell, workers=chosen.workers, audio_dir=chosen.audio_out
    )


if __name__ == "__main__":
    main()
