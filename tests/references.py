"""A reference made of numbers, for tests that look at no picture."""

from __future__ import annotations

import numpy as np

from omnitalk_cli.types import Crop, PoseFrame, Reference


def made_reference() -> Reference:
    """3.2 s at 25 fps: speech in the middle, a face that trembles, no pictures."""
    rng = np.random.default_rng(0)
    mel = rng.normal(-6, 1, (300, 100)).astype(np.float32)
    mel[60:260] += 5  # speech in the middle
    return Reference(
        mel=mel,
        codes=rng.uniform(0, 0.2, (80, 61)).astype(np.float32),
        landmarks=np.zeros((80, 478, 3), np.float32),
        neutral=np.zeros((478, 3), np.float32),
        frames=(),
        mattes=(),
        sharpness=np.ones(80, np.float32),
        fps=25.0,
        frame_size=64,
        crop=Crop(x=0, y=0, size=64, source_width=64, source_height=64),
        pose_frame=PoseFrame(origin_x=32, origin_y=32, scale=20),
        transcript="hello there",
        language="en",
        words=(),
        source_sha256="0" * 64,
        source_name="clip.mp4",
        start_seconds=0.0,
    )
