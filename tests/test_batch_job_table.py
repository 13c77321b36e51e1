"""Rows become jobs, and every mistake in a table is told with its line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_tables import Check, checker_in, make_folder
from omnitalk_cli.batch import job_rows
from omnitalk_cli.batch.job_table import check_table, problem_lines, table_folder
from omnitalk_cli.batch.jobs import seed_of
from omnitalk_cli.batch.table import Row
from omnitalk_cli.errors import InputError
from omnitalk_cli.pipeline.script import check_script, read_script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture
def check(folder: Path) -> Check:
    return checker_in(folder)


def test_a_sound_row_is_a_job(check: Check, folder: Path) -> None:
    done = check(
        "id,ref,text,cfg-video,Steps,fps\nx,a.mp4,Hello,0,8,25\n",
        steps=4, crf=20, lang="auto", cache=True, speed=None,
    )  # fmt: skip
    assert done.problems == () and done.rows == 1
    job = done.jobs[0]
    assert (job.id, job.line, job.text) == ("x", 2, "Hello")
    assert job.ref == folder / "a.mp4" and job.output == folder / "out" / "x.mp4"
    assert job.options == {
        "steps": 8, "crf": 20, "lang": "auto", "cache": True, "cfg_video": 0.0, "fps": 25.0,
        "seed": seed_of("x"),
    }  # fmt: skip


def test_where_the_seed_comes_from(check: Check) -> None:
    table = "id,ref,text,seed\nx,a.mp4,Hi,0\ny,a.mp4,Hi,\n"
    assert [job.seed for job in check(table).jobs] == [0, seed_of("y")]
    assert [job.seed for job in check(table, seed=7).jobs] == [0, 7]


@pytest.mark.parametrize(
    ("column", "cell", "field", "value"),
    [
        ("text", " Hi. ", "text", " Hi. "),
        ("text", "s.txt", "text_file", "s.txt"),
        ("text", " S.MD ", "text_file", "S.MD"),
        ("text", "a.mp4", "text", "a.mp4"),
        ("text", '"Read this:\ns.txt"', "text", "Read this:\ns.txt"),
        ("say", "s.txt", "text", "s.txt"),
        ("text_file", "s.txt", "text_file", "s.txt"),
        ("text-file", "a.mp4", "text_file", None),
        ("audio", "w.wav", "audio", "w.wav"),
    ],
)
def test_what_is_said(
    check: Check, folder: Path, column: str, cell: str, field: str, value: str | None
) -> None:
    if value is None:
        (folder / cell).write_text("Hello")
        value = cell
    done = check(f"id,ref,{column}\nx,a.mp4,{cell}\n")
    assert done.problems == ()
    job = done.jobs[0]
    given = {name: getattr(job, name) for name in ("text", "text_file", "audio")}
    expected = value if field == "text" else folder / value
    assert given == {"text": None, "text_file": None, "audio": None, field: expected}


def test_files_are_absolute_and_may_be_at_home(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    table = f"id,ref,say\n1,~/a.mp4,x\n2,{folder}/sub/../a.mp4,x\n3,./a.mp4,x\n"
    assert {job.ref for job in check(table).jobs} == {folder / "a.mp4"}


def test_tables_folder(folder: Path) -> None:
    assert table_folder(folder / "s.txt") == folder
    assert table_folder(Path("-")) == Path()


def test_json_rows(check: Check, folder: Path) -> None:
    done = check(
        '{"id": 7, "ref": "a.mp4", "text": "Hi", "steps": 8.0, "cache": false, "seed": null}\n'
        '{"id": "8", "text": "Hi", "cfg-video": 1.5}\n',
        ref=folder / "b.mp4",
    )
    assert done.problems == ()
    assert [(job.id, job.ref.name) for job in done.jobs] == [("7", "a.mp4"), ("8", "b.mp4")]
    assert done.jobs[0].options == {"steps": 8, "cache": False, "seed": seed_of("7")}
    assert done.jobs[1].options == {"cfg_video": 1.5, "seed": seed_of("8")}


# One bad row, after a good one on line 2: columns, cells, the column told, what is said.
BAD_ROWS = [
    ("id,ref,text", ",a.mp4,Hi", "id", "no id; every row needs"),
    ("id,ref,text", "GOOD,a.mp4,Hi", "id", "'GOOD' is on line 2 already as 'good'"),
    ("id,ref,text", "good,a.mp4,Hi", "id", "'good' is on line 2 already"),
    ("id,ref,text", "a/b,a.mp4,Hi", "id", "holds '/'"),
    ("id,ref,text", "a\\b,a.mp4,Hi", "id", "holds '\\\\'"),
    ("id,ref,text", "..,a.mp4,Hi", "id", "begins or ends with a dot"),
    ("id,ref,text", "aux,a.mp4,Hi", "id", "reserved"),
    ("id,ref,text", "Com1.x,a.mp4,Hi", "id", "reserved"),
    ("id,ref,text", '"a\nb",a.mp4,Hi', "id", "holds '\\n'"),
    ("id,ref,text", "x" * 201 + ",a.mp4,Hi", "id", "is too long (201 bytes"),
    ("id,ref,text", "x,,Hi", "ref", "no ref; a clip of the person"),
    ("id,ref,text", "x,gone.mp4,Hi", "ref", "gone.mp4: no such file; a clip of the person"),
    ("id,ref,text", "x,empty.mp4,Hi", "ref", "is empty"),
    ("id,ref,text", "x,.,Hi", "ref", "is not a file"),
    ("id,ref,text", "x," + "y" * 300 + ",Hi", "ref", "cannot be read (file name too long)"),
    ("id,ref,text", "x,a.mp4,", "text", "no text; give words"),
    ("id,ref,text,audio", "x,a.mp4,,", "", "nothing to say; give words"),
    ("id,ref,text,audio", "x,a.mp4,Hi,w.wav", "", "has both text and audio"),
    ("id,ref,say,text,audio", "x,a.mp4,a,b,c", "", "has both text and say and audio"),
    ("id,ref,text", "x,a.mp4,gone.txt", "text", "gone.txt: no such file; a script"),
    ("id,ref,text", "x,a.mp4,latin.txt", "text", "is not UTF-8"),
    ("id,ref,text", "x,a.mp4,pause.txt", "text", "[pause long]: write the seconds"),
    ("id,ref,text", "x,a.mp4,Oh [pause 99] no", "text", "30 seconds at most"),
    ("id,ref,text", "x,a.mp4,今天{行|hang}", "text", "one syllable with its tone"),
    ("id,ref,text", "x,a.mp4,Привет", "text", "Cyrillic characters"),
    ("id,ref,text", "x,a.mp4,...", "text", "nothing that can be spoken"),
    ("id,ref,text", "x,a.mp4,[pause 1]", "text", "nothing that can be spoken"),
    ("id,ref,text,lang", "x,a.mp4,你好,en", "text", "use --lang zh"),
    ("id,ref,text,audio", "x,a.mp4,,gone.wav", "audio", "gone.wav: no such file"),
    ("id,ref,text,audio,speed", "x,a.mp4,,w.wav,1.5", "speed", "no effect with recorded speech"),
    ("id,ref,text,face", "x,f.safetensors,Hi,0", "face", "no effect with finished features"),
    ("id,ref,text,steps", "x,a.mp4,Hi,0", "steps", "greater than or equal to 1"),
    ("id,ref,text,steps", "x,a.mp4,Hi,many", "steps", "'many': Input should be a valid integer"),
    ("id,ref,text,cfg-video", "x,a.mp4,Hi,nan", "cfg-video", "less than or equal to 20"),
    ("id,ref,text,lang", "x,a.mp4,Hi,de", "lang", "'de' is not one of 'auto', 'en', 'zh'"),
    ("id,ref,text,cache", "x,a.mp4,Hi,maybe", "cache", "valid boolean"),
    ("id,ref,text,size", "x,a.mp4,Hi,511", "size", "must be even"),
    ("id,ref,text,model", "x,a.mp4,Hi,huge", "model", "no weights called huge"),
    ("id,ref,text,vocoder", "x,a.mp4,Hi,huge", "vocoder", "no weights called huge"),
    ("id,ref,text,background", "x,a.mp4,Hi,gone.png", "background", "no such picture"),
    ("id,ref,text,ref-audio", "x,a.mp4,Hi,gone.wav", "ref-audio", "gone.wav: no such file"),
    ("id,ref,text,ref_text", "x,a.mp4,Hi,gone.txt", "ref_text", "gone.txt: no such file"),
    ("id,ref,text,visible_mark", "x,a.mp4,Hi," + "x" * 99, "visible_mark", "1 to 80 characters"),
    ("id,ref,text", "x,a.mp4", "", "has 2 of 3 cells"),
    ("id,ref,text", "x,a.mp4,Hi,you", "", "has 4 cells for 3 columns"),
]


@pytest.mark.parametrize(("columns", "cells", "column", "message"), BAD_ROWS)
def test_bad_rows(check: Check, columns: str, cells: str, column: str, message: str) -> None:
    names = columns.split(",")
    good = {"id": "good", "ref": "a.mp4", "text": "Hi"}
    first = ",".join(good.get(name, "") for name in names)
    done = check(f"{columns}\n{first}\n{cells}\n")
    assert [job.id for job in done.jobs] == ["good"] and done.broken == 1
    assert [(found.line, found.column) for found in done.problems] == [(3, column)]
    assert message in done.problems[0].message
    assert problem_lines(done.problems)[0].startswith(
        f"line 3, {column}: " if column else "line 3: "
    )


@pytest.mark.parametrize(
    ("header", "column", "message"),
    [
        ("id,ref,text,stepz", "stepz", "unknown column; did you mean 'steps'?"),
        ("id,ref,text,remarks-on-it", "remarks-on-it", "unknown column; rename or remove it"),
        ("id,ref,text,device", "device", "cannot be a column: the rows are spread"),
        ("id,ref,text,--json", "--json", "unknown column"),
        ("id,ref,text,json", "json", "give --json to the whole batch"),
        ("id,ref,text,dry-run", "dry-run", "give --dry-run to the whole batch"),
        ("id,ref,text,output", "output", "come from --name"),
        ("id,reff,text,lang", "reff", "did you mean 'ref'?"),
        ("name,ref,text,lang", "", "there is no column id; every row"),
        ("id,ref,steps,fps", "", "there is no column text; give words"),
    ],
)
def test_what_is_wrong_with_the_header_is_told_once(
    check: Check, header: str, column: str, message: str
) -> None:
    done = check(f"\n{header}\n" + "".join(f"{i},a.mp4,30,\n" for i in range(50)))
    assert done.jobs == () and done.rows == 50
    found = [one for one in done.problems if one.column == column]
    assert len(found) == 1 and found[0].line == 2 and message in found[0].message


def test_two_spellings_of_a_column(check: Check) -> None:
    done = check("id,ref,text,cfg_text,cfg-text\nx,a.mp4,Hi,1,2\n")
    assert problem_lines(done.problems) == ["line 2, cfg-text: is the same column as 'cfg_text'"]


def test_unknown_names_in_json_are_counted(check: Check) -> None:
    row = '{"id": "%d", "ref": "a.mp4", "text": "Hi"%s}\n'
    table = "".join(row % (i, ', "stepz": 3' if i > 2 else "") for i in range(6))
    done = check(table)
    assert [job.id for job in done.jobs] == ["0", "1", "2"]
    assert problem_lines(done.problems) == [
        "line 4, stepz: unknown column; did you mean 'steps'? (in 3 rows)"
    ]


def test_json_can_spell_what_no_file_holds(check: Check) -> None:
    done = check(
        '{"id": "\\u0000", "ref": "a.mp4", "text": "Hi"}\n'
        '{"id": "y", "ref": "\\ud800", "text": "Hi"}\n'
        '{"id": "z", "ref": "a.mp4", "text": "\\ud800"}\n'
    )
    assert [one.column for one in done.problems] == ["id", "ref", "text"]


def test_all_mistakes_are_told_in_order(check: Check) -> None:
    done = check(
        "id,ref,text,steps,fps\na,gone.mp4,[pause x],0,9\nb,a.mp4,Hi,,\nb,a.mp4,Hi,,\nc,a.mp4,,x,\n"
    )
    assert [job.id for job in done.jobs] == ["b"]
    told = [(one.line, one.column, one.id) for one in done.problems]
    assert sorted(told[:4]) == [(2, name, "a") for name in ("fps", "ref", "steps", "text")]
    assert told[4] == (4, "id", "b") and sorted(told[5:]) == [(5, "steps", "c"), (5, "text", "c")]


def test_an_option_of_the_command_line_that_a_row_cannot_use_is_passed_over(check: Check) -> None:
    done = check(
        "id,ref,text,audio\n1,a.mp4,Hi,\n2,a.mp4,,w.wav\n3,f.safetensors,Hi,\n",
        speed=1.5, ref_start=2.0,
    )  # fmt: skip
    assert done.problems == ()
    options = [sorted(set(job.options) - {"seed"}) for job in done.jobs]
    assert options == [["ref_start", "speed"], ["ref_start"], ["speed"]]


def test_command_lines_reference_must_exist(check: Check) -> None:
    with pytest.raises(InputError, match="gone.mp4: no such file"):
        check("id,text\nx,Hi\n", ref=Path("gone.mp4"))


# --- listing, speed and the cheap check of scripts ---------------------------------------------
def test_listing_is_bounded(check: Check) -> None:
    done = check("id,ref,text\n" + "".join(f"{i},gone{i}.mp4,Hi\n" for i in range(300)))
    lines = problem_lines(done.problems)
    assert len(done.problems) == 300 and len(lines) == 201
    assert lines[-1] == "and 100 more problems" and lines[0].startswith("line 2, ref: ")
    assert problem_lines(done.problems, limit=2)[2:] == ["and 298 more problems"]


def test_listing_shows_no_control_characters(check: Check) -> None:
    done = check('id,ref,text\nx,"a\x1b[31m\n.mp4",Hi\n')
    (line,) = problem_lines(done.problems)
    assert line.isprintable() and "\x1b" not in line


def test_files_are_looked_up_once(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = job_rows.check_input
    monkeypatch.setattr(
        job_rows, "check_input", lambda path, what: asked.append(path) or real(path, what)
    )
    done = check("id,ref,text\n" + "".join(f"{i},gone.mp4,s.txt\n" for i in range(20)))
    assert len(done.problems) == 20 and len(asked) == 2


def test_rows_may_come_from_anywhere(folder: Path) -> None:
    rows = [Row(line=1, values={"id": "x", "ref": "a.mp4", "text": "Hi"})]
    done = check_table(rows, columns={}, defaults={}, out_dir=folder / "out", base=folder)
    assert [job.id for job in done.jobs] == ["x"]


_piece = st.sampled_from(
    ["Hello ", "你好", "[pause 1]", "[pause x]", "{行|hang2}", "{行|x}", "é", "Ж", "µ", "5 €", "…",
     "\n\n", ".", "ß", "😀", "{read|red}", "\ud800", "①"]
)  # fmt: skip


@given(st.lists(_piece, max_size=5).map("".join), st.sampled_from(["auto", "en", "zh"]))
def test_cheap_check_agrees_with_reading(text: str, language: Any) -> None:
    def outcome(read: Callable[..., Any]) -> str:
        try:
            found = read(text, language=language)
        except InputError as error:
            return str(error)
        return found if isinstance(found, str) else found.language

    assert outcome(check_script) == outcome(read_script)
