"""From a clip of a person to the reference that generation and rendering need.

The order: sound (is there any?) → faces in sampled pictures → the window and the square → landmarks
in every picture → codes and the personal neutral → mattes → mel → transcript.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from omnitalk_cli.errors import InputError, OmnitalkError, UsageError
from omnitalk_cli.face.fit import fit_codes
from omnitalk_cli.face.landmarker import Tracker, tracker_identity
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import MediaInfo, probe
from omnitalk_cli.pipeline.reference_cache import ReferenceCache
from omnitalk_cli.pipeline.reference_pictures import (
    MIN_SECONDS,
    Pictures,
    choose,
    mattes,
    scan_faces,
    track,
)
from omnitalk_cli.pipeline.reference_quality import usable_pictures
from omnitalk_cli.pipeline.reference_store import FORMAT, load_reference, save_reference
from omnitalk_cli.pipeline.reference_text import recogniser_of, sidecar, transcript
from omnitalk_cli.pipeline.reference_window import Window, best_window, is_silent
from omnitalk_cli.pipeline.surroundings import surroundings
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.asr import ASR_VERSION
from omnitalk_cli.types import SAMPLE_RATE, Float, Reference

Notes = Callable[[str], None]

MAX_SECONDS = 10.0
# Raise it when the features of the same clip come out differently: it is part of the cache's key.
EXTRACTOR_VERSION = 4
_SCAN_SECONDS = 120.0  # of a long clip, the part in which the best window is looked for
_STILL_FPS = Fraction(5)


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """How a reference is taken from a clip.

    ``start`` seconds (None: the best window), at most ``seconds`` of it; ``face_index`` counted
    from the left (None: the most visible); ``frame_size`` pixels of the stored squares;
    ``ref_text`` what is said (None: find out); ``language`` a code or ``auto``; ``asr_model`` name
    or folder, and ``device`` on which it runs; ``tracker`` what finds the landmarks; ``audio``
    another file whose sound is used.
    """

    start: float | None = None
    seconds: float = MAX_SECONDS
    face_index: int | None = None
    frame_size: int = 512
    ref_text: str | None = None
    language: str = "auto"
    asr_model: str | None = None
    device: str = "auto"
    tracker: Tracker = "auto"
    audio: Path | None = None

    def __post_init__(self) -> None:
        if self.start is not None and not self.start >= 0:
            raise UsageError(f"the reference cannot begin at {self.start:g} s")
        if not MIN_SECONDS <= self.seconds <= MAX_SECONDS:
            raise UsageError(
                f"a reference lasts {MIN_SECONDS:g} to {MAX_SECONDS:g} s, not {self.seconds:g}"
            )
        if not 64 <= self.frame_size <= 2048:
            raise UsageError(f"the picture size must be 64 to 2048, not {self.frame_size}")


def ignore(line: str) -> None:
    """The callback for notes that drops them."""


def extract_reference(
    path: Path,
    *,
    options: ExtractOptions | None = None,
    progress: Progress = silent,
    notes: Notes = ignore,
) -> Reference:
    """The features of the clip at ``path`` (paper section 3.1; system.md section 1).

    ``notes`` hears single lines worth knowing (several faces, a part cut away, no transcript).
    Raises InputError for a clip without face or sound, one that is shorter than a second or cannot
    be read; SetupError when a network or a speech model that was asked for is missing.
    """
    options = options or ExtractOptions()
    info = probe(path)
    sound = probe(options.audio) if options.audio else info
    total = _usable_seconds(info, sound)
    audio = _hear(sound, min(total, _SCAN_SECONDS), options, notes)
    if info.is_image:
        window = Window(start=0.0, seconds=min(options.seconds, total))
        pictures = _still(info, window, options, progress, notes)
    else:
        pictures = _moving(info, audio, total, options, progress, notes)
    window = pictures.window
    if sound is not info and options.start is None:
        heard = Window(start=0.0, seconds=window.seconds)
    else:
        heard = window

    progress("fit the face model", 0, 1)
    fit = fit_codes(pictures.landmarks, FaceRig.load())
    progress("fit the face model", 1, 1)
    usable = usable_pictures(pictures, fit.codes, name=path.name, still=info.is_image, notes=notes)
    person = mattes(pictures, progress)
    around = surroundings(info, pictures)
    # Exactly as much sound as there are pictures.
    samples = round(len(pictures.frames) / pictures.fps * SAMPLE_RATE)
    voice = _voice(audio, round(heard.start * SAMPLE_RATE), samples, sound.path)
    said = transcript(
        path, sound.path, heard, total=total, text=options.ref_text, language=options.language,
        model=options.asr_model, device=options.device, progress=progress, notes=notes,
    )  # fmt: skip
    return Reference(
        mel=_mel(voice),
        codes=fit.codes,
        landmarks=pictures.landmarks,
        neutral=fit.neutral,
        frames=pictures.frames,
        mattes=person,
        sharpness=np.where(usable, np.maximum(pictures.sharpness, 1e-3), 0).astype(np.float32),
        fps=float(pictures.fps),
        frame_size=options.frame_size,
        crop=pictures.crop,
        pose_frame=fit.pose_frame,
        transcript=said.text,
        language=said.language,
        words=said.words,
        source_sha256=_sha256(path),
        source_name=path.name,
        start_seconds=window.start,
        surroundings=around,
        voice=np.round(np.clip(voice, -1.0, 1.0) * 32767).astype(np.int16),
    )


def resolve_reference(
    path: Path,
    *,
    options: ExtractOptions | None = None,
    cache_dir: Path | None,
    progress: Progress = silent,
    notes: Notes = ignore,
) -> tuple[Reference, bool]:
    """The reference of a clip or a features file, and whether it was taken from the cache.

    ``cache_dir`` keeps the features of clips, by content, options and version (None: no cache).
    Raises what :func:`extract_reference` and ``load_reference`` raise; never because of the cache.
    """
    options = options or ExtractOptions()
    if path.suffix == ".safetensors":
        return load_reference(path), False
    if cache_dir is None or not path.is_file():
        return extract_reference(path, options=options, progress=progress, notes=notes), False
    kept = ReferenceCache(cache_dir)
    stored = kept.place(_cache_key(path, options))
    try:
        reference = load_reference(stored)
        stored.touch()
        return replace(reference, source_name=path.name), True
    except (OmnitalkError, OSError):
        pass  # not there, from another version, damaged, or not ours to touch: make it again
    reference = extract_reference(path, options=options, progress=progress, notes=notes)
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        save_reference(reference, stored)
        kept.prune(keep=stored)
    except (OmnitalkError, OSError) as error:
        notes(f"the features are not kept for the next run: {error}")
    return reference, False


def _usable_seconds(info: MediaInfo, sound: MediaInfo) -> float:
    """How long picture and sound both last. Raises InputError when that is not enough."""
    if not info.has_video:
        raise InputError(f"{info.path}: holds no picture; give a clip in which a person is seen")
    if info.is_image and sound is info:
        raise InputError(f"{info.path}: a still picture has no voice; give one with --ref-audio")
    if not sound.has_audio:
        raise InputError(
            f"{sound.path}: has no sound track; use a clip in which the person speaks, or give "
            "the voice with --ref-audio"
        )
    heard = min(sound.audio_seconds, sound.usable_seconds)
    total = heard if info.is_image else min(info.video_seconds, info.usable_seconds, heard)
    if total < MIN_SECONDS:
        what = sound.path if heard == total else info.path
        raise InputError(
            f"{what}: only {total:.2f} s can be used; a reference needs at least {MIN_SECONDS:g} s "
            "with picture and sound"
        )
    return total


def _hear(sound: MediaInfo, seconds: float, options: ExtractOptions, notes: Notes) -> Float:
    """The sound [S] from the beginning on, long enough for the window. Raises if it is silent."""
    if options.start is not None:
        seconds = max(seconds, options.start + options.seconds)
    audio = decode_audio(sound.path, seconds=seconds, info=sound, warn=notes)
    if is_silent(audio, SAMPLE_RATE):
        if options.audio:
            raise InputError(
                f"{sound.path}: nothing is heard in it; give a recording of the person's voice"
            )
        raise InputError(
            f"{sound.path}: its sound track is silent; use a clip in which the person speaks, or "
            "give the voice with --ref-audio"
        )
    return audio


def _moving(
    info: MediaInfo,
    audio: Float,
    total: float,
    options: ExtractOptions,
    progress: Progress,
    notes: Notes,
) -> Pictures:
    """Window, square and landmarks of a clip."""
    name = info.path.name
    if options.start is not None:
        left = total - options.start
        if left < MIN_SECONDS:
            raise InputError(
                f"{name}: lasts {total:.1f} s; from {options.start:g} s on less than "
                f"{MIN_SECONDS:g} s is left for the reference"
            )
        start, seconds = options.start, min(options.seconds, left)
    else:
        start, seconds = 0.0, min(total, _SCAN_SECONDS)
        if total > _SCAN_SECONDS:
            notes(
                f"{name}: the best part is looked for in its first {_SCAN_SECONDS:g} s "
                "(--ref-start chooses another)"
            )
    scan = scan_faces(
        info, start=start, seconds=seconds, progress=progress, warn=notes, tracker=options.tracker
    )
    window = Window(start=start, seconds=seconds)
    if options.start is None:
        window = best_window(
            audio, SAMPLE_RATE, scan.faces, scan.rate, total=seconds, seconds=options.seconds
        )
    chosen = choose(scan, window, name=name, index=options.face_index, notes=notes)
    return track(
        info, chosen, window, options.frame_size, trim=options.start is None,
        progress=progress, notes=notes, tracker=options.tracker,
    )  # fmt: skip


def _still(
    info: MediaInfo, window: Window, options: ExtractOptions, progress: Progress, notes: Notes
) -> Pictures:
    """A single picture, repeated slowly for as long as the sound lasts."""
    one = Window(start=0.0, seconds=1.0)
    scan = scan_faces(
        info, start=0.0, seconds=1.0, progress=progress, warn=notes, tracker=options.tracker
    )
    chosen = choose(scan, one, name=info.path.name, index=options.face_index, notes=notes)
    single = track(
        info, chosen, one, options.frame_size, trim=False, progress=progress, notes=notes,
        tracker=options.tracker,
    )  # fmt: skip
    count = max(2, int(window.seconds * _STILL_FPS))
    return Pictures(
        frames=single.frames[:1] * count,
        landmarks=np.repeat(single.landmarks[:1], count, axis=0),
        sharpness=np.repeat(single.sharpness[:1], count),
        crop=single.crop,
        fps=_STILL_FPS,
        window=Window(start=0.0, seconds=count / float(_STILL_FPS)),
    )


def _mel(voice: Float) -> Float:
    """Log-mel [T,100] of ``voice`` [S]."""
    import torch

    from omnitalk_cli.speech.mel import log_mel

    return log_mel(torch.from_numpy(voice)).numpy()


def _voice(audio: Float, start: int, samples: int, path: Path) -> Float:
    """``samples`` samples from ``start`` on; a missing end is silence."""
    part = audio[start : start + samples]
    if is_silent(part, SAMPLE_RATE):
        raise InputError(f"{path}: nothing is heard in the part that is used; choose another part")
    return np.pad(part, (0, max(0, samples - len(part))))


def _cache_key(path: Path, options: ExtractOptions) -> str:
    """What the features depend on, as a hash."""
    known = options.ref_text is not None or bool(sidecar(path))
    model = None if known else recogniser_of(options.asr_model, options.language, options.device)
    parts = {
        "extractor": EXTRACTOR_VERSION,
        "format": FORMAT,
        "clip": _sha256(path),
        "audio": _sha256(options.audio) if options.audio else None,
        "beside": sidecar(path) if options.ref_text is None else "",
        "recognised_by": [ASR_VERSION, model.identity()] if model else None,
        "options": [
            options.start, options.seconds, options.face_index, options.frame_size,
            options.ref_text, options.language,
        ],
        "tracker": tracker_identity(options.tracker),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
