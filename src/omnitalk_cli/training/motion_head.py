"""Head pose, gaze and blinks of synthetic motion."""

from __future__ import annotations

import numpy as np

from omnitalk_cli.training.motion_signals import Array, bumps, coloured, renewal, smooth
from omnitalk_cli.training.motion_style import MotionStyle
from omnitalk_cli.types import MEL_RATE


def head_pose(
    style: MotionStyle, activity: Array, accents: Array, weights: Array, rng: np.random.Generator
) -> Array:
    """Pose ``[T,6]`` (pitch, yaw, roll, x, y, log scale) by the conventions of ``face.codes``.

    ``activity`` ``[T]`` is 0…1, how much is being said; ``accents`` ``[E]`` are the seconds of
    stressed syllables and ``weights`` ``[E]`` how strong they are, about 1.
    """
    frames = len(activity)
    speed = style.head_speed
    amplitude = np.asarray(style.rotation_amplitude)
    alive = style.calm_silence + (1.0 - style.calm_silence) * smooth(activity, 0.25)
    slow = coloured(rng, frames, 3, 0.03 * speed, 0.25 * speed)
    middle = coloured(rng, frames, 3, 0.25 * speed, 1.1 * speed)
    fast = coloured(rng, frames, 3, 1.2 * speed, 3.5 * speed)
    # Speakers move in phases: the amplitude itself wanders.
    phases = np.exp(0.45 * coloured(rng, frames, 1, 0.05, 0.4))
    rotation = amplitude * (0.8 * slow + alive[:, None] * phases * (0.55 * middle + 0.13 * fast))
    # A turn of the head brings some roll and pitch along, each person in their own way.
    tie = style.personal(10, 2)
    rotation[:, 2] += 0.25 * tie[0] * rotation[:, 1]
    rotation[:, 0] += 0.12 * tie[1] * rotation[:, 1]
    rotation += style.rotation_offset + _postures(style, frames, rng)
    rotation += _nods(style, frames, accents, weights, rng)
    rotation += style.head_jitter * coloured(rng, frames, 3, 4.0, 12.0)
    place = _place(style, rotation, alive, rng)
    return np.concatenate([rotation, place], axis=1)


def _postures(style: MotionStyle, frames: int, rng: np.random.Generator) -> Array:
    """Shifts from one posture to the next, ``[T,3]`` radians."""
    seconds = frames / MEL_RATE
    times = renewal(rng, seconds, style.posture_gap, 0.4)
    levels = rng.normal(0.0, 1.0, (len(times) + 1, 3)) * (0.8, 1.2, 0.7) * style.posture_size
    levels = np.clip(levels, -3.0 * style.posture_size, 3.0 * style.posture_size)
    held = levels[np.searchsorted(times, np.arange(frames) / MEL_RATE)]
    # Two box filters after each other: nearly the minimum-jerk course of a deliberate movement.
    return smooth(held, 0.11 / style.head_speed)


def _nods(
    style: MotionStyle, frames: int, accents: Array, weights: Array, rng: np.random.Generator
) -> Array:
    """Nods (some of them tilts or shakes) on stressed syllables, ``[T,3]`` radians."""
    chosen = rng.random(len(accents)) < style.nod_rate * np.clip(weights, 0.0, 1.5)
    times, strength = accents[chosen], weights[chosen]
    if len(times) == 0:
        return np.zeros((frames, 3))
    size = style.nod * strength * np.exp(rng.normal(0.0, 0.4, len(times)))
    # Down on the accent, then a smaller way up past where it came from.
    rise = rng.uniform(0.12, 0.25, len(times)) / style.head_speed
    begin = times + rng.normal(0.03, 0.05, len(times))
    down = bumps(frames, begin, begin + 0.02, rise, 1.4 * rise)
    back = bumps(frames, begin + 1.6 * rise, begin + 1.6 * rise + 0.02, rise, 2.0 * rise)
    direction = rng.normal(0.0, (0.35, 0.35, 0.3), (len(times), 3))
    direction[:, 0] += np.where(rng.random(len(times)) < 0.85, 1.0, -0.7)
    direction *= size[:, None]
    return np.asarray(down @ direction - 0.3 * (back @ direction))


def _place(style: MotionStyle, rotation: Array, alive: Array, rng: np.random.Generator) -> Array:
    """Offsets and log scale ``[T,3]`` that follow from turning about the neck, and the sway of the
    body under it."""
    frames = len(rotation)
    above, before = style.neck
    pitch, yaw, roll = (rotation - np.asarray(style.rotation_offset)).T
    x = before * np.sin(yaw) - above * np.sin(roll)
    y = -before * np.sin(pitch) - above * (1.0 - np.cos(roll))
    nearer = above * np.sin(pitch) - before * (1.0 - np.cos(yaw))
    # A camera some eight eye distances away sees this much of it as size.
    place = np.stack([x, y, nearer / 8.0], axis=1)
    sway = 0.9 * coloured(rng, frames, 3, 0.02, 0.25)
    sway += 0.3 * alive[:, None] * coloured(rng, frames, 3, 0.3, 1.5)
    place += sway * (style.sway, 0.7 * style.sway, style.scale_sway)
    jitter = coloured(rng, frames, 3, 4.0, 12.0)
    return np.asarray(place + jitter * style.head_jitter * (0.6, 0.6, 0.4))


def gaze(
    style: MotionStyle, rotation: Array, blink: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Gaze ``[T,4]`` (left yaw, left pitch, right yaw, right pitch; radians, eye in head) and the
    turn ``[T,2]`` (pitch, yaw) that the head adds by following large looks.

    Fixations and saccades towards the camera or away; between saccades the eyes undo the head's
    rotation (vestibulo-ocular reflex), as far as the style has it.
    """
    frames = len(rotation)
    now = np.arange(frames) / MEL_RATE
    times = renewal(rng, frames / MEL_RATE, style.fixation, 0.18)
    count = len(times) + 1
    targets = rng.normal(0.0, (1.0, 0.75), (count, 2)) * style.gaze_width * 1.2
    targets = np.clip(targets, (-0.42, -0.3), (0.42, 0.3))
    at_camera = rng.random(count) >= style.aversion
    # Looking at somebody, the eyes still walk between eyes and mouth.
    targets[at_camera] = rng.normal(0.0, 0.012, (int(at_camera.sum()), 2))
    looks = targets[np.searchsorted(times, now)]
    follow = style.head_follows * smooth(looks, 0.16)
    head_yaw, head_pitch = rotation[:, 1] + follow[:, 0], rotation[:, 0] + follow[:, 1]
    middle_pitch, middle_yaw, _ = style.rotation_offset
    undo = style.stabilised
    # The camera is where the person usually looks: a lasting turn of the head is undone in full.
    yaw = looks[:, 0] - 0.8 * middle_yaw - undo * (head_yaw - middle_yaw) + style.gaze_offset[0]
    pitch = (
        looks[:, 1] - 0.8 * middle_pitch - undo * (head_pitch - middle_pitch)
        + style.gaze_offset[1]
    )  # fmt: skip
    both = smooth(np.stack([yaw, pitch], axis=1), 0.016)
    both[:, 1] += style.blink_gaze * blink
    own = style.personal(20, 4) * (0.02, 0.015, 0.02, 0.015)
    noise = style.gaze_jitter * coloured(rng, frames, 4, 0.7, 6.0)
    limits = np.array([0.65, 0.55, 0.65, 0.55])
    eyes = np.concatenate([both, both], axis=1) + own + noise
    return limits * np.tanh(eyes / limits), follow[:, ::-1]


def blinks(style: MotionStyle, frames: int, accents: Array, rng: np.random.Generator) -> Array:
    """How far the lids are closed by blinking, ``[T]`` 0…1: a renewal process with some doubles,
    some of them drawn to stressed syllables."""
    seconds = frames / MEL_RATE
    times = renewal(rng, seconds, style.blink_gap, 0.5)
    if len(accents) and len(times):
        nearest = accents[np.argmin(np.abs(accents[None, :] - times[:, None]), axis=1)]
        drawn = (np.abs(nearest - times) < 0.3) & (rng.random(len(times)) < 0.4)
        times = np.where(drawn, nearest + 0.05, times)
    twice = times[rng.random(len(times)) < style.double_blink]
    times = np.concatenate([times, twice + rng.uniform(0.28, 0.45, len(twice))])
    length = style.blink_seconds * np.exp(rng.normal(0.0, 0.18, len(times)))
    length = np.clip(length, 0.1, 0.42)
    depth = style.blink_depth * np.clip(1.0 - np.abs(rng.normal(0.0, 0.12, len(times))), 0.3, 1.0)
    if len(times) == 0:
        return np.zeros(frames)
    # Lids fall faster than they rise.
    shut = bumps(frames, times, times + 0.12 * length, 0.33 * length, 0.55 * length)
    return np.asarray(shut.multiply(depth[None, :]).tocsc().max(axis=1).toarray()).ravel()
