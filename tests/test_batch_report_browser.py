"""The report of a batch as people use it: in a browser, if one is installed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from browser import Browser, find_browser
from omnitalk_cli.batch import previews
from omnitalk_cli.batch.previews import Preview, PreviewStore
from omnitalk_cli.batch.report import ReportRow, write_report
from report_samples import FINISHED, HOSTILE, STARTED, make_talk, result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed (OMNITALK_TEST_BROWSER names one elsewhere)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def batch(folder: Path) -> Path:
    """A report of eight rows: two videos, one that is gone, hostile failures."""
    names = ["lesson-2", "lesson-10"]
    rows = [
        ReportRow(
            result=result(
                name, line=index + 2, seconds=2.0 + index, seed=index, mark_id=f"0a{index}",
                timings={"reference": 0.5, "synthesis": 1.0 + index, "render_encode": 2.0},
                output=make_talk(folder / f"{name} #{index}%.mp4", tone=0.1 + index / 4).name,
            ),
            ref="anna.mp4", text=f"Text number {index} of the course.",
        )
        for index, name in enumerate(names)
    ]  # fmt: skip
    rows.append(ReportRow(result=result("gone", line=4), skipped=True))
    for line, text in enumerate(HOSTILE[:9], 5):
        failed = result(text, line=line, state="failed", message=f"no face: {text}", exit_code=3)
        rows.append(ReportRow(result=failed, ref=text, text=text))
    path = folder / "report.html"
    write_report(path, rows, title=HOSTILE[0], started=STARTED, finished=FINISHED, version="1")
    return path


def shown_ids(browser: Browser) -> list[str]:
    return list(browser.run("[...document.querySelectorAll('.id')].map(e => e.textContent)"))


def test_page_filters_sorts_and_says_nothing_bad(browser: Browser, tmp_path: Path) -> None:
    path = batch(tmp_path)
    browser.resize(1400, 900)
    browser.open(path.as_uri())
    everything = shown_ids(browser)
    assert everything[:3] == ["lesson-2", "lesson-10", "gone"] and len(everything) == 12
    assert browser.run("document.title") == HOSTILE[0]
    assert browser.run("document.querySelectorAll('tbody .thumb img').length") == 2
    assert browser.run("document.querySelectorAll('tbody .outline').length") == 2
    assert browser.run("[...document.images].every(i => i.complete && i.naturalHeight == 90)")

    # Sorted by every column, both ways round, no row is lost; ids count as people do.
    for name in browser.run("Object.keys(columns)"):
        for _ in range(2):
            browser.run(f"document.querySelector('[data-sort={name}]').click()")
            assert sorted(shown_ids(browser)) == sorted(everything), name
    browser.run("document.querySelector('[data-sort=length]').click()")
    assert shown_ids(browser)[:2] == ["lesson-2", "lesson-10"]
    browser.run("document.querySelector('[data-sort=length]').click()")
    assert shown_ids(browser)[:2] == ["lesson-10", "lesson-2"]
    assert browser.run("document.querySelector('[aria-sort]').ariaSort") == "descending"

    # By text, from the keyboard; then by status.
    browser.press("/")
    browser.type("COURSE number")
    browser.until(lambda: shown_ids(browser) == ["lesson-10", "lesson-2"])
    assert browser.run("document.querySelector('#shown').textContent") == "2 of 12 rows"
    browser.reload()  # a report that is loaded again stays where it was
    assert shown_ids(browser) == ["lesson-10", "lesson-2"]
    browser.run("change({ query: '' })")
    browser.run("document.querySelector('#statuses .failed').click()")
    assert len(shown_ids(browser)) == 9
    browser.run("change({ query: 'nothing has this' })")
    assert browser.run("document.querySelector('#empty').checkVisibility()")

    # What turns text round or hides it is shown; nothing hostile has run.
    browser.run("change({ query: '4pm', status: '' })")
    assert shown_ids(browser) == ["a⟨U+202E⟩4pm.exe⟨U+202C⟩ b⟨U+2066⟩c"]
    assert browser.run("window.broken") is None
    assert browser.complaints() == []
    assert {address.split(":")[0] for address in browser.requests()} == {"file", "data"}


def test_page_may_not_reach_the_network_or_run_other_code(browser: Browser, tmp_path: Path) -> None:
    browser.open(batch(tmp_path).as_uri())
    tries = [
        "fetch('http://127.0.0.1:9/')",
        "new Promise((good, bad) => { const i = new Image(); i.onload = good; i.onerror = bad;"
        " i.src = 'http://127.0.0.1:9/a.png'; })",
        "document.body.innerHTML = '<b>x</b>'",
        "Promise.resolve(eval('1'))",
    ]
    for script in tries:
        caught = f"(async () => {{ try {{ await ({script}); }} catch {{ return true; }} }})()"
        assert browser.run(caught) is True, script
    browser.run("document.body.append(make('script', {}, 'window.broken = 1')) && 0")
    assert browser.run("window.broken") is None
    assert not [address for address in browser.requests() if address.startswith("http")]


def test_videos_play(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1400, 900)
    browser.open(batch(tmp_path).as_uri())
    if not browser.run("video.canPlayType('video/mp4; codecs=\"avc1.64001f, mp4a.40.2\"')"):
        pytest.skip("this browser was built without H.264")
    asked = len(browser.requests())
    assert browser.run("video.preload") == "none" and browser.run("video.src") == ""
    browser.run("document.querySelector('.thumb').focus()")
    browser.press("Enter")
    browser.until(lambda: browser.run("video.currentTime") > 0.3)
    assert browser.run("viewer.open") and browser.run("video.error") is None
    assert browser.run("video.videoWidth") == 128
    browser.until(lambda: browser.run("document.querySelectorAll('.played').length") > 10)
    # The row after, the one that is gone, and back to the table.
    browser.press("j")
    browser.until(lambda: "lesson-10" in browser.run("video.src") and browser.run("!video.paused"))
    browser.press("j")
    assert browser.run("document.querySelector('#fault').checkVisibility()")
    browser.press("Escape")
    browser.until(lambda: not browser.run("viewer.open"))
    assert browser.run("video.getAttribute('src')") is None
    assert browser.complaints() == []
    new = browser.requests()[asked:]
    assert {address.split(":")[0] for address in new} <= {"file", "data"}


def test_a_video_that_went_away_is_told(browser: Browser, tmp_path: Path) -> None:
    path = batch(tmp_path)
    next(tmp_path.glob("lesson-2*.mp4")).unlink()
    browser.open(path.as_uri())
    browser.run("document.querySelector('.thumb').click()", gesture=True)
    browser.until(lambda: browser.run("document.querySelector('#fault').checkVisibility()"))
    assert "cannot play" in browser.run("document.querySelector('#fault').textContent")


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_sticks_out_at_the_side(browser: Browser, tmp_path: Path, width: int) -> None:
    path = batch(tmp_path)
    browser.resize(width, 844)
    browser.open(path.as_uri())
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.run("document.querySelector('.id').click()")
    assert browser.run("viewer.scrollWidth <= viewer.clientWidth")
    # What can be pressed with a thumb is not too small for one.
    least = browser.run(
        "Math.min(...[...viewer.querySelectorAll('button')].map(b => b.offsetWidth))"
    )
    assert least >= 36


def test_ten_thousand_rows_open_within_two_seconds(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = previews.make_preview(make_talk(tmp_path / "a.mp4"))
    noise = np.random.default_rng(0).integers(0, 256, 2200, np.uint8).tobytes()
    preview = Preview(picture=preview.picture + noise, curve=preview.curve)  # as large as faces are
    monkeypatch.setattr(PreviewStore, "of", lambda _, videos, **__: dict.fromkeys(videos, preview))
    rows = [
        ReportRow(
            result=result(
                f"row-{number:05d}", line=number + 2, seconds=number % 97, seed=number * 7919,
                mark_id=f"{number * 40503 % 2**32:08x}", started=STARTED, finished=FINISHED,
                timings={"reference": 0.1, "synthesis": number % 13, "render_encode": 3.5},
            ),
            ref=f"speaker-{number % 20}.mp4", text=f"{number} " * 20,
        )
        for number in range(10_000)
    ]  # fmt: skip
    path = tmp_path / "report.html"
    write_report(path, rows, title="large", started=STARTED, finished=FINISHED)
    browser.resize(1400, 900)
    times = []
    for _ in range(4):  # the machine may be busy: the quickest counts
        browser.open(path.as_uri())
        times.append(browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(times) < 2000
    assert browser.run("document.querySelectorAll('tbody tr').length") == 50
    assert browser.run("document.querySelectorAll('tbody img').length") == 50
    browser.run("document.querySelector('[data-go=last]').click()")
    assert shown_ids(browser)[-1] == "row-09999"
    took = browser.run(
        "(() => { const begin = performance.now(); change({ query: 'speaker-7.mp4 42' });"
        " return performance.now() - begin; })()"
    )
    assert took < 1000
    assert all("7" in name or "42" in name for name in shown_ids(browser))
    assert browser.complaints() == []


def test_paper_carries_every_row(browser: Browser, tmp_path: Path) -> None:
    rows = [ReportRow(result=result(f"row-{number}", line=number)) for number in range(120)]
    path = tmp_path / "report.html"
    write_report(path, rows, title="print", started=STARTED, finished=FINISHED)
    browser.open(path.as_uri())
    browser.run("window.onbeforeprint = () => { window.printed = shown(); };"
                "window.shown = () => document.querySelectorAll('tbody tr').length; 0")  # fmt: skip
    pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF") and browser.run("window.printed") == 120
    assert browser.run("window.shown()") == 50
