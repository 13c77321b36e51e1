"""Names of outputs: templates over columns and options, and names that no file can have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_tables import Check, checker_in, make_folder
from omnitalk_cli.batch.job_names import LONGEST_NAME, NameTemplate, name_fault, name_key
from omnitalk_cli.batch.job_table import problem_lines
from omnitalk_cli.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture
def check(folder: Path) -> Check:
    return checker_in(folder)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{id}.mp4", "x.mp4"),
        ("{id}_{lang}.MP4", "x_en.MP4"),
        ("{lang}/{ref}-{line:04d}.mp4", "en/a-0002.mp4"),
        ("{id}_{cfg-video}_{steps}_{fps}.mp4", "x_1.5_8_30.mp4"),
        ("{{{id:>3s}}}.mp4", None),
        ("{cache}-{seed:05d}.mp4", "true-00007.mp4"),
        ("{text}-{say}.mp4", "Hello-Hello.mp4"),
    ],
)
def test_names_from_the_template(
    check: Check, folder: Path, template: str, expected: str | None
) -> None:
    table = "id,ref,text,cfg_video,fps,seed\nx,a.mp4,Hello,1.5,30,7\n"
    if expected is None:
        with pytest.raises(UsageError, match="width only"):
            check(table, name=template)
        return
    done = check(table, name=template, steps=8, cache=True)
    assert problem_lines(done.problems) == []
    assert done.jobs[0].output == folder / "out" / expected


def test_a_script_names_its_video_by_its_own_name(check: Check) -> None:
    done = check("id,ref,text\n1,a.mp4,zh.txt\n2,a.mp4,s.txt\n", name="{text}_{text_file}.mp4")
    assert [job.output.name for job in done.jobs] == ["zh_zh.mp4", "s_s.mp4"]


def test_language_in_names_is_the_one_that_is_spoken(check: Check) -> None:
    table = "id,ref,text\n1,a.mp4,Hi\n2,a.mp4,你好\n3,a.mp4,zh.txt\n4,a.mp4,s.txt\n"
    done = check(table, name="{lang}-{id}.mp4", lang="auto")
    assert [job.output.name[:2] for job in done.jobs] == ["en", "zh", "zh", "en"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{idd}.mp4", "there is no field {idd}; did you mean 'id'?"),
        ("{}.mp4", "there is no field {}"),
        ("{0}.mp4", "there is no field {0}"),
        ("{id.__class__}.mp4", "there is no field {id.__class__}"),
        ("{id!r}.mp4", "width only"),
        ("{id:99999999}.mp4", "width only"),
        ("{id:{seed}}.mp4", "width only"),
        ("{id.mp4", "write fields as {id}"),
        ("id}.mp4", "write fields as {id}"),
        ("{id}", "must end in .mp4"),
        ("{id}.mov", "must end in .mp4"),
        ("{id}/.mp4", "must end in .mp4"),
        ("", "must end in .mp4"),
        ("/tmp/{id}.mp4", "inside the output folder"),
        ("C:{id}.mp4", "inside the output folder"),
        ("a\\{id}.mp4", "inside the output folder"),
        ("../{id}.mp4", "'..'"),
        ("a/../{id}.mp4", "'..'"),
        ("a//{id}.mp4", "is empty"),
        ("aux/{id}.mp4", "reserved"),
        ("{id}?.mp4", "holds '?'"),
    ],
)
def test_templates_that_cannot_be(check: Check, template: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check("id,ref,text\nx,a.mp4,Hi\n", name=template)
    assert str(caught.value).startswith(f"--name {template}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("template", "row", "message"),
    [
        ("{lang}.mp4", "y,b.mp4,Ho,", "would write en.mp4, as line 2 does"),
        ("{say}.mp4", "y,b.mp4,HELLO,", "would write HELLO.mp4, as line 2 does"),
        ("{id}_{steps}.mp4", "y,b.mp4,Ho,", "the name needs steps"),
        ("{say}.mp4", "y,b.mp4,and/or,", "holds '/'"),
        ("{say}.mp4", "y,b.mp4,Who?,", "holds '?'"),
        ("{say}.mp4", "y,b.mp4," + "x" * 300 + ",", "is too long (304 bytes"),
        ("{id:d}{steps}.mp4", "y,b.mp4,Ho,9", "does not fit {id:d}"),
    ],
)
def test_rows_whose_name_cannot_be(check: Check, template: str, row: str, message: str) -> None:
    done = check(f"id,ref,say,steps\nx,a.mp4,Hello,9\n{row}\n", name=template)
    assert message in problem_lines(done.problems)[-1]
    assert done.problems[-1].line == 3 and done.problems[-1].id == "y"


def test_outputs_never_replace_what_any_row_reads(check: Check, folder: Path) -> None:
    os.symlink(folder / "b.mp4", folder / "link.mp4")
    os.symlink(folder, folder / "way")
    table = "id,ref,text\nA,a.mp4,Hi\nb,a.mp4,Hi\nc,link.mp4,Hi\n"
    done = check(table, out="way")
    assert [job.id for job in done.jobs] == ["c"]
    first, second = problem_lines(done.problems)
    assert first.startswith("line 2: would write") and "line 2 reads" in first
    assert second.startswith("line 3: would write") and "line 4 reads" in second
    done = check("id,text\na,Hi\n", out=".", ref=folder / "a.mp4")
    assert "the command line reads" in done.problems[0].message


@given(st.text(max_size=20))
def test_what_may_be_a_name_can_be_a_file(name: str) -> None:
    if name_fault(name):
        return
    assert Path("/x", name).name == name
    assert not set('/\\\0:*?"<>|') & set(name)


@given(st.text(max_size=12), st.text(max_size=12))
def test_names_stay_in_the_output_folder(template: str, value: str) -> None:
    try:
        made = NameTemplate.parse(template + ".mp4", {"id"}).name(lambda field: value)
    except UsageError:
        return
    path = Path(os.path.normpath(Path("/out") / made))
    assert path.is_relative_to("/out") and path.suffix.lower() == ".mp4"
    assert all(len(part.encode()) <= LONGEST_NAME for part in path.parts)


@pytest.mark.parametrize(
    ("one", "other"), [("A.mp4", "a.MP4"), ("\u00e9", "e\u0301"), ("\u00c9", "e\u0301")]
)
def test_names_that_some_file_system_takes_for_the_same(one: str, other: str) -> None:
    assert name_key(one) == name_key(other) != name_key("e.mp4")
