"""How a person moves while talking: the style of synthetic motion, drawn anew for every clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omnitalk_cli.face.codes import BLENDSHAPE_NAMES, LIVE_EXPRESSION
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.training.motion_signals import Array
from omnitalk_cli.types import Float

RANK = 6
_AMBIGUOUS = 0.08  # squared length of a direction in the codes that a fit hardly sees


@dataclass(frozen=True, kw_only=True)
class MotionStyle:
    """One person's way of moving. Angles in radians, times in seconds, rates in hertz, lengths in
    eye distances, expression values in blendshape units (0…1).

    ``person`` seeds what has no number of its own here: how each viseme and each side of the face
    differs from the average, and which channels move together. The same style and the same
    generator state give the same motion.
    """

    person: int
    # Lips
    jaw_gain: float
    lip_gain: float
    round_gain: float
    spread_gain: float
    loud_jaw: float  # 0: the jaw ignores loudness, 1: it follows it fully
    sluggish: float  # factor on the time constants of coarticulation
    smoothing: float
    lead: float  # lips ahead of the sound
    closure: float  # how completely bilabials close, 0…1
    viseme_spread: float  # personal deviation of viseme targets
    lip_parting: float  # lips apart at rest
    breath: float  # probability of an open-mouthed breath in a pause
    # Expression
    smile: float
    frown: float
    brow_rest: float
    brow_gain: float
    brow_rate: float
    mood_swing: float
    crosstalk: float  # slow wandering of all channels together (low rank)
    leak: float  # what head rotation (radians) and jaw leave in other channels, as fits do
    habit: float  # lasting levels that the personal neutral does not explain
    jitter: float  # noise of the fit
    asymmetry: float
    # Lids
    blink_gap: float
    blink_depth: float
    blink_seconds: float
    double_blink: float
    blink_gaze: float  # gaze goes down with the lids, or seems to
    lid_rest: float
    squint: float
    # Head
    rotation_offset: tuple[float, float, float]  # pitch, yaw, roll
    rotation_amplitude: tuple[float, float, float]
    head_speed: float  # factor on the frequencies of head motion
    posture_gap: float
    posture_size: float
    nod: float
    nod_rate: float  # probability of a nod on a stressed syllable
    calm_silence: float  # head motion while silent, relative to while speaking
    neck: tuple[float, float]  # the face's origin over and before the turning point
    sway: float
    scale_sway: float
    head_jitter: float
    # Gaze
    gaze_offset: tuple[float, float]  # yaw, pitch
    fixation: float
    gaze_width: float
    aversion: float  # probability that a fixation is away from the camera
    stabilised: float  # share of head rotation that the eyes undo
    head_follows: float
    gaze_jitter: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> MotionStyle:
        """A random style, wider than the styles of real clips."""

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def about(middle: float, factor: float) -> float:
            """Log-normal: two thirds of draws within a factor of the middle, never far out."""
            z = float(np.clip(rng.standard_normal(), -2.2, 2.2))
            return middle * factor**z

        def maybe(probability: float, low: float, high: float) -> float:
            chosen = rng.random() < probability
            value = uniform(low, high)
            return value if chosen else 0.0

        def normal(deviation: float, bound: float) -> float:
            return float(np.clip(rng.normal(0.0, deviation), -bound, bound))

        degree = np.pi / 180.0
        energy = about(1.0, 1.5)
        lips = about(0.95, 1.25)
        return cls(
            person=int(rng.integers(2**31)),
            jaw_gain=lips * about(1.15, 1.3),
            lip_gain=lips * about(1.0, 1.25),
            round_gain=lips * about(1.0, 1.4),
            spread_gain=lips * about(1.0, 1.35),
            loud_jaw=uniform(0.0, 0.9),
            sluggish=about(1.0, 1.3),
            smoothing=uniform(0.014, 0.045),
            lead=uniform(-0.01, 0.05),
            closure=uniform(0.75, 1.0),
            viseme_spread=uniform(0.08, 0.3),
            lip_parting=maybe(0.4, 0.0, 0.12),
            breath=uniform(0.0, 0.7),
            smile=maybe(0.4, 0.02, 0.4),
            frown=maybe(0.25, 0.02, 0.2),
            brow_rest=uniform(-0.15, 0.15),
            brow_gain=0.07 * about(1.0, 1.9),
            brow_rate=uniform(0.03, 0.35),
            mood_swing=0.035 * about(1.0, 1.8),
            crosstalk=0.030 * about(1.0, 1.6),
            leak=0.28 * about(1.0, 1.6),
            habit=uniform(0.005, 0.05),
            jitter=0.005 * about(1.0, 1.7),
            asymmetry=uniform(0.05, 0.9),
            blink_gap=about(3.6, 1.7),
            blink_depth=about(0.31, 1.3),
            blink_seconds=uniform(0.16, 0.42),
            double_blink=maybe(0.5, 0.0, 0.25),
            blink_gaze=uniform(-0.2, 0.5),
            lid_rest=uniform(-0.05, 0.07),
            squint=uniform(-0.06, 0.06),
            rotation_offset=(
                normal(5.5 * degree, 12 * degree),
                normal(7.0 * degree, 18 * degree),
                normal(3.5 * degree, 10 * degree),
            ),
            rotation_amplitude=(
                2.3 * degree * energy * about(1.0, 1.4),
                2.9 * degree * energy * about(1.0, 1.5),
                1.3 * degree * energy * about(1.0, 1.5),
            ),
            head_speed=about(1.0, 1.35),
            posture_gap=uniform(1.2, 8.0),
            posture_size=2.5 * degree * energy * about(1.0, 1.6),
            nod=2.2 * degree * energy * about(1.0, 1.6),
            nod_rate=uniform(0.1, 0.7),
            calm_silence=uniform(0.3, 1.0),
            neck=(uniform(0.6, 1.5), uniform(0.4, 1.0)),
            sway=0.06 * energy * about(1.0, 1.9),
            scale_sway=0.016 * energy * about(1.0, 1.7),
            head_jitter=0.0015 * about(1.0, 1.6),
            gaze_offset=(normal(5 * degree, 12 * degree), normal(4 * degree, 10 * degree)),
            fixation=about(1.1, 1.6),
            gaze_width=uniform(3.0, 18.0) * degree,
            aversion=uniform(0.02, 0.8),
            stabilised=uniform(0.3, 1.3),
            head_follows=uniform(0.0, 0.45),
            gaze_jitter=0.011 * about(1.0, 1.8),
        )

    def personal(self, key: int, *shape: int) -> Float:
        """Standard normal numbers that belong to the person, the same at every call."""
        draw = np.random.default_rng((self.person, key)).standard_normal(shape)
        return np.clip(draw, -2.5, 2.5).astype(np.float32)


@lru_cache(maxsize=1)
def _ambiguity() -> tuple[Float, Float]:
    """What the face model hardly shows, both ``[51,51]``: a colouring that turns white noise into
    the noise of a fit, ``(B Bᵀ + ε)^-½`` with unit mean variance over the live channels, and the
    projection ``ε (B Bᵀ + ε)⁻¹`` that keeps of a code what moves no landmark.

    A least-squares fit errs in this way: channels that look alike trade places.
    """
    live = np.array(LIVE_EXPRESSION)
    basis = FaceRig.load().basis.reshape(len(live), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(basis @ basis.T)
    colouring = np.zeros((51, 51), np.float32)
    projection = np.zeros((51, 51), np.float32)
    noise = (vectors / np.sqrt(values + _AMBIGUOUS)) @ vectors.T
    noise /= np.sqrt((noise**2).sum(axis=1).mean())
    colouring[np.ix_(live, live)] = noise
    hidden = _AMBIGUOUS / (values + _AMBIGUOUS)
    projection[np.ix_(live, live)] = (vectors * hidden) @ vectors.T
    return colouring, projection


def fit_noise(white: Array) -> Array:
    """White noise ``[..., 51]`` as the fit's noise: large where it shows least."""
    return np.asarray(white @ _ambiguity()[0])


def habits(style: MotionStyle) -> Float:
    """Lasting levels ``[51]`` ≥ 0 of channels that cancel each other in the geometry."""
    _, projection = _ambiguity()
    levels = style.habit * np.abs(style.personal(43, 51))
    for _ in range(3):
        levels = np.maximum(1.4 * levels @ projection, 0.0)
    return levels.astype(np.float32)


def side_gains(style: MotionStyle) -> Float:
    """Gain of each expression channel ``[51]`` that makes the face asymmetric, about 1."""
    tilt = style.personal(3, len(BLENDSHAPE_NAMES))
    general = float(style.personal(4, 1)[0])
    gains = np.ones(51, np.float32)
    for index, name in enumerate(BLENDSHAPE_NAMES):
        if name.endswith("Left") and BLENDSHAPE_NAMES[index + 1] == name[:-4] + "Right":
            # Lids and eyes close nearly together; lips and brows need not.
            lean = 0.5 * style.asymmetry * (0.6 * general + 0.8 * tilt[index])
            lean = np.clip(0.3 * lean if name.startswith("eye") else lean, -0.85, 0.85)
            gains[index], gains[index + 1] = 1.0 + lean, 1.0 - lean
    return gains
