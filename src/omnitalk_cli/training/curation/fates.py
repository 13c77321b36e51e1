"""What became of every part of every video: one row each, kept or rejected, with the reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.files import atomic_output

TABLE, LINES = "clips.csv", "clips.jsonl"
# Stages in their order; a row names the one that rejected it ("kept" for those that passed all).
STAGES = ("video", "sound", "scene", "cut", "speaker", "face", "quality", "text", "pace", "kept")
# What may be measured of a clip, in the order of the table's columns.
MEASURES = (
    "faces", "face", "face_x", "face_y", "sync", "sync_confidence", "sync_lag", "asd", "runner_up",
    "face_share", "face_pixels", "lost_share", "longest_gap", "yaw", "pitch", "yaw_spread",
    "pitch_spread", "roll_spread", "level", "peak", "clipped", "dnsmos_ovrl", "dnsmos_sig",
    "dnsmos_bak", "characters", "seconds_per_character",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fate:
    """One row. ``start`` and ``end`` are seconds of the ``video`` (both 0 when its length is not
    known); ``id`` is that of the video's content and of the start. ``text_source`` says where the
    text is from (``subtitles``, ``text``, ``asr``), ``stretch`` in which part of a scene it lies.
    """

    id: str
    video: str
    start: float
    end: float
    verdict: Literal["kept", "rejected"]
    stage: str
    reason: str = ""
    split: str = ""
    language: str = ""
    text: str = ""
    text_source: str = ""
    stretch: tuple[float, float] = (0.0, 0.0)
    measures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stage not in STAGES or (self.verdict == "kept") != (self.stage == "kept"):
            raise ValueError(f"a row cannot be {self.verdict} at stage {self.stage!r}")
        if (self.verdict == "rejected") != bool(self.reason):
            raise ValueError("rejected rows have a reason, kept ones none")
        unknown = self.measures.keys() - set(MEASURES)
        if unknown:
            raise ValueError(f"unknown measures {sorted(unknown)}")

    @property
    def seconds(self) -> float:
        """Length of the part."""
        return self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        row = asdict(self)
        row["start"], row["end"] = round(self.start, 4), round(self.end, 4)
        row["stretch"] = [round(self.stretch[0], 4), round(self.stretch[1], 4)]
        row["measures"] = {name: _rounded(value) for name, value in self.measures.items()}
        return row


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def write_fates(folder: Path, fates: Sequence[Fate]) -> None:
    """Writes ``clips.csv`` and ``clips.jsonl``, each whole or not at all."""
    lines = "".join(json.dumps(f.to_dict(), ensure_ascii=False) + "\n" for f in fates)
    for name, text in ((TABLE, _table(fates)), (LINES, lines)):
        with atomic_output(folder / name, overwrite=True) as part:
            part.write_text(text, encoding="utf-8", newline="", errors="backslashreplace")


def _table(fates: Iterable[Fate]) -> str:
    plain = [one.name for one in fields(Fate) if one.name not in ("measures", "stretch")]
    stream = io.StringIO()
    rows = csv.DictWriter(stream, [*plain[:4], "seconds", *plain[4:], *MEASURES])
    rows.writeheader()
    for fate in fates:
        row = fate.to_dict()
        del row["stretch"]
        rows.writerow({**row.pop("measures"), **row, "seconds": round(fate.seconds, 3)})
    return stream.getvalue()


def read_fates(folder: Path) -> list[Fate]:
    """The rows of a corpus. Raises InputError when the folder has none."""
    path = folder / LINES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Fate(**json.loads(line)) for line in lines if line]
    except OSError as error:
        raise InputError(
            f"{folder}: has no {LINES}; give a folder made by omnitalk corpus build"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: is no table of clips ({error})") from error
