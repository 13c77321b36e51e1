"""Options of ``generate`` as columns: all of them, with the command line's values and words."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omnitalk_cli.batch.job_cells import OWN
from omnitalk_cli.batch.job_rows import EXTRACTION, NO_EFFECT_WITH_AUDIO
from omnitalk_cli.cli import batch_columns as module
from omnitalk_cli.cli.app import app
from omnitalk_cli.cli.batch_columns import batch_columns, batch_defaults, refused_columns
from omnitalk_cli.cli.generate import generate
from omnitalk_cli.errors import InputError, OmnitalkError, UsageError


def test_every_option_of_generate_is_a_column_or_refused() -> None:
    columns, refused = set(batch_columns()), set(refused_columns())
    assert not columns & refused
    parameters = set(inspect.signature(generate).parameters)
    assert parameters == (columns | refused | set(OWN)) & parameters
    assert columns <= parameters and {"json", "workers", "output"} <= refused
    # Lists of names that no type checker looks at.
    assert set(module._CHECKS) <= columns and set(module._WHOLE_RUN) <= parameters
    assert {*EXTRACTION, *NO_EFFECT_WITH_AUDIO} <= columns


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("steps", "8", 8),
        ("steps", " 8 ", 8),
        ("cfg_video", "0", 0.0),
        ("lang", "zh", "zh"),
        ("cache", "false", False),
        ("cache", "0", False),
        ("cache", "no", False),
        ("cache", "TRUE", True),
        ("cache", "1", True),
        ("cache", "yes", True),
        ("visible_mark", "Made with AI", "Made with AI"),
        ("visible_mark", "none", "none"),
        ("ref_text", "What is said.", "What is said."),
        ("background", "#102030", "#102030"),
        ("model", "tiny", "tiny"),
        ("vocoder", "source", "source"),
        ("asr_model", "none", "none"),
        ("tracker", "facemesh", "facemesh"),
        ("size", "512", 512),
    ],
)
def test_values(name: str, cell: str, value: Any) -> None:
    found = batch_columns()[name](cell)
    assert found == value and type(found) is type(value)


def test_files_are_beside_the_table(tmp_path: Path) -> None:
    for name in ("v.wav", "t.txt", "b.png", "m.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    columns = batch_columns(tmp_path)
    assert columns["ref_audio"]("v.wav") == tmp_path / "v.wav"
    assert columns["ref_text"]("t.txt") == str(tmp_path / "t.txt")
    assert columns["background"]("b.png") == str(tmp_path / "b.png")
    assert columns["model"]("m.safetensors") == str(tmp_path / "m.safetensors")
    assert columns["vocoder"]("m.safetensors") == str(tmp_path / "m.safetensors")
    for name in ("ref_audio", "ref_text"):
        with pytest.raises(InputError, match=r"gone\.txt: no such file"):
            columns[name]("gone.txt")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("steps", "0"),
        ("steps", "x"),
        ("steps", "8.5"),
        ("cfg_text", "nan"),
        ("cfg_text", "-1"),
        ("lang", "de"),
        ("view", "body"),
        ("fps", "75"),
        ("face", "1e3"),
    ],
)
def test_complaints_are_the_command_lines(tmp_path: Path, name: str, cell: str) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    words = ["generate", "--ref", str(clip), "--say", "Hi", "--dry-run", "--json"]
    answer = CliRunner().invoke(app, [*words, "--" + name.replace("_", "-"), cell])
    told = json.loads(answer.stdout)["error"].split(": ", 1)[1].split(" (see ")[0]
    with pytest.raises(UsageError) as caught:
        batch_columns()[name](cell)
    assert str(caught.value) in (told, f"{cell!r}: {told}") and repr(cell) in str(caught.value)


def test_defaults_are_checked_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.wav").write_bytes(b"x")
    given = {"steps": 8, "cache": True, "speed": None, "seed": 0, "ref_audio": Path("v.wav"),
             "cfg_video": 0.0, "lang": "auto", "workers": 4, "ref": Path("x.mp4")}  # fmt: skip
    assert batch_defaults(given) == {
        "steps": 8, "cache": True, "seed": 0, "ref_audio": tmp_path / "v.wav", "cfg_video": 0.0,
        "lang": "auto",
    }  # fmt: skip
    with pytest.raises(OmnitalkError, match="must be even"):
        batch_defaults({"size": 301})


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\nfrom omnitalk_cli.cli import batch_columns\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
