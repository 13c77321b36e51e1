"""What users steer in the motion: gains, blink rate, looking at the camera.

Pure functions on a performance's codes ``[T, 61]`` at its own rate (93.75 per second), before a
video rate is chosen, so that a video shows the same motion at 24 and at 60 frames per second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import UsageError
from omnitalk_cli.face.codes import CODE_INDEX, EXPRESSION, GAZE, POSE, ROTATION
from omnitalk_cli.face.rig import rotation_matrix
from omnitalk_cli.types import Float

LIDS = [CODE_INDEX[name] for name in ("eyeBlinkLeft", "eyeBlinkRight")]
# What moves in a blink; the fit gives a part of the closing to the squint.
BLINK_PARTS = [*LIDS, CODE_INDEX["eyeSquintLeft"], CODE_INDEX["eyeSquintRight"]]
_GAZE_YAWS, _GAZE_PITCHES = (GAZE.start, GAZE.start + 2), (GAZE.start + 1, GAZE.start + 3)

# A blink, as in ``evaluation.motion.count_blinks``: how far the lids close over their median at
# its edges and at its peak, its longest time in seconds, and how far its feet may reach out.
BLINK_EDGE, BLINK_PEAK, BLINK_SECONDS, FOOT_SECONDS = 0.06, 0.12, 0.7, 0.2
BLINK_ROOM = 0.2  # seconds that an added blink keeps from its neighbours
LENS_WIDTH = np.radians(2.5)  # directions this near to each other count as the same
# Eyes turn no farther than this in the head (yaw, pitch): beyond, the head would turn.
EYE_LIMITS = np.radians(np.array([28.0, 20.0]))


@dataclass(frozen=True, kw_only=True)
class Controls:
    """``head_motion``, ``expression`` and ``gaze`` scale the movement around its mean (1: as made,
    0: still); ``blink_rate`` the number of blinks (0: none); ``look_at_camera`` 0…1 is how far the
    eyes turn from where they look to the lens.
    """

    head_motion: float = 1.0
    expression: float = 1.0
    gaze: float = 1.0
    blink_rate: float = 1.0
    look_at_camera: float = 0.0

    def __post_init__(self) -> None:
        for name in ("head_motion", "expression", "gaze", "blink_rate"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name.replace('_', '-')} {getattr(self, name):g} is below 0")
        if not 0 <= self.look_at_camera <= 1:
            raise UsageError(f"look-at-camera {self.look_at_camera:g} is outside 0 to 1")


def control(
    codes: Float, controls: Controls, *, rate: float, seed: int = 0, lens: Float | None = None
) -> Float:
    """A copy of ``codes`` ``[T, 61]`` (``rate`` per second) under ``controls``.

    ``seed`` decides which blinks go and where new ones come; ``lens`` [2] is what
    :func:`lens_direction` found in the reference (needed to look at the camera).
    """
    out = np.array(codes, np.float32)
    if controls.expression != 1 or controls.blink_rate != 1:
        blinks = find_blinks(out, rate)
        calm = without_blinks(out, blinks)
        closing = set_blink_rate(out - calm, blinks, controls.blink_rate, rate=rate, seed=seed)
        # Blinks are not an expression: they have a control of their own.
        out = gain(calm, EXPRESSION, controls.expression) + closing
        out[:, EXPRESSION] = out[:, EXPRESSION].clip(0.0, 1.0)
    out = gain(out, POSE, controls.head_motion)
    out = gain(out, GAZE, controls.gaze)
    if controls.look_at_camera > 0:
        if lens is None:
            raise ValueError("looking at the camera needs the lens' direction")
        out = look_at(out, lens, controls.look_at_camera)
    return out


def gain(codes: Float, part: slice, factor: float) -> Float:
    """``codes`` with the channels of ``part`` scaled around their mean over time."""
    if factor == 1.0:
        return codes
    out = np.array(codes, np.float32)
    middle = out[:, part].mean(axis=0)
    out[:, part] = middle + factor * (out[:, part] - middle)
    return out


# --- blinks ------------------------------------------------------------------------------------
def find_blinks(codes: Float, rate: float) -> list[tuple[int, int]]:
    """Blinks of ``codes`` ``[T, 61]`` from foot to foot: (first, last) frame, in order, disjoint.

    The first and last frames are those where the lids are as open as before and after.
    """
    lid = codes[:, LIDS].mean(axis=1)
    if not len(lid):
        return []
    over = lid - np.median(lid)
    above = np.concatenate([[False], over > BLINK_EDGE, [False]])
    edges = np.diff(above.astype(np.int8))
    reach = max(1, round(FOOT_SECONDS * rate))
    blinks: list[tuple[int, int]] = []
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if over[start:end].max() <= BLINK_PEAK or end - start > BLINK_SECONDS * rate:
            continue
        first, last = int(start), int(end) - 1
        low = max(0, first - reach, blinks[-1][1] if blinks else 0)
        least = 0.01 * over[start:end].max()  # slower is drift, not the blink
        while first > low and lid[first] - lid[first - 1] > least:
            first -= 1
        while last < min(len(lid) - 1, end + reach) and lid[last] - lid[last + 1] > least:
            last += 1
        blinks.append((first, last))
    return blinks


def without_blinks(codes: Float, blinks: list[tuple[int, int]]) -> Float:
    """``codes`` with the lids going straight from foot to foot of every blink."""
    out = np.array(codes, np.float32)
    for first, last in blinks:
        share = np.linspace(0, 1, last - first + 1, dtype=np.float32)[:, None]
        ends = out[[first, last]][:, BLINK_PARTS]
        line = (1 - share) * ends[0] + share * ends[1]
        # A blink at the very beginning or end has one foot only: the more open side is it.
        if first == 0 or last == len(out) - 1:
            line = np.broadcast_to(ends[ends[:, :2].mean(axis=1).argmin()], line.shape)
        out[first : last + 1, BLINK_PARTS] = line
    return out


def set_blink_rate(
    closing: Float, blinks: list[tuple[int, int]], factor: float, *, rate: float, seed: int
) -> Float:
    """``factor`` times as many blinks in ``closing`` ``[T, 61]``, what blinks add to the open face.

    Fewer: some are dropped. More: copies of the person's own blinks go into the longest times
    without one, until there are enough or no room is left. Deterministic by ``seed``.
    """
    if factor == 1.0 or not blinks:
        return closing
    rng = np.random.default_rng([seed, 0xB11C])
    wanted = int(factor * len(blinks) + 0.5)
    out = np.array(closing, np.float32)
    if wanted <= len(blinks):
        for index in rng.permutation(len(blinks))[wanted:]:
            first, last = blinks[index]
            out[first : last + 1] = 0
        return out
    whole = [blink for blink in blinks if blink[0] > 0 and blink[1] < len(closing) - 1]
    room = round(BLINK_ROOM * rate)
    taken = sorted(blinks)
    for _ in range(wanted - len(blinks)):
        edges = [-room, *(edge for blink in taken for edge in blink), len(out) + room]
        gaps = [(end - start, start) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        gap, start = max(gaps)
        fitting = [blink for blink in whole if blink[1] - blink[0] + 1 + 2 * room < gap]
        if not fitting:
            break
        first, last = fitting[rng.integers(len(fitting))]
        length = last - first + 1
        free = gap - 1 - length - 2 * room
        place = start + 1 + room + int(free * rng.uniform(0.25, 0.75))
        out[place : place + length] += closing[first : last + 1]
        taken = sorted([*taken, (place, place + length - 1)])
    return out


# --- gaze --------------------------------------------------------------------------------------
def lens_direction(codes: Float) -> Float:
    """Where the camera is: (yaw, pitch) [2] in radians, most frequent in a reference's codes.

    Head and eyes together look somewhere; people who speak to a camera look there most of the
    time, however the head turns. So the lens is the densest place among the directions of all
    frames, without those in which the eyes are half closed. (Of a person who is interviewed it
    is the interviewer.)
    """
    lid = codes[:, LIDS].mean(axis=1)
    seen = codes[lid <= np.median(lid) + BLINK_EDGE]
    looks = gaze_directions(seen)
    apart = ((looks[:, None] - looks[None]) ** 2).sum(axis=-1)
    near = np.exp(-apart / (2 * LENS_WIDTH**2))
    weight = near[near.sum(axis=1).argmax()]
    return np.asarray(weight @ looks / weight.sum(), np.float32)


def gaze_directions(codes: Float) -> Float:
    """Where head and eyes together look: (yaw, pitch) ``[N, 2]`` in radians, both eyes' mean."""
    yaw = codes[:, _GAZE_YAWS].mean(axis=1)
    pitch = codes[:, _GAZE_PITCHES].mean(axis=1)
    turned = rotation_matrix(codes[:, ROTATION]) @ _ray(yaw, pitch)[..., None]
    return _angles(turned[..., 0])


def look_at(codes: Float, lens: Float, amount: float) -> Float:
    """``codes`` with the eyes turned by ``amount`` (0…1) of the way to ``lens`` (yaw, pitch).

    The eyes turn against the head, so that they stay on the lens while it moves; both eyes move
    alike and no farther than eyes do.
    """
    out = np.array(codes, np.float32)
    ray = _ray(np.float32(lens[0]), np.float32(lens[1]))
    inward = rotation_matrix(codes[:, ROTATION]).swapaxes(-1, -2) @ ray
    goal = np.clip(_angles(inward), -EYE_LIMITS, EYE_LIMITS)
    for channels, wanted in ((_GAZE_YAWS, goal[:, 0]), (_GAZE_PITCHES, goal[:, 1])):
        now = codes[:, channels].mean(axis=1)
        out[:, channels] += (amount * (wanted - now))[:, None]
    return out


def _ray(yaw: NDArray[np.floating] | np.float32, pitch: NDArray[np.floating] | np.float32) -> Float:
    """Unit vectors [..., 3]: ``Ry(yaw) @ Rx(pitch) @ (0, 0, 1)``."""
    level = np.cos(pitch)
    parts = [np.sin(yaw) * level, -np.sin(pitch), np.cos(yaw) * level]
    return np.stack(parts, axis=-1).astype(np.float32)


def _angles(ray: Float) -> Float:
    """Yaw and pitch [..., 2] of unit vectors [..., 3]."""
    yaw = np.arctan2(ray[..., 0], ray[..., 2])
    pitch = -np.arcsin(np.clip(ray[..., 1], -1, 1))
    return np.stack([yaw, pitch], axis=-1)
