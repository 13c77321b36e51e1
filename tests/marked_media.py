"""Videos with all marks, made without a person and without the model."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import sosfilt, tf2sos

from omnitalk_cli.media.encode import VideoWriter
from omnitalk_cli.pipeline.marking import Marking, choose_identity
from omnitalk_cli.types import SAMPLE_RATE, Performance

REFERENCE_HASH = "ab" * 32
SCRIPT_HASH = "cd" * 32


def speech_like(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Gliding harmonics through moving resonances, hiss and pauses; loudest at about 0.5."""
    rng = np.random.default_rng(seed)
    syllable = rate // 5
    parts = []
    for _ in range(int(np.ceil(seconds * 5))):
        pitch = np.linspace(*rng.uniform(90, 220, 2), syllable)
        buzz = np.mod(np.cumsum(pitch / rate), 1) - 0.5
        source = buzz if rng.random() < 0.75 else rng.normal(0, 0.15, syllable)
        for centre in (rng.uniform(300, 800), rng.uniform(900, 2300), rng.uniform(2400, 3500)):
            angle, radius = 2 * np.pi * centre / rate, np.exp(-np.pi * 120 / rate)
            poles = [1, -2 * radius * np.cos(angle), radius**2]
            source = source + 0.5 * sosfilt(tf2sos([1 - radius], poles), source)
        parts.append(source * np.hanning(syllable) * (rng.random() < 0.85))
    sound = np.concatenate(parts)[: int(seconds * rate)]
    sound = sound + rng.normal(0, 1e-3, len(sound))
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def scene(count: int, size: int = 256, seed: int = 0) -> list[np.ndarray]:
    """Pictures of a soft, textured ground on which something moves."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.normal(0, 60, (size, size, 3)).astype(np.float32), (0, 0), 3)
    ground = 120 + 3 * ground + np.linspace(-40, 40, size)[:, None, None]
    frames = []
    for number in range(count):
        frame = np.clip(ground, 0, 255).astype(np.uint8)
        place = (int(size * (0.3 + 0.01 * (number % 30))), size // 2)
        cv2.circle(frame, place, size // 8, (180, 140, 120), -1, cv2.LINE_AA)
        frames.append(frame)
    return frames


def marked_video(path: Path, *, seconds: float = 9.0, fps: int = 12, seed: int = 0) -> Marking:
    """A video as ``produce`` would make it; returns its marks."""
    performance = Performance(
        mel=np.zeros((1, 100), np.float32),
        codes=np.zeros((1, 61), np.float32),
        segments=(),
        settings={"model": "tiny", "script_sha256": SCRIPT_HASH},
    )
    marking = Marking(
        path,
        performance,
        reference_sha256=REFERENCE_HASH,
        composite=False,
        identity=choose_identity(None, None),
    )
    frames = scene(round(seconds * fps), seed=seed)
    with VideoWriter(
        path, width=256, height=256, fps=fps, audio=marking.sound(speech_like(seconds, seed)),
        frames=len(frames), finish=marking.sign,
    ) as writer:  # fmt: skip
        for frame in marking.pictures(frames):
            writer.write(frame)
    marking.complete(path, labelled=False)
    return marking


if __name__ == "__main__":
    print(marked_video(Path(sys.argv[1])).name)
