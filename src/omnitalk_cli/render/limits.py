"""Keeping the head where the reference has shown it, and the lids from closing too far.

A warp invents nothing: turned far beyond its pictures, cheeks and hair stretch. Pose and place
pass unchanged inside the reference's range and bend softly towards a margin outside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omnitalk_cli.face.codes import CODE_INDEX, POSE
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.render.topology import LID_PAIRS
from omnitalk_cli.types import Float

# pitch, yaw, roll (radians), x, y (eye distances), log scale: how far beyond the range one may go.
MARGINS = np.array(
    [np.radians(6), np.radians(8), np.radians(7), 0.15, 0.12, 0.06], np.float32
)  # fmt: skip
# From one picture: what a warp of it still bears.
STILL_MARGINS = np.array(
    [np.radians(10), np.radians(15), np.radians(8), 0.3, 0.2, 0.1], np.float32
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PoseLimits:
    """``low`` and ``high`` [6]: the pose range that the reference shows, in code units; ``margins``
    [6] how far beyond it one may go. ``shares`` [6] of the motion about ``around`` are the head's
    own, the rest is the camera's; without it the head moves about ``centre``.
    """

    low: Float
    high: Float
    margins: Float = field(default_factory=MARGINS.copy)
    shares: Float = field(default_factory=lambda: np.ones(6, np.float32))
    around: Float = field(default_factory=lambda: np.zeros(6, np.float32))
    centre: Float = field(default_factory=lambda: np.zeros(6, np.float32))

    def apply(self, codes: Float) -> Float:
        """A copy of ``codes`` [N,61] whose pose stays within the range plus the margins.

        The camera's share is taken out first. Identity inside; beyond,
        ``high + margin · tanh((x − high) / margin)``, likewise below.
        """
        limited = np.array(codes, np.float32)
        pose = self.centre + self.shares * (limited[:, POSE] - self.around)
        over = np.maximum(pose - self.high, 0) / self.margins
        under = np.maximum(self.low - pose, 0) / self.margins
        inside = np.clip(pose, self.low, self.high)
        limited[:, POSE] = inside + self.margins * (np.tanh(over) - np.tanh(under))
        return limited


def limits_of(codes: Float, filmed: Float | None = None) -> PoseLimits:
    """The pose range of the reference's ``codes`` [N,61], without its last per cent of outliers.

    ``filmed`` [N,61] are the same with the camera's motion, where that was taken out: performances
    made after them move as the head and the camera did.

    A still has no range: it gets wider margins instead.
    """
    pose = codes[:, POSE]
    if np.ptp(pose, axis=0).max() == 0:  # a still picture
        return PoseLimits(low=pose[0], high=pose[0], margins=STILL_MARGINS)
    low, high = np.quantile(pose, 0.01, axis=0), np.quantile(pose, 0.99, axis=0)
    if filmed is None:
        return PoseLimits(low=low, high=high)
    seen = filmed[:, POSE]
    shares = np.minimum(1, pose.std(axis=0) / np.maximum(seen.std(axis=0), 1e-6))
    around, centre = np.median(seen, axis=0), np.median(pose, axis=0)
    return PoseLimits(low=low, high=high, shares=shares, around=around, centre=centre)


def limit_blinks(codes: Float, neutral: Float) -> Float:
    """A copy of ``codes`` [N,61] in which blinks end where the lids of ``neutral`` touch.

    Blinks of 1 would close most eyes several times over (the two channels also move each other's
    lids), and the upper lids would be drawn over the cheeks. Both blinks of a frame are scaled
    alike; the lid gap is linear in them.
    """
    rig = FaceRig.load()
    limited = np.array(codes, np.float32)
    blinks = [CODE_INDEX["eyeBlinkLeft"], CODE_INDEX["eyeBlinkRight"]]
    without = limited.copy()
    without[:, blinks] = 0
    upper, lower = np.concatenate([pairs[:, 2:5] for pairs in LID_PAIRS], axis=1)
    gaps = []
    for some in (without, limited):
        points = rig.shape(some, neutral)
        gaps.append((points[:, upper, 1] - points[:, lower, 1]).mean(axis=1))
    closing = np.maximum(gaps[0] - gaps[1], 1e-6)
    limited[:, blinks] *= np.clip(np.maximum(gaps[0], 0) / closing, 0, 1)[:, None]
    return limited
