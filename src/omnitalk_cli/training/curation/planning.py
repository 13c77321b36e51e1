"""What a build would work on and with, without doing it (``--dry-run``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.probe import probe
from omnitalk_cli.training.curation.quality import find_dnsmos
from omnitalk_cli.training.curation.scenes import check_scene_detection
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.sources import find_videos
from omnitalk_cli.training.curation.transcripts import find_transcript
from omnitalk_cli.training.curation.video import Tools, speaker_model

# Of one core for a second of video, faces being by far the most; bytes a second in the shards.
_CORE_SECONDS, _BYTES = 1.2, 161 * 2 * 93.75


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What a build would do: ``hours`` of ``videos``, files that are ``unusable`` with the reason,
    how many have a transcript, and the models."""

    videos: int
    hours: float
    unusable: dict[str, str]
    transcripts: int
    models: dict[str, str]
    settings: CurationSettings

    @property
    def core_hours(self) -> float:
        """About how long one core works (speech recognition not counted)."""
        return self.hours * _CORE_SECONDS

    @property
    def most_bytes(self) -> float:
        """Size of the shards if everything were kept."""
        return self.hours * 3600 * _BYTES

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "dry_run": True, "videos": self.videos, "hours": round(self.hours, 4),
            "unusable": self.unusable, "transcripts": self.transcripts, "models": self.models,
            "core_hours": round(self.core_hours, 4), "most_bytes": round(self.most_bytes),
            "settings": self.settings.to_dict(),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The plan in words."""
        return [
            f"videos       {self.videos}, {self.hours * 60:.1f} min",
            f"transcripts  {self.transcripts}",
            *(f"{name:<12} {what}" for name, what in self.models.items()),
            f"work         about {self.core_hours * 60:.0f} min of one core",
            f"disk         at most {self.most_bytes / 1e6:.0f} MB of shards",
            *(f"unusable     {name}: {why}" for name, why in self.unusable.items()),
        ]


def plan_build(
    videos: Sequence[Path], folder: Path, *, settings: CurationSettings, tools: Tools
) -> BuildPlan:
    """Looks at every video's header. Raises what the build raises before it begins to work."""
    found = find_videos(videos, folder)
    check_scene_detection()
    speaker_model(settings, tools)
    seconds, unusable = 0.0, {}
    for path in found:
        try:
            seconds += probe(path).seconds
        except InputError as error:
            unusable[str(path)] = str(error)
    dnsmos = find_dnsmos() if settings.audio_quality != "none" else None
    folder_of_texts = tools.transcripts
    return BuildPlan(
        videos=len(found),
        hours=seconds / 3600,
        unusable=unusable,
        transcripts=sum(find_transcript(folder_of_texts, path) is not None for path in found)
        if folder_of_texts is not None
        else 0,
        models={
            "speaker": settings.speaker_model,
            "audio": "DNSMOS P.835" if dnsmos else "loudness and clipping only",
            "text": tools.asr_model.name if tools.asr_model else "transcripts only",
        },
        settings=settings,
    )
