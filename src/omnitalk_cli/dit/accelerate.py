"""Ways to run the evaluations of a sampling: as they are, compiled, and as CUDA graphs.

Only the blocks are compiled: 22 that are alike are compiled once, in seconds, for all lengths. On
CUDA a whole evaluation can be recorded as a graph, which leaves one launch instead of a thousand;
a graph holds for one length, so that lengths are rounded up to a ``bucket`` and the frames beyond
the real ones masked. What is compiled is kept on disk and found again by the next process.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from omnitalk_cli.dit.blocks import FusionBlock, StreamBlock
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.dit.tables import Blocks, State, Step, evaluate

Attention = Literal["auto", "flash", "cudnn", "efficient", "math"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)

GRAPH_BUCKET = 128  # frames
_GRAPHS_KEPT = 8
_LENGTHS_COMPILED = 64


class Runner:
    """Runs evaluations as they are."""

    bucket = 1

    def length(self, frames: int) -> int:
        """Frames that a sequence of ``frames`` is padded to."""
        return -(-frames // self.bucket) * self.bucket

    def __call__(self, model: DualBranchDiT, state: State, step: Step) -> State:
        """What ``model`` predicts: see ``tables.evaluate``."""
        return evaluate(model, state, step, Blocks())


class Accelerated(Runner):
    """Runs evaluations with compiled blocks (``compiled``), recorded as CUDA graphs (``graphs``),
    with the ``attention`` that is asked for ("auto": torch's own choice).

    ``bucket`` must be a multiple of the network's patch; 1 pads nothing, and then no mask is
    needed, which the fastest kinds of attention do not take. ``cache`` is a folder for what is
    compiled. Raises ValueError for graphs without CUDA and unknown kinds of attention.
    """

    def __init__(
        self,
        *,
        compiled: bool = True,
        graphs: bool = False,
        bucket: int = 1,
        attention: Attention = "auto",
        cache: Path | None = None,
    ) -> None:
        if graphs and not torch.cuda.is_available():
            raise ValueError("CUDA graphs need CUDA")
        if attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {attention!r}; use one of {ATTENTIONS}")
        if bucket < 1:
            raise ValueError(f"bucket {bucket} must be positive")
        self.bucket, self.graphs, self.attention = bucket, graphs, attention
        self.blocks = compiled_blocks(cache, attention) if compiled else Blocks()
        self._recorded: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, model: DualBranchDiT, state: State, step: Step) -> State:
        with chosen_attention(self.attention):
            if not self.graphs or not state[0].is_cuda:
                return evaluate(model, state, step, self.blocks)
            # Streams and graphs are made on the current device, which need not be the model's.
            with self._lock, torch.cuda.device(state[0].device):
                return self._graph(model, state, step)(state, step)

    def _graph(self, model: DualBranchDiT, state: State, step: Step) -> _Graph:
        """The recording for these shapes; the oldest one makes room for a new one."""
        inputs = [*state, *step.tensors()]
        key = (id(model), *((tuple(x.shape), x.dtype, x.device) for x in inputs))
        found = self._recorded.get(key)
        if found is None:
            while len(self._recorded) >= _GRAPHS_KEPT:
                self._recorded.popitem(last=False)
            found = _Graph(lambda x, y: evaluate(model, x, y, self.blocks), state, step)
            self._recorded[key] = found
        self._recorded.move_to_end(key)
        return found


class _Graph:
    """A recorded evaluation with the places that its inputs must lie in."""

    def __init__(self, function: Callable[[State, Step], State], state: State, step: Step) -> None:
        self._count = len(state)
        self._inputs = [x.clone() for x in (*state, *step.tensors())]
        self._last: list[Tensor] = []
        still = tuple(self._inputs[: self._count])
        here = step.refilled(self._inputs[self._count :])
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # compiles, and lets libraries make their handles
            for _ in range(2):
                function(still, here)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = function(still, here)

    def __call__(self, state: State, step: Step) -> State:
        given = [*state, *step.tensors()]
        before: list[Tensor] | list[None] = self._last or [None] * len(given)
        for place, new, old in zip(self._inputs, given, before, strict=True):
            if new is not old:  # most is the same in all steps of a sampling
                place.copy_(new)
        self._last = given  # also keeps them alive, so that nothing else takes their identity
        self._graph.replay()
        return tuple(x.clone() for x in self._outputs)


def compiled_blocks(cache: Path | None, attention: Attention = "auto") -> Blocks:
    """Blocks compiled for any length and batch, when they are first called.

    Code keeps the ``attention`` that it was compiled with, and neither torch's guards nor its cache
    on disk ask for it: one that is chosen must be part of what is compiled.
    """
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        from torch._inductor.runtime.cache_dir_utils import default_cache_dir

        # A folder that somebody chose for all programs is left as it is; but torch itself, once
        # asked, notes its default, in the temporary folder, as if it had been chosen.
        if os.environ.get("TORCHINDUCTOR_CACHE_DIR", "") in ("", default_cache_dir()):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    allow_recompiling()
    return Blocks(
        fused=torch.compile(_with(attention, FusionBlock.forward), dynamic=True, fullgraph=True),
        single=torch.compile(_with(attention, StreamBlock.forward), dynamic=True, fullgraph=True),
    )


def allow_recompiling() -> None:
    """Lets torch compile the same code for more shapes and ways of calling than it does by itself;
    beyond its limit it would compute without compiling, and hardly say so."""
    import torch._dynamo

    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _LENGTHS_COMPILED)


def _with(kind: Attention, forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward`` with attention of ``kind``; itself for "auto"."""
    if kind == "auto":
        return forward
    from torch.nn.attention import sdpa_kernel

    order = _order(kind)

    def chosen(*given: Any) -> Any:
        with sdpa_kernel(order, set_priority=True):
            return forward(*given)

    return chosen


@contextmanager
def chosen_attention(kind: Attention) -> Iterator[None]:
    """Within: scaled-dot-product attention of ``kind`` where it can be had, else torch's choice."""
    if kind == "auto":
        yield
        return
    from torch.nn.attention import sdpa_kernel

    with sdpa_kernel(_order(kind), set_priority=True):
        yield


def _order(kind: Attention) -> list[Any]:
    """The backends of torch, ``kind`` first."""
    from torch.nn.attention import SDPBackend

    known = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }
    return [known[kind], *(backend for name, backend in known.items() if name != kind)]
