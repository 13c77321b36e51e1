"""Costs counted from the configuration against torch's counter, peaks, and ``bench synth``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.config import FUSIONS
from omnitalk_cli.dit.flow import State
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.dit.tables import Step
from omnitalk_cli.evaluation import (
    device_parity,
    gpu_session,
    speed,
    speed_report,
    speed_task,
)
from omnitalk_cli.evaluation import speed_costs as costs
from omnitalk_cli.evaluation.speed_peaks import published
from test_dit_speed import KINDS, network, problem

FULL = Guidance(text=3.0, audio=2.0, visual=1.5)


class Counting(Runner):
    """Counts the operations of what it runs."""

    def __init__(self) -> None:
        self.counted = 0

    def __call__(self, model: DualBranchDiT, state: State, step: Step) -> State:
        with FlopCounterMode(display=False) as counter:
            out = super().__call__(model, state, step)
        self.counted += counter.get_total_flops()
        return out


def counted(model: DualBranchDiT, guidance: Guidance) -> tuple[int, int, int]:
    """Operations of the text, of an evaluation as it is, and of one by tables."""
    given = {name: problem(model)[name] for name in ("text", "condition")}
    state = problem(model)["noise"]
    runner = Counting()
    # The counter does not know the CPU's own attention.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as text:
            plain = guided_field(model, guidance=guidance, **given)
        with FlopCounterMode(display=False) as whole:
            plain(state, 0.5)
        guided_field(model, guidance=guidance, times=[0.5], runner=runner, **given)(state, 0.5)
    # Putting the terms together is a product as well, but not the network's.
    together = sum(2 * len(guidance.terms()) * x.numel() for x in state)
    return text.get_total_flops(), whole.get_total_flops() - together, runner.counted


@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_that_torch_counts(kind: str) -> None:
    model = network(kind)
    size = costs.Problem(frames=24, rows=4, evaluations=1)
    guidance = FULL
    if model.config.audio_only:
        guidance = Guidance(text=3.0, audio=2.0, visual=2.0)
        size = costs.Problem(frames=24, rows=3, evaluations=1)
    text, whole, tabled = counted(model, guidance)
    assert costs.evaluation(model.config, size, tables=False).flops == pytest.approx(whole, 1e-3)
    assert costs.evaluation(model.config, size, tables=True).flops == pytest.approx(tabled, 1e-3)
    tokens = 5 if model.config.text_layout == "aligned" else 24
    expected = costs.text_encoding(model.config, rows=2, tokens=tokens).flops
    phases = 2 * 24 * 2 * 2 * model.config.text_dim * (model.config.text_layout == "aligned")
    assert expected + phases == pytest.approx(text, 1e-3)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("visual_dim", [16, 32])
def test_operations_of_every_fusion(fusion: str, visual_dim: int) -> None:
    model = network("paper", fusion=fusion, visual_dim=visual_dim)
    size = costs.Problem(frames=24, rows=4, evaluations=1)
    _, whole, _ = counted(model, FULL)
    assert costs.evaluation(model.config, size, tables=False).flops == pytest.approx(whole, 1e-3)


def test_the_goal_is_stated_as_arithmetic() -> None:
    goal = speed_report.goal_bound()
    assert "not a measurement" in goal["what"]
    # 52 blocks of a stream, 16 d² each; attention of 2 L keys in 22 and of L keys in 4 of them.
    length, width = 1406, 1024
    blocks = 52 * 16 * width**2 * length
    attention = 4 * width * length**2 * (2 * 2 * 22 + 2 * 4)
    assert goal["flops"] == pytest.approx((blocks + attention) * 64, rel=0.03)
    assert goal["seconds"]["full"] == pytest.approx(goal["flops"] / 989.4e12)
    assert goal["seconds"]["joint"] == pytest.approx(goal["seconds"]["full"] / 2, rel=0.01)


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("NVIDIA H200", 4800), ("NVIDIA H100 80GB HBM3", 3350), ("NVIDIA H100 PCIe", 2000),
        ("NVIDIA A100-SXM4-80GB", 2039), ("NVIDIA GeForce RTX 4090", 1008), ("NVIDIA L40S", 864),
        ("NVIDIA GeForce GTX 1080", None), ("cpu", None),
    ],
)  # fmt: skip
def test_published_peaks(name: str, bandwidth: float | None) -> None:
    peaks = published(name, torch.bfloat16)
    assert (peaks and peaks.bandwidth / 1e9) == bandwidth


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network becomes smaller still, and peaks are measured on little."""
    monkeypatch.setattr(
        speed_task.Task, "config", property(lambda self: network("embedded").config)
    )
    peaks = speed.Peaks(flops=1e10, bandwidth=1e9, source="measured")
    monkeypatch.setattr(speed, "measured", lambda device, dtype: peaks)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "synth", "--device", "cpu", "--shape", "tiny", *words])


def test_bench_synth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch)
    monkeypatch.setenv("OMNITALK_CACHE_DIR", str(tmp_path))
    result = run(
        "--target", "0.3", "--reference", "0.2", "--steps", "3,2", "--runs", "1", "--json", "-q",
        "--ways", "plain,tables,graphs", "--dtypes", "float32,bfloat16", "--vocoder",
        "source,none",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    names = [one["name"] for one in told["settings"]]
    assert names[:4] == [
        "plain float32 3", "tables float32 3", "plain bfloat16 3", "tables bfloat16 3",
    ]  # fmt: skip
    assert len(names) == 8 and set(told["failures"]) == {
        f"graphs {dtype} {steps}" for dtype in ("float32", "bfloat16") for steps in (3, 2)
    } | {"vocoder none"}
    assert "CUDA" in told["failures"]["graphs float32 3"]
    plain, tables = told["settings"][:2]
    assert len(plain["steps"]) == len(tables["steps"]) == 3
    assert tables["error"] < 1e-4 < told["settings"][2]["error"] < 0.1
    assert plain["error"] == 0 and plain["ratio"] == 1 and plain["floor"] > 0
    assert told["task"]["rows"] == 4 and told["vocoder"]["source"]["seconds"] > 0
    stages = sum([*tables["steps"], tables["text"], tables["tables"], tables["rest"]])
    assert stages >= tables["total"] * 0.99


def test_outside_the_interval_less_is_counted() -> None:
    def rows(interval: tuple[float, float]) -> list[tuple[int, int]]:
        task = speed_task.Task(shape="tiny", interval=interval)
        return [(one.rows, one.evaluations) for one in task.problems(4)]

    assert rows((0.0, 1.0)) == [(4, 4)]
    # Sway's times are 0, 0.08, 0.29, 0.62: four conditions at two of them, one at the others.
    assert rows((0.05, 0.5)) == [(4, 2), (1, 2)]
    assert rows((0.7, 0.9)) == [(1, 4)]


def test_bench_synth_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    result = run("--target", "0.3", "--reference", "0.2", "--steps", "1", "--runs", "1")
    assert result.exit_code == 0, result.stderr
    assert "tables float32 1" in result.stdout
    assert "Arithmetic, not a measurement." in result.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ways", "fast"], "--ways fast"),
        (["--dtypes", "int8"], "--dtypes int8"),
        (["--steps", "many"], "--steps many"),
        (["--steps", "0"], "--steps 0"),
        (["--attention", "best"], "--attention best"),
        (["--cfg-interval", "0.9:0.1"], "--cfg-interval 0.9:0.1"),
    ],
)
def test_bench_synth_names_what_it_does_not_know(words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2 and told in result.stderr


# --- what waits for a GPU ------------------------------------------------------------------------


@pytest.mark.slow
def test_parity_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["device_parity", "--device", "cpu", "--ways", "plain,tables,graphs"]
    )
    small = {"paper": device_parity.SMALL["paper"]}
    monkeypatch.setattr(device_parity, "SMALL", small)
    assert device_parity.main() == 1  # no graphs without CUDA
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 3 * 3
    assert all(row["passed"] == (row["way"] != "graphs") for row in rows)
    assert all(row["error"] < 1e-4 for row in rows if "error" in row and row["dtype"] == "float32")


def test_gpu_session_writes_what_it_has(tmp_path: Path) -> None:
    def part(name: str, code: str, seconds: float = 30) -> gpu_session.Part:
        return gpu_session.Part(name=name, seconds=seconds, words=("-c", code))

    path = tmp_path / "gpu.json"
    chosen = [
        part("good", "print('{\"x\": 1}')"),
        part("bad", "import sys; sys.exit('no GPU')"),
        part("late", "", seconds=5),
    ]
    told: list[str] = []
    gpu_session.run(chosen, path, minutes=1, tell=told.append)
    assert len(told) == len(chosen)
    told = json.loads(path.read_text())
    assert told["good"]["x"] == 1 and told["good"]["exit_code"] == 0
    assert "no GPU" in told["bad"]["failure"] and "time" in told["late"]["failure"]


def test_gpu_session_fits_its_time_and_its_commands_parse() -> None:
    parts = gpu_session.parts([Path("a.safetensors")], "cpu")
    assert [part.name for part in parts][:4] == [
        "goal", "goal-compiled", "parity", "render",
    ]  # fmt: skip
    for part in parts:
        if "synth" in part.words:
            words = [word for word in part.words[2:] if word not in ("--json", "-q")]
            words[words.index("cpu")] = "cuda:7"  # ends before any work
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 4, result.stderr
