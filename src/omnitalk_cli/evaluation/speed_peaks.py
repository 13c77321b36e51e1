"""How fast a device can be: measured by a matrix product and a copy, and as its maker states."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

# Dense bf16 and fp32 TFLOP/s (without sparsity), GB/s; data sheets of the makers.
PUBLISHED: dict[str, tuple[float, float, float]] = {
    "H200": (989.4, 66.9, 4800.0),
    "H100 PCIe": (756.0, 51.0, 2000.0),
    "H100": (989.4, 66.9, 3350.0),
    "A100": (312.0, 19.5, 2039.0),
    "L40S": (362.0, 91.6, 864.0),
    "L4": (121.0, 30.3, 300.0),
    "A10": (125.0, 31.2, 600.0),
    "RTX 4090": (165.2, 82.6, 1008.0),
}


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Operations and bytes per second; ``source`` says whose word that is."""

    flops: float
    bandwidth: float
    source: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def published(name: str, dtype: torch.dtype) -> Peaks | None:
    """What the maker of the GPU ``name`` states, or None for one that is not in the table."""
    for known, (half, single, bandwidth) in PUBLISHED.items():
        if set(known.split()) <= set(name.replace("-", " ").split()):
            flops = (single if dtype == torch.float32 else half) * 1e12
            return Peaks(flops=flops, bandwidth=bandwidth * 1e9, source=f"data sheet of {known}")
    return None


def measured(device: torch.device, dtype: torch.dtype) -> Peaks:
    """The best of some square matrix products of random numbers, and of some copies."""
    cuda = device.type == "cuda"
    side, numbers = (8192, 2**28) if cuda else (1024, 2**24)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    flops = 2 * side**3 / _best(lambda: torch.mm(a, b), device)
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    bandwidth = moved / _best(lambda: target.copy_(source), device)
    return Peaks(flops=flops, bandwidth=bandwidth, source="measured")


def _best(work: Any, device: torch.device, *, rounds: int = 5) -> float:
    """Least seconds of ``work``, after a round that does not count."""
    work()
    seconds = []
    for _ in range(rounds):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
