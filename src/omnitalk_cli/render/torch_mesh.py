"""The embedded renderer for whole batches of frames on a torch device: ``mesh.py``'s pictures.

It uses the same bank and the same plan. Threads draw on the host what is cheap there (the patches'
masks) for the next batch while the device works on the present one; what is drawn by hand (the
inside of a mouth that never opened, the eyes of a still) is laid on at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.bank import MeshBank, bank_of
from omnitalk_cli.render.base import Matte, Picture
from omnitalk_cli.render.compositor import FLOW_SIDE, OWN, STILL, below, flow_between
from omnitalk_cli.render.mesh import Block, at_frame_size, finished, limited, schedule
from omnitalk_cli.render.plan import Step
from omnitalk_cli.render.residual import SIDE
from omnitalk_cli.render.torch_bank import DeviceBank
from omnitalk_cli.render.torch_flow import BatchFlow, Outline, Targets
from omnitalk_cli.render.torch_ops import Download, average_map, mapped, sample, stretched, upload
from omnitalk_cli.render.torch_patches import Place, lay_part
from omnitalk_cli.types import Float, Reference

BATCH = 32  # frames at a side of 512; fewer when the pictures are larger
USUAL_SIDE = 512

Item = tuple[Block, int, Step]
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, kw_only=True)
class TorchMeshRenderer:
    """The embedded ``Renderer`` on ``device``. ``workers`` host threads work ahead; ``limit`` keeps
    the head softly within what the reference shows; ``batch`` frames are drawn at once."""

    device: str = "cpu"
    workers: int = 1
    limit: bool = True
    batch: int = BATCH

    def prepare(self, reference: Reference, *, progress: Progress = silent) -> MeshBank:
        """Decode the reference's pictures and make the bank, as ``MeshRenderer`` does.

        Raises ``InputError`` when the reference holds no picture.
        """
        return bank_of(reference, progress=progress)

    def frames(self, bank: MeshBank, codes: Float, *, fps: float) -> Iterator[Picture]:
        """Draw [S,S,3] RGB for every row of ``codes`` [N,61], which are at the rate ``fps``."""

        def finish(item: Item, layers: NDArray[np.uint8]) -> Picture:
            return finished(bank, *item, np.ascontiguousarray(layers[..., :3]))

        return self._draw(bank, codes, fps, finish, matted=False)

    def matted_frames(
        self, bank: MeshBank, codes: Float, *, fps: float
    ) -> Iterator[tuple[Picture, Matte]]:
        """The same pictures, each with the matte [S,S] of the person as drawn."""

        def finish(item: Item, layers: NDArray[np.uint8]) -> tuple[Picture, Matte]:
            matte = np.ascontiguousarray(layers[..., 3])
            picture = finished(bank, *item, np.ascontiguousarray(layers[..., :3]))
            return picture, at_frame_size(bank, matte)

        return self._draw(bank, codes, fps, finish, matted=True)

    def _draw(
        self,
        bank: MeshBank,
        codes: Float,
        fps: float,
        finish: Callable[[Item, NDArray[np.uint8]], Drawn],
        *,
        matted: bool,
    ) -> Iterator[Drawn]:
        if self.limit:
            codes = limited(bank, codes)
        size = max(1, int(self.batch * min(1.0, (USUAL_SIDE / bank.size) ** 2)))
        pool = ThreadPoolExecutor(self.workers)
        try:
            painter = Painter(DeviceBank.of(bank, torch.device(self.device)), pool, matted=matted)
            # The device draws a batch while the host finishes the one before.
            before: tuple[list[Item], Download] | None = None
            for items, outlines in _ahead(pool, bank, schedule(bank, codes, fps), size):
                drawing = Download(painter.draw(items, outlines))
                if before is not None:
                    yield from pool.map(finish, before[0], before[1].wait())
                before = items, drawing
            if before is not None:
                yield from pool.map(finish, before[0], before[1].wait())
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, bank: MeshBank, items: Iterator[Item], size: int
) -> Iterator[tuple[list[Item], list[Outline]]]:
    """Batches of ``size`` frames with their outlines; those of the next are being drawn."""

    def outline(item: Item) -> Outline:
        return Outline.of(bank, item[0].geometry, item[1])

    waiting: deque[tuple[list[Item], list[Future[Outline]]]] = deque()
    while batch := list(islice(items, size)):
        waiting.append((batch, [pool.submit(outline, item) for item in batch]))
        if len(waiting) > 1:
            ready, futures = waiting.popleft()
            yield ready, [future.result() for future in futures]
    for ready, futures in waiting:
        yield ready, [future.result() for future in futures]


class Painter:
    """Draws batches of frames of one bank; ``pool`` does what is left to the host.

    With ``matted`` every picture carries its matte as a fourth channel.
    """

    def __init__(self, bank: DeviceBank, pool: ThreadPoolExecutor, *, matted: bool) -> None:
        self._bank = bank
        self._pool = pool
        self._matted = matted
        axis = torch.arange(bank.host.size, device=bank.device, dtype=torch.float32)
        self._pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))

    @torch.inference_mode()
    def draw(self, items: list[Item], outlines: list[Outline]) -> Tensor:
        """Pictures [B,S,S,3 or 4] (bytes) of B frames, on the device."""
        bank = self._bank
        targets = Targets.of([(block.geometry, index) for block, index, _ in items])
        flow = BatchFlow(bank, targets, outlines)
        steps = [step for _, _, step in items]
        pictures = self._bases(items, flow)
        for part, covers, sources, inputs in (
            (bank.mouth, [one.mouth for one in outlines], [step.mouth for step in steps],
             [block.mouth[index] for block, index, _ in items]),
            (bank.eyes, [one.eyes for one in outlines], [step.eyes for step in steps],
             [block.eyes[index] for block, index, _ in items]),
        ):  # fmt: skip
            place = Place.of(covers, bank.cell, bank.device)
            if place is not None:
                lay_part(
                    pictures[:, :3], bank, part, flow, place, np.array(sources), np.stack(inputs)
                )
        if not self._matted:
            pictures = pictures[:, :3]
        rounded = (pictures + 0.5).clamp_(0, 255).to(torch.uint8)
        return rounded.permute(0, 2, 3, 1).contiguous()

    def _bases(self, items: list[Item], flow: BatchFlow) -> Tensor:
        """Base pictures with mattes [B,4,S,S], cross-faded where they change."""
        steps = [step for _, _, step in items]
        fading = [number for number, step in enumerate(steps) if step.other_weight > 0]
        numbers = [*range(len(steps)), *fading]
        keys = [step.base for step in steps] + [steps[number].other for number in fading]
        drawn = self._warped(items, flow, np.array(numbers), np.array(keys))
        if not fading:
            return drawn
        pictures, others = drawn[: len(steps)], drawn[len(steps) :]
        weights = np.array([steps[number].other_weight for number in fading], np.float32)
        places = upload(np.array(fading), self._bank.device)
        pictures[places] = self._cross_fade(pictures[places], others, weights)
        return pictures

    def _warped(
        self,
        items: list[Item],
        flow: BatchFlow,
        numbers: NDArray[np.int64],
        keys: NDArray[np.int64],
    ) -> Tensor:
        """Base pictures ``keys`` [P] warped to the frames ``numbers`` [P] of the batch and laid
        over the plate, with their mattes → [P,4,S,S]; see ``compositor.warp_base``."""
        bank, host = self._bank, self._bank.host
        sources = host.key_indices[keys]
        to_key = flow.to(upload(numbers, bank.device), upload(sources, bank.device))
        inputs = np.stack([items[number][0].residual[items[number][1]] for number in numbers])
        step = host.residual.step(inputs, host.inputs[sources]).astype(np.float32)
        left = (upload(step, bank.device) @ bank.residual).view(-1, SIDE, SIDE, 2)
        left = left + bank.offsets[upload(keys, bank.device)]
        to_key = to_key + stretched(left.permute(0, 3, 1, 2), *to_key.shape[-2:])
        side = (host.size, host.size)
        layers = bank.layers[upload(keys, bank.device)].float()
        drawn = sample(layers, self._pixels + stretched(to_key, *side))
        if bank.plate is None or bank.unseen is None or bank.calm is None:
            return drawn
        motion = to_key.square().sum(dim=1, keepdim=True).sqrt()
        unit = host.size / USUAL_SIDE
        keep = stretched(below(motion, STILL * unit), *side)
        own = stretched(below(motion, OWN * unit), *side)
        alpha = torch.maximum(keep * bank.calm, bank.unseen * own)
        alpha = torch.maximum(alpha, drawn[:, 3:] / 255)
        drawn[:, :3] = bank.plate + alpha * (drawn[:, :3] - bank.plate)
        return drawn

    def _cross_fade(self, first: Tensor, second: Tensor, weights: Float) -> Tensor:
        """Pictures with mattes [P,4,S,S] blended as ``compositor.cross_fade`` does; their flow is
        found on the host."""
        size = first.shape[-1]
        both = torch.stack([first[:, :3], second[:, :3]], dim=1).flatten(0, 1)
        averages = upload(average_map(size, FLOW_SIDE), both.device)
        small = mapped(both, averages, averages)
        small = (small + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        seen = Download(small).wait()
        flows = self._pool.map(flow_between, seen[0::2], seen[1::2], [size] * len(weights))
        found = upload(np.stack(list(flows)), self._bank.device).permute(0, 3, 1, 2)
        move = stretched(found, size, size)
        weight = upload(weights, self._bank.device)[:, None, None, None]
        before = sample(first[:, :3], self._pixels - weight * move)
        after = sample(second[:, :3], self._pixels + (1 - weight) * move)
        moved = torch.cat([before, first[:, 3:]], dim=1), torch.cat([after, second[:, 3:]], dim=1)
        return torch.lerp(*moved, weight)
