"""The benchmark of the invisible marks: what they survive, cost and show. ``omnitalk bench marks``.

Every clip is marked and written as the product does it, treated as platforms and people treat
videos (``attacks``), and read. Then: pieces that hold no mark of ours, how much of the marks could
be seen and heard, and what they cost.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from omnitalk_cli.evaluation.attacks import CHAIN, attacked
from omnitalk_cli.evaluation.audio_marks import (
    Audibility,
    audibility,
    pieces_of,
    read_sound,
    survive_audio,
)
from omnitalk_cli.evaluation.false_marks import NONE_YET, FalseMarks, false_audio, false_video
from omnitalk_cli.evaluation.mark_material import (
    SECONDS,
    SIDE,
    Clip,
    Frames,
    Outcome,
    id_of,
    load,
    outcome,
    write_master,
)
from omnitalk_cli.evaluation.video_marks import (
    MOST_FRAMES,
    Visibility,
    embedding_milliseconds,
    marked_frames,
    read_mark,
    survive_cutting,
    survive_video,
    visibility,
)
from omnitalk_cli.media.probe import probe
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.provenance.audio_mark import detect as detect_sound
from omnitalk_cli.provenance.audio_mark import embed, payload_bits
from omnitalk_cli.provenance.detection import Detection
from omnitalk_cli.provenance.video_detector import detect as detect_picture
from omnitalk_cli.provenance.video_mark import VideoMark
from omnitalk_cli.types import SAMPLE_RATE

PARTS = ("video", "audio", "chain", "false", "cost")
TRIES = 240

_COST_FRAMES = 25


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor time of one core, on one clip (None: it has no picture, or no sound).

    Embedding: milliseconds per frame of 512x512 and 1920x1080, share of real time for the sound.
    Reading: seconds for 150 frames of the clip's size without decoding, and for its sound.
    """

    clip: str
    frame_512: float | None
    frame_1080: float | None
    read_video: float | None
    sound_share: float | None
    read_audio: float | None


@dataclass(kw_only=True)
class Marks:
    """Everything that was measured; parts that were not asked for stay empty."""

    clips: list[str] = field(default_factory=list)
    video: list[Outcome] = field(default_factory=list)
    seen: list[Visibility] = field(default_factory=list)
    audio: list[Outcome] = field(default_factory=list)
    heard: list[Audibility] = field(default_factory=list)
    chain: list[tuple[Outcome | None, Outcome | None]] = field(default_factory=list)
    false_video: FalseMarks = NONE_YET
    false_audio: FalseMarks = NONE_YET
    cost: list[Cost] = field(default_factory=list)


def bench_marks(
    paths: Sequence[Path],
    *,
    parts: Iterable[str] = PARTS,
    seconds: float = SECONDS,
    tries: int = TRIES,
    progress: Progress = silent,
) -> Marks:
    """Run ``parts`` of the benchmark on the first ``seconds`` of each of ``paths``.

    ``tries`` pieces without our mark are made of all clips together, of the picture and of the
    sound each. Raises InputError for files that hold neither picture nor sound.
    """
    wanted = set(parts)
    made = Marks()
    with_picture, with_sound = _counts(paths)
    before: Frames = ()
    for number, path in enumerate(paths):
        step = _Steps(progress, path.stem, number, len(paths))
        step("load")
        clip = load(path, seconds=seconds, picture=wanted != {"audio"})
        made.clips.append(clip.name)
        with tempfile.TemporaryDirectory(prefix="omnitalk-") as name:
            folder = Path(name)
            if clip.frames and wanted & {"video", "chain"}:
                before = _picture_parts(made, clip, number, folder, wanted, before, step)
            if len(clip.sound) and "audio" in wanted:
                _sound_part(made, clip, number, folder, step)
        if "false" in wanted:
            step("tries without a mark")
            if clip.frames:
                count = -(-tries // with_picture)
                for found, foreign in false_video(clip, count, seed=number):
                    made.false_video = made.false_video.with_one(found, foreign=foreign)
            if len(clip.sound):
                count = -(-tries // with_sound)
                for found, foreign in false_audio(clip, count, seed=number):
                    made.false_audio = made.false_audio.with_one(found, foreign=foreign)
        if "cost" in wanted:
            step("cost")
            made.cost.append(cost(clip))
    progress("marks", len(paths), len(paths))
    return made


def cost(clip: Clip) -> Cost:
    """What marking and reading ``clip`` costs."""
    blank = Cost(
        clip=clip.name, frame_512=None, frame_1080=None, read_video=None,
        sound_share=None, read_audio=None,
    )  # fmt: skip
    if clip.frames:
        frames = clip.frames[:_COST_FRAMES]
        small = [np.ascontiguousarray(frame[:SIDE, :SIDE]) for frame in frames]
        large = _resized(frames[::3], 1080, 1920)
        begin = time.process_time()
        detect_picture(frames[at % len(frames)] for at in range(MOST_FRAMES))
        blank = replace(
            blank,
            read_video=time.process_time() - begin,
            frame_512=embedding_milliseconds(small),
            frame_1080=embedding_milliseconds(large),
        )
    if len(clip.sound):
        begin = time.process_time()
        embed(clip.sound, 1, 32)
        share = (time.process_time() - begin) * SAMPLE_RATE / len(clip.sound)
        begin = time.process_time()
        detect_sound(clip.sound, SAMPLE_RATE)
        blank = replace(blank, sound_share=share, read_audio=time.process_time() - begin)
    return blank


class _Steps:
    """Says what is being done with which clip; a clip counts as one."""

    def __init__(self, progress: Progress, clip: str, number: int, total: int) -> None:
        self._progress, self._clip, self._number, self._total = progress, clip, number, total

    def __call__(self, what: str) -> None:
        self._progress(f"marks, {self._clip}: {what}", self._number, self._total)


def _counts(paths: Sequence[Path]) -> tuple[int, int]:
    """How many of the files have a picture, and how many sound; at least 1."""
    infos = [probe(path) for path in paths]
    return max(1, sum(one.has_video for one in infos)), max(1, sum(one.has_audio for one in infos))


def _picture_parts(
    made: Marks,
    clip: Clip,
    number: int,
    folder: Path,
    wanted: set[str],
    before: Frames,
    step: _Steps,
) -> Frames:
    """The parts "video" and "chain"; returns frames for the edits around the next clip."""
    mark = VideoMark(id=id_of(number))
    step("mark and encode")
    marked = marked_frames(clip.frames, mark)
    seconds = len(clip.sound) / SAMPLE_RATE
    sound = embed(clip.sound, mark.id, payload_bits(seconds)) if seconds else None
    master = write_master(folder / "master.mp4", marked, fps=clip.fps, sound=sound)
    if "video" in wanted:
        made.seen.append(visibility(clip.frames, marked, clip=clip.name, fps=clip.fps))
        del marked
        for one in survive_video(master, folder, clip=clip.name, mark=mark):
            step(one.attack)
            made.video.append(one)
        step("stills and edits")
        height, width = clip.frames[0].shape[:2]
        around = _resized(before or clip.frames[::-1], height, width)
        made.video += survive_cutting(master, around, clip=clip.name, mark=mark)
    if "chain" in wanted:
        step("screen share")
        file = attacked(master, CHAIN, folder)
        seen = outcome(clip.name, CHAIN.name, read_mark(file, key=mark.key), mark.id, mark.bits)
        heard = None
        if seconds:
            bits = payload_bits(seconds)
            found: Detection = read_sound(file)
            heard = outcome(clip.name, CHAIN.name, found, mark.id % (1 << bits), bits)
        made.chain.append((seen, heard))
    return [frame.copy() for frame in clip.frames[:MOST_FRAMES:3]]


def _resized(frames: Frames, height: int, width: int) -> Frames:
    return [np.asarray(cv2.resize(frame, (width, height)), np.uint8) for frame in frames]


def _sound_part(made: Marks, clip: Clip, number: int, folder: Path, step: _Steps) -> None:
    """The part "audio"."""
    for at, piece in enumerate(pieces_of(clip)):
        mark_id = id_of(number * 101 + at)
        made.heard.append(audibility(piece, mark_id))
        for one in survive_audio(piece, folder, mark_id=mark_id):
            step(f"{piece.bits} bit, {one.attack}")
            made.audio.append(one)
