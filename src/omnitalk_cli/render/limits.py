"""Keeping the head where the reference has shown it.

A warp invents nothing: turned far beyond its pictures, cheeks and hair stretch. Pose and place
pass unchanged inside the reference's range and bend softly towards a margin outside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.face.codes import POSE
from omnitalk_cli.types import Float

# pitch, yaw, roll (radians), x, y (eye distances), log scale: how far beyond the range one may go.
MARGINS = np.array(
    [np.radians(6), np.radians(8), np.radians(7), 0.15, 0.12, 0.06], np.float32
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PoseLimits:
    """``low`` and ``high`` [6]: the pose range that the reference shows, in code units."""

    low: Float
    high: Float

    def apply(self, codes: Float) -> Float:
        """A copy of ``codes`` [N,61] whose pose stays within the range plus the margins.

        Identity inside; beyond, ``high + margin · tanh((x − high) / margin)``, likewise below.
        """
        limited = np.array(codes, np.float32)
        pose = limited[:, POSE]
        over = np.maximum(pose - self.high, 0) / MARGINS
        under = np.maximum(self.low - pose, 0) / MARGINS
        inside = np.clip(pose, self.low, self.high)
        limited[:, POSE] = inside + MARGINS * (np.tanh(over) - np.tanh(under))
        return limited


def limits_of(codes: Float) -> PoseLimits:
    """The pose range of the reference's ``codes`` [N,61], without its last per cent of outliers."""
    pose = codes[:, POSE]
    return PoseLimits(low=np.quantile(pose, 0.01, axis=0), high=np.quantile(pose, 0.99, axis=0))
