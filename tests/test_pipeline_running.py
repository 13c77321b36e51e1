"""How networks are run: when compiling pays, and what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnitalk_cli.dit.accelerate import Accelerated, Runner
from omnitalk_cli.errors import SetupError, UsageError
from omnitalk_cli.pipeline import running
from omnitalk_cli.pipeline.models import ChosenModel
from omnitalk_cli.pipeline.running import make_runner, settle_compile
from omnitalk_cli.pipeline.settings import parse_interval
from omnitalk_cli.pipeline.workshop import Workshop


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that compiling needs is missing."""
    monkeypatch.setattr(running, "_missing", lambda *, cuda: None)


@pytest.mark.parametrize(
    ("choice", "device", "seconds", "many", "settled"),
    [
        ("auto", "cpu", 1e6, True, "off"),
        ("auto", "mps", 1e6, True, "off"),
        ("auto", "cuda", 10.0, False, "off"),
        ("auto", "cuda:1", 900.0, False, "on"),
        ("auto", "cuda", 10.0, True, "on"),
        ("on", "cpu", 1.0, False, "on"),
        ("off", "cuda", 900.0, True, "off"),
        ("graphs", "cuda", 1.0, False, "graphs"),
    ],
)
def test_compiling_where_it_pays(
    complete: None, choice: str, device: str, seconds: float, many: bool, settled: str
) -> None:
    assert settle_compile(choice, device=device, seconds=seconds, many=many) == settled


def test_what_compiling_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_missing", lambda *, cuda: "a compiler")
    assert settle_compile("auto", device="cuda", seconds=900.0, many=True) == "off"
    assert settle_compile("off", device="cpu", seconds=1.0, many=False) == "off"
    with pytest.raises(SetupError, match="needs a compiler"):
        settle_compile("on", device="cpu", seconds=1.0, many=False)
    with pytest.raises(UsageError, match="needs CUDA"):
        settle_compile("graphs", device="cpu", seconds=1.0, many=False)
    with pytest.raises(UsageError, match="--compile yes"):
        settle_compile("yes", device="cpu", seconds=1.0, many=False)  # type: ignore[arg-type]


def test_a_runner_stays_with_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert type(make_runner("off")) is Runner
    workshop = Workshop()
    model = ChosenModel(name="a", path=tmp_path / "a", kind="prompted", family="")
    first, again, other = (
        workshop.runner(model, device="cpu", dtype=dtype, choice="on")
        for dtype in (torch.float32, torch.float32, torch.bfloat16)
    )
    assert isinstance(first, Accelerated) and first is again and first is not other
    assert first.length(77) == 77
    assert (tmp_path / "compiled").is_dir()


@pytest.mark.parametrize(
    ("text", "interval"), [("0:1", (0, 1)), ("0.1:0.8", (0.1, 0.8)), (" .5 : .5 ", (0.5, 0.5))]
)
def test_intervals(text: str, interval: tuple[float, float]) -> None:
    assert parse_interval(text) == interval


@pytest.mark.parametrize("text", ["", "0.5", "a:b", "0.8:0.1", "-1:1", "0:2", "0:nan", "0:1:1"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="LOW:HIGH"):
        parse_interval(text)
