"""The report of a batch: one HTML file beside the videos that any browser opens, without a network.

The page and its scripts lie in ``report_page/``. The rows go into it as JSON, which the page draws
a sheet at a time; small pictures follow behind, so that the table stands before they are read. The
videos are not embedded: the page names them relative to itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from omnitalk_cli.batch.jobs import Job, JobResult
from omnitalk_cli.batch.previews import Preview, PreviewStore
from omnitalk_cli.batch.totals import Totals, finite, parse_time, totals_of
from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.progress import Progress, silent

PREVIEWS_FILE = "previews.sqlite3"
EXCERPT = 120

_PAGE = resources.files("omnitalk_cli.batch") / "report_page"
_SCRIPTS = ("rows.js", "table.js", "viewer.js")
_EXACT = 2**53  # JavaScript rounds larger whole numbers
_BLOCK = 250  # rows whose pictures are read at once
_NO_STAGE = frozenset({"total"})  # a sum among the timings is no stage of its own


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """A row of the report: what became of a job, who speaks, and how the text begins.

    ``skipped`` says that the row was done by an earlier run and kept.
    """

    result: JobResult
    ref: str = ""
    text: str = ""
    skipped: bool = False

    @property
    def status(self) -> str:
        """``done``, ``skipped``, ``failed``, ``running`` or ``pending``."""
        return "skipped" if self.skipped and self.result.state == "done" else self.result.state


def report_row(job: Job, result: JobResult, *, run_started: str = "") -> ReportRow:
    """The row of ``job``; what was done before ``run_started`` (UTC, ISO 8601) was skipped."""
    said = job.text
    if said is None:
        file = job.text_file or job.audio
        said = file.name if file is not None else ""
    ended, began = parse_time(result.finished), parse_time(run_started)
    return ReportRow(
        result=result,
        ref=job.ref.name,
        text=excerpt(said),
        skipped=ended is not None and began is not None and ended < began,
    )


def excerpt(text: str) -> str:
    """The first 120 characters of ``text``, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1].rstrip() + "…"


def write_report(
    path: Path,
    results: Iterable[ReportRow],
    *,
    title: str,
    started: str,
    finished: str = "",
    version: str = "",
    workers: int | None = None,
    progress: Progress = silent,
) -> Totals:
    """Write the report to ``path``, over an older one, and return what it says on top.

    ``started`` and ``finished`` are UTC in ISO 8601; without ``finished`` the batch is still
    running. Outputs with a relative path lie beside the report. Pictures and sound curves are kept
    in ``previews.sqlite3`` beside it; only those of new and changed videos are made, by
    ``workers`` at a time. Raises WorkError when the report cannot be written.
    """
    rows = list(results)
    folder = path.parent
    videos = [_video_of(row, folder) for row in rows]
    previews = PreviewStore(folder / PREVIEWS_FILE).of(
        (video for video in videos if video is not None), workers=workers, progress=progress
    )
    totals = totals_of(
        [(row.status, row.result) for row in rows],
        started=started, finished=finished, no_stage=_NO_STAGE,
    )  # fmt: skip
    shown = [previews.get(video) if video is not None else None for video in videos]
    stages = list(totals.stages)
    data = {
        "totals": totals.to_dict(),
        "block": _BLOCK,
        "rows": [
            _row(row, stages) | _video(video, preview, folder)
            for row, video, preview in zip(rows, videos, shown, strict=True)
        ],
    }
    head, middle, foot = _page(title=title, version=version, totals=totals)
    with atomic_output(path, overwrite=True) as part:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(head)
            file.write(_json_block(data, kind="data"))
            file.write(middle)
            for first in range(0, len(rows), _BLOCK):
                uris = [_data_uri(preview) for preview in shown[first : first + _BLOCK]]
                file.write(_json_block(uris, kind="pictures"))
            file.write(foot)
    return totals


def _video_of(row: ReportRow, folder: Path) -> Path | None:
    """The file that ``row`` made; None if it made none."""
    if row.result.state != "done" or not row.result.output:
        return None
    return folder / row.result.output


# The page


def _page(*, title: str, version: str, totals: Totals) -> tuple[str, str, str]:
    """The page in three pieces: up to the rows, between rows and pictures, and the rest."""
    style = _read("style.css")
    scripts = [_read(name) for name in _SCRIPTS]
    policy = "; ".join(
        [
            "default-src 'none'",
            "script-src " + " ".join(_hash(script) for script in scripts),
            f"style-src {_hash(style)}",
            "img-src data:",
            "media-src 'self' file:",
            "base-uri 'none'",
            "form-action 'none'",
            # Nothing in the page may be turned into markup or code from a string.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    values = {
        "policy": policy,
        "style": style,
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "title": _text(title),
        "version": _text(f"omnitalk {version}".strip()),
        **{name: _text(value) for name, value in totals.words().items()},
    }
    page = Template(_read("page.html")).substitute(values)
    head, rest = page.split("<!-- rows -->", 1)
    middle, foot = rest.split("<!-- pictures -->", 1)
    return head, middle, foot


def _read(name: str) -> str:
    # One kind of line end, however the file was checked out: the hashes depend on it.
    return "\n".join((_PAGE / name).read_text(encoding="utf-8").splitlines()) + "\n"


def _hash(code: str) -> str:
    digest = hashlib.sha256(code.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(value: str) -> str:
    """For HTML text and quoted attributes; what UTF-8 cannot hold becomes a question mark."""
    return escape(value.encode("utf-8", "replace").decode())


# The data


def _row(row: ReportRow, stages: list[str]) -> dict[str, Any]:
    """The row as the page reads it; what is empty is left out, as there are many rows."""
    result = row.result
    values: dict[str, Any] = {
        "line": result.line,
        "id": result.id,
        "status": row.status,
        "ref": row.ref,
        "text": row.text,
        "message": result.message,
        "code": result.exit_code,
        "name": Path(result.output).name,
        "seconds": round(finite(result.seconds), 3),
        "seed": result.seed if abs(result.seed) < _EXACT else str(result.seed),
        "mark": result.mark_id,
        "times": _times(result.timings, stages),
        "started": result.started,
        "finished": result.finished,
        "attempts": result.attempts,
        "worker": result.worker,
        "bytes": result.output_bytes,
    }
    return {name: value for name, value in values.items() if value or name in ("line", "seed")}


def _video(video: Path | None, preview: Preview | None, folder: Path) -> dict[str, Any]:
    """The row's video as the page reads it."""
    if video is None:
        return {}
    if preview is None:  # there is no such file: it was moved or deleted since
        return {"missing": True}
    return {"url": link(video, folder), "curve": preview.curve}


def _times(timings: Mapping[str, float], stages: list[str]) -> list[float]:
    """Seconds for each of ``stages``; empty without timings."""
    if not timings:
        return []
    return [round(finite(timings.get(stage, 0.0)), 2) for stage in stages]


def link(video: Path, folder: Path) -> str:
    """How a page in ``folder`` names ``video``: relative and quoted, whatever the name holds."""
    try:
        name = os.path.relpath(video, folder)
    except ValueError:  # another drive
        return video.absolute().as_uri()
    # Only "/" stays: a name like "javascript:x" or "a#b?c" must not be read as anything else.
    return quote(os.fsencode(name.replace(os.sep, "/")), safe="/")


def _data_uri(preview: Preview | None) -> str:
    if preview is None or not preview.picture:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(preview.picture).decode()


def _json_block(data: Any, *, kind: str) -> str:
    """A block of data for the page. No text in it can end the block or begin a tag."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" class="{kind}">{text}</script>\n'
