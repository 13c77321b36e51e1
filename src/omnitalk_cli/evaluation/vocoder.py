"""Copy-synthesis: what a vocoder makes of the mel of a recording, beside the recording.

``python -m omnitalk_cli.evaluation.vocoder FILE_OR_FOLDER... [--vocoder NAME...]`` compares
vocoders; beside a recording's folder a CSV (``file,text``) gives the words for the recogniser.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor

from omnitalk_cli.errors import InputError, OmnitalkError
from omnitalk_cli.evaluation.recogniser import Recogniser, spelled, word_errors
from omnitalk_cli.evaluation.speech import mel_l1, pitch_track
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.speech.mel import N_FFT, log_mel
from omnitalk_cli.speech.vocoder import refine
from omnitalk_cli.speech.vocoders import mel_of, open_vocoder
from omnitalk_cli.types import HOP, SAMPLE_RATE, Float

STFT_SIZES = (256, 512, 1024, 2048)
_SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
_RECORDING = "recording"
_GRIFFIN_LIM = "griffin-lim"

Synthesis = Callable[[Tensor], Tensor]  # log-mel [1,T,100] to audio [1,S]


@dataclass(frozen=True, kw_only=True)
class CopyScores:
    """How a copy differs from its recording.

    ``mel_l1``: natural-log mels. ``stft``: spectral convergence plus log-magnitude L1, mean over
    four window sizes. ``pitch_cents``: median where both are voiced. ``voicing``: share of frames
    of which just one is voiced. ``roughness``: by how much the periodicity of voiced frames is
    less than the recording's (0…1; above 0 hoarse, below 0 buzzing). ``pesq``: wideband PESQ
    (ITU-T P.862.2), None without the package. ``seconds``, ``real_time``: length; CPU time over it.
    """

    mel_l1: float
    stft: float
    pitch_cents: float
    voicing: float
    roughness: float
    pesq: float | None
    seconds: float
    real_time: float

    def to_dict(self) -> dict[str, float | None]:
        """JSON-able form."""
        return asdict(self)


def compare(recording: Float, copy: Float, *, real_time: float = 0.0) -> CopyScores:
    """Scores of ``copy`` against ``recording``, both [S] at 24 kHz; the longer one is cut.

    Raises InputError when less than 0.1 s remains.
    """
    size = min(len(recording), len(copy))
    if size < SAMPLE_RATE // 10:
        raise InputError("a recording of at least 0.1 s is needed")
    first, second = recording[:size], copy[:size]
    pitches = pitch_track(first), pitch_track(second)
    voiced = [pitch > 0 for pitch in pitches]
    both = voiced[0] & voiced[1]
    cents = 1200 * np.abs(np.log2(pitches[1][both] / pitches[0][both]))
    steady = periodicity(first, pitches[0]), periodicity(second, pitches[0])
    return CopyScores(
        mel_l1=mel_l1(_mel(first), _mel(second)),
        stft=stft_distance(first, second),
        pitch_cents=float(np.median(cents)) if len(cents) else 0.0,
        voicing=float((voiced[0] != voiced[1]).mean()),
        roughness=float((steady[0] - steady[1]).mean()) if len(steady[0]) else 0.0,
        pesq=wideband_pesq(first, second),
        seconds=size / SAMPLE_RATE,
        real_time=real_time,
    )


def stft_distance(recording: Float, copy: Float, *, sizes: Sequence[int] = STFT_SIZES) -> float:
    """Spectral convergence plus log-magnitude L1, mean over STFT sizes (arXiv 1910.11480)."""
    total = 0.0
    for size in sizes:
        window = torch.hann_window(size)
        real, other = (
            torch.stft(torch.from_numpy(x), size, size // 4, window=window, return_complex=True)
            .abs()
            .clamp_min(1e-3)
            for x in (recording, copy)
        )
        total += float((real - other).norm() / real.norm())
        total += float((real.log() - other.log()).abs().mean())
    return total / len(sizes)


def periodicity(audio: Float, pitch: Float) -> Float:
    """Correlation −1…1 of each voiced frame with itself a period later, [voiced frames].

    ``pitch`` [T] in Hz, 0 where unvoiced, per mel frame of ``audio`` [S]. Highs are lifted before
    (first difference): hoarseness and buzz are heard above the first harmonics.
    """
    sharp = np.diff(audio, prepend=audio[:1]).astype(np.float64)
    values = []
    for frame in np.flatnonzero(pitch > 0):
        lag = SAMPLE_RATE / float(pitch[frame])
        start = frame * HOP - N_FFT // 2
        if start < 0 or start + N_FFT + int(lag) + 8 > len(sharp):
            continue
        here = sharp[start : start + N_FFT]
        # Around the period: a pitch that is a little off is no hoarseness.
        best = max(
            _correlation(here, sharp[start + k : start + k + N_FFT])
            for k in range(max(int(lag * 0.96), 1), int(lag * 1.04) + 2)
        )
        values.append(best)
    return np.array(values, dtype=np.float32)


def wideband_pesq(recording: Float, copy: Float) -> float | None:
    """PESQ (1.0…4.6, more is better) at 16 kHz; None without the ``pesq`` package or any sound."""
    try:
        module = importlib.import_module("pesq")
    except ImportError:
        return None
    if not (recording.any() and copy.any()):
        return None
    first, second = (resample_poly(x.astype(np.float64), 2, 3) for x in (recording, copy))
    try:
        return float(module.pesq(16_000, first, second, "wb"))
    except module.PesqError:
        return None


def griffin_lim(mel: Tensor, *, rounds: int = 32, seed: int = 0) -> Tensor:
    """The yardstick: a log-mel [B,T,100] to audio [B,(T-1)*256] from random phases.

    ``vocoder.refine`` of white noise, which is Griffin and Lim's iteration with momentum for mels.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = 0.05 * torch.randn(len(mel), (mel.shape[1] - 1) * HOP, generator=generator)
    return refine(noise, mel.float(), rounds=rounds)


def copy_of(recording: Float, synthesis: Synthesis) -> tuple[Float, float]:
    """Audio of the recording's mel, and the CPU time that it took over the time it lasts.

    A vocoder gets the kind of mel that it reads, a mere function the usual one.
    """
    mel = log_mel(torch.from_numpy(recording), getattr(synthesis, "mel", "vocos"))[None]
    begin = time.process_time()
    with torch.inference_mode():
        audio = synthesis(mel)[0].numpy()
    return audio, (time.process_time() - begin) / (len(recording) / SAMPLE_RATE)


def find_recordings(paths: Iterable[Path]) -> dict[Path, str | None]:
    """Sound files (those of folders too) and what is said in them, where a CSV beside tells."""
    files: dict[Path, str | None] = {}
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in inside:
            if file.suffix.lower() in _SOUNDS:
                files[file] = _texts(file.parent).get(file.name)
    if not files:
        raise InputError("no sound file to copy")
    return files


def measure(
    recordings: dict[Path, str | None],
    vocoders: dict[str, Synthesis],
    *,
    recogniser: Recogniser | None = None,
) -> dict[str, dict[str, float | None]]:
    """Per vocoder the mean scores over all recordings; with a recogniser also the word errors.

    A first row, ``recording``, holds the word errors of the recordings themselves.
    """
    scores: dict[str, list[CopyScores]] = {name: [] for name in vocoders}
    edits: dict[str, list[tuple[int, int]]] = {name: [] for name in (_RECORDING, *vocoders)}
    for path, text in recordings.items():
        recording = decode_audio(path)
        sounds = {_RECORDING: recording}
        for name, synthesis in vocoders.items():
            sounds[name], real_time = copy_of(recording, synthesis)
            scores[name].append(compare(recording, sounds[name], real_time=real_time))
        if recogniser and text:
            for name, sound in sounds.items():
                errors = word_errors(recogniser.transcribe(sound), spelled(text))
                edits[name].append((errors.edits, errors.words))
    rows: dict[str, dict[str, float | None]] = {_RECORDING: {}} if edits[_RECORDING] else {}
    rows |= {name: _means(values) for name, values in scores.items()}
    for name, row in rows.items():
        if edits[name]:
            row["wer"] = sum(e for e, _ in edits[name]) / sum(w for _, w in edits[name])
    return rows


def _means(scores: Sequence[CopyScores]) -> dict[str, float | None]:
    rows = [score.to_dict() for score in scores]
    known = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
    return {key: fmean(v for v in values if v is not None) if values else None
            for key, values in known.items()}  # fmt: skip


def _mel(audio: Float) -> Float:
    mel: Float = log_mel(torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))).numpy()
    return mel


def _correlation(first: Any, second: Any) -> float:
    return float(first @ second / (np.sqrt((first @ first) * (second @ second)) + 1e-9))


def _texts(folder: Path) -> dict[str, str]:
    """``file`` and ``text`` columns of the CSV files in a folder."""
    texts: dict[str, str] = {}
    for table in sorted(folder.glob("*.csv")):
        with table.open(newline="") as lines:
            texts |= {row["file"]: row["text"] for row in csv.DictReader(lines) if "text" in row}
    return texts


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--vocoder", nargs="+", default=["source"])
    parser.add_argument("--limit", type=int, default=10_000, help="recordings at most")
    parser.add_argument("--words", action="store_true", help="let pocketsphinx listen, too")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    try:
        found = find_recordings(chosen.recordings)
        vocoders: dict[str, Synthesis] = {_GRIFFIN_LIM: griffin_lim}
        vocoders |= {name: open_vocoder(name, mel=mel_of(name)) for name in chosen.vocoder}
        rows = measure(
            dict(list(found.items())[: chosen.limit]),
            vocoders,
            recogniser=Recogniser() if chosen.words else None,
        )
    except OmnitalkError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(rows, indent=1) if chosen.json else _table(rows))


def _table(rows: dict[str, dict[str, float | None]]) -> str:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = ["| vocoder | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{v:.3f}" if (v := row.get(key)) is not None else "" for key in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
