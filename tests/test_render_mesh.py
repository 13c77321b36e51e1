"""The embedded renderer as a whole, on a drawn face and on a real clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from flat_face import POSE_FRAME, SIDE, drawn_reference, moving_codes
from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.reenactment import reenact, table
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.mesh import MeshRenderer
from omnitalk_cli.types import PoseFrame, Reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return drawn_reference(60)


def test_own_codes_give_the_own_pictures_back(reference: Reference) -> None:
    result = reenact(reference)
    assert result.frames == 30
    assert result.face_psnr > 28 and result.mouth_psnr > 24
    assert result.flicker < 2 * result.real_flicker
    assert "drawn.mp4" in table([result]) and result.to_dict()["frames"] == 30


def test_frames_are_streamed_in_order_whatever_the_workers(reference: Reference) -> None:
    codes = moving_codes(68)
    renderer = MeshRenderer(workers=1)
    bank = renderer.prepare(reference)
    single = list(renderer.frames(bank, codes, fps=25.0))
    double = list(MeshRenderer(workers=2).frames(bank, codes, fps=25.0))
    assert len(single) == len(double) == 68
    assert all(frame.shape == (SIDE, SIDE, 3) and frame.dtype == np.uint8 for frame in single)
    assert all(np.array_equal(a, b) for a, b in zip(single, double, strict=True))
    stream = MeshRenderer(workers=2).frames(bank, codes, fps=25.0)
    assert np.array_equal(next(stream), single[0])
    stream.close()  # leaving early must not hang


def test_mattes_go_with_the_pictures(reference: Reference) -> None:
    codes = moving_codes(12)
    renderer = MeshRenderer()
    bank = renderer.prepare(reference)
    plain = list(renderer.frames(bank, codes, fps=25.0))
    matted = list(renderer.matted_frames(bank, codes, fps=25.0))
    assert all(np.array_equal(a, b) for a, (b, _) in zip(plain, matted, strict=True))
    for picture, matte in matted:
        assert matte.shape == (SIDE, SIDE) and matte.dtype == np.uint8
        skin = picture[..., 0] > 180  # the wall's red is 60
        assert ((matte > 128) == skin).mean() > 0.97


def test_a_mouth_that_never_opened_opens_with_the_codes() -> None:
    closed = drawn_reference(30, jaw=0.0)
    renderer = MeshRenderer()
    bank = renderer.prepare(closed)
    codes = np.zeros((1, 61), np.float32)
    codes[:, CODE_INDEX["jawOpen"]] = 0.9
    picture = next(renderer.frames(bank, codes, fps=25.0))
    points = FaceRig.load().project(codes, closed.neutral, POSE_FRAME)[0, :, :2]
    lip, chin_side = points[[13, 14]].mean(axis=0).astype(int), points[14].astype(int)
    assert picture[lip[1], lip[0]].mean() < 110  # dark inside
    assert chin_side[1] - points[13, 1] > 8


def test_the_head_stays_near_what_was_seen(reference: Reference) -> None:
    bank = MeshRenderer().prepare(reference)
    far = np.zeros((1, 61), np.float32)
    far[:, CODE_INDEX["headX"]] = 1.5
    limited = next(MeshRenderer().frames(bank, far, fps=25.0)).astype(int)
    free = next(MeshRenderer(limit=False).frames(bank, far, fps=25.0)).astype(int)
    assert np.abs(limited - free).mean() > 2
    assert limited[140, 128, 2] < 200 > limited[140, 250, 2]


@pytest.mark.parametrize("size", [96, 300])
def test_other_picture_sizes(size: int) -> None:
    small = drawn_reference(10)
    zoom = size / SIDE

    def scaled(data: bytes) -> bytes:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return cv2.imencode(".jpg", cv2.resize(picture, (size, size)))[1].tobytes()

    resized = dataclasses.replace(
        small,
        frames=tuple(map(scaled, small.frames)),
        mattes=tuple(map(scaled, small.mattes)),
        landmarks=small.landmarks * zoom,
        frame_size=size,
        pose_frame=PoseFrame(
            origin_x=(128.5 * zoom) - 0.5, origin_y=(140.5 * zoom) - 0.5, scale=80.0 * zoom
        ),
    )
    renderer = MeshRenderer()
    pictures = list(renderer.frames(renderer.prepare(resized), resized.codes[:3], fps=25.0))
    truth = cv2.imdecode(np.frombuffer(resized.frames[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert pictures[0].shape == (size, size, 3)
    assert np.abs(pictures[0].astype(int) - truth).mean() < 6


def test_unusable_references_are_refused(reference: Reference) -> None:
    with pytest.raises(InputError, match="no picture"):
        MeshRenderer().prepare(dataclasses.replace(reference, frames=(), mattes=()))
    broken = dataclasses.replace(reference, frames=(b"nothing",) * len(reference.frames))
    with pytest.raises(InputError, match="damaged"):
        MeshRenderer().prepare(broken)
    with pytest.raises(InputError, match="too short"):
        reenact(drawn_reference(4))


@pytest.mark.slow
def test_self_reenactment_of_a_real_clip(clips_dir: Path) -> None:
    from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference

    clip = clips_dir / "address_hill.mp4"
    result = reenact(extract_reference(clip, options=ExtractOptions(ref_text="")))
    assert result.face_psnr > 19.7 and result.mouth_psnr > 19.0
    assert result.flicker < 11.6
