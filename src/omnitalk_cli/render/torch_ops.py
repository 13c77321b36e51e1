"""Reading, stretching and blurring batches of pictures on any torch device, as OpenCV does.

Pictures are floats of 0…255, channels first: ``[P,K,h,w]`` for P pictures. Blurs and averages are
products with the matrices of OpenCV's own filters, borders included: exact, and quick on a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omnitalk_cli.types import Float


def upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """``array`` on the device; from page-locked memory, without waiting, where that helps."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Download:
    """A tensor on its way to the host."""

    def __init__(self, tensor: Tensor) -> None:
        self._event: Any = None
        if tensor.device.type == "cuda":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(tensor.device))
        else:
            self._host = tensor.cpu()

    def wait(self) -> NDArray[Any]:
        """The values, once they have arrived."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.numpy()


def sample(pictures: Tensor, places: Tensor) -> Tensor:
    """Bilinear samples of ``pictures`` [P,K,H,W] at ``places`` [P,2,h,w] (x, y in pixels) →
    [P,K,h,w]; borders repeat."""
    height, width = pictures.shape[-2:]
    x = (2 * places[:, 0] + 1) / width - 1
    y = (2 * places[:, 1] + 1) / height - 1
    grid = torch.stack([x, y], dim=-1)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def stretched(values: Tensor, height: int, width: int) -> Tensor:
    """``values`` [P,K,g,g] at another size [P,K,h,w], linear between cells."""
    if values.shape[-2:] == (height, width):
        return values
    return functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)


def mapped(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``values`` [...,h,w] with ``rows`` [...,h',h] applied down and ``columns`` [...,w',w] across
    → [...,h',w']."""
    return rows @ values @ columns.mT


@lru_cache(maxsize=512)
def gaussian_map(size: int, sigma: float) -> Float:
    """[n,n] what a Gaussian blur of ``sigma`` does along a side of ``size`` values."""
    reach = round(8 * sigma + 1) | 1  # OpenCV's own width for floating-point values
    blurred = cv2.GaussianBlur(
        np.eye(size, dtype=np.float32), (1, reach), sigmaX=sigma, sigmaY=sigma
    )
    return np.asarray(blurred, np.float32)


@lru_cache(maxsize=512)
def average_map(size: int, smaller: int) -> Float:
    """[m,n] averages ``size`` values down to ``smaller``."""
    every = np.eye(size, dtype=np.float32)
    return np.asarray(cv2.resize(every, (size, smaller), interpolation=cv2.INTER_AREA))


@lru_cache(maxsize=512)
def stretch_map(size: int, larger: int) -> Float:
    """[m,n] stretches ``size`` values to ``larger``, linear between them."""
    return np.asarray(cv2.resize(np.eye(size, dtype=np.float32), (size, larger)))
