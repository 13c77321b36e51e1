"""How fast the network samples: settings side by side, stage by stage, against what is possible.

``omnitalk bench synth`` prints it. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from omnitalk_cli.dit.accelerate import ATTENTIONS, GRAPH_BUCKET, Accelerated, Attention, Runner
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import State, evaluation_times, integrate, time_grid
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.dit.tables import Step
from omnitalk_cli.errors import UsageError
from omnitalk_cli.evaluation import speed_costs as costs
from omnitalk_cli.evaluation.speed_peaks import Peaks, measured, published, wait
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import MEL_RATE

Way = Literal["plain", "tables", "compiled", "graphs", "graphs-padded"]
WAYS: tuple[Way, ...] = get_args(Way)
Shape = Literal["tiny", "base", "f5"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# All conditions apart (four evaluations in one batch), all together as F5-TTS has it, or none.
GUIDANCE = {
    "full": Guidance(text=3.0, audio=2.0, visual=1.5),
    "joint": Guidance(text=3.0, audio=3.0, visual=3.0),
    "none": Guidance(text=1.0, audio=1.0, visual=1.0),
}
_LETTERS_PER_SECOND = 14


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is timed: ``target`` seconds made after ``reference`` seconds by a network of ``shape``
    with ``guidance``, ``runs`` times for each setting."""

    shape: Shape
    target: float = 10.0
    reference: float = 5.0
    guidance: str = "full"
    runs: int = 3
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError(f"--config {self.shape}: use one of {', '.join(SHAPES)}")
        if self.guidance not in GUIDANCE:
            raise UsageError(f"--guidance {self.guidance}: use one of {', '.join(GUIDANCE)}")
        if self.target <= 0 or self.reference <= 0 or self.runs < 1:
            raise UsageError("target, reference and runs must be positive")

    @property
    def config(self) -> DiTConfig:
        """Of the network."""
        if self.shape == "tiny":
            return DiTConfig.tiny()
        if self.shape == "f5":
            return DiTConfig.base(audio_only=True, single_depth=0)
        return DiTConfig.base()

    @property
    def weights(self) -> Guidance:
        """Of guidance, without the visual part for a network that has none."""
        chosen = replace(GUIDANCE[self.guidance], interval=self.interval)
        return replace(chosen, visual=chosen.audio) if self.config.audio_only else chosen

    @property
    def frames(self) -> int:
        """Of the whole sequence, whole patches."""
        patch = self.config.patch
        return round((self.target + self.reference) * MEL_RATE / patch) * patch

    def problem(self, steps: int) -> costs.Problem:
        """As its cost is counted, for Euler's method and guidance at all times."""
        rows = len(self.weights.terms())
        return costs.Problem(frames=self.frames, rows=rows, evaluations=steps)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way of doing it."""

    way: Way
    dtype: str
    steps: int
    attention: Attention = "auto"

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise UsageError(f"--ways {self.way}: use one of {', '.join(WAYS)}")
        if self.dtype not in DTYPES:
            raise UsageError(f"--dtypes {self.dtype}: use one of {', '.join(DTYPES)}")
        if self.steps < 1:
            raise UsageError(f"--steps {self.steps}: at least one is needed")

    def runner(self, cache: Path | None) -> Runner:
        """What runs the network so."""
        if self.way in ("plain", "tables") and self.attention == "auto":
            return Runner()
        return Accelerated(
            compiled=self.way not in ("plain", "tables"),
            graphs=self.way.startswith("graphs"),
            bucket=GRAPH_BUCKET if self.way == "graphs-padded" else 1,
            attention=self.attention,
            cache=cache,
        )


def settings_of(
    *, ways: Sequence[str], dtypes: Sequence[str], steps: Sequence[str], attentions: Sequence[str]
) -> list[Setting]:
    """Every combination. Raises UsageError for words and numbers that are none."""
    for number in steps:
        if not number.isdecimal():
            raise UsageError(f"--steps {number}: is no number of steps")
    for kind in attentions:
        if kind not in ATTENTIONS:
            raise UsageError(f"--attention {kind}: use one of {', '.join(ATTENTIONS)}")
    return [
        Setting(way=cast(Way, way), dtype=dtype, steps=int(number), attention=cast(Attention, kind))
        for number in steps
        for dtype in dtypes
        for way in ways
        for kind in attentions
    ]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How one setting did. Seconds are medians: ``total`` of a sampling, ``text`` and ``tables``
    before its steps, ``steps`` of each evaluation, ``rest`` guidance and solver. ``first`` is the
    first sampling, with compiling and recording. ``arithmetic`` and ``bandwidth`` are the shares of
    the device's measured peaks that ``total`` reaches, ``floor`` the least seconds at them, and
    ``published_arithmetic`` the share of the stated peak. ``error`` is the relative difference of
    the result from that of the first setting with the same steps, ``memory`` the peak in bytes."""

    setting: Setting
    total: float
    text: float
    tables: float
    steps: tuple[float, ...]
    rest: float
    first: float
    realtime: float
    ratio: float
    flops: float
    moved: float
    floor: float
    arithmetic: float
    bandwidth: float
    published_arithmetic: float | None
    memory: int
    error: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All settings of a task on ``device``; ``peaks`` by number format, ``vocoder`` in seconds."""

    task: Task
    device: str
    parameters: int
    speeds: tuple[Speed, ...]
    peaks: dict[str, list[Peaks]]
    vocoder: dict[str, float]
    failures: dict[str, str]


def bench(
    task: Task,
    settings: Sequence[Setting],
    *,
    device: str,
    cache: Path | None = None,
    vocoders: Sequence[str] = (),
    progress: Progress = silent,
) -> Bench:
    """Times ``settings`` one after the other; one that fails is told and the others go on."""
    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"
    peaks: dict[str, list[Peaks]] = {}
    made: list[Speed] = []
    failures: dict[str, str] = {}
    results: dict[int, State] = {}
    network = _network(task.config, place)
    count = sum(parameter.numel() for parameter in network.parameters())
    for number, setting in enumerate(settings):
        progress("bench", number, len(settings))
        dtype = DTYPES[setting.dtype]
        if setting.dtype not in peaks:
            stated = published(name, dtype)
            peaks[setting.dtype] = [measured(place, dtype)] + ([stated] if stated else [])
        try:
            # From fp32 each time: rounding twice would not be what a user gets.
            runner = setting.runner(cache)
            timed = _timed(_in_dtype(network, dtype), task, setting, place, runner)
        except (RuntimeError, ValueError) as error:
            failures[label(setting)] = " ".join(str(error).split())[:300]
            continue
        finally:
            if place.type == "cuda":
                torch.cuda.empty_cache()
        base = results.setdefault(setting.steps, timed.result)
        first = made[0].total if made else timed.total
        made.append(_speed(timed, task, setting, peaks[setting.dtype], first, base))
    progress("bench", len(settings), len(settings))
    return Bench(
        task=task,
        device=name,
        parameters=count,
        speeds=tuple(made),
        peaks=peaks,
        vocoder={one: _vocoder_seconds(one, task, place) for one in vocoders},
        failures=failures,
    )


def label(setting: Setting) -> str:
    """A short name for a setting."""
    attention = "" if setting.attention == "auto" else f" {setting.attention}"
    return f"{setting.way}{attention} {setting.dtype} {setting.steps}"


def bound(task: Task, steps: int, peaks: Peaks) -> float:
    """Arithmetic only: the least seconds of all evaluations at the ``peaks``' operations."""
    cost = costs.sampling(task.config, task.problem(steps), tables=True)
    return cost.flops / peaks.flops


# --- measuring ---------------------------------------------------------------------------------


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
class _Timed:
    total: float
    text: float
    tables: float
    steps: tuple[float, ...]
    first: float
    memory: int
    result: State


def _network(config: DiTConfig, device: torch.device) -> DualBranchDiT:
    """Random everywhere: many layers start at zero, and zeros are quicker to multiply."""
    torch.manual_seed(0)
    with torch.device(device):
        model = DualBranchDiT(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


def _in_dtype(network: DualBranchDiT, dtype: torch.dtype) -> DualBranchDiT:
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


def _timed(
    model: DualBranchDiT, task: Task, setting: Setting, device: torch.device, runner: Runner
) -> _Timed:
    """Samples once to get ready, then ``task.runs`` times by the clock and once by stages."""
    noise, condition, text = _inputs(task, device)
    grid = time_grid("sway", setting.steps)
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
    return _Timed(
        total=total, text=spans[0], tables=spans[1], steps=tuple(spans[2::2]), first=first,
        memory=memory, result=result,
    )  # fmt: skip


def _speed(
    timed: _Timed,
    task: Task,
    setting: Setting,
    peaks: Sequence[Peaks],
    first: float,
    base: State,
) -> Speed:
    tables = setting.way != "plain"
    cost = costs.sampling(task.config, task.problem(setting.steps), tables=tables)
    size = torch.finfo(DTYPES[setting.dtype]).bits // 8
    here = peaks[0]
    stated = peaks[1] if len(peaks) > 1 else None
    pairs = list(zip(timed.result, base, strict=True))
    error = sum(float((x - y).norm()) for x, y in pairs) / sum(float(y.norm()) for _, y in pairs)
    return Speed(
        setting=setting,
        total=timed.total,
        text=timed.text,
        tables=timed.tables,
        steps=timed.steps,
        rest=max(0.0, timed.total - timed.text - timed.tables - sum(timed.steps)),
        first=timed.first,
        realtime=timed.total / task.target,
        ratio=timed.total / first,
        flops=cost.flops,
        moved=cost.values * size,
        floor=cost.seconds(flops=here.flops, bandwidth=here.bandwidth, size=size),
        arithmetic=cost.flops / here.flops / timed.total,
        bandwidth=cost.values * size / here.bandwidth / timed.total,
        published_arithmetic=None if stated is None else cost.flops / stated.flops / timed.total,
        memory=timed.memory,
        error=error,
    )


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device's memory, or (a CPU) of the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _vocoder_seconds(name: str, task: Task, device: torch.device) -> float:
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
