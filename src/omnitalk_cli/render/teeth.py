"""Teeth as a person-independent solid model: two arches of crowns behind the lips.

Sizes are textbook means of adult teeth in millimetres, brought to eye distances (outer corners,
about 90 mm apart). The upper arch belongs to the skull; the lower one follows the chin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.types import Float

MILLIMETRE = 1 / 90  # eye distances
# From the midline backwards: incisors, canine, premolars, molar.
UPPER_WIDTHS, LOWER_WIDTHS = (8.6, 6.7, 7.7, 7.0, 6.8, 10.2), (5.4, 6.0, 6.9, 7.1, 7.2, 11.0)
UPPER_HEIGHTS, LOWER_HEIGHTS = (10.4, 9.2, 10.2, 8.6, 7.8, 7.4), (8.8, 9.2, 10.2, 8.6, 7.8, 7.2)
# How much the edge stands back from the incisors' edge; not quite alike left and right.
UPPER_STEPS, LOWER_STEPS = (0.0, 0.9, 0.1, 1.0, 1.5, 1.9), (0.0, 0.1, -0.3, 0.4, 0.7, 1.0)
UPPER_BEND, LOWER_BEND = 0.026, 0.030  # the arch falls back by bend · x² (mm)
OVERHANG = 3.0  # the upper edges hang this far below the closed lips' line
OVERBITE, OVERJET = 0.6, 2.5  # the lower edges stand this far above and behind the upper ones
BEHIND_LIPS = 6.0
MOST_SHOWN = 6.0  # of the lower teeth above the lip
JAW_FOLLOWS_CHIN = 1.2  # the chin's skin lags behind the jaw
_CHIN = np.array([152, 175, 199, 148, 377])
_LIP_LINE = np.array([13, 14])
# Half a crown's outline: share of the width, share of the height (0: gum, 1: edge).
_OUTLINE = ((0.0, -0.04), (0.26, 0.0), (0.43, 0.12), (0.5, 0.55), (0.49, 0.84), (0.43, 0.96),
            (0.28, 1.0))  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Arch:
    """Crowns of one jaw, the hindmost first: ``outlines`` [K,P,3] in eye distances from the middle
    of the incisors' edge (x right, y up, z to the camera); ``rank`` [K] 0 for the first incisors.
    """

    outlines: Float
    rank: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Jaws:
    """Where both arches are in one frame: ``upper`` and ``lower`` [K,P,2] in pixels, and the
    places [2] of the middle of their incisors' edges."""

    upper: Float
    lower: Float
    upper_edge: Float
    lower_edge: Float


def jaws_of(geometry: Geometry, index: int, neutral: Float, raised: float = 0.0) -> Jaws:
    """Project the arches into frame ``index`` of ``geometry`` for the person of ``neutral``
    [478,3]; ``raised`` (eye distances) moves the upper edge up from its usual place."""
    upper, lower = arches()
    lips = neutral[_LIP_LINE].mean(axis=0)
    home = lips + MILLIMETRE * np.array([0, -OVERHANG, -BEHIND_LIPS], np.float32)
    home[1] += raised
    jaw = JAW_FOLLOWS_CHIN * (geometry.local[index, _CHIN] - neutral[_CHIN]).mean(axis=0)
    jaw[2] *= 0.3  # the tracker's depth is unsure
    below = home + MILLIMETRE * np.array([0, OVERBITE, -OVERJET], np.float32) + jaw
    # Where lips round far open the chin hardly sinks; the lower lip still covers most of the teeth.
    below[1] = min(below[1], geometry.local[index, _LIP_LINE[1], 1] + MILLIMETRE * MOST_SHOWN)

    def posed(points: Float) -> Float:
        return geometry.posed(index, points.reshape(-1, 3)).reshape(*points.shape[:-1], 2)

    return Jaws(
        upper=posed(upper.outlines + home),
        lower=posed(lower.outlines + below),
        upper_edge=posed(home),
        lower_edge=posed(below),
    )


@lru_cache(maxsize=1)
def arches() -> tuple[Arch, Arch]:
    """The upper and the lower arch."""
    return (
        _arch(UPPER_WIDTHS, UPPER_HEIGHTS, UPPER_STEPS, UPPER_BEND, up=1.0),
        _arch(LOWER_WIDTHS, LOWER_HEIGHTS, LOWER_STEPS, LOWER_BEND, up=-1.0),
    )


def _arch(
    widths: tuple[float, ...],
    heights: tuple[float, ...],
    steps: tuple[float, ...],
    bend: float,
    *,
    up: float,
) -> Arch:
    """Crowns along the curve z = −bend · x² whose gums lie ``up`` of their edges."""
    x = np.linspace(0, 40, 400)
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(bend * x**2)))])
    half = np.array(_OUTLINE)
    outline = np.concatenate([half, (half * [-1, 1])[::-1]])
    crowns, rank = [], []
    ends = np.concatenate([[0], np.cumsum(widths)])
    for number in reversed(range(len(widths))):
        for side in (-1.0, 1.0):
            middle = 0.5 * (ends[number] + ends[number + 1])
            places = np.interp(middle + outline[:, 0] * widths[number], along, x)
            # Nobody's teeth are a mirror image: a fixed small difference of the two sides.
            step = steps[number] + (0.25 if (number + (side > 0)) % 2 else 0.0)
            rise = step + (1 - outline[:, 1]) * (heights[number] - step)
            crowns.append(np.stack([side * places, up * rise, -bend * places**2], axis=-1))
            rank.append(number)
    return Arch(outlines=np.array(crowns, np.float32) * np.float32(MILLIMETRE), rank=tuple(rank))
