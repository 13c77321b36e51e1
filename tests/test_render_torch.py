"""The batched renderer draws the mesh renderer's pictures; the registry of renderers."""

from __future__ import annotations

import dataclasses
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from flat_face import SIDE, drawn_reference, moving_codes
from omnitalk_cli.cli import options
from omnitalk_cli.errors import SetupError, UsageError
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.pipeline.production import ProductionOptions
from omnitalk_cli.render import compositor, flow
from omnitalk_cli.render.bank import MeshBank
from omnitalk_cli.render.base import Matte, Picture
from omnitalk_cli.render.compositor import Layer
from omnitalk_cli.render.flow import TargetFlow
from omnitalk_cli.render.mesh import MeshRenderer, schedule
from omnitalk_cli.render.renderers import AUTO, RENDERERS, choose_renderer, make_renderer
from omnitalk_cli.render.torch_bank import DeviceBank
from omnitalk_cli.render.torch_flow import BatchFlow, Outline, Targets, Windows
from omnitalk_cli.render.torch_mesh import Painter, TorchMeshRenderer
from omnitalk_cli.render.torch_ops import (
    average_map,
    gaussian_map,
    mapped,
    sample,
    stretch_map,
)
from omnitalk_cli.render.torch_raster import cover_cells
from omnitalk_cli.types import Float, Reference

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return drawn_reference(60)


@pytest.fixture(scope="module")
def bank(reference: Reference) -> MeshBank:
    return MeshRenderer().prepare(reference)


def lively_codes(count: int) -> Float:
    codes = moving_codes(count, jaw=0.8)
    time = np.arange(count) / 25
    codes[:, CODE_INDEX["headYaw"]] = 0.3 * np.sin(6 * time)
    codes[:, CODE_INDEX["eyeBlinkLeft"]] = codes[:, CODE_INDEX["eyeBlinkRight"]] = time % 1 > 0.8
    codes[:, 57:] = 0.2 * np.sin(4 * time)[:, None]  # gaze
    return codes


def pairs(
    bank: MeshBank, codes: Float, **more: Any
) -> list[tuple[tuple[Picture, Matte], tuple[Picture, Matte]]]:
    """Every frame drawn by both, with its matte."""
    plain = MeshRenderer().matted_frames(bank, codes, fps=25.0)
    batched = TorchMeshRenderer(**{"batch": 7, **more}).matted_frames(bank, codes, fps=25.0)
    return list(zip(plain, batched, strict=True))


def apart(left: np.ndarray, right: np.ndarray) -> float:
    assert left.shape == right.shape and left.dtype == right.dtype
    return float(np.abs(left.astype(int) - right).mean())


def test_both_draw_the_same_pictures(bank: MeshBank, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def found(first: Picture, second: Picture, size: int) -> Float:
        seen.append(size)
        return compositor.flow_between(first, second, size)

    monkeypatch.setattr("omnitalk_cli.render.torch_mesh.flow_between", found)
    drawn = pairs(bank, lively_codes(30), workers=2)
    assert len(drawn) == 30 and drawn[0][1][0].shape == (SIDE, SIDE, 3)
    assert max(apart(one[0], two[0]) for one, two in drawn) < 0.3
    assert max(apart(one[1], two[1]) for one, two in drawn) < 0.3
    # Or little was tested:
    assert len(seen) >= 4
    assert apart(drawn[0][0][0], drawn[9][0][0]) > 1


def test_batches_do_not_show(bank: MeshBank) -> None:
    codes = lively_codes(17)
    whole = list(TorchMeshRenderer(batch=32).frames(bank, codes, fps=25.0))
    parts = list(TorchMeshRenderer(batch=5, workers=3).frames(bank, codes, fps=25.0))
    assert len(whole) == len(parts) == 17
    assert max(apart(one, two) for one, two in zip(whole, parts, strict=True)) < 0.05


def test_pictures_come_before_the_end_is_known(bank: MeshBank) -> None:
    stream = TorchMeshRenderer(batch=4).frames(bank, moving_codes(64), fps=25.0)
    assert next(stream).shape == (SIDE, SIDE, 3)
    stream.close()  # leaving early must not hang
    assert list(TorchMeshRenderer().frames(bank, moving_codes(0), fps=25.0)) == []


def test_moving_backgrounds(bank: MeshBank) -> None:
    layers = tuple(Layer(picture=layer.picture[..., :3].copy()) for layer in bank.layers)
    assert bank.plate is not None
    unplated = dataclasses.replace(bank, plate=None, layers=layers)
    drawn = pairs(unplated, lively_codes(12))
    assert max(apart(one[0], two[0]) for one, two in drawn) < 0.3
    assert max(apart(one[1], two[1]) for one, two in drawn) < 0.3


def test_stills_and_other_sizes() -> None:
    small = drawn_reference(10)
    frame = cv2.imdecode(np.frombuffer(small.frames[0], np.uint8), cv2.IMREAD_COLOR)
    matte = cv2.imdecode(np.frombuffer(small.mattes[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    size, zoom = 300, 300 / SIDE
    frames = [cv2.imencode(".png", cv2.resize(one, (size, size)))[1].tobytes()
              for one in (frame, matte)]  # fmt: skip
    home = small.pose_frame
    still = dataclasses.replace(
        small,
        codes=np.repeat(small.codes[:1], 10, axis=0),
        frames=(frames[0],) * 10,
        mattes=(frames[1],) * 10,
        landmarks=small.landmarks * zoom,
        frame_size=size,
        pose_frame=dataclasses.replace(
            home, origin_x=home.origin_x * zoom, origin_y=home.origin_y * zoom,
            scale=home.scale * zoom,
        ),
    )  # fmt: skip
    bank = MeshRenderer().prepare(still)
    assert bank.eye_looks and bank.size != size
    drawn = pairs(bank, lively_codes(9))
    assert drawn[0][1][0].shape == (size, size, 3) and drawn[0][1][1].shape == (size, size)
    assert max(apart(one[0], two[0]) for one, two in drawn) < 0.3


def test_faces_that_leave_the_frame_are_drawn(bank: MeshBank) -> None:
    codes = lively_codes(9)
    codes[:, CODE_INDEX["headX"]] += np.linspace(0, 4, 9)
    plain = MeshRenderer(limit=False).frames(bank, codes, fps=25.0)
    batched = TorchMeshRenderer(limit=False).frames(bank, codes, fps=25.0)
    assert max(apart(one, two) for one, two in zip(plain, batched, strict=True)) < 0.3


def test_flows_of_both_are_the_same(bank: MeshBank, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = lively_codes(20)[[3, 11, 19]]
    target = bank.geometry_of(codes)

    def drawn(grid: flow.FlowGrid, vertices: Float, depth: Float, *_: Any) -> torch.Tensor:
        images = [flow.draw_triangles(grid, *one) for one in zip(vertices, depth, strict=True)]
        every = torch.from_numpy(np.stack(images)).long()
        return torch.where(every < 0, len(grid.topology.triangles), every)

    # Which triangle has the cells along an edge is not what is compared here.
    monkeypatch.setattr("omnitalk_cli.render.torch_flow.cover_cells", drawn)
    outlines = [Outline.of(bank, target, index) for index in range(3)]
    batch = BatchFlow(
        DeviceBank.of(bank, CPU), Targets.of([(target, index) for index in range(3)]), outlines
    )
    every = torch.arange(3)
    sources = torch.tensor([5, 30, 5])
    whole = batch.to(every, sources).permute(0, 2, 3, 1).numpy()
    rows = torch.arange(30, 70).expand(3, -1)
    columns = torch.arange(35, 95).expand(3, -1)
    windows = Windows(rows=rows, columns=columns)
    eyes = batch.to(every, sources, windows, gaze=True).permute(0, 2, 3, 1).numpy()
    for index in range(3):
        single = TargetFlow(bank.grid, target, index)
        source = int(sources[index])
        assert np.abs(single.to(bank.geometry, source) - whole[index]).max() < 1e-2
        region = flow.Region(rows=slice(30, 70), columns=slice(35, 95))
        wanted = single.to(bank.geometry, source, region=region, gaze=True)
        assert np.abs(wanted - eyes[index]).max() < 1e-2
        assert np.abs(wanted - single.to(bank.geometry, source, region=region)).max() > 0.05


def test_triangles_cover_the_cells_that_a_drawing_covers(bank: MeshBank) -> None:
    target = bank.geometry_of(lively_codes(20)[[3, 11, 19]])
    triangles = bank.grid.topology.triangles
    inverse = flow.inverse_corners(target.vertices[:, triangles].reshape(-1, 3, 2))
    lines = torch.from_numpy(inverse).reshape(3, -1, 9)
    covered = cover_cells(bank.grid, target.vertices, target.depth, lines).numpy()
    for index in range(3):
        drawn = flow.draw_triangles(bank.grid, target.vertices[index], target.depth[index])
        drawn = np.where(drawn < 0, len(triangles), drawn)
        assert (covered[index] == drawn).mean() > 0.95
        outside = drawn == len(triangles)
        assert ((covered[index] == len(triangles)) == outside).mean() > 0.995
        assert 0.02 < outside.mean() < 0.9


def test_maps_do_what_opencv_does() -> None:
    values = np.random.default_rng(0).uniform(0, 255, (50, 37)).astype(np.float32)
    picture = torch.from_numpy(values)
    blurred = mapped(picture, *(torch.from_numpy(gaussian_map(n, 9.4)) for n in (50, 37)))
    assert np.abs(blurred.numpy() - cv2.GaussianBlur(values, (0, 0), 9.4)).max() < 1e-2
    small = cv2.resize(values, (4, 6), interpolation=cv2.INTER_AREA)
    averaged = mapped(
        picture, torch.from_numpy(average_map(50, 6)), torch.from_numpy(average_map(37, 4))
    )
    assert np.abs(averaged.numpy() - small).max() < 1e-2
    again = mapped(
        averaged, torch.from_numpy(stretch_map(6, 50)), torch.from_numpy(stretch_map(4, 37))
    )
    assert np.abs(again.numpy() - cv2.resize(small, (37, 50))).max() < 1e-2


def test_borders_repeat_when_read_outside() -> None:
    picture = torch.arange(12.0).view(1, 1, 3, 4)
    places = torch.tensor([[-5.0, 0.0], [1.5, 0.0], [9.0, 9.0]]).T.reshape(1, 2, 1, 3)
    assert sample(picture, places).flatten().tolist() == pytest.approx([0.0, 1.5, 11.0], abs=1e-5)


def test_the_device_chooses_the_renderer() -> None:
    assert choose_renderer("auto", "cpu") == "mesh"
    assert choose_renderer("auto", "cuda:1") == choose_renderer("auto", "mps") == "mesh-torch"
    assert choose_renderer("mesh", "cuda") == "mesh"
    assert make_renderer("auto", device="cpu", workers=3) == MeshRenderer(workers=3)
    made = make_renderer("mesh-torch", device="cpu", workers=9)
    assert made == TorchMeshRenderer(device="cpu", workers=9)
    assert make_renderer("mesh-torch", device="cpu", workers=9, limit=False) != made
    with pytest.raises(UsageError, match="auto, mesh, mesh-torch"):
        make_renderer("neural", device="cpu")
    with pytest.raises(UsageError, match="neural"):
        ProductionOptions(renderer="neural")


def test_the_option_knows_every_renderer() -> None:
    kinds = typing.get_args(typing.get_args(options.Renderer)[0])[0]
    assert typing.get_args(kinds) == (AUTO, *RENDERERS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_told_before_the_work() -> None:
    from omnitalk_cli.pipeline.request import video_options

    with pytest.raises(SetupError, match="CUDA"):
        video_options(overwrite=False, device="cuda", options={})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_pictures(bank: MeshBank) -> None:
    drawn = pairs(bank, lively_codes(40), device="cuda", workers=4, batch=32)
    assert max(apart(one[0], two[0]) for one, two in drawn) < 0.3
    assert max(apart(one[1], two[1]) for one, two in drawn) < 0.3


@pytest.mark.slow
def test_a_real_clip_looks_the_same(clips_dir: Path) -> None:
    from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference

    extract = ExtractOptions(ref_text="", seconds=3)
    real = extract_reference(clips_dir / "address_hill.mp4", options=extract)
    drawn = pairs(MeshRenderer().prepare(real), real.codes[:24])
    assert max(apart(one[0], two[0]) for one, two in drawn) < 1.0


def test_nothing_is_left_on_the_host(bank: MeshBank, monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's device without data every operation on mixed devices fails, as on a GPU."""
    meta = torch.device("meta")
    items = list(schedule(bank, lively_codes(30), 25.0))
    fading = [item for item in items if item[2].other_weight > 0][:2]
    assert fading
    items = [*(item for item in items if item[2].other_weight == 0), *fading][-4:]
    outlines = [Outline.of(bank, block.geometry, index) for block, index, _ in items]

    class Arrived:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.shape = tensor.shape

        def wait(self) -> np.ndarray:
            return np.zeros(self.shape, np.uint8)

    monkeypatch.setattr("omnitalk_cli.render.torch_mesh.Download", Arrived)
    with ThreadPoolExecutor(1) as pool:
        painter = Painter(DeviceBank.of(bank, meta), pool, matted=True)
        pictures = painter.draw(items, outlines)
    assert pictures.device == meta and pictures.shape == (4, SIDE, SIDE, 4)
    assert pictures.dtype == torch.uint8
