"""``omnitalk corpus build``: videos → fates of all their parts → shards, tables and statistics."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.media.locks import sole_user
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.training.curation import features
from omnitalk_cli.training.curation.fates import Fate, read_fates, write_fates
from omnitalk_cli.training.curation.figure import write_figure
from omnitalk_cli.training.curation.scenes import check_scene_detection
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.sources import find_videos
from omnitalk_cli.training.curation.stages import content_hash
from omnitalk_cli.training.curation.statistics import Statistics, statistics_of
from omnitalk_cli.training.curation.video import Curator, Source, Tools, faces_key
from omnitalk_cli.training.curation.workers import DIED, spread

WORK = ".work"
REPORT, PICTURE = "report.json", "report.png"


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a run made: the rows of all videos, shards in ``folder``, how many of them are new;
    ``dropped`` videos of an earlier run that were not named again, and so are no longer in it."""

    folder: Path
    fates: tuple[Fate, ...] = field(repr=False)
    shards: int
    new_shards: int
    statistics: Statistics
    dropped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "folder": str(self.folder), "shards": self.shards, "new_shards": self.new_shards,
            "dropped_videos": list(self.dropped), **self.statistics.to_dict(),
        }  # fmt: skip


def build_corpus(
    videos: Sequence[Path],
    folder: Path,
    *,
    settings: CurationSettings,
    tools: Tools | None = None,
    shard_minutes: float = 30.0,
    workers: int = 1,
    progress: Progress = silent,
) -> BuildResult:
    """Makes or completes the corpus in ``folder`` from ``videos`` (files, or folders of them).

    What was worked out before is kept in ``folder/.work`` and used again. Raises InputError when
    there is no video, SetupError when a model that is asked for is missing, UsageError while
    another run is in the folder, WorkError when the disk is full.
    """
    if shard_minutes <= 0:
        raise UsageError("--shard-minutes must be more than 0")
    tools = tools or Tools()
    found = find_videos(videos, folder)
    work = folder / WORK
    # Shards, tables and their index belong together: of two runs at once, they would not.
    with sole_user(folder, work):
        check_scene_detection()
        Curator(settings, tools, work)  # whatever is missing is said before the work begins
        sources, early = _identified(found, work / "index", workers, progress)
        fates = early + _curated(sources, settings, tools, work, workers, progress)
        order = {str(path): number for number, path in enumerate(found)}
        fates.sort(key=lambda fate: (order[fate.video], fate.start))
        plans = _plans(fates, sources, settings, tools, work)
        dropped = _dropped(folder, fates)
        shards, new = _write_shards(folder, work, plans, shard_minutes, workers, progress)
        write_fates(folder, fates)
        numbers = statistics_of(fates)
        write_report(folder, numbers, settings)
    return BuildResult(
        folder=folder, fates=tuple(fates), shards=shards, new_shards=new, statistics=numbers,
        dropped=dropped,
    )  # fmt: skip


def _dropped(folder: Path, fates: Sequence[Fate]) -> tuple[str, ...]:
    """Videos that clips are kept of in the corpus as it is, and that ``fates`` do not have."""
    try:
        before = read_fates(folder)
    except InputError:
        return ()
    names = {fate.video for fate in fates}
    # By content, too: a video may have been moved.
    known = {fate.id.partition("-")[0] for fate in fates}
    lost = {
        fate.video: None
        for fate in before
        if fate.verdict == "kept"
        and fate.video not in names
        and fate.id.partition("-")[0] not in known
    }
    return tuple(lost)


def write_report(
    folder: Path, numbers: Statistics, settings: CurationSettings | None = None
) -> None:
    """Writes ``report.json`` and ``report.png``."""
    facts = numbers.to_dict() | ({"settings": settings.to_dict()} if settings else {})
    with atomic_output(folder / REPORT, overwrite=True) as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_figure(numbers, folder / PICTURE)


def _identified(
    found: Sequence[Path], index: Path, workers: int, progress: Progress
) -> tuple[list[Source], list[Fate]]:
    """Every different video, and rows for those that cannot be read or are there twice."""
    hashes = [""] * len(found)
    unreadable: dict[int, str] = {}
    work = partial(_hash, index=index)
    for done, (number, result) in enumerate(
        spread(work, found, workers=workers, setup=_nothing), start=1
    ):
        hashes[number], unreadable[number] = result if result is not None else ("", DIED)
        progress("read the files", done, len(found))
    sources: dict[str, Source] = {}
    fates = []
    for number, path in enumerate(found):
        sha256 = hashes[number]
        if not sha256:
            fates.append(_whole(path, "", unreadable[number]))
        elif sha256 in sources:
            fates.append(_whole(path, sha256, f"it is the same file as {sources[sha256].path}"))
        else:
            sources[sha256] = Source(path=path, name=str(path), sha256=sha256)
    return list(sources.values()), fates


def _whole(path: Path, sha256: str, reason: str) -> Fate:
    """A row for a whole video whose length is not known."""
    # Copies share their content: their rows are told apart by the name.
    name = sha256[:12] or "unread"
    return Fate(
        id=f"{name}-{path.name}", video=str(path), start=0.0, end=0.0, verdict="rejected",
        stage="video", reason=reason,
    )  # fmt: skip


def _hash(path: Path, index: Path) -> tuple[str, str]:
    try:
        return content_hash(path, index), ""
    except InputError as error:
        return "", str(error)


def _curated(
    sources: Sequence[Source],
    settings: CurationSettings,
    tools: Tools,
    work: Path,
    workers: int,
    progress: Progress,
) -> list[Fate]:
    """The rows of all videos, in any order."""
    sizes = [source.path.stat().st_size / 1e6 for source in sources]
    total, done = max(sum(sizes), 1e-6), 0.0
    fates: list[Fate] = []
    task = partial(_curate, settings=settings, tools=tools, work=work)
    results = spread(task, sources, workers=workers, setup=_one_thread)
    progress(f"curate MB, 0 of {len(sources)} videos", 0, round(total, 1))
    for count, (number, rows) in enumerate(results, start=1):
        if rows is None:
            rows = [_whole(sources[number].path, sources[number].sha256, DIED)]
        fates += rows
        done += sizes[number]
        kept = sum(fate.verdict == "kept" for fate in fates)
        progress(
            f"curate MB, {count} of {len(sources)} videos, {kept} clips",
            round(min(done, total), 1), round(total, 1),
        )  # fmt: skip
    return fates


_curators: dict[str, Curator] = {}


def _curate(source: Source, *, settings: CurationSettings, tools: Tools, work: Path) -> list[Fate]:
    """In a worker: the models are loaded at its first video."""
    key = repr((settings.to_dict(), tools, work))
    if key not in _curators:
        _curators.clear()
        _curators[key] = Curator(settings, tools, work)
    return _curators[key].curate(source)


def _plans(
    fates: Sequence[Fate],
    sources: Sequence[Source],
    settings: CurationSettings,
    tools: Tools,
    work: Path,
) -> list[features.ClipPlan]:
    """What is to be written, in the order of the table."""
    by_name = {source.name: source for source in sources}
    curator = Curator(settings, tools, work)
    plans = []
    for fate in fates:
        if fate.verdict == "kept":
            source = by_name[fate.video]
            key = faces_key(fate.stretch, settings)
            plans.append(
                features.ClipPlan(
                    fate=fate,
                    video=source.path,
                    faces=features.faces_file(curator.cache(source), key),
                )
            )
    return plans


def _write_shards(
    folder: Path,
    work: Path,
    plans: Sequence[features.ClipPlan],
    minutes: float,
    workers: int,
    progress: Progress,
) -> tuple[int, int]:
    """How many shards there are, and how many of them were written now."""
    index = features.ShardIndex(folder, work)
    shards = features.plan_shards(plans, minutes)
    contents = {features.shard_name(k): clips for k, clips in enumerate(shards)}
    missing = [
        (folder / name, clips, features.shard_digest(clips))
        for name, clips in contents.items()
        if not index.has(name, features.shard_digest(clips))
    ]
    index.forget([path.name for path, _, _ in missing])
    for done, (number, result) in enumerate(
        spread(_write_shard, missing, workers=workers, setup=_one_thread), start=1
    ):
        path, _, content = missing[number]
        if result is None:
            raise InputError(f"{path}: {DIED}; run the command again with fewer --workers")
        index.add(path.name, content)
        progress("write the shards", done, len(missing))
    index.drop_others(list(contents))
    return len(shards), len(missing)


def _write_shard(task: tuple[Path, list[features.ClipPlan], str]) -> bool:
    features.write_shard(task[0], task[1])
    return True


def _nothing() -> None:
    """No preparation."""


def _one_thread() -> None:
    """Workers share the cores: libraries must not each take all of them."""
    if os.environ.get("OMP_NUM_THREADS") is None:
        import cv2
        import torch

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
