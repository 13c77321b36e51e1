"""A flat face drawn from codes, as a reference: for tests of the renderer without media."""

from __future__ import annotations

import cv2
import numpy as np

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.topology import LIPS_INNER, LIPS_OUTER, OVAL
from omnitalk_cli.types import Crop, Float, PoseFrame, Reference

SIDE = 256
POSE_FRAME = PoseFrame(origin_x=128.0, origin_y=140.0, scale=80.0)


def moving_codes(count: int, jaw: float = 0.5) -> Float:
    time = np.arange(count) / 25
    codes = np.zeros((count, 61), np.float32)
    codes[:, CODE_INDEX["headYaw"]] = 0.15 * np.sin(1.3 * time)
    codes[:, CODE_INDEX["headX"]] = 0.05 * np.sin(0.9 * time)
    codes[:, CODE_INDEX["jawOpen"]] = jaw * (0.5 - 0.5 * np.cos(9 * time))
    return codes


def drawn_reference(count: int, jaw: float = 0.5) -> Reference:
    """A flat face on a flat background, drawn from codes."""
    codes = moving_codes(count, jaw)
    neutral = FaceRig.load().mean
    landmarks = FaceRig.load().project(codes, neutral, POSE_FRAME)
    frames, mattes = [], []
    for points in landmarks[:, :, :2]:
        frame = np.full((SIDE, SIDE, 3), (150, 120, 60), np.uint8)
        matte = np.zeros((SIDE, SIDE), np.uint8)
        for group, colour in (
            (OVAL, (140, 170, 220)),
            (LIPS_OUTER, (80, 80, 180)),
            (LIPS_INNER, (20, 20, 40)),
        ):
            outline = np.rint(points[group] * 16).astype(np.int32)
            cv2.fillPoly(frame, [outline], colour, cv2.LINE_AA, 4)
            if group is OVAL:
                cv2.fillPoly(matte, [outline], 255, cv2.LINE_AA, 4)
        frames.append(cv2.imencode(".jpg", frame)[1].tobytes())
        mattes.append(cv2.imencode(".jpg", matte)[1].tobytes())
    return Reference(
        mel=np.zeros((count * 4, 100), np.float32),
        codes=codes,
        landmarks=landmarks,
        neutral=neutral,
        frames=tuple(frames),
        mattes=tuple(mattes),
        sharpness=np.full(count, 100, np.float32),
        fps=25.0,
        frame_size=SIDE,
        crop=Crop(x=0, y=0, size=SIDE, source_width=SIDE, source_height=SIDE),
        pose_frame=POSE_FRAME,
        transcript="",
        language="en",
        words=(),
        source_sha256="0" * 64,
        source_name="drawn.mp4",
        start_seconds=0.0,
    )
