"""``omnitalk batch``: a table of jobs becomes a folder of videos, over hours and over machines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli.batch_columns import batch_columns, batch_defaults, refused_columns
from omnitalk_cli.cli.batch_display import BatchDisplay
from omnitalk_cli.cli.console import Console, report_error, session
from omnitalk_cli.cli.generate import generate
from omnitalk_cli.errors import InputError, UsageError, WorkError
from omnitalk_cli.pipeline.settings import cache_folder

if TYPE_CHECKING:
    from omnitalk_cli.batch.engine import Engine
    from omnitalk_cli.batch.job_table import Checked

BATCH = opt.BATCH

Table = Annotated[
    Path, typer.Argument(help="CSV, TSV or JSON lines, a row for each video; - reads stdin.",
                         metavar="TABLE"),
]  # fmt: skip
OutDir = Annotated[
    Path, opt.option("--out-dir", text="Folder of the videos, made if it is not there.",
                     panel=BATCH, metavar="FOLDER"),
]  # fmt: skip
Format = Annotated[
    Literal["auto", "csv", "tsv", "jsonl"],
    opt.option("--format", text="How the table is written; by its name otherwise.", panel=BATCH),
]
Name = Annotated[
    str, opt.option("--name", text="Names of the videos, of columns and options in braces.",
                    panel=BATCH, metavar="TEMPLATE"),
]  # fmt: skip
Shard = Annotated[
    str | None,
    opt.option("--shard", text="Only the i-th of n parts of the rows, for schedulers.",
               panel=BATCH, metavar="I/N"),
]  # fmt: skip
RetryFailed = Annotated[
    bool, opt.option("--retry-failed", text="Try rows again that failed before.", panel=BATCH)
]
FailFast = Annotated[
    bool, opt.option("--fail-fast", text="Begin no more rows after the first failure.",
                     panel=BATCH),
]  # fmt: skip
MaxFailures = Annotated[
    int | None,
    opt.option("--max-failures", text="Begin no more rows after so many failures.", panel=BATCH,
               min=1, metavar="N"),
]  # fmt: skip
Strict = Annotated[
    bool, opt.option("--strict", text="Make nothing if any row of the table is unusable.",
                     panel=BATCH),
]  # fmt: skip
EngineName = Annotated[
    Literal["local", "ray"],
    opt.option("--engine", text="Worker processes on this machine, or a Ray cluster.",
               panel=BATCH),
]  # fmt: skip
Address = Annotated[
    str | None,
    opt.option("--address", text="Of the Ray cluster; a cluster of this machine otherwise.",
               panel=BATCH, metavar="HOST:PORT"),
]  # fmt: skip
RowsAtOnce = Annotated[
    int | None,
    opt.option("--workers", text="Rows at once; one for each GPU, or one for each core up to 4.",
               panel=BATCH),
]  # fmt: skip


def batch(
    table: Table,
    out_dir: OutDir,
    format: Format = "auto",
    name: Name = "{id}.mp4",
    shard: Shard = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    max_failures: MaxFailures = None,
    strict: Strict = False,
    engine: EngineName = "local",
    address: Address = None,
    workers: RowsAtOnce = None,
    device: opt.Device = "auto",
    ffmpeg: opt.Ffmpeg = None,
    dry_run: opt.DryRun = False,
    overwrite: opt.Overwrite = False,
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
    **options: Any,
) -> None:
    """Make a video for each row of TABLE; what is done already is not made again.

    Columns: id, ref, text (words, or a .txt file), and any option of generate, which is stronger
    than the same option here. Results: results.csv, results.jsonl and report.html in the folder.
    """
    with session(quiet=quiet, verbose=verbose, json_output=json_output) as console:
        if address is not None and engine != "ray":
            raise UsageError("--address is for --engine ray")
        part = _part(shard)
        checked = _checked(table, format, name, out_dir, options)
        lines = _complaints(checked, console)
        if strict and checked.broken:
            raise UsageError(f"{table}: {checked.broken} of {checked.rows} rows are unusable")
        if part:
            from omnitalk_cli.batch.shards import shard_of

            checked = shard_of(checked, *part)
        title = "stdin" if str(table) == "-" else table.name
        if dry_run:
            _plan(checked, out_dir, lines, console)
            return
        _run(
            checked, out_dir, title, console,
            engine=_engine(engine, address, workers, device, ffmpeg),
            retry_failed=retry_failed, overwrite=overwrite,
            max_failures=1 if fail_fast else max_failures,
        )  # fmt: skip


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 100_000):
        raise UsageError(f"--shard {text}: give I/N, such as 1/4 for the first of four parts")
    return int(number), int(of)


def _checked(
    table: Path,
    format: Literal["auto", "csv", "tsv", "jsonl"],
    name: str,
    out_dir: Path,
    options: dict[str, Any],
) -> Checked:
    from omnitalk_cli.batch.job_table import check_table, table_folder
    from omnitalk_cli.batch.table import read_rows

    base = table_folder(table)
    return check_table(
        read_rows(table, format),
        columns=batch_columns(base),
        refused=refused_columns(),
        defaults={**batch_defaults(options), "ref": options.get("ref")},
        out_dir=out_dir,
        name_template=name,
        base=base,
    )


def _complaints(checked: Checked, console: Console) -> list[str]:
    """What is wrong with the table's rows, told at once."""
    from omnitalk_cli.batch.job_table import problem_lines

    lines = problem_lines(checked.problems)
    for line in lines:
        if not console.json_output:
            report_error(line, 0, None)
    if not checked.jobs:
        raise InputError(f"none of the {checked.rows} rows can be used; correct the table")
    return lines


def _plan(checked: Checked, out_dir: Path, problems: list[str], console: Console) -> None:
    from omnitalk_cli.batch.estimate import estimate

    plan = estimate(checked.jobs, out_dir)
    facts = {"dry_run": True, "rows": checked.rows, "unusable": checked.broken,
             "problems": problems, **plan.to_dict()}  # fmt: skip
    console.result(facts, [*plan.lines(), f"unusable   {checked.broken} rows"])


def _engine(
    name: str, address: str | None, workers: int | None, device: str, ffmpeg: str | None
) -> Callable[[], Engine]:
    from omnitalk_cli.batch.local_engine import LocalEngine, devices_of, usual_workers
    from omnitalk_cli.batch.maker import MakerSettings, usual_threads

    def settings(count: int) -> MakerSettings:
        return MakerSettings(
            device=device, threads=usual_threads(count), cache_dir=cache_folder(), ffmpeg=ffmpeg
        )

    if name == "ray":
        from omnitalk_cli.batch.ray_engine import RayEngine, check_ray

        check_ray()
        # The devices of the cluster are its own; a row has as many threads as it would have here.
        cluster = RayEngine(settings(usual_workers(["cpu"])), address=address, workers=workers)
        return lambda: cluster

    def start() -> Engine:
        devices = devices_of(device)
        count = workers or usual_workers(devices)
        return LocalEngine(settings(count), workers=count, devices=devices)

    return start


def _run(
    checked: Checked,
    out_dir: Path,
    title: str,
    console: Console,
    *,
    engine: Callable[[], Engine],
    retry_failed: bool,
    overwrite: bool,
    max_failures: int | None,
) -> None:
    from omnitalk_cli.batch.runner import REPORT_FILE, Run, RunOptions

    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise UsageError(f"{out_dir}: this folder cannot be made ({why})") from error
    display = BatchDisplay(console, checked.rows)
    run = Run(
        checked,
        RunOptions(
            out_dir=out_dir, title=title, retry_failed=retry_failed, overwrite=overwrite,
            max_failures=max_failures,
        ),
        engine=engine,
        watcher=display,
    )  # fmt: skip
    try:
        counts = run.run()
    finally:
        display.close()
    facts = {**counts.to_dict(), "out_dir": str(out_dir), "report": str(out_dir / REPORT_FILE)}
    console.result(facts, counts.lines(out_dir / REPORT_FILE))
    if counts.failed:
        raise typer.Exit(WorkError.exit_code)


def _with_options_of_generate() -> inspect.Signature:
    """The parameters above, then those of ``generate`` that hold for all rows unless a row has its
    own: the same flags, ranges and words, written once."""
    own = inspect.signature(batch, eval_str=True).parameters
    shared = inspect.signature(generate, eval_str=True).parameters
    columns = {"ref", *batch_columns()}
    named = [one for one in own.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=_default(one))
        for name, one in shared.items()
        if name in columns
    ]
    return inspect.Signature([*named, *more])


def _default(parameter: inspect.Parameter) -> Any:
    return None if parameter.default is inspect.Parameter.empty else parameter.default


batch.__signature__ = _with_options_of_generate()  # type: ignore[attr-defined]
