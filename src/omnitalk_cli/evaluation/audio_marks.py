"""What the audio mark survives, and how little of it is heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitalk_cli.evaluation.attacks import AUDIO_ATTACKS, Attack, attacked
from omnitalk_cli.evaluation.mark_material import Clip, Outcome, outcome, write_sound
from omnitalk_cli.evaluation.vocoder import wideband_pesq
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.provenance.audio_mark import DEFAULT_KEY, detect, embed
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.types import SAMPLE_RATE, Float

PIECES = ((8.0, 32), (4.0, 16))  # seconds of a piece, bits of the id in it
READ_RATE = 48_000


@dataclass(frozen=True, kw_only=True)
class Audibility:
    """How much of the mark could be heard in one piece, before any encoder.

    ``pesq``: wideband PESQ (ITU-T P.862.2) of marked against plain sound, None without the package;
    ``snr``: dB. ``noise_to_mask``: dB by which the difference lies over (below 0: under) what the
    sound masks, mean over time and Bark bands; ``unmasked``: share of those that lie over it.
    """

    clip: str
    seconds: float
    bits: int
    pesq: float | None
    snr: float
    noise_to_mask: float
    unmasked: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Sound ``[S]`` that gets an id of ``bits`` bits."""

    clip: str
    bits: int
    sound: Float


def pieces_of(clip: Clip) -> list[Piece]:
    """The sound of ``clip`` in consecutive pieces of each of the lengths ``PIECES``."""
    made = []
    for seconds, bits in PIECES:
        size = round(seconds * SAMPLE_RATE)
        for start in range(0, len(clip.sound) - size + 1, size):
            made.append(Piece(clip=clip.name, bits=bits, sound=clip.sound[start : start + size]))
    return made


def read_sound(path: Path, *, key: bytes = DEFAULT_KEY) -> Detection:
    """What the detector says about the sound of ``path``."""
    return detect(decode_audio(path, rate=READ_RATE), READ_RATE, key)


def survive_audio(
    piece: Piece, folder: Path, *, mark_id: int, attacks: Iterable[Attack] = AUDIO_ATTACKS
) -> Iterable[Outcome]:
    """Mark ``piece``, write it as the product does, and read it after each of ``attacks``."""
    marked = embed(piece.sound, mark_id, piece.bits)
    master = write_sound(folder / "sound.mp4", marked)
    for attack in attacks:
        found = read_sound(attacked(master, attack, folder))
        yield outcome(piece.clip, attack.name, found, mark_id % (1 << piece.bits), piece.bits)


def audibility(piece: Piece, mark_id: int) -> Audibility:
    """How much of the mark could be heard in ``piece``."""
    plain, marked = piece.sound, embed(piece.sound, mark_id, piece.bits)
    masked = noise_to_mask(plain, marked)
    error = float(((plain - marked) ** 2).sum())
    return Audibility(
        clip=piece.clip,
        seconds=len(plain) / SAMPLE_RATE,
        bits=piece.bits,
        pesq=wideband_pesq(plain, marked),
        snr=float(10 * np.log10(float((plain**2).sum()) / max(error, 1e-12))),
        noise_to_mask=float(masked.mean()) if masked.size else -99.0,
        unmasked=float((masked > 0).mean()) if masked.size else 0.0,
    )


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
