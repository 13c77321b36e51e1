"""One sampling by the clock and stage by stage, with random weights and inputs."""

from __future__ import annotations

import resource
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import State, evaluation_times, integrate, time_grid
from omnitalk_cli.dit.guidance import guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.dit.tables import Step
from omnitalk_cli.evaluation.speed_peaks import wait
from omnitalk_cli.evaluation.speed_task import Setting, Task
from omnitalk_cli.types import MEL_RATE

_LETTERS_PER_SECOND = 14


class _Marks:
    """Moments on the device's own clock: reading them later does not hold it up."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._moments: list[Any] = []

    def mark(self) -> None:
        """Now."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._moments.append(event)
        else:
            self._moments.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Between successive moments; the device must have come to the last one."""
        pairs = zip(self._moments[:-1], self._moments[1:], strict=True)
        if self._cuda:
            return [a.elapsed_time(b) / 1000 for a, b in pairs]
        return [b - a for a, b in pairs]


class _Marked(Runner):
    """Another runner, with a mark before and after each evaluation."""

    def __init__(self, inner: Runner, marks: _Marks) -> None:
        self._inner, self._marks = inner, marks
        self.bucket = inner.bucket

    def __call__(self, model: DualBranchDiT, state: State, step: Step) -> State:
        self._marks.mark()
        out = self._inner(model, state, step)
        self._marks.mark()
        return out


@dataclass(frozen=True, kw_only=True)
class Timed:
    total: float
    text: float
    tables: float
    steps: tuple[float, ...]
    first: float
    memory: int
    result: State


def random_network(config: DiTConfig, device: torch.device, *, std: float = 0.02) -> DualBranchDiT:
    """Random everywhere: many layers start at zero, and zeros are quicker to multiply."""
    torch.manual_seed(0)
    with torch.device(device):
        model = DualBranchDiT(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


def in_dtype(network: DualBranchDiT, dtype: torch.dtype) -> DualBranchDiT:
    """``network`` itself, or a copy in ``dtype``."""
    if dtype == torch.float32:
        return network
    with torch.device("meta"):
        model = DualBranchDiT(network.config)
    state = {name: value.to(dtype) for name, value in network.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _inputs(task: Task, device: torch.device) -> tuple[State, Condition, TextInput]:
    """Noise, condition and text of the task's length."""
    config, frames = task.config, task.frames
    generator = torch.Generator().manual_seed(0)

    def normal(channels: int) -> Tensor:
        return torch.randn(1, frames, channels, generator=generator).to(device)

    visible = (torch.arange(frames, device=device) < round(task.reference * MEL_RATE))[None]
    hidden = torch.zeros_like(visible) if config.audio_only else visible
    condition = Condition.of(normal(config.mel_bins), normal(config.code_count), visible, hidden)
    letters = round((task.target + task.reference) * _LETTERS_PER_SECOND)
    ids = torch.randint(1, config.vocabulary_size, (1, letters), generator=generator).to(device)
    place = torch.arange(frames, device=device)[None] * letters // frames
    phase = torch.zeros(1, frames, 2, device=device)
    text = TextInput(ids=ids, index=place, phase=phase)
    noise = (normal(config.mel_bins),)
    return (
        noise if config.audio_only else (*noise, normal(config.code_count)), condition, text
    )  # fmt: skip


def timed(
    model: DualBranchDiT, task: Task, setting: Setting, device: torch.device, runner: Runner
) -> Timed:
    """Samples once to get ready, then ``task.runs`` times by the clock and once by stages."""
    noise, condition, text = _inputs(task, device)
    grid = time_grid(task.schedule, setting.steps)
    times = None if setting.way == "plain" else evaluation_times(grid, "euler")

    def sample(chosen: Runner, ready: Any = lambda: None) -> State:
        with torch.inference_mode():
            field = guided_field(
                model, text=text, condition=condition, guidance=task.weights, times=times,
                runner=chosen,
            )  # fmt: skip
            ready()
            return integrate(field, noise, grid)

    def clocked() -> tuple[float, State]:
        wait(device)
        begun = time.perf_counter()
        made = sample(runner)
        wait(device)
        return time.perf_counter() - begun, made

    first, result = clocked()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    total = statistics.median(clocked()[0] for _ in range(task.runs))
    memory = _peak_memory(device)
    marks = _Marks(device)
    marks.mark()
    handles = []
    if times is None:
        handles = [
            model.register_forward_pre_hook(lambda *_: marks.mark()),
            model.register_forward_hook(lambda *_: marks.mark()),
        ]
    sample(_Marked(runner, marks), marks.mark)
    for handle in handles:
        handle.remove()
    wait(device)
    spans = marks.seconds()
    return Timed(
        total=total, text=spans[0], tables=spans[1], steps=tuple(spans[2::2]), first=first,
        memory=memory, result=result,
    )  # fmt: skip


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device's memory, or (a CPU) of the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def vocoder_seconds(name: str, task: Task, device: torch.device) -> float:
    """To make sound of the target's mel, once warm."""
    from omnitalk_cli.speech.vocoders import mel_of, open_vocoder

    vocoder = open_vocoder(name, mel=mel_of(name), device=device)
    frames = round(task.target * MEL_RATE)
    mel = (torch.randn(1, frames, task.config.mel_bins) * 2 - 4).to(device)
    seconds = []
    with torch.inference_mode():
        for _ in range(2):
            wait(device)
            begun = time.perf_counter()
            vocoder(mel)
            wait(device)
            seconds.append(time.perf_counter() - begun)
    return seconds[-1]
