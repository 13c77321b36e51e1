"""How Mira moves: the package's synthetic motion in a calm, friendly style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from omnitalk_cli.face.codes import CODE_INDEX, GAZE, LIVE_EXPRESSION, POSE
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.training.motion import MotionStyle, synthesise_motion
from omnitalk_cli.training.visemes import Phone
from omnitalk_cli.types import MEL_RATE


def style(rng: np.random.Generator) -> MotionStyle:
    """Calm: clear lips, a small smile, small slow head turns, eyes mostly on the camera."""
    degree = np.pi / 180
    return replace(
        MotionStyle.sample(rng),
        jaw_gain=0.85, lip_gain=1.0, round_gain=0.9, spread_gain=0.9, loud_jaw=0.6, sluggish=0.9,
        smoothing=0.022, lead=0.015, closure=0.95, viseme_spread=0.08, lip_parting=0.0,
        breath=0.3, smile=0.24, frown=0.0, brow_rest=0.02, brow_gain=0.11, brow_rate=0.25,
        mood_swing=0.04, crosstalk=0.008, leak=0.0, habit=0.0, jitter=0.0, asymmetry=0.15,
        blink_gap=2.6, blink_depth=1.0, blink_seconds=0.22, double_blink=0.0, lid_rest=0.05,
        squint=0.04, rotation_offset=(0.5 * degree, 2.0 * degree, -1.0 * degree),
        rotation_amplitude=(1.5 * degree, 3.2 * degree, 1.6 * degree), head_speed=0.9,
        posture_gap=3.0, posture_size=2.2 * degree, nod=1.4 * degree, nod_rate=0.4,
        calm_silence=0.6, sway=0.02, scale_sway=0.006, head_jitter=0.0,
        gaze_offset=(0.0, 0.0), fixation=1.4, gaze_width=3.5 * degree, aversion=0.08,
        stabilised=1.0, head_follows=0.3, gaze_jitter=0.002,
    )  # fmt: skip


def perform(
    audio: np.ndarray, phones: list[tuple[str, float, float]], rng: np.random.Generator,
    *, fps: float, frames: int,
) -> np.ndarray:  # fmt: skip
    """Codes ``[frames,61]`` at ``fps`` for speech ``[S]`` with its espeak phones."""
    mel = log_mel(torch.from_numpy(audio)[None])[0].numpy()
    mel = mel if mel.shape[-1] == 100 else mel.T
    spoken = [Phone(symbol=name, start=start, end=end) for name, start, end in phones]
    codes = synthesise_motion(spoken, mel, style(rng), rng, alphabet="espeak")
    # From the mel's rate to the video's; a short triangle keeps quick lip closures.
    centres = (np.arange(frames) + 0.5) / fps * MEL_RATE - 0.5
    weights = np.maximum(1.0 - np.abs(np.arange(len(codes)) - centres[:, None]) / 2.6, 0.0)
    weights[weights.sum(axis=1) < 1e-3, -1] = 1.0
    codes = (weights / weights.sum(axis=1, keepdims=True)) @ codes
    codes[:, list(LIVE_EXPRESSION)] = np.clip(codes[:, list(LIVE_EXPRESSION)], 0.0, 1.0)
    codes[:, POSE.start + 3 : POSE.stop] *= 0.6
    codes[:, GAZE] = np.clip(codes[:, GAZE], -0.25, 0.25)
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        raised = codes[:, CODE_INDEX[name]]
        codes[:, CODE_INDEX[name]] = 0.38 * np.tanh(raised / 0.38)
    for side in ("Left", "Right"):
        codes[:, CODE_INDEX[f"mouthSmile{side}"]] += 0.14
    return codes
