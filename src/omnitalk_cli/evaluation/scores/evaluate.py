"""Scores of generated clips against their references: what ``omnitalk eval`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError, OmnitalkError, WorkError
from omnitalk_cli.evaluation.scores import face, fvd, sync, syncnet, voice, words
from omnitalk_cli.evaluation.scores.footage import (
    Decoder,
    Footage,
    part_of_sound,
    product_vocoder,
    read_footage,
)
from omnitalk_cli.evaluation.scores.models import FACE, SYNC, VIDEO, Network, run_file
from omnitalk_cli.evaluation.scores.result import KINDS, Score
from omnitalk_cli.evaluation.scores.summary import summarise
from omnitalk_cli.pipeline.performance_store import load_performance
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import MEL_RATE, Float

NO_REFERENCE = "give the reference clip: --reference, or the table's column reference"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip to score. ``reference`` None leaves comparisons out; ``text`` is what it should say
    (None: unknown); ``performance`` holds the generated codes, which otherwise are tracked in the
    picture."""

    generated: Path
    reference: Path | None = None
    text: str | None = None
    performance: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """An item's scores by name, remarks, or the ``error`` that kept it from being scored."""

    item: Item
    scores: dict[str, Score]
    notes: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0
    films: tuple[Float | None, Float | None] = (None, None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        reference = self.item.reference
        return {
            "generated": str(self.item.generated),
            "reference": str(reference) if reference is not None else None,
            "scores": {name: score.to_dict() for name, score in self.scores.items()},
            "notes": list(self.notes),
            "error": self.error or None,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reference:
    """What is kept of a reference: others may be compared with it too."""

    footage: Footage
    voice: Float | None
    face: Float | None
    film: Float | None


class Judges:
    """All models, each loaded when first asked for. Raises SetupError for one that is unfit."""

    def __init__(self, *, asr_model: str | None = None, language: str = "auto") -> None:
        self.words = words.Transcriber(asr_model)
        self.language = language
        self._known: tuple[Path, _Reference] | None = None

    @cached_property
    def voice(self) -> voice.VoiceJudge:
        return voice.VoiceJudge()

    @cached_property
    def face(self) -> Network | None:
        path = FACE.find()
        return run_file(path) if path is not None else None

    @cached_property
    def film(self) -> Network | None:
        path = VIDEO.find()
        return run_file(path) if path is not None else None

    @cached_property
    def sync(self) -> syncnet.SyncNet | None:
        path = SYNC.find()
        return syncnet.SyncNet.load(path) if path is not None else None

    @cached_property
    def vocoder(self) -> Decoder:
        return product_vocoder()

    def reference(self, path: Path) -> _Reference:
        """The reference at ``path``; the last one is kept, as tables repeat it in rows."""
        if self._known is None or self._known[0] != path:
            footage = read_footage(path, vocoder=self.vocoder)
            self._known = path, self._look(footage)
        return self._known[1]

    def _look(self, footage: Footage) -> _Reference:
        audio = footage.audio
        return _Reference(
            footage=footage,
            voice=self.voice.embed(audio) if audio is not None and not self.voice.why else None,
            face=face.face_embedding(footage, self.face) if self.face is not None else None,
            film=fvd.window_features(footage, self.film) if self.film is not None else None,
        )

    def score(self, item: Item) -> Scored:
        """All scores of one item. Raises InputError when a file cannot be used."""
        made = self._look(read_footage(item.generated, vocoder=self.vocoder))
        true = self.reference(item.reference) if item.reference is not None else None
        footage = made.footage
        codes, rate = footage.codes, footage.rate
        if item.performance is not None:
            codes, rate = load_performance(item.performance).codes, MEL_RATE
        given = item.performance is not None or footage.landmarks is None
        why = _why(footage, true.footage if true is not None else None)
        text = item.text if item.text is not None else (footage.text or None)
        scores = words.word_scores(footage.audio, text, self.words, language=self.language)
        scores["sim"] = (
            voice.voice_score(self.voice, made.voice, true.voice)
            if true is not None
            else Score.missing(NO_REFERENCE)
        )
        scores |= face.code_scores(
            codes, true.footage.codes if true is not None else None, given=given, why=why
        )
        scores |= self._sync(footage, codes if item.performance is not None else None, rate)
        scores["csim"] = face.identity_score(
            made.face, true.face if true is not None else None,
            present=self.face is not None, why=why,
        )  # fmt: skip
        scores |= face.picture_scores(footage, true.footage if true is not None else None, why)
        return Scored(
            item=item,
            scores={kind.name: scores[kind.name] for kind in KINDS if kind.name in scores},
            notes=footage.notes + (true.footage.notes if true is not None else ()),
            films=(made.film, true.film if true is not None else None),
        )

    def _sync(self, footage: Footage, codes: Float | None, rate: float) -> dict[str, Score]:
        why = footage.faceless or "there is no sound"
        if self.sync is not None and codes is None and footage.frames:
            return syncnet.syncnet_scores(self.sync, footage, why)
        if codes is not None:  # a performance's codes begin with the sound
            return sync.sync_scores(codes, rate, footage.audio, why)
        return sync.sync_scores(footage.codes, footage.rate, part_of_sound(footage), why)


def evaluate(
    items: Sequence[Item], judges: Judges, *, progress: Progress = silent
) -> tuple[list[Scored], dict[str, Any]]:
    """Scores all items, and their summary (``scores.summary``).

    An item that cannot be scored keeps its error; with a single item the error is raised. Raises
    SetupError where a model that the user put in place is unfit.
    """
    found: list[Scored] = []
    for number, item in enumerate(items):
        progress(f"scoring {item.generated.name}", number, len(items))
        try:
            found.append(judges.score(item))
        except InputError as error:
            if len(items) == 1:
                raise
            found.append(_failed(item, str(error), error.exit_code))
        except OmnitalkError:
            raise
        except Exception as error:  # one odd file must not lose the scores of the others
            if len(items) == 1:
                raise
            why = f"unexpected {type(error).__name__}: {error}"
            found.append(_failed(item, why, WorkError.exit_code))
    films = [one.films for one in found]
    video = fvd.video_score(
        [made for made, _ in films], [true for _, true in films], present=judges.film is not None
    )
    return found, summarise([one.scores for one in found if not one.error], video=video)


def _failed(item: Item, why: str, exit_code: int) -> Scored:
    return Scored(item=item, scores={}, error=why, exit_code=exit_code)


def _why(made: Footage, true: Footage | None) -> str:
    """Why faces cannot be compared, where they cannot."""
    if true is None:
        return NO_REFERENCE
    for footage in (made, true):
        if footage.faceless:
            return f"{footage.name}: {footage.faceless}"
        if footage.landmarks is None:
            return f"{footage.name}: holds codes, but no pictures"
    return "too few frames"
