"""Colour of a voice and the quiet of its room, from one mel to another."""

import numpy as np

from omnitalk_cli.speech.colour import match_colour


def mel(seed: int, *, tilt: float, floor: float, level: float = 0.0) -> np.ndarray:
    """Bursts of speech 2 nepers strong between pauses at ``floor``."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(0, 0.1, (300, 100)) + level
    speaking = (np.arange(300) // 30) % 2 == 0
    frames[speaking] += 2.0 + tilt * np.linspace(-1, 1, 100)
    frames[~speaking] += floor
    return frames.astype(np.float32)


def slope(frames: np.ndarray) -> float:
    speaking = frames.mean(1) > np.median(frames.mean(1))
    return float(np.polyfit(np.linspace(-1, 1, 100), frames[speaking].mean(0), 1)[0])


def test_colour_comes_over_and_level_stays() -> None:
    made, reference = mel(0, tilt=-0.5, floor=-4), mel(1, tilt=0.5, floor=-4, level=3.0)
    matched = match_colour(made, reference)
    assert abs(slope(matched) - 0.5) < 0.15 < abs(slope(made) - 0.5)
    speaking = (np.arange(300) // 30) % 2 == 0
    assert abs(float((matched - made)[speaking].mean())) < 0.1


def test_pauses_become_as_quiet_as_the_references_but_never_louder() -> None:
    pauses = (np.arange(300) // 30) % 2 == 1
    inner = pauses & np.roll(pauses, 5) & np.roll(pauses, -5)
    noisy, clean = mel(0, tilt=0, floor=-2), mel(1, tilt=0, floor=-4)
    lowered = match_colour(noisy, clean)[inner].mean() - noisy[inner].mean()
    assert -2.3 < lowered < -1.7
    raised = match_colour(clean, noisy)[inner].mean() - clean[inner].mean()
    assert abs(raised) < 0.1
