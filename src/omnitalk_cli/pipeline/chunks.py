"""A script in chunks that are spoken at once, and their sound and motion joined again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.pipeline.script import SENTENCE_PAUSE
from omnitalk_cli.text.f5_tokens import spoken_bytes
from omnitalk_cli.text.split import pieces
from omnitalk_cli.types import HOP, MEL_RATE, SAMPLE_RATE, Float, Script, Segment, SegmentTime

FADE_FRAMES = 14  # 0.15 s in which one chunk fades into the next
_FADE = FADE_FRAMES * HOP
# How fast a face that begins elsewhere than the last chunk left it gets rid of the difference.
_SETTLING_SECONDS = 0.4
_LEAST_BYTES = 30  # a chunk shorter than this would be spoken badly


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """``texts`` of segments spoken in one go (none: only a pause), and the silence after it in
    seconds. A chunk that ``runs_on`` fades into the next one instead."""

    texts: tuple[str, ...]
    pause_after: float
    runs_on: bool

    @property
    def text(self) -> str:
        """All that is spoken."""
        return " ".join(self.texts)


@dataclass(frozen=True, kw_only=True)
class Joined:
    """``sound`` ``[S]``, ``codes`` ``[S // 256 + 1, c]``, and when the segments are spoken."""

    sound: Float
    codes: Float
    segments: tuple[SegmentTime, ...]


def chunks_of(script: Script, *, most_bytes: int) -> list[Chunk]:
    """The segments of ``script`` in chunks of at most ``most_bytes`` (where words allow), divided
    where the script has a longer pause than between sentences."""
    limit = max(most_bytes, _LEAST_BYTES)
    chunks: list[Chunk] = []
    texts: list[str] = []

    def close(pause: float, runs_on: bool) -> None:
        chunks.append(Chunk(texts=tuple(texts), pause_after=pause, runs_on=runs_on))
        texts.clear()

    for segment in script.segments:
        for part in _parts(segment, limit):
            if texts and spoken_bytes(" ".join([*texts, part])) > limit:
                close(0.0, True)
            if part:
                texts.append(part)
        if segment.pause_after > SENTENCE_PAUSE or not segment.text:
            # The end of a sentence is silent by itself.
            close(segment.pause_after - (SENTENCE_PAUSE if texts else 0.0), False)
    if texts:
        close(0.0, False)
    return chunks


def _parts(segment: Segment, limit: int) -> list[str]:
    if spoken_bytes(segment.text) <= limit:
        return [segment.text] if segment.text else []
    return pieces(segment.text, max_characters=limit)


def join(chunks: list[Chunk], sounds: list[Float], motions: list[Float]) -> Joined:
    """Fades chunks that run on into each other and puts silence between the others.

    ``sounds`` ``[s]`` and ``motions`` ``[t, c]`` (at the mel rate) are those of ``chunks``. Faces
    go on from where they are, also over pauses.
    """
    sound = np.zeros(0, np.float32)
    codes = np.zeros((0, motions[0].shape[1] if motions else 0), np.float32)
    times: list[SegmentTime] = []
    fade = 0
    for chunk, piece, motion in zip(chunks, sounds, motions, strict=True):
        fade = min(fade, len(sound), len(piece))
        begin = len(sound) - fade
        rising = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        mixed = sound[begin:] * (1 - rising) + piece[:fade] * rising
        sound = np.concatenate([sound[:begin], mixed, piece[fade:]])
        codes = _carried_on(codes, motion, start=begin // HOP)
        times += _times(chunk, begin / SAMPLE_RATE, len(sound) / SAMPLE_RATE)
        fade = _FADE if chunk.runs_on else 0
        sound = np.pad(sound, (0, round(chunk.pause_after * MEL_RATE) * HOP))
    frames = len(sound) // HOP + 1
    codes = np.pad(codes, ((0, max(0, frames - len(codes))), (0, 0)), mode="edge")[:frames]
    return Joined(sound=sound, codes=codes, segments=tuple(times))


def _carried_on(codes: Float, motion: Float, *, start: int) -> Float:
    """``motion`` from frame ``start`` of ``codes`` on, beginning where these are then; what is
    between holds still."""
    if not len(codes) or not motion.size:
        return np.concatenate([codes[:start], motion])
    before = np.pad(codes, ((0, max(0, start - len(codes))), (0, 0)), mode="edge")[:start]
    settling = np.exp(-np.arange(len(motion)) / (_SETTLING_SECONDS * MEL_RATE))[:, None]
    moved = motion + (before[-1] - motion[0]) * settling if len(before) else motion
    return np.concatenate([before, moved]).astype(np.float32)


def _times(chunk: Chunk, start: float, end: float) -> list[SegmentTime]:
    """Times of the chunk's segments, by their bytes."""
    edges = np.cumsum([0, *(spoken_bytes(text) for text in chunk.texts)], dtype=float)
    if not chunk.texts:
        return []
    edges = start + edges / edges[-1] * (end - start)
    return [
        SegmentTime(text=text, start=float(a), end=float(b))
        for text, a, b in zip(chunk.texts, edges[:-1], edges[1:], strict=True)
    ]
