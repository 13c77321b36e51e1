"""Where a stretch of sound is cut into clips: at pauses, so that no word is halved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.types import SAMPLE_RATE, Float

VERSION = 1
LEVEL_STEP = 0.02  # seconds
SILENCE_DB = -70.0  # nothing is heard below
_BELOW_LOUD_DB = 25.0  # what is softer than the loud parts by this is a pause
_NOISE_SHARE = 0.35  # of the way from the noise to the loud parts: below, it is noise
_SHORTEST_PAUSE = 0.12  # a cut needs this much; closures of stops are shorter
_SHORTEST_SPEECH = 0.1  # a shorter sound between pauses is a click
_MARGIN = 0.15  # of silence kept at both ends
_CHUNK = 600.0  # seconds of sound in memory at once


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a video in seconds; ``reason`` says why it cannot be a clip ("" it may be one)."""

    start: float
    end: float
    reason: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def sound_levels(info: MediaInfo) -> Float:
    """Loudness in dB of full scale for every 20 ms of a video's sound. Raises InputError."""
    step = round(LEVEL_STEP * SAMPLE_RATE)
    parts, start = [], 0.0
    total = min(info.audio_seconds, info.usable_seconds)
    while start < total:
        audio = decode_audio(info.path, start=start, seconds=min(_CHUNK, total - start), info=info)
        count = len(audio) // step
        power = (audio[: count * step].reshape(count, step).astype(np.float64) ** 2).mean(axis=1)
        parts.append((10 * np.log10(power + 1e-12)).astype(np.float32))
        start += _CHUNK
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def cut_clips(
    levels: Float,
    start: float,
    end: float,
    *,
    shortest: float,
    longest: float,
    max_pause: float,
) -> list[Piece]:
    """Pieces of the stretch ``start``…``end`` in order, without overlap.

    ``levels`` are those of the whole video. Speech is cut at long pauses, better in the middle than
    at an end, until no piece is longer than ``longest`` or holds a pause of over ``max_pause``;
    what is then shorter than ``shortest``, or has no pause to cut at, comes with its reason.
    """
    first, last = round(start / LEVEL_STEP), round(end / LEVEL_STEP)
    runs = _spoken(levels[first:last])
    if not runs:
        return [Piece(start=start, end=end, reason="nothing is heard in it")]
    pieces: list[Piece] = []
    todo = [runs]
    while todo:
        group = todo.pop()
        low, high = group[0][0] * LEVEL_STEP, group[-1][1] * LEVEL_STEP
        pauses = [(b[0] - a[1]) * LEVEL_STEP for a, b in zip(group[:-1], group[1:], strict=True)]
        if pauses and (high - low + 2 * _MARGIN > longest or max(pauses) > max_pause):
            place = _cut(group, pauses, max_pause)
            todo += [group[place:], group[:place]]  # the earlier one is taken next
            continue
        reason = ""
        if high - low + 2 * _MARGIN > longest:
            reason = f"{high - low:.1f} s without a pause to cut at (longest clip {longest:g} s)"
        pieces.append(Piece(start=start + low, end=start + high, reason=reason))
    return [_judged(piece, shortest) for piece in _with_margins(pieces, start, end)]


def _cut(group: list[tuple[int, int]], pauses: list[float], max_pause: float) -> int:
    """Number of the run before which to cut."""
    if max(pauses) > max_pause:
        return int(np.argmax(pauses)) + 1
    places = np.array([run[0] for run in group[1:]], np.float64)
    share = (places - group[0][0]) / (group[-1][1] - group[0][0])
    return int(np.argmax(np.array(pauses) * np.sqrt(np.minimum(share, 1 - share)))) + 1


def _spoken(levels: Float) -> list[tuple[int, int]]:
    """Runs of steps with sound, (first, one past the last); short pauses and clicks left out."""
    if not len(levels) or float(levels.max()) < SILENCE_DB:
        return []
    loud = float(np.quantile(levels, 0.95))
    floor = float(np.quantile(levels, 0.05))
    # Where there is noise, pauses are as loud as it is.
    limit = max(loud - _BELOW_LOUD_DB, floor + _NOISE_SHARE * (loud - floor), SILENCE_DB)
    sounds = levels > limit
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sounds.astype(np.int8), [0]])))
    runs: list[tuple[int, int]] = []
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        if runs and begin - runs[-1][1] < _SHORTEST_PAUSE / LEVEL_STEP:
            runs[-1] = (runs[-1][0], int(stop))
        else:
            runs.append((int(begin), int(stop)))
    return [run for run in runs if run[1] - run[0] >= _SHORTEST_SPEECH / LEVEL_STEP]


def _with_margins(pieces: list[Piece], start: float, end: float) -> list[Piece]:
    """Pieces reach into the silence around them, at most half of it."""
    grown = []
    for number, piece in enumerate(pieces):
        before = pieces[number - 1].end if number else start - (piece.start - start)
        after = pieces[number + 1].start if number + 1 < len(pieces) else end + (end - piece.end)
        grown.append(
            Piece(
                start=max(piece.start - _MARGIN, (before + piece.start) / 2, start),
                end=min(piece.end + _MARGIN, (piece.end + after) / 2, end),
                reason=piece.reason,
            )
        )
    return grown


def _judged(piece: Piece, shortest: float) -> Piece:
    if piece.reason or piece.seconds >= shortest:
        return piece
    return Piece(
        start=piece.start,
        end=piece.end,
        reason=f"only {piece.seconds:.1f} s between pauses (shortest clip {shortest:g} s)",
    )


def spoken_share(levels: Float, start: float, end: float) -> float:
    """Share of all the sound of a video (``levels``) that lies in ``start``…``end``."""
    runs = _spoken(levels)
    total = sum(stop - begin for begin, stop in runs)
    low, high = start / LEVEL_STEP, end / LEVEL_STEP
    inside = sum(max(0.0, min(stop, high) - max(begin, low)) for begin, stop in runs)
    return inside / total if total else 0.0
