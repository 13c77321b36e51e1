"""``omnitalk bench``: scores of the renderer, as a table and as JSON."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flat_face import drawn_reference
from omnitalk_cli.cli.app import app
from omnitalk_cli.evaluation.reenactment import Reenactment, mean
from omnitalk_cli.pipeline.reference_store import save_reference


def test_bench_render_scores_features(tmp_path: Path) -> None:
    path = tmp_path / "drawn.safetensors"
    save_reference(drawn_reference(16), path)
    result = CliRunner().invoke(app, ["bench", "render", str(path), str(path), "--json", "-q"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["reenactment"]
    assert [row["name"] for row in rows][-1] == "mean" and len(rows) == 3
    assert rows[0]["face_psnr"] > 15 and 0 < rows[0]["ssim"] <= 1
    assert rows[2]["frames"] == 2 * rows[0]["frames"]
    assert rows[2]["mouth_psnr"] == pytest.approx(rows[0]["mouth_psnr"], abs=1e-3)


def test_bench_render_names_what_it_cannot_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "render", str(tmp_path / "none.mp4")])
    assert result.exit_code == 3 and "none.mp4" in result.stderr


def test_mean_adds_frames_up() -> None:
    names = set(Reenactment.__dataclass_fields__) - {"name", "frames"}
    scores = dict.fromkeys(names, 1.0)
    one = Reenactment(name="a", frames=3, **scores)
    two = Reenactment(name="b", frames=4, **(scores | {"fps": 3.0}))
    both = mean([one, two])
    assert both.frames == 7 and both.fps == 2.0 and both.ssim == 1.0
