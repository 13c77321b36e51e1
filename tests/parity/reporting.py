"""What the parity scripts share: differences against bounds, and sounds to try."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

SPEECH_LEVEL = 0.1


class Report:
    """Prints every comparison and remembers whether one was over its bound."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def compare(self, name: str, ours: Tensor, theirs: Tensor, *, bound: float) -> None:
        """The largest absolute difference of two tensors of the same shape, against ``bound``."""
        if ours.shape != theirs.shape:
            difference = float("inf")
        else:
            difference = float((ours.double() - theirs.double()).abs().max())
        verdict = "ok" if difference <= bound else "OVER"
        if difference > bound:
            self.failed.append(name)
        level = float(theirs.double().std()) if theirs.numel() > 1 else 0.0
        print(f"{name:44} {list(ours.shape)!s:18} max |diff| {difference:.1e} "
              f"(bound {bound:.0e}, std {level:.2g}) {verdict}")  # fmt: skip

    def finish(self) -> None:
        """End the program: 1 when a comparison failed."""
        print(f"{len(self.failed)} over the bound" if self.failed else "all within bounds")
        sys.exit(1 if self.failed else 0)


def tell_time(vocoder: Callable[[Tensor], Tensor], mel: Tensor) -> None:
    """Print the CPU time that a second of sound takes on one thread."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        vocoder(mel[:, :4])
        begin = time.process_time()
        sound = vocoder(mel)
    seconds = sound.shape[-1] / 24_000
    print(f"    {(time.process_time() - begin) / seconds:.3g} s of CPU per second of sound")


def chirps(seconds: float = 1.0, *, rows: int = 1) -> Tensor:
    """Gliding harmonics with noise and pauses [rows, S] at 24 kHz, at the level of speech."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(int(24_000 * seconds)) / 24_000
    sounds = []
    for row in range(rows):
        phase = (110 + 60 * row) * time + 20 * time.square()
        harmonics = sum(torch.sin(2 * torch.pi * k * phase) / k for k in range(1, 30))
        noise = 0.3 * torch.randn(len(time), generator=generator)
        sounds.append((harmonics + noise) * (torch.sin(2 * torch.pi * 1.7 * time) > -0.7))
    together = torch.stack([torch.as_tensor(sound) for sound in sounds])
    return together * (SPEECH_LEVEL / together.std())
