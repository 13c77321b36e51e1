"""Light-ASD (Liao et al., CVPR 2023): the network that the paper's pipeline finds speakers with.

Written to the public layout, so that its weights fit (names after ``model.`` and ``lossAV.``). The
weights are not part of this package; ``python -m omnitalk_cli.training.curation.light_asd IN.model
OUT.safetensors`` converts those of its authors.

Shapes: ``T`` pictures at 25 per second with ``4 T`` MFCC frames; ``B`` clips.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from omnitalk_cli.errors import InputError, OmnitalkError, SetupError

FPS = 25
SIDE = 112
COEFFICIENTS = 13
_WIDTHS = (1, 32, 64, 128)
_MEAN, _SCALE = 0.4161, 0.1688
_SECONDS = (1, 2, 3, 4, 5, 6)  # window lengths over which the scores are averaged


def _norm(width: int, dimensions: int) -> nn.Module:
    kind = nn.BatchNorm3d if dimensions == 3 else nn.BatchNorm2d
    return kind(width, momentum=0.01, eps=0.001)


class _Block(nn.Module):
    """Two branches, kernels of 3 and 5, each first along ``space`` and then along time."""

    def __init__(self, before: int, width: int, *, space: str, shrink: bool) -> None:
        super().__init__()
        visual = space == "s"
        self._space = space
        for size in (3, 5):
            pad = size // 2
            if visual:
                across = nn.Conv3d(
                    before, width, (1, size, size), stride=(1, 2, 2) if shrink else 1,
                    padding=(0, pad, pad), bias=False,
                )  # fmt: skip
                along: nn.Module = nn.Conv3d(
                    width, width, (size, 1, 1), padding=(pad, 0, 0), bias=False
                )
            else:
                across = nn.Conv2d(before, width, (size, 1), padding=(pad, 0), bias=False)  # type: ignore[assignment]
                along = nn.Conv2d(width, width, (1, size), padding=(0, pad), bias=False)
            dimensions = 3 if visual else 2
            self.add_module(f"{space}_{size}", across)
            self.add_module(f"bn_{space}_{size}", _norm(width, dimensions))
            self.add_module(f"t_{size}", along)
            self.add_module(f"bn_t_{size}", _norm(width, dimensions))
        last = nn.Conv3d if visual else nn.Conv2d
        self.last = last(width, width, 1, bias=False)
        self.bn_last = _norm(width, 3 if visual else 2)

    def forward(self, x: Tensor) -> Tensor:
        branches = []
        for size in (3, 5):
            y = x
            for name in (f"{self._space}_{size}", f"t_{size}"):
                y = torch.relu(self.get_submodule(f"bn_{name}")(self.get_submodule(name)(y)))
            branches.append(y)
        return torch.relu(self.bn_last(self.last(branches[0] + branches[1])))


class _VisualEncoder(nn.Module):
    """Grey faces ``[B,1,T,112,112]`` → ``[B,T,128]``."""

    def __init__(self) -> None:
        super().__init__()
        for number in (1, 2, 3):
            block = _Block(*_WIDTHS[number - 1 : number + 1], space="s", shrink=number == 1)
            self.add_module(f"block{number}", block)
        self._pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self._pool(self.get_submodule("block1")(x))
        x = self._pool(self.get_submodule("block2")(x))
        return self.get_submodule("block3")(x).amax(dim=(3, 4)).transpose(1, 2)


class _AudioEncoder(nn.Module):
    """MFCC ``[B,1,13,4T]`` → ``[B,T,128]``."""

    def __init__(self) -> None:
        super().__init__()
        for number in (1, 2, 3):
            block = _Block(*_WIDTHS[number - 1 : number + 1], space="m", shrink=False)
            self.add_module(f"block{number}", block)
        self._pool = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self._pool(self.get_submodule("block1")(x))
        x = self._pool(self.get_submodule("block2")(x))
        return self.get_submodule("block3")(x).mean(dim=2).transpose(1, 2)


class _Turns(nn.Module):
    """Forward, then backward in time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(width, width, batch_first=True)
        self.gru_backward = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.gelu(self.gru_forward(x)[0])
        x = self.gru_backward(x.flip(1))[0].flip(1)
        return nn.functional.gelu(x)


class LightAsd(nn.Module):
    """Scores of one face: more than zero, speaking."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {"visualEncoder": _VisualEncoder(), "audioEncoder": _AudioEncoder(), "GRU": _Turns(128)}
        )
        self.lossAV = nn.ModuleDict({"FC": nn.Linear(128, 2)})

    def forward(self, mfcc: Tensor, faces: Tensor) -> Tensor:
        """MFCC ``[B,4T,13]`` and grey faces ``[B,T,112,112]`` (0…255) → logits ``[B,T]``."""
        seen = self.model["visualEncoder"]((faces[:, None] / 255.0 - _MEAN) / _SCALE)
        heard = self.model["audioEncoder"](mfcc[:, None].transpose(2, 3))
        return self.lossAV["FC"](self.model["GRU"](seen + heard))[..., 1]

    @torch.inference_mode()
    def scores(self, mfcc: Tensor, faces: Tensor) -> Tensor:
        """Scores ``[T]`` of one face: the mean over windows of one to six seconds.

        ``mfcc`` ``[4T,13]``, ``faces`` ``[T,112,112]``; what one has more of than the other is left
        out.
        """
        length = min(len(faces), len(mfcc) // 4)
        total = torch.zeros(length)
        for seconds in _SECONDS:
            for first in range(0, length, seconds * FPS):
                last = min(first + seconds * FPS, length)
                part = self(mfcc[None, 4 * first : 4 * last], faces[None, first:last].float())
                total[first:last] += part[0]
        return total / len(_SECONDS)


def load_light_asd(path: Path) -> LightAsd:
    """The network with the weights at ``path`` (safetensors). Raises SetupError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network = LightAsd()
        network.load_state_dict(_own(load_file(path)))
    except (OSError, SafetensorError, RuntimeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SetupError(
            f"{path}: no weights of Light-ASD ({why}); convert the authors' file with "
            "python -m omnitalk_cli.training.curation.light_asd IN.model OUT.safetensors"
        ) from error
    return network.eval()


def _own(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what only training uses (the picture's own classifier)."""
    names = {name: name.removeprefix("module.") for name in weights}
    return {short: weights[name] for name, short in names.items() if not short.startswith("lossV.")}


def convert(source: Path, target: Path) -> None:
    """The authors' checkpoint as safetensors. Raises InputError when it is another file."""
    from safetensors.torch import save_file

    try:
        weights = _own(torch.load(source, map_location="cpu", weights_only=True))
        LightAsd().load_state_dict(weights)
    except Exception as error:  # torch.load has no narrower base for broken files
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source}: is no checkpoint of Light-ASD ({why})") from error
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts a checkpoint; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) != 2:
        sys.stderr.write("usage: light_asd IN.model OUT.safetensors\n")
        return 2
    try:
        convert(Path(words[0]), Path(words[1]))
    except OmnitalkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
