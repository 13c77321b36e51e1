"""The embedded renderer: a layered warp with the person's own frames. No weights.

Key poses are warped as a whole; mouth and eyes come from the frames whose lips and lids fit best.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.bank import MeshBank, bank_of
from omnitalk_cli.render.base import Picture
from omnitalk_cli.render.cavity import draw_cavity, opacity
from omnitalk_cli.render.compositor import cross_fade, lay_patch, warp_base
from omnitalk_cli.render.features import Features, features_of
from omnitalk_cli.render.flow import TargetFlow
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.lids import draw_eyes, hold_eyes
from omnitalk_cli.render.limits import limit_blinks
from omnitalk_cli.render.patches import patch_mask, warp_patch
from omnitalk_cli.render.plan import BLOCK, Step
from omnitalk_cli.types import Float, Reference


@dataclass(frozen=True, kw_only=True)
class MeshRenderer:
    """The embedded ``Renderer``. ``workers`` threads draw whole frames, order kept; ``limit``
    keeps the head softly within what the reference shows (off: for self-reenactment).
    """

    workers: int = 1
    limit: bool = True

    def prepare(self, reference: Reference, *, progress: Progress = silent) -> MeshBank:
        """Decode the reference's pictures and make the bank (1-4 s for 250 frames).

        Raises ``InputError`` when the reference holds no picture.
        """
        return bank_of(reference, progress=progress)

    def frames(self, bank: MeshBank, codes: Float, *, fps: float) -> Iterator[Picture]:
        """Draw [S,S,3] RGB for every row of ``codes`` [N,61], which are at the rate ``fps``."""
        if self.limit:
            codes = limit_blinks(bank.limits.apply(codes), bank.neutral)
        if self.workers <= 1:
            for target, index, step, held in _schedule(bank, codes):
                yield draw_frame(bank, target, index, step, held)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[Future[Picture]] = deque()
            try:
                for target, index, step, held in _schedule(bank, codes):
                    waiting.append(pool.submit(draw_frame, bank, target, index, step, held))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _schedule(
    bank: MeshBank, codes: Float
) -> Iterator[tuple[Geometry, int, Step, Geometry | None]]:
    """What ``draw_frame`` needs for every frame; geometry is made one block of them at a time."""

    def features(start: int, stop: int) -> Features:
        return features_of(bank.geometry_of(codes[start:stop]))

    target: Geometry | None = None
    held: Geometry | None = None
    for frame, step in enumerate(bank.planner.steps(features, len(codes))):
        if target is None or frame % BLOCK == 0:
            block = codes[frame : frame + BLOCK]
            target = bank.geometry_of(block)
            held = bank.geometry_of(hold_eyes(block, bank.still)) if bank.eye_looks else None
        yield target, frame % BLOCK, step, held


def draw_frame(
    bank: MeshBank, target: Geometry, index: int, step: Step, held: Geometry | None = None
) -> Picture:
    """Draw frame ``index`` of ``target`` from the sources of ``step`` → [S,S,3], S = frame_size.

    ``held``: the same with the eyes of a still, which are then drawn instead of warped.
    """
    seen, target = target, held or target
    flow = TargetFlow(bank.grid, target, index)

    def base(key: int) -> Picture:
        to_key = flow.to(bank.geometry, int(bank.key_indices[key]))
        return warp_base(bank.layers[key], to_key, bank.pixels, bank.plate)

    picture = base(step.base)
    if step.other_weight > 0:
        picture = cross_fade(picture, base(step.other), step.other_weight)
    vertices = target.vertices[index]
    for kind, crops, source in (
        (bank.mouth_kind, bank.mouths, step.mouth),
        (bank.eye_kind, bank.eyes, step.eyes),
    ):
        masked = patch_mask(kind, vertices, flow.scale, bank.grid)
        if masked is None:
            continue
        region, mask = masked
        to_source = flow.to(bank.geometry, source, region=region, gaze=kind.gaze)
        patch = warp_patch(crops[source], to_source, region, bank.pixels)
        rows, columns = region.pixels(round(bank.grid.cell))
        lay_patch(picture[rows, columns], patch, mask)
    opening = float(bank.geometry.opening[step.mouth])
    amount = opacity(bank.mouth_look, float(target.opening[index]), opening)
    if amount > 0:
        inner = vertices[bank.inner_lips]
        draw_cavity(picture, inner, target, index, bank.neutral, bank.mouth_look, amount)
    if held is not None:
        draw_eyes(picture, held, seen, index, bank.eye_looks, bank.grid.topology)
    if bank.frame_size != bank.size:
        picture = np.asarray(cv2.resize(picture, (bank.frame_size,) * 2), np.uint8)
    return picture
