"""What a clip, a features file or a performance holds, as far as scores need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.anchors import face_sharpness
from omnitalk_cli.pipeline import performance_store, reference_store
from omnitalk_cli.types import MEL_RATE, SAMPLE_RATE, Float, Performance
from omnitalk_cli.weights import store

LONGEST_SECONDS = 60.0
_NO_PICTURE = "there are no pictures in it"

Decoder = Callable[[Float], Float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
    """``audio`` [S] at 24 kHz, None without sound; ``codes`` [N,61] at ``rate`` from ``start``
    seconds of the sound on, None where ``faceless`` says why; ``landmarks`` [N,478,3] in pixels of
    the square JPEG ``frames``, None without pictures. ``text`` is what is said, where the file
    tells it; ``notes`` are worth knowing."""

    name: str
    audio: Float | None
    codes: Float | None = None
    rate: float = 0.0
    start: float = 0.0
    landmarks: Float | None = None
    frames: tuple[bytes, ...] = field(default=(), repr=False)
    text: str = ""
    faceless: str = ""
    notes: tuple[str, ...] = ()

    def sharpness(self) -> float | None:
        """Median sharpness of the face at a common size; None without pictures."""
        if self.landmarks is None or not self.frames:
            return None
        values = []
        for data, points in zip(self.frames, self.landmarks, strict=True):
            grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            values.append(face_sharpness(np.asarray(grey, np.uint8), points))
        return float(np.median(values))


def read_footage(path: Path, *, vocoder: Decoder | None = None) -> Footage:
    """The first minute of a clip, or all of a features or performance file.

    Their mel is made to sound by ``vocoder`` ([T,100] to [S]); without one they have no sound.
    Raises InputError for a file that cannot be read or holds neither a face nor sound.
    """
    if path.suffix == ".safetensors":
        kind = store.read_header(path).metadata.get("format", "")
        if kind == performance_store.FORMAT:
            return of_performance(performance_store.load_performance(path), path.name, vocoder)
        return _of_features(path, vocoder)
    return _of_clip(path)


def of_performance(performance: Performance, name: str, vocoder: Decoder | None) -> Footage:
    """The codes as they are, the mel through ``vocoder``."""
    return Footage(
        name=name,
        audio=vocoder(performance.mel) if vocoder is not None else None,
        codes=performance.codes,
        rate=MEL_RATE,
        text=" ".join(segment.text for segment in performance.segments if segment.text),
    )


def _of_features(path: Path, vocoder: Decoder | None) -> Footage:
    reference = reference_store.load_reference(path)
    return Footage(
        name=path.name,
        audio=vocoder(reference.mel) if vocoder is not None else None,
        codes=reference.codes,
        rate=reference.fps,
        landmarks=reference.landmarks,
        frames=reference.frames,
        text=reference.transcript,
        notes=("its sound is made from its mel",),
    )


def _of_clip(path: Path) -> Footage:
    from omnitalk_cli.face.fit import fit_codes
    from omnitalk_cli.face.rig import FaceRig
    from omnitalk_cli.media.decode import decode_audio
    from omnitalk_cli.media.probe import probe
    from omnitalk_cli.pipeline.reference_pictures import follow

    info = probe(path)
    notes = []
    audio = None
    if info.has_audio:
        audio = decode_audio(path, info=info, seconds=LONGEST_SECONDS)
        if info.audio_seconds > LONGEST_SECONDS + 1:
            notes.append(f"only the first {LONGEST_SECONDS:g} s of {path.name} are scored")
    if not info.has_video or info.is_image:
        if audio is None:
            raise InputError(f"{path}: holds neither moving pictures nor sound; give a video")
        return Footage(name=path.name, audio=audio, faceless=_NO_PICTURE, notes=tuple(notes))
    try:
        pictures = follow(info, seconds=LONGEST_SECONDS)
    except InputError as error:
        if audio is None:
            raise
        return Footage(name=path.name, audio=audio, faceless=str(error), notes=tuple(notes))
    seen, whole = pictures.window.seconds, min(info.video_seconds, LONGEST_SECONDS)
    if seen < whole - 0.5:
        notes.append(f"the face is followed through {seen:.1f} of {whole:.1f} s of {path.name}")
    return Footage(
        name=path.name,
        audio=audio,
        codes=fit_codes(pictures.landmarks, FaceRig.load()).codes,
        rate=float(pictures.fps),
        start=pictures.window.start,
        landmarks=pictures.landmarks,
        frames=pictures.frames,
        notes=tuple(notes),
    )


def product_vocoder() -> Decoder:
    """Mel [T,100] to sound [S] as the product makes it without any weights."""
    from omnitalk_cli.pipeline.production import vocode
    from omnitalk_cli.speech.vocoders import open_vocoder

    vocoder = open_vocoder("source")

    def decode(mel: Float) -> Float:
        still = np.zeros((len(mel), 61), np.float32)
        return vocode(Performance(mel=mel, codes=still, segments=(), settings={}), vocoder)

    return decode


def part_of_sound(footage: Footage) -> Float | None:
    """The sound [S] that belongs to the codes."""
    if footage.audio is None or footage.codes is None:
        return None
    first = round(footage.start * SAMPLE_RATE)
    return footage.audio[first : first + round(len(footage.codes) / footage.rate * SAMPLE_RATE)]
