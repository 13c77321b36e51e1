"""From kept clips to shards: mel and codes at the mel rate, in the order of the table.

A shard is made again only when what it holds has changed, so that a later run adds and replaces
only what it must.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from omnitalk_cli.errors import WorkError
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.training.clip_shards import Clip, ClipFacts, write_clips
from omnitalk_cli.training.curation import tracks
from omnitalk_cli.training.curation.fates import Fate
from omnitalk_cli.training.curation.stages import StageCache, digest
from omnitalk_cli.training.curation.tracks import TrackedFace, centred, load_faces
from omnitalk_cli.types import HOP, MEL_RATE, SAMPLE_RATE, Float

VERSION = 1
_INDEX = "shards.json"


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """A clip to be written: its row, its video, and the file with its face."""

    fate: Fate
    video: Path
    faces: Path

    @property
    def facts(self) -> ClipFacts:
        """What the shard says of it."""
        fate = self.fate
        return ClipFacts(
            id=fate.id,
            frames=int(fate.seconds * MEL_RATE),
            text=fate.text,
            language=fate.language,
            speaker="",
            source=Path(fate.video).name,
            start=round(fate.start, 4),
            split=cast(Literal["train", "heldout"], fate.split),
        )

    def content(self) -> list[object]:
        """What the clip in the shard depends on, JSON-able."""
        facts = self.facts
        return [
            VERSION, tracks.VERSION, facts.id, facts.frames, facts.text, facts.language,
            facts.source, facts.split, int(self.fate.measures["face"]), self.faces.name,
        ]  # fmt: skip


def codes_at_mel_rate(face: TrackedFace, start: float, frames: int) -> Float:
    """Codes ``[T,61]`` of a clip from second ``start`` of the video on, place and size of the head
    relative to the clip's own medians."""
    part = centred(face.part(start, frames / MEL_RATE).codes)
    first = round((start - face.start) * face.fps)
    # A picture stands for its beginning; the clip may begin between two.
    seen = face.start + (first + np.arange(len(part))) / face.fps
    wanted = start + np.arange(frames) / MEL_RATE
    return np.stack([np.interp(wanted, seen, column) for column in part.T], axis=1).astype(
        np.float32
    )


def make_clip(plan: ClipPlan) -> Clip:
    """The clip with its features. Raises InputError when its video cannot be read any more."""
    import torch

    from omnitalk_cli.speech.mel import log_mel

    facts = plan.facts
    samples = (facts.frames - 1) * HOP
    audio = decode_audio(plan.video, start=plan.fate.start, seconds=samples / SAMPLE_RATE)
    audio = np.pad(audio, (0, max(0, samples - len(audio))))[:samples]
    faces = load_faces(plan.faces)
    face = faces[int(plan.fate.measures["face"])]
    return Clip(
        facts=facts,
        mel=log_mel(torch.from_numpy(audio)).numpy().astype(np.float16),
        codes=codes_at_mel_rate(face, plan.fate.start, facts.frames).astype(np.float16),
    )


def plan_shards(clips: Sequence[ClipPlan], minutes: float) -> list[list[ClipPlan]]:
    """Clips in shards of about ``minutes``, those for training first, no shard with both kinds."""
    shards: list[list[ClipPlan]] = []
    for split in ("train", "heldout"):
        left = 0.0
        for clip in (one for one in clips if one.fate.split == split):
            if left <= 0:
                shards.append([])
                left = minutes * 60
            shards[-1].append(clip)
            left -= clip.fate.seconds
    return shards


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"clips-{number:05d}.safetensors"


def write_shard(path: Path, clips: Sequence[ClipPlan]) -> None:
    """Writes one shard."""
    write_clips(path, [make_clip(clip) for clip in clips])


def shard_digest(clips: Sequence[ClipPlan]) -> str:
    """What a shard with ``clips`` would hold, as a hash."""
    return digest([clip.content() for clip in clips])


class ShardIndex:
    """Which content the shards of ``folder`` have, kept in ``work``."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._path = folder, work / _INDEX
        try:
            self._known: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def has(self, name: str, content: str) -> bool:
        """Whether the shard is there with this content."""
        return self._known.get(name) == content and (self._folder / name).is_file()

    def add(self, name: str, content: str) -> None:
        """Remembers a shard that was written."""
        self._known[name] = content
        self._save()

    def _save(self) -> None:
        with atomic_output(self._path, overwrite=True) as part:
            part.write_text(json.dumps(self._known), encoding="utf-8")

    def forget(self, names: Sequence[str]) -> None:
        """Shards that will be written anew: until they are, nobody knows what they hold."""
        self._known = {name: kept for name, kept in self._known.items() if name not in names}
        self._save()

    def drop_others(self, names: Sequence[str]) -> None:
        """Deletes the shards of an earlier run that are not among ``names``."""
        for path in self._folder.glob("clips-*.safetensors"):
            if path.name not in names:
                try:
                    path.unlink()
                except OSError as error:
                    raise WorkError(f"{path}: cannot be deleted ({error.strerror})") from error


def faces_file(cache: StageCache, key: object) -> Path:
    """The file with the faces of a stretch (see ``video.faces_key``)."""
    return cache.place("faces", key, ".safetensors")
