"""One video through all stages: probe, sound, scenes, cuts, faces, speaker, quality, text, pace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError, OmnitalkError
from omnitalk_cli.media.probe import MediaInfo, probe
from omnitalk_cli.speech.asr_models import AsrModel
from omnitalk_cli.training.curation import cutting, filters, scenes, tracks
from omnitalk_cli.training.curation.active_speaker import (
    SpeakerModel,
    Stretch,
    SyncModel,
    choose_speaker,
)
from omnitalk_cli.training.curation.cutting import Piece
from omnitalk_cli.training.curation.fates import Fate
from omnitalk_cli.training.curation.quality import (
    DNSMOS_RATE,
    SoundQuality,
    dnsmos_or_error,
    find_dnsmos,
    sound_quality,
)
from omnitalk_cli.training.curation.quality import VERSION as QUALITY_VERSION
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.stages import StageCache
from omnitalk_cli.training.curation.texts import TextSource
from omnitalk_cli.types import Float


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the stages need besides thresholds: files of models and transcripts (None: none)."""

    speaker_weights: Path | None = None
    transcripts: Path | None = None
    asr_model: AsrModel | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A video: where it is, what it is called in the tables, and the SHA-256 of its content."""

    path: Path
    name: str
    sha256: str


def split_of(sha256: str, heldout: float) -> str:
    """``heldout`` for that share of all videos, by their content; ``train`` for the others."""
    drawn = int.from_bytes(hashlib.sha256(f"split {sha256}".encode()).digest()[:8], "big") / 2**64
    return "heldout" if drawn < heldout else "train"


def faces_key(stretch: tuple[float, float], settings: CurationSettings) -> list[object]:
    """What the faces of a stretch depend on."""
    return [tracks.VERSION, round(stretch[0], 4), round(stretch[1], 4), settings.max_faces]


def speaker_model(settings: CurationSettings, tools: Tools) -> SpeakerModel:
    """The model that is asked for. Raises SetupError when its weights are missing."""
    if settings.speaker_model == "sync":
        return SyncModel(settings)
    from omnitalk_cli.training.curation.light_asd_input import LightAsdModel

    return LightAsdModel(tools.speaker_weights, settings)


class Curator:
    """Takes videos apart; models are loaded once. ``work`` is the folder of stored results."""

    def __init__(self, settings: CurationSettings, tools: Tools, work: Path) -> None:
        self._settings = settings
        self._tools = tools
        self._work = work
        self._speaker = speaker_model(settings, tools)
        self._dnsmos = {
            "none": lambda: None, "auto": find_dnsmos, "dnsmos": dnsmos_or_error,
        }[settings.audio_quality]()  # fmt: skip

    def cache(self, source: Source) -> StageCache:
        """The stored results for a video."""
        return StageCache(self._work / source.sha256[:24])

    def curate(self, source: Source) -> list[Fate]:
        """A row for every part of a video, in order of time. Raises SetupError; a video that cannot
        be used is a row."""
        end = 0.0
        try:
            info = probe(source.path)
            end = info.seconds
            reason = _unusable(info)
            if reason:
                return [self._row(source, 0.0, end, "video", reason)]
            end = min(info.video_seconds, info.audio_seconds, info.usable_seconds)
            return list(self._parts(source, info, end))
        except InputError as error:
            return [self._row(source, 0.0, end, "video", str(error))]
        except OmnitalkError:
            raise
        except Exception as error:  # one broken file must not stop the others
            why = f"unexpected {type(error).__name__}: {error}"
            return [self._row(source, 0.0, end, "video", why)]

    def _row(
        self, source: Source, start: float, end: float, stage: str, reason: str = "", **more: object
    ) -> Fate:
        return Fate(
            id=f"{source.sha256[:12]}-{round(start * 1000):08d}",
            video=source.name,
            start=start,
            end=end,
            verdict="rejected" if reason else "kept",
            stage=stage,
            reason=reason,
            **more,  # type: ignore[arg-type]
        )

    def _parts(self, source: Source, info: MediaInfo, end: float) -> Iterator[Fate]:
        cache, settings = self.cache(source), self._settings
        levels = cache.arrays(
            "sound", [cutting.VERSION], lambda: cutting.sound_levels(info),
            save=_save_levels, load=_load_levels,
        )  # fmt: skip
        if not len(levels) or float(levels.max()) < cutting.SILENCE_DB:
            yield self._row(source, 0.0, end, "sound", "the sound track is silent")
            return
        shots = cache.data(
            "scenes", [scenes.VERSION, settings.scene_threshold],
            lambda: scenes.find_scenes(info, threshold=settings.scene_threshold),
        )  # fmt: skip
        texts = TextSource(
            source.path, info, levels, cache, folder=self._tools.transcripts,
            model=self._tools.asr_model, language=settings.language,
        )  # fmt: skip
        inside = [(start, min(stop, end)) for start, stop in shots if start < end]
        for start, stop in scenes.stretches(inside, levels):
            if stop - start < settings.min_seconds:
                yield self._row(
                    source, start, stop, "scene",
                    f"the scene lasts {stop - start:.1f} s (shortest clip "
                    f"{settings.min_seconds:g} s)",
                )  # fmt: skip
            else:
                yield from self._stretch(source, info, (start, stop), levels, texts)

    def _stretch(
        self,
        source: Source,
        info: MediaInfo,
        span: tuple[float, float],
        levels: Float,
        texts: TextSource,
    ) -> Iterator[Fate]:
        settings, cache = self._settings, self.cache(source)
        pieces = cutting.cut_clips(
            levels, *span, shortest=settings.min_seconds, longest=settings.max_seconds,
            max_pause=settings.max_pause,
        )  # fmt: skip
        if all(piece.reason for piece in pieces):
            for piece in pieces:
                yield self._row(source, piece.start, piece.end, "cut", piece.reason)
            return
        key = faces_key(span, settings)
        faces = cache.arrays(
            "faces", key,
            lambda: tracks.follow_faces(
                info, start=span[0], seconds=span[1] - span[0], most=settings.max_faces
            ),
            save=tracks.save_faces, load=tracks.load_faces,
        )  # fmt: skip
        stretch = Stretch(
            info=info, start=span[0], end=span[1], faces=faces, faces_key=key, cache=cache
        )
        for piece in pieces:
            if piece.reason:
                yield self._row(source, piece.start, piece.end, "cut", piece.reason)
            else:
                yield self._piece(source, stretch, piece, texts)

    def _piece(self, source: Source, stretch: Stretch, piece: Piece, texts: TextSource) -> Fate:
        """All filters, the cheap ones first."""
        settings, measures = self._settings, {"faces": float(len(stretch.faces))}

        def row(stage: str, reason: str = "", **more: object) -> Fate:
            return self._row(
                source, piece.start, piece.end, stage, reason, measures=dict(measures),
                stretch=(stretch.start, stretch.end), **more,
            )  # fmt: skip

        if not stretch.faces:
            return row("face", "no face is seen in it")
        choice = choose_speaker(self._speaker, stretch, piece)
        measures |= choice.values
        if choice.face < 0:
            return row("face", choice.reason)
        measures["face"] = float(choice.face)
        face = filters.measure_face(stretch.faces[choice.face].part(piece.start, piece.seconds))
        measures |= {
            "face_x": face.x, "face_y": face.y, "face_share": face.share,
            "face_pixels": face.pixels, "lost_share": face.lost,
            "longest_gap": face.longest_gap, "yaw": face.yaw, "pitch": face.pitch,
            "yaw_spread": face.spread[0], "pitch_spread": face.spread[1],
            "roll_spread": face.spread[2],
        }  # fmt: skip
        if choice.reason:
            return row("speaker", choice.reason)
        faults = filters.face_faults(face, settings)
        if faults:
            return row("face", "; ".join(faults))
        sound = self._quality(stretch, piece)
        measures |= {"level": sound.level, "peak": sound.peak, "clipped": sound.clipped}
        for name in ("ovrl", "sig", "bak"):
            score = getattr(sound, name)
            measures |= {f"dnsmos_{name}": score} if score is not None else {}
        faults = filters.sound_faults(sound, settings)
        if faults:
            return row("quality", "; ".join(faults))
        said = texts.said(piece, stretch.start, stretch.end)
        if said.reason and not settings.allow_no_text:
            return row("text", said.reason)
        spoken = {"language": said.language, "text": said.text, "text_source": said.source}
        if said.text:
            measures["characters"] = float(filters.characters(said.text))
            pace = filters.pace_of(said.text, piece.seconds)
            measures |= {"seconds_per_character": pace} if pace is not None else {}
            faults = filters.pace_faults(said.text, said.language, piece.seconds, settings)
            if faults:
                return row("pace", "; ".join(faults), **spoken)
        return row("kept", split=split_of(source.sha256, settings.heldout), **spoken)

    def _quality(self, stretch: Stretch, piece: Piece) -> SoundQuality:
        model = self._dnsmos
        name = [model.name, model.stat().st_size] if model is not None else None
        key = [QUALITY_VERSION, round(piece.start, 4), round(piece.end, 4), name]

        def measure() -> dict[str, Any]:
            sound = sound_quality(stretch.sound(piece.start, piece.seconds, DNSMOS_RATE), model)
            return {name: getattr(sound, name) for name in SoundQuality.__dataclass_fields__}

        return SoundQuality(**stretch.cache.data("quality", key, measure))


def _unusable(info: MediaInfo) -> str:
    """Why a file cannot be used at all, "" when it may."""
    if info.is_image or not info.has_video:
        return "it is a picture" if info.is_image else "it has no picture"
    if not info.has_audio:
        return "it has no sound track"
    return ""


def _save_levels(levels: Float, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"levels": levels}, path)


def _load_levels(path: Path) -> Float:
    from safetensors.numpy import load_file

    return load_file(path)["levels"]
