"""What makes sampling quicker changes nothing: each switch against the plain fp32 way.

Networks are small and random. Bounds are for values of the order of 1: 2e-5 for sums in another
order.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnitalk_cli.dit.accelerate import Accelerated, Runner, chosen_attention
from omnitalk_cli.dit.config import FUSIONS, DiTConfig
from omnitalk_cli.dit.flow import State, evaluation_times, integrate, time_grid
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.layers import _turned_by_parts, rotary_angles, rotate
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.dit.tables import Tables

ROUNDING = {"atol": 2e-5, "rtol": 2e-5}
SIZES: dict[str, Any] = {
    "vocabulary_size": 11, "dim": 32, "visual_dim": 16, "heads": 2, "head_dim": 8,
    "fusion_depth": 2, "single_depth": 1, "text_dim": 8, "position_kernel": 3,
    "position_groups": 2,
}  # fmt: skip
# The embedded model's ways and those of the paper's model and of F5-TTS.
KINDS: dict[str, dict[str, Any]] = {
    "embedded": {},
    "paper": {
        "text_layout": "filler", "patch": 1, "prediction": "velocity", "modulation": "per_block",
        "qk_norm": False, "reference_summary": False, "given_sound": False, "visible_flag": False,
        "visual_dim": 32,
    },
}  # fmt: skip
KINDS["paper, one summary"] = KINDS["paper"] | {"reference_summary": True}
KINDS["shared, no summary"] = KINDS["paper"] | {"modulation": "shared"}
KINDS["F5-TTS"] = KINDS["paper"] | {"audio_only": True, "single_depth": 0}
FULL = Guidance(text=3.0, audio=2.0, visual=1.5)


def network(kind: str, **changes: Any) -> DualBranchDiT:
    torch.manual_seed(0)
    model = DualBranchDiT(DiTConfig.tiny(**(SIZES | KINDS[kind] | changes)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def problem(model: DualBranchDiT, *, batch: int = 1, frames: int = 24) -> dict[str, Any]:
    """Noise, condition and text of a sampling."""
    torch.manual_seed(1)
    visible = torch.zeros(batch, frames, dtype=torch.bool)
    visible[:, :8] = True
    noise: State = (torch.randn(batch, frames, 100),)
    if not model.config.audio_only:
        noise += (torch.randn(batch, frames, 61),)
    return {
        "noise": noise,
        "condition": Condition.of(
            torch.randn(batch, frames, 100), torch.randn(batch, frames, 61), visible, visible
        ),
        "text": TextInput(
            ids=torch.randint(1, 11, (batch, 5)),
            index=(torch.arange(frames) * 5 // frames).expand(batch, -1),
            phase=torch.zeros(batch, frames, 2),
        ),
    }


def sampled(
    model: DualBranchDiT,
    given: dict[str, Any],
    *,
    runner: Runner | None = None,
    guidance: Guidance = FULL,
    solver: str = "euler",
    mask: Tensor | None = None,
    tables: bool = True,
) -> State:
    grid = time_grid("sway", 3)
    times = evaluation_times(grid, solver) if tables else None
    with torch.inference_mode():
        field = guided_field(
            model, text=given["text"], condition=given["condition"], guidance=guidance, mask=mask,
            times=times, runner=runner,
        )  # fmt: skip
        return integrate(field, given["noise"], grid, solver=solver)


def assert_same(found: State, expected: State, **bounds: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, other, **(ROUNDING | bounds))


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_change_nothing(kind: str, batch: int) -> None:
    model = network(kind)
    given = problem(model, batch=batch)
    plain = sampled(model, given, tables=False)
    assert plain[0].std() > 0.1
    assert_same(sampled(model, given), plain)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_tables_with_every_fusion_midpoint_and_mask(fusion: str) -> None:
    model = network("paper", fusion=fusion, visual_dim=16)
    given = problem(model, batch=2)
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[1, 20:] = False
    plain = sampled(model, given, tables=False, solver="midpoint", mask=mask)
    assert_same(sampled(model, given, solver="midpoint", mask=mask), plain)


def test_one_row_of_modulations_serves_all_unless_the_reference_is_summed_up() -> None:
    for kind, rows in (("paper", 1), ("embedded", 4)):
        model = network(kind)
        given = problem(model)
        with torch.inference_mode():
            text = model.text(given["text"].repeat(4), 24, torch.zeros(4, dtype=torch.bool))
            tables = Tables.of(
                model, condition=given["condition"].repeat(4), text=text, times=[0.0, 0.5],
                mask=None, audio_alone=False,
            )  # fmt: skip
        assert tables.audio.modulations.shape == (3, 2, rows, 6 * 32)
        assert tables.audio.final.shape == (2, rows, 2 * 32)
        again = tables.at(0.5).refilled(tables.at(0.5).tensors())
        assert all(
            torch.equal(x, y)
            for x, y in zip(again.tensors(), tables.at(0.5).tensors(), strict=True)
        )
        with pytest.raises(ValueError, match="not in tuple"):
            tables.at(0.25)


def test_work_that_is_the_same_is_done_once() -> None:
    model = network("paper")
    calls = dict.fromkeys(("text", "time", "modulator"), 0)

    def counted(name: str, module: torch.nn.Module) -> None:
        def count(*_: object) -> None:
            calls[name] += 1

        module.register_forward_hook(count)

    counted("text", model.text)
    counted("time", model.audio.time)
    counted("modulator", model.fusion[0].audio.modulator)
    sampled(model, problem(model))
    assert calls == {"text": 1, "time": 1, "modulator": 1}
    sampled(model, problem(model), tables=False)
    assert calls == {"text": 2, "time": 4, "modulator": 4}


def test_rotation_by_parts_is_the_complex_one() -> None:
    angles = rotary_angles(50, 16, torch.device("cpu"))
    x = torch.randn(2, 3, 50, 16)
    parts = _turned_by_parts(x.unflatten(-1, (-1, 2)), angles).flatten(-2)
    torch.testing.assert_close(rotate(x, angles), parts, atol=1e-6, rtol=1e-6)


# --- guidance interval -------------------------------------------------------------------------


def test_outside_the_interval_the_plain_field_is_all_that_is_evaluated() -> None:
    model = network("paper")
    given = problem(model)
    sizes: list[int] = []
    model.fusion[0].audio.qkv.register_forward_hook(lambda _, x, y: sizes.append(len(y[0])))
    part = Guidance(text=3.0, audio=2.0, visual=1.5, interval=(0.1, 0.5))
    grid = time_grid("uniform", 4)
    with torch.inference_mode():
        fields = {
            name: guided_field(
                model, text=given["text"], condition=given["condition"], guidance=guidance,
                times=evaluation_times(grid, "euler"),
            )
            for name, guidance in {"part": part, "whole": FULL, "plain": part.plain()}.items()
        }  # fmt: skip
        for time in grid[:-1]:
            sizes.clear()
            expected = "whole" if 0.1 <= time <= 0.5 else "plain"
            found = fields["part"](given["noise"], time)
            assert sizes == [4 if expected == "whole" else 1]
            assert_same(found, fields[expected](given["noise"], time))


def test_the_plain_field_leaves_out_what_guidance_leaves_out() -> None:
    plain = Guidance(text=3.0, audio=2.0, visual=0.0, rescale=0.7).plain()
    assert plain.terms() == [((1.0, 1.0), (True, True, False))]
    assert len(Guidance(text=4.0, audio=1.0, visual=1.0, form="contextual").plain().terms()) == 1


@pytest.mark.parametrize("interval", [(-0.1, 1.0), (0.0, 1.1), (0.6, 0.4)])
def test_intervals_are_checked(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="interval"):
        Guidance(interval=interval)


# --- lengths and number formats -----------------------------------------------------------------


class Padding(Runner):
    """Pads as graphs do, on the CPU."""

    bucket = 32


@pytest.mark.parametrize("frames", [24, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_to_a_bucket_changes_no_real_frame(kind: str, frames: int) -> None:
    model = network(kind)
    given = problem(model, frames=frames)
    plain = sampled(model, given, tables=False)
    padded = sampled(model, given, runner=Padding())
    assert padded[0].shape[1] == frames
    assert_same(padded, plain)


def test_nothing_is_masked_when_nothing_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[object] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def watched(*args: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        masks.append(attn_mask)
        return attention(*args, attn_mask=attn_mask)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    model = network("paper")
    sampled(model, problem(model))
    assert masks and set(masks) == {None}


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
@pytest.mark.parametrize("kind", ["embedded", "paper", "F5-TTS"])
def test_half_precision_is_near_and_the_state_stays_fp32(
    kind: str, dtype: torch.dtype, bound: float
) -> None:
    model = network(kind)
    given = problem(model)
    plain = sampled(model, given)
    half = sampled(network(kind).to(dtype), given)
    without = sampled(network(kind).to(dtype), given, tables=False)
    for found in (half, without):
        for one, other in zip(found, plain, strict=True):
            assert one.dtype == torch.float32
            assert float((one - other).norm() / other.norm()) < bound


def test_autocast_rounds_no_guidance() -> None:
    model = network("paper")
    given = problem(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        field = guided_field(model, text=given["text"], condition=given["condition"], guidance=FULL)
        made = field(given["noise"], 0.5)
    assert all(velocity.dtype == torch.float32 for velocity in made)
    assert not any(torch.equal(v, v.bfloat16().float()) for v in made)


def test_attention_can_be_chosen() -> None:
    model = network("paper")
    given = problem(model)
    plain = sampled(model, given)
    for kind in ("math", "flash", "efficient", "cudnn"):
        with chosen_attention(kind):
            assert_same(sampled(model, given), plain)
    with pytest.raises(ValueError, match="unknown attention"):
        Accelerated(compiled=False, attention="fast")  # type: ignore[arg-type]


# --- compiled ----------------------------------------------------------------------------------

# In a process of its own, where nothing was compiled yet.
_COMPILED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch._dynamo.utils as utils
from test_dit_speed import assert_same, network, problem, sampled
from omnitalk_cli.dit.accelerate import Accelerated
runner = Accelerated(cache=Path(sys.argv[2]))
for kind in sys.argv[3:]:
    model = network(kind, fusion_depth=4)
    for frames in (24, 40):
        given = problem(model, frames=frames)
        assert_same(sampled(model, given, runner=runner), sampled(model, given, tables=False))
print(utils.counters["stats"]["unique_graphs"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs g++")
def test_compiled_blocks_change_nothing_and_alike_ones_are_compiled_once(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", _COMPILED, str(Path(__file__).parent), str(tmp_path), "paper"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == 2  # of two streams and of one, four blocks and two lengths each
    assert any(tmp_path.iterdir())


def test_code_keeps_no_attention_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo import reset
    from torch._dynamo.utils import counters

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **more: real(f, backend="eager", **more))
    model = network("paper")
    given = problem(model)
    plain = sampled(model, given)
    reset()
    made = []
    for kind in ("auto", "math", "flash"):
        before = counters["stats"]["unique_graphs"]
        assert_same(sampled(model, given, runner=Accelerated(attention=kind)), plain)
        made.append(counters["stats"]["unique_graphs"] - before)
    reset()
    assert made == [2, 2, 2]  # a block of two streams and of one


# --- CUDA --------------------------------------------------------------------------------------

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


def on_cuda(kind: str, frames: int) -> tuple[DualBranchDiT, dict[str, Any]]:
    model = network(kind)
    given = problem(model, frames=frames)
    condition = {name: value.cuda() for name, value in vars(given["condition"]).items()}
    text = {name: value.cuda() for name, value in vars(given["text"]).items()}
    return model.cuda(), {
        "noise": tuple(x.cuda() for x in given["noise"]),
        "condition": Condition(**condition),
        "text": TextInput(**text),
    }


@cuda
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["embedded", "paper", "F5-TTS"])
def test_graphs_change_nothing(kind: str, compiled: bool) -> None:
    runner = Accelerated(compiled=compiled, graphs=True, bucket=32)
    for frames in (24, 40, 24, 32):
        model, given = on_cuda(kind, frames)
        plain = sampled(model, given, tables=False)
        assert_same(sampled(model, given, runner=runner), plain, atol=1e-4, rtol=1e-4)


@cuda
@pytest.mark.parametrize("kind", ["embedded", "paper", "F5-TTS"])
def test_cuda_is_the_cpu(kind: str) -> None:
    model = network(kind)
    plain = sampled(model, problem(model))
    found = sampled(*on_cuda(kind, 24))
    assert_same(tuple(x.cpu() for x in found), plain, atol=1e-3, rtol=1e-3)


def test_graphs_need_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(ValueError, match="CUDA"):
        Accelerated(graphs=True)
