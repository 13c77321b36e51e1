"""The embedded renderer: a layered warp with the person's own frames. No weights.

Key poses are warped as a whole; mouth and eyes come from the frames whose lips and lids fit best.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.bank import MeshBank, bank_of
from omnitalk_cli.render.base import Matte, Picture
from omnitalk_cli.render.cavity import draw_cavity, opacity
from omnitalk_cli.render.compositor import (
    blend_coarse,
    cross_fade,
    lay_patch,
    tinted,
    warp_base,
    warp_matte,
)
from omnitalk_cli.render.features import (
    Features,
    eye_inputs,
    features_of,
    mouth_inputs,
    past_frames,
    residual_inputs,
)
from omnitalk_cli.render.flow import Region, TargetFlow
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.lids import draw_eyes, hold_eyes
from omnitalk_cli.render.limits import limit_blinks
from omnitalk_cli.render.patches import patch_mask, warp_patch
from omnitalk_cli.render.plan import BLOCK, Step
from omnitalk_cli.types import Float, Reference

Drawn = TypeVar("Drawn")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A run of target frames: ``geometry`` and what their pictures are corrected by.

    From a still, ``geometry`` keeps the eyes of its picture; those of ``eyes_wanted`` are drawn.
    """

    geometry: Geometry
    eyes_wanted: Geometry | None
    residual: Float
    mouth: Float
    eyes: Float

    @classmethod
    def of(cls, bank: MeshBank, codes: Float, *, past: int, fps: float) -> Block:
        """The frames of ``codes`` [P+N,61] after the first P = ``past``, which went before."""
        geometry, usual = bank.geometry_of(codes), bank.pose_frame.scale
        residual = residual_inputs(geometry, usual=usual, fps=fps)[past:]
        codes = codes[past:]
        wanted = bank.geometry_of(codes)
        still = bool(bank.eye_looks)
        geometry = bank.geometry_of(hold_eyes(codes, bank.still)) if still else wanted
        features = features_of(geometry)
        return cls(
            geometry=geometry,
            eyes_wanted=wanted if still else None,
            residual=residual,
            mouth=mouth_inputs(features),
            eyes=eye_inputs(features),
        )


@dataclass(frozen=True, kw_only=True)
class MeshRenderer:
    """The embedded ``Renderer``. ``workers`` threads draw whole frames, order kept; ``limit``
    keeps the head softly within what the reference shows (off: for self-reenactment).
    """

    workers: int = 1
    limit: bool = True

    def prepare(self, reference: Reference, *, progress: Progress = silent) -> MeshBank:
        """Decode the reference's pictures and make the bank (about 5 CPU seconds for 300 frames).

        Raises ``InputError`` when the reference holds no picture.
        """
        return bank_of(reference, workers=self.workers, progress=progress)

    def frames(self, bank: MeshBank, codes: Float, *, fps: float) -> Iterator[Picture]:
        """Draw [S,S,3] RGB for every row of ``codes`` [N,61], which are at the rate ``fps``."""
        return self._draw(bank, codes, fps, draw_frame)

    def matted_frames(
        self, bank: MeshBank, codes: Float, *, fps: float
    ) -> Iterator[tuple[Picture, Matte]]:
        """The same pictures, each with the matte [S,S] of the person as drawn."""
        return self._draw(bank, codes, fps, draw_matted)

    def _draw(
        self,
        bank: MeshBank,
        codes: Float,
        fps: float,
        draw: Callable[[MeshBank, Block, int, Step], Drawn],
    ) -> Iterator[Drawn]:
        if self.limit:
            codes = limited(bank, codes)
        if self.workers <= 1:
            for target, index, step in schedule(bank, codes, fps):
                yield draw(bank, target, index, step)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[Future[Drawn]] = deque()
            try:
                for target, index, step in schedule(bank, codes, fps):
                    waiting.append(pool.submit(draw, bank, target, index, step))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def limited(bank: MeshBank, codes: Float) -> Float:
    """``codes`` [N,61] softly within what the reference shows."""
    return limit_blinks(bank.limits.apply(codes), bank.neutral)


def schedule(bank: MeshBank, codes: Float, fps: float) -> Iterator[tuple[Block, int, Step]]:
    """Every frame's geometry (one block of them at a time), its place in it and its sources."""

    def features(start: int, stop: int) -> Features:
        return features_of(bank.geometry_of(codes[start:stop]))

    target: Block | None = None
    for frame, step in enumerate(bank.planner.steps(features, len(codes))):
        if target is None or frame % BLOCK == 0:
            past = min(frame, past_frames(fps))
            target = Block.of(bank, codes[frame - past : frame + BLOCK], past=past, fps=fps)
        yield target, frame % BLOCK, step


def draw_matted(bank: MeshBank, target: Block, index: int, step: Step) -> tuple[Picture, Matte]:
    """Draw frame ``index`` of ``target`` and the matte [S,S] of the person in it, 255 inside."""
    flow = TargetFlow(bank.grid, target.geometry, index)
    picture = draw_frame(bank, target, index, step, flow=flow)

    def base(key: int) -> Matte:
        to_key = _base_flow(bank, target, index, flow, key)
        return warp_matte(bank.key_mattes[key], to_key, bank.pixels)

    matte = base(step.base)
    if step.other_weight > 0:
        weight = step.other_weight
        matte = np.asarray(
            cv2.addWeighted(matte, 1 - weight, base(step.other), weight, 0), np.uint8
        )
    return picture, at_frame_size(bank, matte)


def _base_flow(bank: MeshBank, target: Block, index: int, flow: TargetFlow, key: int) -> Float:
    """Displacement [G,G,2] into base picture ``key``: the mesh's and what is learned beside it."""
    source = int(bank.key_indices[key])
    to_key = flow.to(bank.geometry, source)
    left = bank.residual.flow(target.residual[index], bank.inputs[source], key)
    return np.asarray(to_key + cv2.resize(left, to_key.shape[1::-1]), np.float32)


def draw_frame(
    bank: MeshBank, target: Block, index: int, step: Step, *, flow: TargetFlow | None = None
) -> Picture:
    """Draw frame ``index`` of ``target`` from the sources of ``step`` → [S,S,3], S = frame_size.

    ``flow`` is the frame's own, when it is known already.
    """
    geometry = target.geometry
    flow = flow or TargetFlow(bank.grid, geometry, index)

    def base(key: int) -> Picture:
        to_key = _base_flow(bank, target, index, flow, key)
        return warp_base(bank.layers[key], to_key, bank.pixels, bank.plate)

    picture = base(step.base)
    if step.other_weight > 0:
        picture = cross_fade(picture, base(step.other), step.other_weight)
    vertices = geometry.vertices[index]
    for kind, crops, sources, model, wanted in (
        (bank.mouth_kind, bank.mouths, step.mouth, bank.mouth_model, target.mouth),
        (bank.eye_kind, bank.eyes, step.eyes, bank.eye_model, target.eyes),
    ):
        masked = patch_mask(kind, vertices, flow.scale, bank.grid)
        if masked is None:
            continue
        region, mask = masked

        def to(frame: int, region: Region = region, gaze: bool = kind.gaze) -> Float:
            return flow.to(bank.geometry, frame, region=region, gaze=gaze)

        patches = [warp_patch(crops[k], to(k), region, bank.pixels) for k in sources]
        if model is not None:
            cells = bank.grid.points[region.rows, region.columns]
            home = to(model.index)
            for number, source in enumerate(sources):
                more = model.correction(wanted[index], source, cells, home)
                patches[number] = tinted(patches[number], more)
        rows, columns = region.pixels(round(bank.grid.cell))
        lay_patch(picture[rows, columns], blend_coarse(*patches, unit=bank.size / 512), mask)
    return finished(bank, target, index, step, picture)


def finished(bank: MeshBank, target: Block, index: int, step: Step, picture: Picture) -> Picture:
    """``picture`` [s,s,3] of frame ``index`` with what is drawn rather than copied: the inside of a
    mouth that never opened so far, the eyes of a still. At the size to give out, [S,S,3].

    May draw into the picture it is given.
    """
    geometry = target.geometry
    opening = float(bank.geometry.opening[step.mouth[0]])
    amount = opacity(bank.mouth_look, float(geometry.opening[index]), opening)
    if amount > 0:
        inner = geometry.vertices[index][bank.inner_lips]
        draw_cavity(picture, inner, geometry, index, bank.neutral, bank.mouth_look, amount)
    if target.eyes_wanted is not None:
        draw_eyes(picture, geometry, target.eyes_wanted, index, bank.eye_looks, bank.grid.topology)
    return at_frame_size(bank, picture)


def at_frame_size(bank: MeshBank, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture or matte of the bank's own side at the side to give out."""
    if bank.frame_size == bank.size:
        return picture
    return np.asarray(cv2.resize(picture, (bank.frame_size,) * 2), np.uint8)
