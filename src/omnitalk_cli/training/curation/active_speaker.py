"""Who of those who are seen is speaking: a measure or a network judges every face, here is chosen.

The one who judges is a :class:`SpeakerModel`: :class:`SyncModel` is ours and needs no weights,
``light_asd.py`` has the network of the paper's pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.training.curation.cutting import Piece
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.stages import StageCache
from omnitalk_cli.training.curation.synchrony import mouth_curve, sound_curves, synchrony
from omnitalk_cli.training.curation.tracks import TrackedFace
from omnitalk_cli.types import SAMPLE_RATE, Float

LEAST_SEEN = 0.5  # share of the clip's pictures: who is seen less is not judged


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """A part of one shot with the faces that were followed through it. ``faces_key`` names them in
    the cache."""

    info: MediaInfo
    start: float
    end: float
    faces: Sequence[TrackedFace]
    faces_key: object
    cache: StageCache

    def sound(self, start: float, seconds: float, rate: int = SAMPLE_RATE) -> Float:
        """Sound of the video [S], exactly as long as asked for (a missing end is silence)."""
        audio = decode_audio(
            self.info.path, rate=rate, start=start, seconds=seconds, info=self.info
        )
        return np.pad(audio, (0, max(0, round(seconds * rate) - len(audio))))


@dataclass(frozen=True, kw_only=True)
class SpeakerScore:
    """How much a face is the speaker's (``score``, more is more), why it cannot be (``faults`` in
    words, none when it can), and what was measured."""

    score: float
    faults: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)


class SpeakerModel(Protocol):
    """Judges the faces of a clip by picture and sound."""

    @property
    def margin(self) -> float:
        """How far the speaker's score must be above every other face's."""

    def judge(self, stretch: Stretch, piece: Piece) -> list[SpeakerScore]:
        """A score for every face of ``stretch`` in ``piece``."""


class SyncModel:
    """Synchrony of mouth and sound (:mod:`omnitalk_cli.training.curation.synchrony`)."""

    def __init__(self, limits: CurationSettings) -> None:
        self._limits = limits
        self.margin = limits.sync_margin

    def judge(self, stretch: Stretch, piece: Piece) -> list[SpeakerScore]:
        """A score for every face of ``stretch`` in ``piece``."""
        import torch

        from omnitalk_cli.speech.mel import log_mel

        audio = stretch.sound(piece.start, piece.seconds)
        heard = sound_curves(log_mel(torch.from_numpy(audio)).numpy())
        return [self._score(face.part(piece.start, piece.seconds), heard) for face in stretch.faces]

    def _score(self, face: TrackedFace, heard: np.ndarray) -> SpeakerScore:
        limits, found = self._limits, synchrony(mouth_curve(face), heard)
        faults = []
        if found.agreement < limits.min_sync:
            faults.append(
                f"the mouth does not move with the sound (agreement {found.agreement:.2f}, "
                f"at least {limits.min_sync:g})"
            )
        elif found.confidence < limits.min_sync_confidence:
            faults.append(
                f"mouth and sound may agree by chance (agreement {found.agreement:.2f}, confidence "
                f"{found.confidence:.1f}, at least {limits.min_sync_confidence:g})"
            )
        elif abs(found.lag) > limits.max_offset:
            when = "late" if found.lag < 0 else "early"
            faults.append(
                f"the sound is {abs(found.lag):.2f} s {when} against the mouth "
                f"(at most {limits.max_offset:g} s)"
            )
        return SpeakerScore(
            score=found.agreement,
            faults=tuple(faults),
            values={
                "sync": found.agreement, "sync_confidence": found.confidence,
                "sync_lag": found.lag,
            },
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The speaker (``face``: index into the stretch's faces, -1 none) with what was measured of
    them, or ``reason`` why there is none. ``seen`` faces were judged."""

    face: int
    seen: int
    values: dict[str, float]
    reason: str = ""


def choose_speaker(model: SpeakerModel, stretch: Stretch, piece: Piece) -> Choice:
    """The one face of ``stretch`` that speaks in ``piece``."""
    scores = model.judge(stretch, piece)
    seen = [
        number
        for number, face in enumerate(stretch.faces)
        if face.part(piece.start, piece.seconds).found.mean() >= LEAST_SEEN
    ]
    if not seen:
        return Choice(face=-1, seen=0, values={}, reason="no face is seen in it")
    order = sorted(seen, key=lambda number: -scores[number].score)
    best = scores[order[0]]
    values = dict(best.values)
    if len(order) > 1:
        values["runner_up"] = scores[order[1]].score
    reason = "; ".join(best.faults)
    if reason and len(order) > 1:
        reason = f"none of {len(order)} faces is the speaker's: of the likeliest, {reason}"
    elif len(order) > 1 and best.score - scores[order[1]].score < model.margin:
        reason = (
            f"two faces may be the speaker's ({best.score:.2f} and {scores[order[1]].score:.2f}, "
            f"at least {model.margin:g} apart)"
        )
    return Choice(face=order[0], seen=len(seen), values=values, reason=reason)
