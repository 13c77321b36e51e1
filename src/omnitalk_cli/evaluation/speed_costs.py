"""What an evaluation of the network costs: operations and bytes, counted from the configuration.

A multiplication and an addition are two operations. Matrix products, convolutions and attention are
counted, what lies between them is not. Bytes are those of their operands and results, each once:
the traffic of a device whose caches keep nothing from one product to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.types import MEL_RATE


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``flops`` operations on ``values`` numbers that are read or written."""

    flops: float = 0.0
    values: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(flops=self.flops + other.flops, values=self.values + other.values)

    def __mul__(self, times: float) -> Cost:
        return Cost(flops=self.flops * times, values=self.values * times)

    def seconds(self, *, flops: float, bandwidth: float, size: int) -> float:
        """The least time on a device of ``flops`` operations and ``bandwidth`` bytes a second, with
        numbers of ``size`` bytes."""
        return max(self.flops / flops, self.values * size / bandwidth)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is sampled: ``frames`` of the whole sequence, ``rows`` of conditions in one evaluation
    that share ``state_rows`` of noise; ``evaluations`` of the network."""

    frames: int
    rows: int
    evaluations: int
    state_rows: int = 1

    @classmethod
    def of(cls, *, target: float, reference: float, rows: int, evaluations: int) -> Problem:
        """Of ``target`` seconds after ``reference`` seconds, one sequence."""
        frames = round((target + reference) * MEL_RATE)
        return cls(frames=frames, rows=rows, evaluations=evaluations)


def linear(tokens: float, inputs: int, outputs: int) -> Cost:
    """A linear layer on ``tokens`` rows."""
    return Cost(
        flops=2.0 * tokens * inputs * outputs,
        values=tokens * (inputs + outputs) + inputs * outputs,
    )


def attention(rows: int, queries: int, keys: int, width: int) -> Cost:
    """Softmax attention of ``width`` over all heads."""
    return Cost(
        flops=4.0 * rows * queries * keys * width, values=2.0 * rows * width * (queries + keys)
    )


def convolution(tokens: float, channels: int, kernel: int, groups: int) -> Cost:
    """A grouped convolution that keeps channels and length."""
    weights = channels * (channels // groups) * kernel
    return Cost(flops=2.0 * tokens * weights, values=2.0 * tokens * channels + weights)


def evaluation(config: DiTConfig, problem: Problem, *, tables: bool) -> Cost:
    """One evaluation of the network for all rows; with ``tables`` only what they leave to do."""
    tokens = problem.frames // config.patch
    width = config.attention_dim
    total = Cost()
    streams = _streams(config)
    both = len(streams) == 2
    for dim, channels in streams:
        rows = problem.rows * tokens
        keys = tokens * len(streams) if config.fusion == "mm_attention" else tokens
        block = (
            linear(rows, dim, 3 * width)
            + linear(rows, width, dim)
            + linear(rows, dim, config.ff_mult * dim)
            + linear(rows, config.ff_mult * dim, dim)
        )
        total += (block + attention(problem.rows, tokens, keys, width)) * config.fusion_depth
        total += (block + attention(problem.rows, tokens, tokens, width)) * config.single_depth
        total += convolution(rows, dim, config.position_kernel, config.position_groups) * 2
        patched = channels * config.patch
        total += linear(rows, dim, patched)
        if tables:
            total += linear(problem.state_rows * tokens, patched, dim)
        else:
            known = patched + config.text_dim + config.visible_flag
            total += linear(rows, patched + known, dim)
            if config.given_sound and channels == config.code_count:
                total += linear(rows, config.mel_bins * config.patch, dim)
            total += modulations(config, dim, rows=problem.rows, times=1)
    if both:
        total += _exchange(config, problem, tokens) * config.fusion_depth
    return total


def modulations(config: DiTConfig, dim: int, *, rows: int, times: int) -> Cost:
    """Time embedding, summary and all AdaLN maps of one stream."""
    count = rows * times
    cost = linear(count, 256, dim) + linear(count, dim, dim) + linear(count, dim, 2 * dim)
    if config.reference_summary:
        inputs = 2 * (config.mel_bins + config.code_count) + 2
        cost += linear(count, inputs, dim) + linear(count, dim, dim)
    maps = 1 if config.modulation == "shared" else config.fusion_depth + config.single_depth
    return cost + linear(count, dim, 6 * dim) * maps


def preparation(config: DiTConfig, problem: Problem) -> Cost:
    """The tables of a sampling: modulations at all times, and the projection of what is given."""
    tokens = problem.rows * (problem.frames // config.patch)
    rows = problem.rows if config.reference_summary else 1
    total = Cost()
    for dim, channels in _streams(config):
        total += modulations(config, dim, rows=rows, times=problem.evaluations)
        known = channels * config.patch + config.text_dim + config.visible_flag
        total += linear(tokens, known, dim)
        if config.given_sound and channels == config.code_count:
            total += linear(tokens, config.mel_bins * config.patch, dim)
    return total


def text_encoding(config: DiTConfig, *, rows: int, tokens: int) -> Cost:
    """The text's own layers; ``tokens`` of text, which for fillers are the frames."""
    width, count = config.text_dim, rows * tokens
    inner = width * config.text_conv_mult
    block = (
        convolution(count, width, 7, width)
        + linear(count, width, inner)
        + linear(count, inner, width)
    )
    return block * config.text_conv_layers


def sampling(config: DiTConfig, problem: Problem, *, tables: bool) -> Cost:
    """All evaluations of a sampling, with its tables; without text and vocoder."""
    cost = evaluation(config, problem, tables=tables) * problem.evaluations
    return cost + preparation(config, problem) if tables else cost


def _streams(config: DiTConfig) -> list[tuple[int, int]]:
    """Width and channels of each."""
    audio = [(config.dim, config.mel_bins)]
    return audio if config.audio_only else [*audio, (config.visual_dim, config.code_count)]


def _exchange(config: DiTConfig, problem: Problem, tokens: int) -> Cost:
    """What a block does between the streams beside joint attention."""
    rows, width = problem.rows * tokens, config.attention_dim
    audio, visual = config.dim, config.visual_dim
    if config.fusion == "cross_attention":
        links = Cost()
        for dim, other in ((audio, visual), (visual, audio)):
            links += linear(rows, dim, width) + linear(rows, other, 2 * width)
            links += linear(rows, width, dim) + attention(problem.rows, tokens, tokens, width)
        return links
    if config.fusion == "linear":
        return linear(rows, audio + visual, audio + visual)
    if config.fusion == "add" and audio != visual:
        return linear(rows, visual, audio) + linear(rows, audio, visual)
    return Cost()
