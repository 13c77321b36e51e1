"""What every renderer offers: a bank made once from the reference, then frames from codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import Float, Reference

Picture = NDArray[np.uint8]
"""[S,S,3] RGB, 0…255."""

Matte = NDArray[np.uint8]
"""[S,S] of the person in a picture, 255 inside."""

Bank = TypeVar("Bank")


class Renderer(Protocol[Bank]):
    """Turns codes into pictures of the person in a reference.

    ``Bank`` is the renderer's own precomputed form of the reference; it is made once and serves
    any number of performances.
    """

    def prepare(self, reference: Reference, *, progress: Progress = silent) -> Bank:
        """Make the bank. Raises ``InputError`` when the reference holds no usable frame."""

    def frames(self, bank: Bank, codes: Float, *, fps: float) -> Iterator[Picture]:
        """Draw one picture per row of ``codes`` [N,61], already at the video rate ``fps``.

        The pictures come in order, one at a time; memory does not grow with N.
        """

    def matted_frames(
        self, bank: Bank, codes: Float, *, fps: float
    ) -> Iterator[tuple[Picture, Matte]]:
        """The same pictures, each with the matte of the person as drawn."""
