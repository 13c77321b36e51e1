"""What the audio mark survives, what it costs and how little it is heard, on sound of your own.

``python -m omnitalk_cli.evaluation.audio_marks FILE_OR_FOLDER...`` joins the sound of the files,
cuts it into pieces, marks each with an id of its own and reads it after every attack; the same
sound, unmarked or marked with another key, must give no id.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import ffmpeg
import numpy as np

from omnitalk_cli.errors import InputError, OmnitalkError
from omnitalk_cli.evaluation.vocoder import wideband_pesq
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.ffmpeg import FFmpegProcess, command, find_ffmpeg, local, write_error
from omnitalk_cli.provenance.audio_mark import detect, embed
from omnitalk_cli.types import SAMPLE_RATE, Float

_SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".mov", ".webm", ".mkv")
_KEY = b"benchmark"
_OTHER_KEY = b"benchmark, other"
_FULL_BITS, _SHORT_BITS = 32, 16


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What happens to marked sound: ffmpeg filters in order, then an encoder's options.

    ``keep``: only that many seconds from the middle are read (None: all).
    """

    filters: tuple[tuple[str, dict[str, Any]], ...] = ()
    options: dict[str, Any] = field(default_factory=lambda: {"acodec": "pcm_s16le"})
    suffix: str = ".wav"
    keep: float | None = None


def _codec(name: str, rate: str, suffix: str, **more: Any) -> dict[str, Any]:
    return {
        "options": {"acodec": name, "audio_bitrate": rate, "ar": 48_000} | more,
        "suffix": suffix,
    }


_AAC_64 = _codec("aac", "64k", ".m4a")

ATTACKS: dict[str, Attack] = {
    "none": Attack(),
    "AAC 128k": Attack(**_codec("aac", "128k", ".m4a")),
    "AAC 96k": Attack(**_codec("aac", "96k", ".m4a")),
    "AAC 64k": Attack(**_AAC_64),
    "MP3 64k": Attack(**_codec("libmp3lame", "64k", ".mp3")),
    "Opus 24k": Attack(**_codec("libopus", "24k", ".opus")),
    "8 kHz": Attack(options={"acodec": "pcm_s16le", "ar": 8000}),
    "+6 dB": Attack(filters=(("volume", {"volume": "6dB"}),)),
    "-6 dB": Attack(filters=(("volume", {"volume": "-6dB"}),)),
    "loudnorm": Attack(filters=(("loudnorm", {}),)),
    "trim 1.24 s": Attack(filters=(("atrim", {"start": 1.24}),)),
    "tempo +1 %": Attack(filters=(("atempo", {"tempo": 1.01}),)),
    "tempo -1 %": Attack(filters=(("atempo", {"tempo": 0.99}),)),
    "speed +1 %": Attack(filters=(("asetrate", {"sample_rate": 24_240}),)),
    "speed -1 %": Attack(filters=(("asetrate", {"sample_rate": 23_760}),)),
    "noise at -61 dBFS": Attack(filters=(("aeval", {"exprs": "val(0)+0.003*(random(0)-0.5)"}),)),
    "AAC 64k, middle 5 s": Attack(**_AAC_64, keep=5.0),
    "Opus 24k, AAC 64k": Attack(**_AAC_64),  # the first pass is made by apply
}


@dataclass(frozen=True, kw_only=True)
class AttackScores:
    """How often the right id was read after an attack, and the mean confidence of a reading.

    ``full``: pieces with 32 bits; ``short``: their halves, with 16 bits.
    """

    full: float
    full_confidence: float
    short: float
    short_confidence: float


@dataclass(frozen=True, kw_only=True)
class AudioMarkScores:
    """The whole benchmark. Times are CPU seconds per second of sound.

    ``pesq``: wideband PESQ (ITU-T P.862.2) of marked against plain sound, None without the package;
    ``snr``: dB. ``noise_to_mask``: dB by which the difference lies over (below 0: under) what the
    sound masks, mean over time and Bark bands; ``unmasked``: share of those that lie over it.
    ``wrong``: readings of another id than was put in, after any attack.
    ``false_ids`` and ``false_marks``: among ``unmarked_tries`` on sound without a mark or with the
    mark of another key, ids that were read and marks that were reported.
    """

    pieces: int
    seconds: float
    attacks: dict[str, AttackScores]
    wrong: int
    unmarked_tries: int
    false_ids: int
    false_marks: int
    pesq: float | None
    pesq_worst: float | None
    snr: float
    noise_to_mask: float
    unmasked: float
    embed_time: float
    detect_time: float

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def apply(name: str, sound: Float, folder: Path) -> Float:
    """``sound [S]`` at 24 kHz after the attack called ``name``; files are made in ``folder``."""
    attack = ATTACKS[name]
    if name.startswith("Opus 24k, "):
        sound = apply("Opus 24k", sound, folder)
    plain = folder / "plain.f32"
    plain.write_bytes(sound.astype("<f4").tobytes())
    out = folder / f"attacked{attack.suffix}"
    stream = ffmpeg.input(local(plain), format="f32le", ar=SAMPLE_RATE, ac=1).audio
    for filter_name, options in attack.filters:
        stream = stream.filter(filter_name, **options)
    graph = ffmpeg.output(stream, local(out), **attack.options)
    with FFmpegProcess(command(graph, find_ffmpeg())) as process:
        if process.wait() != 0:
            raise write_error(out, process)
    result = decode_audio(out)
    if attack.keep is not None:
        length = round(attack.keep * SAMPLE_RATE)
        start = max(0, (len(result) - length) // 2)
        result = result[start : start + length]
    return result


def gather(paths: Iterable[Path]) -> Float:
    """The joined sound ``[S]`` at 24 kHz of files and of the files in folders."""
    sounds = []
    for path in paths:
        inside = [file for file in sorted(path.glob("*")) if file.suffix.lower() in _SOUNDS]
        files = inside if path.is_dir() else [path]
        sounds += [decode_audio(file) for file in files]
    if not sounds:
        raise InputError("no sound files were found in what was named")
    return np.concatenate(sounds)


def spread_pieces(sound: Float, count: int, seconds: float) -> list[Float]:
    """``count`` pieces of ``seconds`` out of ``sound``, evenly spread; they may overlap."""
    length = round(seconds * SAMPLE_RATE)
    if len(sound) < length:
        raise InputError(f"at least {seconds:g} s of sound are needed")
    starts = np.linspace(0, len(sound) - length, count).astype(int)
    return [sound[start : start + length] for start in starts]


def score(sound: Float, *, count: int, seconds: float, unmarked: int) -> AudioMarkScores:
    """Run the benchmark on ``count`` pieces of ``seconds`` and ``unmarked`` further tries."""
    pieces = spread_pieces(sound, count, seconds)
    half = round(seconds * SAMPLE_RATE / 2)
    ids = [0x9E3779B1 * (number + 1) % 2**32 for number in range(count)]
    begun = time.process_time()
    full = [embed(piece, ids[at], _FULL_BITS, _KEY) for at, piece in enumerate(pieces)]
    embed_time = (time.process_time() - begun) / (count * seconds)
    short = [embed(piece[:half], ids[at], _SHORT_BITS, _KEY) for at, piece in enumerate(pieces)]
    attacks: dict[str, AttackScores] = {}
    wrong = 0
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in ATTACKS:
            right: dict[int, list[float]] = {_FULL_BITS: [], _SHORT_BITS: []}
            for bits, marked in ((_FULL_BITS, full), (_SHORT_BITS, short)):
                for at, piece in enumerate(marked):
                    attacked = apply(name, piece, Path(folder))
                    begun = time.process_time()
                    found = detect(attacked, SAMPLE_RATE, _KEY)
                    if bits == _FULL_BITS:
                        spent += time.process_time() - begun
                    if (found.id, found.bits) == (ids[at] % (1 << bits), bits):
                        right[bits].append(found.confidence)
                    elif found.id is not None:
                        wrong += 1
            attacks[name] = AttackScores(
                full=len(right[_FULL_BITS]) / count,
                full_confidence=fmean(right[_FULL_BITS] or [0.0]),
                short=len(right[_SHORT_BITS]) / count,
                short_confidence=fmean(right[_SHORT_BITS] or [0.0]),
            )
    false_ids, false_marks = _false_readings(sound, unmarked, seconds)
    quality = [wideband_pesq(plain, marked) for plain, marked in zip(pieces, full, strict=True)]
    heard = [value for value in quality if value is not None]
    masked = np.concatenate(
        [noise_to_mask(plain, marked) for plain, marked in zip(pieces, full, strict=True)]
    )
    return AudioMarkScores(
        pieces=count,
        seconds=seconds,
        attacks=attacks,
        wrong=wrong,
        unmarked_tries=unmarked,
        false_ids=false_ids,
        false_marks=false_marks,
        pesq=fmean(heard) if heard else None,
        pesq_worst=min(heard) if heard else None,
        snr=fmean(_snr(plain, marked) for plain, marked in zip(pieces, full, strict=True)),
        noise_to_mask=float(masked.mean()),
        unmasked=float((masked > 0).mean()),
        embed_time=embed_time,
        detect_time=spent / (count * seconds * len(ATTACKS)),
    )


def _false_readings(sound: Float, tries: int, seconds: float) -> tuple[int, int]:
    """Ids and marks found where there are none; every other piece has the mark of another key."""
    ids = marks = 0
    for at, piece in enumerate(spread_pieces(sound, tries, seconds)):
        if at % 2:
            piece = embed(piece, at, _FULL_BITS, _OTHER_KEY)
        found = detect(piece, SAMPLE_RATE, _KEY)
        ids += found.id is not None
        marks += found.present
    return ids, marks


def _snr(plain: Float, marked: Float) -> float:
    return float(10 * np.log10((plain**2).sum() / ((plain - marked) ** 2).sum()))


def noise_to_mask(plain: Float, marked: Float) -> Float:
    """By how many dB the difference of two sounds ``[S]`` lies over what the first one masks.

    ``[M]``: all Bark bands of all frames (32 ms) that hold something loud. The threshold is
    Johnston's (1988): the energy of the bands, spread (Schroeder 1979), less an offset between that
    of noise (5.5 dB) and that of tones (14.5 dB plus the band's number), by spectral flatness.
    """
    size = 768
    starts = range(0, len(plain) - size + 1, size // 2)
    sounds = np.stack([plain, marked - plain]).astype(np.float64)
    frames = np.stack([sounds[:, start : start + size] for start in starts]) * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=-1)) ** 2 + 1e-12  # [F, 2, bins]
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    bark = 13 * np.arctan(7.6e-4 * hertz) + 3.5 * np.arctan((hertz / 7500) ** 2)
    bands = (bark[:, None].astype(int) == np.arange(int(bark.max()) + 1)).astype(float)
    energy, noise = np.moveaxis(power @ bands, 1, 0)  # [F, bands]
    away = np.arange(bands.shape[1])[None, :] - np.arange(bands.shape[1])[:, None] + 0.474
    spreading = 10 ** ((15.81 + 7.5 * away - 17.5 * np.sqrt(1 + away**2)) / 10)
    flatness = 10 * (
        np.log10(power[:, 0]).mean(axis=1) - np.log10(power[:, 0].mean(axis=1))
    )  # dB, 0 for noise
    tonal = np.clip(flatness / -60, 0, 1)[:, None]
    offset = tonal * (14.5 + np.arange(bands.shape[1])) + (1 - tonal) * 5.5
    threshold = 10 * np.log10(energy @ (spreading / spreading.sum(axis=0))) - offset
    loud = energy.sum(axis=1) > 1e-4 * energy.sum(axis=1).max()
    inside = slice(int(bark[hertz >= 400][0]), int(bark[hertz >= 3900][0]) + 1)
    ratio = 10 * np.log10(noise) - threshold
    return ratio[loud, inside].reshape(-1).astype(np.float32)


def _table(scores: AudioMarkScores) -> str:
    head = f"{scores.seconds:g} s, {_FULL_BITS} bit", f"{scores.seconds / 2:g} s, {_SHORT_BITS} bit"
    lines = [f"| attack | {head[0]} | confidence | {head[1]} | confidence |", "|---" * 5 + "|"]
    for name, row in scores.attacks.items():
        lines.append(
            f"| {name} | {row.full:.0%} | {row.full_confidence:.2f} "
            f"| {row.short:.0%} | {row.short_confidence:.2f} |"
        )
    heard = "not measured"
    if scores.pesq is not None:
        heard = f"{scores.pesq:.2f}, worst {scores.pesq_worst:.2f}"
    lines += [
        "",
        f"{scores.pieces} pieces; wrong ids: {scores.wrong}",
        f"unmarked or of another key: {scores.unmarked_tries} tries, {scores.false_ids} ids, "
        f"{scores.false_marks} marks",
        f"PESQ: {heard}; SNR {scores.snr:.1f} dB; noise to mask {scores.noise_to_mask:.1f} dB, "
        f"{scores.unmasked:.1%} over it",
        f"cost of real time: embed {scores.embed_time:.2%}, read {scores.detect_time:.2%}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="omnitalk_cli.evaluation.audio_marks")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--pieces", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8.0, help="halves of it carry 16 bits")
    parser.add_argument("--unmarked", type=int, default=200, help="tries for false readings")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        scores = score(
            gather(options.paths),
            count=options.pieces,
            seconds=options.seconds,
            unmarked=options.unmarked,
        )
    except OmnitalkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(scores.to_dict()) if options.json else _table(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
