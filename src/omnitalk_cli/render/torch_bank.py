"""A mesh bank's pictures and numbers on a torch device, for drawing many frames at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.render.bank import MeshBank
from omnitalk_cli.render.learning import PartModel
from omnitalk_cli.render.patches import Crop, PatchKind
from omnitalk_cli.render.torch_ops import upload


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceModel:
    """A ``PartModel``: ``textures`` [K,3·h·w] of ``shape`` (h, w) over the box ``low``, ``span``
    [2] (pixels) of bank frame ``index``."""

    host: PartModel
    index: int
    textures: Tensor
    shape: tuple[int, int]
    low: tuple[float, float]
    span: tuple[float, float]

    @classmethod
    def of(cls, model: PartModel, cell: float, device: torch.device) -> DeviceModel:
        """The model for a grid of ``cell`` pixels."""
        textures = model.appearance.textures  # [K,h,w,3]
        low, span = model.texture_box(cell)
        return cls(
            host=model,
            index=model.index,
            textures=upload(textures.transpose(0, 3, 1, 2), device).flatten(1),
            shape=(textures.shape[1], textures.shape[2]),
            low=(float(low[0]), float(low[1])),
            span=(float(span[0]), float(span[1])),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DevicePart:
    """Mouths or eyes of all M bank frames: ``crops`` [M,3,h,w] (bytes, edges repeated up to the
    largest), whose top left pixel was at ``corners`` [M,2] of the frame; ``ends`` [M,2] is the last
    pixel of each."""

    kind: PatchKind
    crops: Tensor
    corners: Tensor
    ends: Tensor
    model: DeviceModel | None

    @classmethod
    def of(
        cls,
        kind: PatchKind,
        crops: tuple[Crop, ...],
        model: PartModel | None,
        cell: float,
        device: torch.device,
    ) -> DevicePart:
        """Stack the crops."""
        shapes = np.array([crop.picture.shape[:2] for crop in crops])
        height, width = shapes.max(axis=0)
        padded = [
            np.pad(crop.picture, ((0, height - h), (0, width - w), (0, 0)), mode="edge")
            for crop, (h, w) in zip(crops, shapes, strict=True)
        ]
        corners = np.array([[crop.x, crop.y] for crop in crops], np.float32)
        return cls(
            kind=kind,
            crops=upload(np.stack(padded).transpose(0, 3, 1, 2), device),
            corners=upload(corners, device),
            ends=upload(shapes[:, ::-1].astype(np.float32) - 1, device),
            model=DeviceModel.of(model, cell, device) if model else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceBank:
    """What drawing reads of ``host``, on ``device``.

    ``layers`` [K,4,S,S] base pictures with their mattes (bytes); ``plate`` [3,S,S], ``unseen`` and
    ``calm`` [1,S,S] 0…1, or None; ``vertices`` [M,V,2], ``pose_points`` [M,22,2] and ``irises``
    [M,2,2] of the bank's frames; ``corners`` [F+1,3] vertices of the triangles, the last row for
    none; ``residual`` [F',s·s·2] and ``offsets`` [K,s,s,2].
    """

    host: MeshBank
    device: torch.device
    layers: Tensor
    plate: Tensor | None
    unseen: Tensor | None
    calm: Tensor | None
    vertices: Tensor
    pose_points: Tensor
    irises: Tensor
    corners: Tensor
    residual: Tensor
    offsets: Tensor
    mouth: DevicePart
    eyes: DevicePart

    @classmethod
    def of(cls, bank: MeshBank, device: torch.device) -> DeviceBank:
        """Bring ``bank`` to ``device``."""
        layers = [
            np.dstack([layer.picture[..., :3], matte])
            for layer, matte in zip(bank.layers, bank.key_mattes, strict=True)
        ]
        plate, geometry, cell = bank.plate, bank.geometry, bank.grid.cell
        triangles = bank.grid.topology.triangles
        return cls(
            host=bank,
            device=device,
            layers=upload(np.stack(layers).transpose(0, 3, 1, 2), device),
            plate=upload(plate.picture.transpose(2, 0, 1), device).float() if plate else None,
            unseen=upload(1 - plate.seen[None], device) if plate else None,
            calm=upload(plate.calm[None], device) if plate else None,
            vertices=upload(geometry.vertices, device),
            pose_points=upload(geometry.pose_points, device),
            irises=upload(geometry.irises, device),
            corners=upload(np.concatenate([triangles, triangles[-1:]]), device),
            residual=upload(bank.residual.weights, device),
            offsets=upload(bank.residual.offsets, device),
            mouth=DevicePart.of(bank.mouth_kind, bank.mouths, bank.mouth_model, cell, device),
            eyes=DevicePart.of(bank.eye_kind, bank.eyes, bank.eye_model, cell, device),
        )

    @property
    def cell(self) -> int:
        """Pixels per cell of the flow's grid; a whole number in every bank."""
        return round(self.host.grid.cell)
