"""The report of a batch: its numbers, and its page as text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitalk_cli.batch import report as batch_report
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.batch.previews import LEVELS
from omnitalk_cli.batch.report import (
    PREVIEWS_FILE,
    ReportRow,
    excerpt,
    link,
    report_row,
    write_report,
)
from omnitalk_cli.batch.totals import spoken, totals_of
from omnitalk_cli.errors import WorkError
from report_samples import FINISHED, HOSTILE, STARTED, make_talk, result


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text at the beginning of each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append((tag, ""))
        self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def blocks(self, kind: str) -> list[Any]:
        """The JSON blocks of this class."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [json.loads(text) for (_, a), (_, text) in pairs if a.get("class") == kind]


def written(folder: Path, rows: list[ReportRow], **values: Any) -> Page:
    path = folder / "report.html"
    write_report(path, rows, **({"title": "jobs.csv", "started": STARTED} | values))
    return Page(path.read_text(encoding="utf-8"))


# Numbers


def test_totals_count_every_status_and_only_new_rows_make_the_rate() -> None:
    rows = [
        ("done", result(seconds=4.0, timings={"synthesis": 2.0, "render": 3.0, "total": 5.0})),
        ("done", result(seconds=6.0, timings={"reference": 1.0, "synthesis": 4.0, "total": 5.0})),
        ("skipped", result(seconds=10.0)),
        ("failed", result(seconds=99.0, timings={"reference": float("nan")})),
        ("pending", result()),
    ]
    totals = totals_of(rows, started=STARTED, finished=FINISHED, no_stage={"total"})
    assert totals.counts == {"done": 2, "skipped": 1, "failed": 1, "running": 0, "pending": 1}
    assert totals.rows == 5
    assert totals.video_seconds == 20.0
    assert totals.elapsed == 5400.0
    assert totals.rows_per_hour == pytest.approx(2 / 1.5)
    assert totals.stages == {"synthesis": 6.0, "render": 3.0, "reference": 1.0}
    words = totals.words()
    assert words["headline"] == "3 of 5 rows are done (1 from earlier runs), 1 failed, 1 to do."
    assert words["per_hour"] == "1.3"


@pytest.mark.parametrize("started", ["", "yesterday", "2126-01-01T00:00:00+00:00"])
def test_totals_without_a_usable_start_know_no_rate(started: str) -> None:
    totals = totals_of([("done", result())], started=started)
    assert totals.elapsed == 0 and totals.rows_per_hour == 0
    assert totals.words()["per_hour"] == "–"
    assert totals.words()["ended_word"] == "Still running at"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"),
     (3600, "1 h 0 min"), (36061, "10 h 1 min")],
)  # fmt: skip
def test_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_excerpt_is_one_line_of_120_characters() -> None:
    assert excerpt("  One\n\n two\tthree ") == "One two three"
    assert excerpt("x" * 120) == "x" * 120
    long = excerpt("word " * 50)
    assert len(long) <= 120 and long.endswith("word…")


def test_rows_done_before_the_run_were_skipped() -> None:
    job = Job(id="a", line=2, ref=Path("clips/anna.mp4"), output=Path("a.mp4"), text="Hello.")
    early, late = "2026-03-01T09:59:59", "2026-03-01T10:00:01"  # no zone: UTC
    assert report_row(job, result(finished=early), run_started=STARTED).status == "skipped"
    assert report_row(job, result(finished=late), run_started=STARTED).status == "done"
    failed = report_row(job, result(finished=early, state="failed"), run_started=STARTED)
    assert failed.status == "failed"
    assert (failed.ref, failed.text) == ("anna.mp4", "Hello.")


def test_a_row_without_text_names_its_file() -> None:
    job = Job(id="a", line=2, ref=Path("r"), output=Path("a.mp4"), text_file=Path("in/one.txt"))
    assert report_row(job, result()).text == "one.txt"


# The page as text


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("a b.mp4", "a%20b.mp4"),
        ("javascript:x.mp4", "javascript%3Ax.mp4"),
        ("a?b#c%41.mp4", "a%3Fb%23c%2541.mp4"),
        ("ü\u202e\"'<.mp4", "%C3%BC%E2%80%AE%22%27%3C.mp4"),
        ("raw\udcff.mp4", "raw%FF.mp4"),
        ("sub/a.mp4", "sub/a.mp4"),
        ("../a.mp4", "../a.mp4"),
    ],
)
def test_link_is_relative_and_quoted(tmp_path: Path, name: str, address: str) -> None:
    assert link(tmp_path / name, tmp_path) == address


def test_hostile_texts_stay_data(tmp_path: Path) -> None:
    rows = [
        ReportRow(
            result=result(
                text, state="failed", message=text, worker=text, mark_id=text, started=text,
                timings={text: 1.0},
            ),
            ref=text, text=text,
        )
        for text in HOSTILE
    ]  # fmt: skip
    title = HOSTILE[0] + HOSTILE[9]
    harmless = written(tmp_path, [], title="x")
    page = written(tmp_path, rows, title=title, version=HOSTILE[3])
    kinds = [tag for tag, _ in page.elements]
    assert kinds == [*(tag for tag, _ in harmless.elements), "script"]  # and one block of pictures
    (data,) = page.blocks("data")
    for row, text in zip(data["rows"], HOSTILE, strict=True):
        assert row["id"] == row["ref"] == row["text"] == row["message"] == text
    assert title in next(text for tag, text in page.texts if tag == "title")


@given(st.text(st.characters(), max_size=60))
def test_any_text_comes_back_from_a_block(text: str) -> None:
    block = batch_report._json_block([text], kind="data")
    assert block.count("<") == block.count(">") == 2 and block.isascii()
    (data,) = Page(block).blocks("data")
    assert data == [text]


def test_only_the_scripts_of_the_page_may_run(tmp_path: Path) -> None:
    page = written(tmp_path, [ReportRow(result=result())])
    policies = [a["content"] or "" for _, a in page.elements if "http-equiv" in a]
    (policy,) = (dict(part.split(" ", 1) for part in one.split("; ")) for one in policies)
    pairs = list(zip(page.elements, page.texts, strict=True))
    code: dict[str, list[str]] = {"script": [], "style": []}
    for (tag, attributes), (_, text) in pairs:
        if tag in code and attributes.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            code[tag].append(f"'sha256-{digest}'")
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].split() == code["script"]
    assert policy["style-src"].split() == code["style"]
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[\w./-]*", text)) == {
        "http://www.w3.org/2000/svg"  # the name of a namespace, not an address
    }


def test_rows_carry_what_the_page_shows(tmp_path: Path) -> None:
    make_talk(tmp_path / "a.mp4")
    rows = [
        ReportRow(result=result(seed=2**60, seconds=2.0, timings={"render": 1.234, "total": 9.0})),
        ReportRow(result=result("b", line=3)),
        ReportRow(result=result("c", line=4, state="failed", output="", message="why")),
    ]
    page = written(tmp_path, rows, finished=FINISHED)
    (data,) = page.blocks("data")
    there, gone, failed = data["rows"]
    assert there["url"] == "a.mp4" and len(there["curve"]) == 120
    assert there["seed"] == str(2**60) and there["times"] == [1.23]
    assert gone["missing"] is True and "url" not in gone
    assert failed["message"] == "why" and "url" not in failed and "missing" not in failed
    (pictures,) = page.blocks("pictures")
    assert [bool(picture) for picture in pictures] == [True, False, False]
    assert pictures[0].startswith("data:image/jpeg;base64,/9j/")
    assert (tmp_path / PREVIEWS_FILE).is_file()


def test_an_output_elsewhere_is_named_from_the_report(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other").mkdir()
    video = make_talk(tmp_path / "other" / "a.mp4", seconds=0.2)
    page = written(tmp_path / "out", [ReportRow(result=result(output=str(video)))])
    (data,) = page.blocks("data")
    assert data["rows"][0]["url"] == "../other/a.mp4"


def test_a_report_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, [])
    before = (tmp_path / "report.html").read_bytes()

    def fail(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch_report, "_json_block", fail)
    with pytest.raises(WorkError, match="disk full"):
        written(tmp_path, [])
    assert (tmp_path / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_page_and_package_agree_on_the_letters() -> None:
    assert f'"{LEVELS}"' in (batch_report._PAGE / "rows.js").read_text()
