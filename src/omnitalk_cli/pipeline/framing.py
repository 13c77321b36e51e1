"""From the renderer's squares to the frames of the video: view, size, background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from omnitalk_cli.errors import UsageError
from omnitalk_cli.render.backdrop import Backdrop, Background, parse_background
from omnitalk_cli.render.base import Bank, Matte, Picture, Renderer
from omnitalk_cli.render.fullview import FullView, still_of
from omnitalk_cli.types import Float, Reference

FACE_SIZE = 512
SIZES = (64, 2048)
View = Literal["face", "full"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a video shows. ``view`` is ``face`` (the generated square) or ``full`` (the source
    picture with the square in it). ``size``, even, is the length of the shorter side in pixels
    (None: 512 for the face, the source's own for the full view, at most 1920 along the longer
    side). ``background`` is what is behind the person.
    """

    view: View = "face"
    size: int | None = None
    background: Background = Background(kind="keep")

    def __post_init__(self) -> None:
        if self.view not in ("face", "full"):
            raise UsageError(f"view {self.view!r} is not known; face or full")
        if self.size is not None and self.size % 2:
            raise UsageError(f"size {self.size} must be even: {self.size - 1} or {self.size + 1}")
        if self.size is not None and not SIZES[0] <= self.size <= SIZES[1]:
            raise UsageError(f"size {self.size} is outside {SIZES[0]} to {SIZES[1]}")


def frame_of(*, view: View, size: int | None, background: str) -> Frame:
    """The frame of the options' values. Raises UsageError or, for a picture, InputError."""
    return Frame(view=view, size=size, background=parse_background(background))


class Framing:
    """Turns one video's squares into its frames of ``width`` × ``height``, in order of time."""

    def __init__(self, reference: Reference, frame: Frame, *, fps: float = 25.0) -> None:
        """Raises InputError when the reference or the background lacks what the frame needs."""
        self._full: FullView | None = None
        self.width = self.height = frame.size or FACE_SIZE
        if frame.view == "full":
            still = still_of(reference, short_side=frame.size)
            self.height, self.width = still.matte.shape
            self._full = FullView(still, fps=fps)
        self._backdrop: Backdrop | None = None
        if frame.background.kind != "keep":
            self._backdrop = Backdrop(frame.background, width=self.width, height=self.height)

    def frames(
        self, renderer: Renderer[Bank], bank: Bank, codes: Float, *, fps: float
    ) -> Iterator[Picture]:
        """The frames of ``codes`` [N,61], which are at the rate ``fps``."""
        if self._backdrop is None:  # mattes cost time
            for square in renderer.frames(bank, codes, fps=fps):
                yield self.finish(square, None)
            return
        for square, matte in renderer.matted_frames(bank, codes, fps=fps):
            yield self.finish(square, matte)

    def finish(self, square: Picture, matte: Matte | None) -> Picture:
        """The frame [height,width,3] of a square [S,S,3]; ``matte`` [S,S] when there is to be
        another background."""
        if self._full is not None:
            picture, person = self._full.paste(square, matte)
        else:
            picture = resized(square, self.width)
            person = picture if matte is None else resized(matte, self.width)
        if self._backdrop is None or matte is None:
            return picture
        return self._backdrop.lay(picture, person)


def resized(picture: Picture, side: int) -> Picture:
    """A square picture at another size: averaged down, cubic up."""
    if picture.shape[0] == side:
        return picture
    method = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method), np.uint8)
