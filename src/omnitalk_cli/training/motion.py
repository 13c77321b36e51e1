"""Synthetic face motion for speech: lips from phones, the rest from how people move.

Real speech with fitted faces is scarce and its licences do not allow training, so the motion half
of the training data is made here: visemes under coarticulation (dominance functions, Cohen and
Massaro 1993) with lips that close on bilabials, jaw and brows that follow loudness, blinks, gaze
and head motion as random processes tied to stressed syllables. Every clip gets a style of its own,
so that a model must read the style from the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.codes import (
    CODE_COUNT,
    CODE_INDEX,
    EXPRESSION,
    GAZE,
    LIVE_EXPRESSION,
    POSE,
    ROTATION,
)
from omnitalk_cli.training.motion_head import blinks, gaze, head_pose
from omnitalk_cli.training.motion_signals import (
    Array,
    bumps,
    coloured,
    dominances,
    loudness,
    smooth,
)
from omnitalk_cli.training.motion_style import (
    RANK,
    MotionStyle,
    fit_noise,
    habits,
    side_gains,
)
from omnitalk_cli.training.visemes import (
    GROUP_OF,
    GROUPS,
    VISEMES,
    VOWELS,
    Alphabet,
    Phone,
    is_stressed,
    sides,
    viseme_dominance,
    viseme_of,
    viseme_targets,
    visemes_of,
)
from omnitalk_cli.types import MEL_BINS, MEL_RATE, Float

__all__ = ["Alphabet", "MotionStyle", "Phone", "synthesise_motion", "viseme_of"]

# Time constants of dominance per articulator: before and after a phone, seconds. The lips round
# early and let go late; the jaw is heavier than the lips.
_CONSTANTS: dict[str, tuple[float, float]] = {
    "jaw": (0.055, 0.060),
    "seal": (0.035, 0.040),
    "round": (0.070, 0.060),
    "spread": (0.050, 0.055),
}
_CLOSING = [
    c for n in ("mouthClose", "mouthRollLower", "mouthRollUpper", "mouthPucker") for c in sides(n)
]
_VOWEL_ROWS = [VISEMES.index(name) for name in VISEMES if name in VOWELS]


def synthesise_motion(
    phones: Sequence[Phone] | None,
    mel: Float,
    style: MotionStyle,
    rng: np.random.Generator,
    *,
    alphabet: Alphabet = "arpabet",
) -> Float:
    """Face codes ``[T,61]`` float32 at the mel rate for speech with log-mel ``mel`` ``[T,100]``.

    ``phones`` (seconds of the same audio, in order) drive the lips; without them the lips follow
    the mel's loudness and brightness only. Expression values are within 0…1, dead channels 0,
    angles in radians; see ``face.codes``. Raises ValueError when ``mel`` is not ``[T,100]``.
    """
    if mel.ndim != 2 or mel.shape[1] != MEL_BINS:
        raise ValueError(f"mel has shape {mel.shape}, not [T,{MEL_BINS}]")
    frames = len(mel)
    codes = np.zeros((frames, CODE_COUNT), np.float32)
    if frames == 0:
        return codes
    loud, bright = loudness(mel)
    rows = _viseme_rows(phones, frames, alphabet) if phones else None
    if rows is None:
        lips = _lips_from_sound(loud, bright, style)
    else:
        lips = _lips_from_phones(rows, loud, style, rng)
    accents, weights = _accents(phones, loud, alphabet)
    activity = np.clip(3.0 * smooth(loud, 0.12) - 0.4, 0.0, 1.0)

    face = lips + _upper_face(style, loud, accents, weights, rng)
    face *= side_gains(style)
    pose = head_pose(style, activity, accents, weights, rng)
    face += _wandering(style, pose, lips[:, CODE_INDEX["jawOpen"]], rng)
    blink = blinks(style, frames, accents, rng)
    eyes, turn = gaze(style, pose[:, :3], blink, rng)
    pose[:, :2] += turn
    pose[:, 0] += 0.015 * blink
    _close_lids(face, blink, eyes, style, rng)

    live = list(LIVE_EXPRESSION)
    codes[:, live] = np.clip(face[:, live], 0.0, 1.0)
    codes[:, POSE] = pose
    codes[:, ROTATION] = np.clip(codes[:, ROTATION], -0.7, 0.7)
    codes[:, GAZE] = eyes
    assert codes[:, EXPRESSION].max() <= 1.0
    return codes


def _viseme_rows(
    phones: Sequence[Phone], frames: int, alphabet: Alphabet
) -> tuple[NDArray[np.int64], Array, Array] | None:
    """Visemes as rows of the tables with start and end seconds; diphthongs split, gaps at rest."""
    rows: list[int] = []
    starts: list[float] = []
    ends: list[float] = []

    def add(name: str, start: float, end: float) -> None:
        rows.append(VISEMES.index(name))
        starts.append(start)
        ends.append(end)

    at = 0.0
    for phone in sorted(phones, key=lambda phone: phone.start):
        if phone.end <= phone.start:
            continue
        if phone.start - at > 0.04:
            add("rest", at, phone.start)
        names = visemes_of(phone.symbol, alphabet)
        edges = np.linspace(phone.start, phone.end, len(names) + 1)
        for name, start, end in zip(names, edges[:-1], edges[1:], strict=True):
            add(name, float(start), float(end))
        at = max(at, phone.end)
    if not rows:
        return None
    if frames / MEL_RATE - at > 0.04:
        add("rest", at, frames / MEL_RATE)
    return np.array(rows), np.array(starts), np.array(ends)


def _personal_targets(style: MotionStyle) -> Float:
    """Viseme targets ``[V,51]`` as this person makes them."""
    gains = {"jaw": style.jaw_gain, "seal": style.lip_gain, "round": style.round_gain,
             "spread": style.spread_gain}  # fmt: skip
    targets = viseme_targets().copy()
    varied = np.exp(style.viseme_spread * style.personal(30, *targets.shape))
    for number, (name, group) in enumerate(GROUP_OF.items()):
        channels = list(sides(name))
        # Left and right vary together; how the sides differ is in side_gains.
        change = varied[:, number : number + 1]
        targets[:, channels] *= gains[group] * change
    targets[VISEMES.index("rest"), CODE_INDEX["jawOpen"]] += 0.8 * style.lip_parting
    return targets


def _lips_from_phones(
    rows: tuple[NDArray[np.int64], Array, Array],
    loud: Array,
    style: MotionStyle,
    rng: np.random.Generator,
) -> Array:
    """Mouth channels ``[T,51]`` by dominance: each articulator goes to the mean of the targets,
    weighted by how strongly each phone insists at that moment."""
    viseme, starts, ends = rows
    frames = len(loud)
    starts, ends = starts - style.lead, ends - style.lead
    # No syllable is said twice the same way.
    effort = np.exp(rng.normal(0.0, 0.12, (len(viseme), 1)))
    targets = _personal_targets(style)[viseme] * effort
    insistence = viseme_dominance()[viseme]
    lips = np.zeros((frames, 51))
    for column, group in enumerate(GROUPS):
        before, after = (style.sluggish * constant for constant in _CONSTANTS[group])
        weight = dominances(frames, starts, ends, before, after)
        weight.data *= np.repeat(insistence[:, column], np.diff(weight.indptr))
        channels = [c for name, g in GROUP_OF.items() if g == group for c in sides(name)]
        total = np.asarray(weight.sum(axis=1)) + 1e-6
        lips[:, channels] = (weight @ targets[:, channels]) / total
    vowel = np.isin(viseme, _VOWEL_ROWS)
    phrases = np.exp(0.22 * coloured(rng, frames, 1, 0.1, 0.8))[:, 0]
    lips[:, CODE_INDEX["jawOpen"]] *= phrases * _jaw_drive(loud, style)
    lips = smooth(lips, style.smoothing)
    lips[:, CODE_INDEX["jawOpen"]] += _breaths(viseme, starts, ends, vowel, style, frames, rng)
    _seal(lips, viseme, starts, ends, style)
    return lips


def _jaw_drive(loud: Array, style: MotionStyle) -> Array:
    """Gain of the jaw ``[T]``: louder speech opens it further."""
    return np.maximum(1.0 + style.loud_jaw * (1.7 * smooth(loud, 0.05) - 1.15), 0.1)


def _breaths(
    viseme: NDArray[np.int64], starts: Array, ends: Array, vowel: NDArray[np.bool_],
    style: MotionStyle, frames: int, rng: np.random.Generator,
) -> Array:  # fmt: skip
    """Extra jaw opening ``[T]`` while breathing in at the end of some pauses."""
    pauses = (viseme == VISEMES.index("rest")) & (ends - starts > 0.3)
    pauses &= rng.random(len(viseme)) < style.breath
    if not pauses.any() or not vowel.any():
        return np.zeros(frames)
    end = ends[pauses] - 0.05
    length = np.minimum(0.6 * (ends - starts)[pauses], rng.uniform(0.2, 0.5, len(end)))
    size = style.jaw_gain * rng.uniform(0.03, 0.18, len(end))
    return np.asarray(bumps(frames, end - 0.5 * length, end, 0.5 * length, 0.15) @ size)


def _seal(
    lips: Array, viseme: NDArray[np.int64], starts: Array, ends: Array, style: MotionStyle
) -> None:
    """Close the lips on bilabials, in place, whatever smoothing left open; half on f and v."""
    frames = len(lips)
    length = ends - starts
    jaw, close = CODE_INDEX["jawOpen"], CODE_INDEX["mouthClose"]
    for name, degree in (("bilabial", style.closure), ("labiodental", 0.5 * style.closure)):
        which = viseme == VISEMES.index(name)
        if not which.any():
            continue
        begin = starts[which] + 0.1 * length[which]
        # Never shorter than 35 ms: a fast stop closes just as well.
        until = np.maximum(begin + 0.6 * length[which], begin + 0.035)
        turn = 0.045 * style.sluggish
        shut = np.asarray(bumps(frames, begin, until, turn, 1.15 * turn).max(axis=1).toarray())
        shut = degree * shut.ravel()
        # The fit tells closed lips mostly as a closed jaw; what is left open, mouthClose takes
        # back (their lip gaps are equal and opposite in the basis).
        lips[:, jaw] *= 1.0 - 0.85 * shut
        lips[:, close] = np.maximum(lips[:, close], shut * lips[:, jaw])
        for part in ("mouthLowerDown", "mouthUpperUp", "mouthFunnel"):
            if name == "bilabial":
                lips[:, list(sides(part))] *= 1.0 - 0.85 * shut[:, None]


def _lips_from_sound(loud: Array, bright: Array, style: MotionStyle) -> Array:
    """Mouth channels ``[T,51]`` without phones: open when loud, spread when bright."""
    drive = np.clip(smooth(loud, 0.035) - 0.25, 0.0, 1.0) / 0.75
    shape = {
        "jawOpen": style.jaw_gain * 0.55 * drive**1.3,
        "mouthLowerDown": style.spread_gain * (0.10 * drive + 0.12 * bright * drive),
        "mouthUpperUp": style.spread_gain * (0.05 * drive + 0.06 * bright * drive),
        "mouthStretch": style.spread_gain * 0.18 * bright * drive,
        "mouthFunnel": style.round_gain * 0.14 * drive * (1.0 - bright),
        "mouthPucker": style.round_gain * 0.08 * drive * (1.0 - bright),
        "mouthPress": style.lip_gain * 0.03 * (1.0 - drive),
        "mouthRollLower": style.lip_gain * 0.02 * (1.0 - drive),
        "mouthShrugLower": style.lip_gain * 0.03 * (1.0 - drive),
    }
    lips = np.zeros((len(loud), 51))
    for name, course in shape.items():
        lips[:, list(sides(name))] = course[:, None]
    lips[:, CODE_INDEX["jawOpen"]] += 0.6 * style.lip_parting
    return smooth(lips, style.smoothing)


def _accents(
    phones: Sequence[Phone] | None, loud: Array, alphabet: Alphabet
) -> tuple[Array, Array]:
    """Stressed syllables: seconds ``[E]`` and strengths ``[E]`` about 1, from stress marks and
    loudness; from peaks of loudness alone when there are no phones."""
    if not len(loud):
        return np.zeros(0), np.zeros(0)
    syllable = smooth(loud, 0.05)
    above = syllable - smooth(loud, 0.4)
    if phones:
        vowels = [p for p in phones if viseme_of(p.symbol, alphabet) in VOWELS]
        times = np.array([0.5 * (p.start + p.end) for p in vowels])
        marked = np.array([is_stressed(p.symbol, alphabet) for p in vowels], bool)
        at = np.clip((times * MEL_RATE).astype(np.int64), 0, len(loud) - 1)
        strength = 1.0 + 3.0 * above[at] + (0.25 if not marked.any() else marked - 0.5)
        keep = strength > (1.0 if marked.any() else 1.3)
        return times[keep], np.clip(strength[keep], 0.3, 2.0)
    peak = (syllable[1:-1] > syllable[:-2]) & (syllable[1:-1] >= syllable[2:])
    at = np.nonzero(peak & (above[1:-1] > 0.04))[0] + 1
    return at / MEL_RATE, np.clip(0.6 + 3.0 * above[at], 0.3, 2.0)


def _upper_face(
    style: MotionStyle, loud: Array, accents: Array, weights: Array, rng: np.random.Generator
) -> Array:
    """Brows, lasting expression and its moods, ``[T,51]``."""
    frames = len(loud)
    face = np.zeros((frames, 51))

    def add(name: str, course: Array) -> None:
        face[:, list(sides(name))] += course[:, None]

    raised = np.zeros(frames)
    chosen = rng.random(len(accents)) < style.brow_rate * np.clip(weights, 0.0, 1.5)
    if chosen.any():
        times = accents[chosen] - rng.uniform(0.0, 0.15, int(chosen.sum()))
        hold = rng.gamma(2.0, 0.12, len(times))
        rise, fall = rng.uniform(0.1, 0.25, len(times)), rng.uniform(0.15, 0.5, len(times))
        size = style.brow_gain * weights[chosen] * np.exp(rng.normal(0.0, 0.5, len(times)))
        raised = np.asarray(bumps(frames, times, times + hold, rise, fall) @ size)
    drift, mood, frowning, pull = coloured(rng, frames, 4, 0.03, 0.4).T
    raised += style.brow_rest + 0.4 * style.brow_gain * drift
    raised += 0.25 * style.brow_gain * (smooth(loud, 0.3) - 0.5)
    raised = 0.45 * np.tanh(raised / 0.45)
    inner, outer, down = np.exp(0.35 * style.personal(40, 3))
    add("browInnerUp", 0.7 * inner * np.maximum(raised, 0.0))
    add("browOuterUp", 0.8 * outer * np.maximum(raised, 0.0))
    add("browDown", 0.8 * down * np.maximum(-raised, 0.0) + 0.3 * style.frown)
    add("eyeWide", 0.3 * np.maximum(raised - 0.03, 0.0))

    smiling = np.maximum(style.smile + style.mood_swing * 2.0 * mood, 0.0)
    add("mouthSmile", smiling)
    add("mouthDimple", 0.25 * smiling)
    add("mouthUpperUp", 0.12 * smiling)
    add("eyeSquint", style.squint + 0.2 * smiling + 0.15 * np.maximum(-raised, 0.0))
    add("mouthFrown", np.maximum(style.frown + style.mood_swing * frowning, 0.0))
    add("mouthPress", 0.3 * np.maximum(style.mood_swing * pull, 0.0))
    return face


def _wandering(style: MotionStyle, pose: Array, jaw: Array, rng: np.random.Generator) -> Array:
    """What a fit shows besides speech and expression, ``[T,51]``: lasting levels, low-rank
    wandering of all channels together, traces of head rotation and jaw, and noise."""
    frames = len(pose)
    pattern = style.personal(1, RANK, 51) / np.sqrt(RANK)
    slow = coloured(rng, frames, RANK, 0.05, 0.6)
    quick = coloured(rng, frames, RANK, 0.8, 4.0)
    white = style.crosstalk * ((0.8 * slow + 0.35 * quick) @ pattern)
    turned = np.tanh(2.0 * (pose[:, :3] - np.asarray(style.rotation_offset))) / 2.0
    white += style.leak * (turned @ style.personal(41, 3, 51))
    white += 0.3 * style.leak * (jaw - jaw.mean())[:, None] * style.personal(42, 51)
    white += style.jitter * 2.2 * smooth(rng.standard_normal((frames, 51)), 0.018)
    wander = fit_noise(white) + habits(style)
    # A neutral face is fitted with closed lips, which leaves these little to do.
    wander[:, _CLOSING] *= 0.4
    # Mouth and jaw shift sideways, with the turn of the head or without.
    shift = 0.03 * coloured(rng, frames, 2, 0.05, 2.0) + 0.12 * turned[:, 1:2]
    for name, course in (("mouth", shift[:, 0]), ("jaw", 0.7 * shift[:, 1])):
        wander[:, CODE_INDEX[name + "Left"]] += np.maximum(course, 0.0)
        wander[:, CODE_INDEX[name + "Right"]] += np.maximum(-course, 0.0)
    return wander


def _close_lids(
    face: Array, blink: Array, eyes: Array, style: MotionStyle, rng: np.random.Generator
) -> None:
    """Put blinks and what comes with them into ``face`` ``[T,51]``, in place."""
    lowered = style.lid_rest + 0.22 * np.clip(eyes[:, [1, 3]], -0.3, 0.4)
    lean = 1.0 + 0.1 * min(style.asymmetry, 0.5) * rng.normal() * np.array([1.0, -1.0])
    shut = blink[:, None]
    lids = list(sides("eyeBlink"))
    face[:, lids] += np.maximum(lowered, 0.0) * (1.0 - np.minimum(2 * shut, 1.0)) + shut * lean
    face[:, list(sides("eyeSquint"))] += 0.12 * shut
    face[:, list(sides("eyeWide"))] *= 1.0 - np.minimum(2.0 * shut, 1.0)
    face[:, list(sides("browDown"))] += 0.05 * shut
    face[:, list(sides("mouthSmile"))] += 0.01 * shut
