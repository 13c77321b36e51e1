"""Synthetic motion and the figures that judge motion."""

from __future__ import annotations

import time

import numpy as np
import pytest

from omnitalk_cli.evaluation.motion import (
    count_blinks,
    expression_distance,
    frechet_distance,
    lip_correlation,
    lip_opening,
    motion_statistics,
    pose_distance,
)
from omnitalk_cli.face.codes import (
    CODE_INDEX,
    DEAD_NAMES,
    EXPRESSION,
    GAZE,
    LIVE_EXPRESSION,
    ROTATION,
)
from omnitalk_cli.training.motion import MotionStyle, Phone, synthesise_motion, viseme_of
from omnitalk_cli.training.motion_signals import bumps, coloured, loudness, renewal
from omnitalk_cli.training.visemes import VISEMES, visemes_of
from omnitalk_cli.types import MEL_RATE

WORDS = "DH AH0 K W IH1 K B R AW1 N F AA1 K S JH AH1 M P S OW1 V ER0 M AA1 M AH0 Z SH UW1 Z"


def speech(seconds: float, seed: int = 0) -> tuple[list[Phone], np.ndarray]:
    """Phones of a sentence said over and over with pauses, and a mel that is loud on vowels."""
    rng = np.random.default_rng(seed)
    phones: list[Phone] = []
    mel = np.full((round(seconds * MEL_RATE), 100), -10.0, np.float32)
    at = 0.3
    while at < seconds - 0.5:
        for symbol in [*WORDS.split(), "SIL"]:
            length = 0.4 if symbol == "SIL" else float(rng.uniform(0.05, 0.14))
            phones.append(Phone(symbol, at, at + length))
            if symbol != "SIL":
                part = slice(int(at * MEL_RATE), int((at + length) * MEL_RATE))
                level = -1.5 if symbol[-1].isdigit() else -4.5
                mel[part] = level + rng.normal(0, 0.5, mel[part].shape)
            at += length
    return phones, mel


def make(seed: int, seconds: float = 8.0, phones: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spoken, mel = speech(seconds, seed)
    return synthesise_motion(spoken if phones else None, mel, MotionStyle.sample(rng), rng)


@pytest.mark.parametrize(
    ("symbol", "alphabet", "viseme"),
    [
        ("AA1", "arpabet", "open"), ("AA", "arpabet", "open"), ("m", "arpabet", "bilabial"),
        ("S", "arpabet", "sibilant"), ("SH", "arpabet", "postalveolar"),
        ("UW0", "arpabet", "close_back"), ("SIL", "arpabet", "rest"), ("+SPN+", "arpabet", "rest"),
        ("<sil>", "arpabet", "rest"), ("XX", "arpabet", "neutral"),
        ("a", "espeak", "open_front"), ("'A:", "espeak", "open"), ("ˈɑː", "espeak", "open"),
        ("tS", "espeak", "postalveolar"), ("tʃ", "espeak", "postalveolar"),
        ("ts.h", "espeak", "postalveolar"), ("S;", "espeak", "sibilant"),
        ("p", "espeak", "bilabial"), ("f", "espeak", "labiodental"), ("D", "espeak", "dental"),
        ("u:", "espeak", "close_back"), ("uː", "espeak", "close_back"),
        ("w", "espeak", "glide_round"), ("n̩", "espeak", "alveolar"),
        ("y51", "espeak", "front_round"), ("@214", "espeak", "central"),
        ("3:", "espeak", "rhotic"), ("0", "espeak", "open"), ("i.55", "espeak", "close_front"),
        ("O~", "espeak", "mid_back"), ("_:", "espeak", "rest"), ("", "espeak", "rest"),
        ("§", "espeak", "neutral"),
    ],
)  # fmt: skip
def test_symbols_of_both_alphabets_find_their_viseme(symbol, alphabet, viseme):
    assert viseme_of(symbol, alphabet) == viseme


def test_diphthongs_pass_through_several_visemes():
    assert visemes_of("AY2", "arpabet") == ("open", "close_front")
    assert visemes_of("aI", "espeak") == ("open_front", "close_front")
    assert visemes_of("oʊ", "espeak") == ("mid_back", "close_back")
    assert visemes_of("iAu51", "espeak") == ("close_front", "open", "close_back")
    assert all(name in VISEMES for name in visemes_of("ɔɪ", "espeak"))
    with pytest.raises(ValueError, match="alphabet"):
        viseme_of("a", "x-sampa")  # type: ignore[arg-type]


@pytest.mark.parametrize("phones", [True, False])
def test_motion_is_in_range_and_finite(phones):
    for seed in range(6):
        codes = make(seed, phones=phones)
        assert codes.dtype == np.float32 and codes.shape == (750, 61)
        assert np.isfinite(codes).all()
        assert codes[:, EXPRESSION].min() >= 0.0 and codes[:, EXPRESSION].max() <= 1.0
        assert not codes[:, [CODE_INDEX[name] for name in DEAD_NAMES]].any()
        assert (codes[:, list(LIVE_EXPRESSION)].std(axis=0) > 0).mean() > 0.8
        assert np.abs(codes[:, ROTATION]).max() <= 0.71
        assert np.abs(codes[:, GAZE]).max() <= 0.61


def test_same_generator_state_gives_same_motion():
    assert np.array_equal(make(3), make(3))
    assert not np.array_equal(make(3), make(4))


def test_empty_and_silent_input():
    style = MotionStyle.sample(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    assert synthesise_motion([], np.zeros((0, 100), np.float32), style, rng).shape == (0, 61)
    silent = np.full((1, 100), -11.5, np.float32)
    assert np.isfinite(synthesise_motion(None, silent, style, rng)).all()
    assert np.isfinite(synthesise_motion([Phone("SIL", 0, 0.01)], silent, style, rng)).all()
    with pytest.raises(ValueError, match="mel"):
        synthesise_motion(None, np.zeros((10, 80), np.float32), style, rng)


def test_lips_close_on_bilabials_and_open_on_vowels():
    contrasts = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        spoken, mel = speech(8.0, seed)
        style = MotionStyle.sample(rng)
        opening = lip_opening(synthesise_motion(spoken, mel, style, rng))

        def around(symbols: set[str], opening=opening, spoken=spoken, lead=style.lead):
            found = [p for p in spoken if p.symbol in symbols]
            parts = [
                opening[int((p.start - lead) * MEL_RATE) : int((p.end - lead) * MEL_RATE) + 1]
                for p in found
            ]
            return [part for part in parts if len(part)]

        closed = np.mean([part.min() for part in around({"M", "B", "P"})])
        opened = np.mean([part.max() for part in around({"AA1", "AW1"})])
        contrasts.append(opened - closed)
        assert closed < 0.35 * opened
    assert min(contrasts) > 0.02


def test_rounded_vowels_round():
    rounded, spread = [], []
    for seed in range(6):
        codes = make(seed)
        spoken, _ = speech(8.0, seed)
        pucker = codes[:, CODE_INDEX["mouthPucker"]]
        for phone in spoken:
            middle = int(0.5 * (phone.start + phone.end) * MEL_RATE)
            if middle < len(pucker):
                if phone.symbol == "UW1":
                    rounded.append(pucker[middle])
                elif phone.symbol in ("AA1", "IH1", "AW1"):
                    spread.append(pucker[middle])
    assert np.mean(rounded) > 1.5 * np.mean(spread)


def test_loudness_alone_opens_the_mouth():
    rng = np.random.default_rng(0)
    _, mel = speech(8.0)
    codes = synthesise_motion(None, mel, MotionStyle.sample(rng), rng)
    loud, _ = loudness(mel)
    assert np.corrcoef(loud, lip_opening(codes))[0, 1] > 0.5


def test_population_looks_like_people():
    figures = [motion_statistics(make(seed, 20.0), MEL_RATE) for seed in range(24)]

    def middle(name: str) -> float:
        return float(np.median([figure[name] for figure in figures]))

    assert 5 < middle("blinks_per_minute") < 35
    assert 2 < middle("head_speed") < 25  # degrees per second
    assert 0.03 < middle("lip_range") < 0.25  # eye distances
    assert len({round(figure["head_speed"], 3) for figure in figures}) == len(figures)
    quick = [figure["head_speed"] for figure in figures]
    assert max(quick) > 2 * min(quick)


def test_faster_than_three_hundred_times_real_time():
    rng = np.random.default_rng(0)
    spoken, mel = speech(30.0)
    style = MotionStyle.sample(rng)
    synthesise_motion(spoken, mel, style, rng)
    spent = []
    for _ in range(3):
        start = time.process_time()
        synthesise_motion(spoken, mel, style, rng)
        spent.append(time.process_time() - start)
    assert 30.0 / min(spent) > 100  # three times slower than measured, for a busy machine


def test_coloured_noise_has_unit_variance_in_its_band():
    noise = coloured(np.random.default_rng(0), 40_000, 3, 1.0, 4.0)
    assert noise.shape == (40_000, 3)
    assert np.allclose(noise.std(axis=0), 1.0, atol=0.05)
    power = np.abs(np.fft.rfft(noise, axis=0)) ** 2
    frequency = np.fft.rfftfreq(40_000, 1 / MEL_RATE)
    inside = power[(frequency > 0.6) & (frequency < 7)].sum()
    assert inside / power.sum() > 0.95


def test_bumps_and_renewal():
    course = bumps(200, np.array([1.0]), np.array([1.2]), 0.1, 0.2).toarray()[:, 0]
    now = np.arange(200) / MEL_RATE
    assert np.allclose(course[(now >= 1.0) & (now <= 1.2)], 1.0)
    assert not course[(now < 0.9) | (now > 1.4)].any()
    assert np.isclose(np.interp(0.95, now, course), 0.5, atol=0.03)
    gaps = np.diff(renewal(np.random.default_rng(0), 4000.0, 3.0, 0.5))
    assert gaps.min() >= 0.5 and abs(gaps.mean() - 3.0) < 0.15


def still(frames: int = 300) -> np.ndarray:
    return np.zeros((frames, 61), np.float32)


def test_lip_opening_follows_jaw_and_closing():
    codes = still(3)
    codes[1, CODE_INDEX["jawOpen"]] = 0.4
    codes[2, [CODE_INDEX["jawOpen"], CODE_INDEX["mouthClose"]]] = 0.4
    opening = lip_opening(codes)
    assert opening[0] == 0.0
    assert 0.08 < opening[1] < 0.3
    assert abs(opening[2]) < 0.15 * opening[1]


def test_lip_correlation_of_analytic_courses():
    time_axis = np.linspace(0, 6 * np.pi, 301)[:-1]
    true, opposite, other = still(), still(), still()
    true[:, CODE_INDEX["jawOpen"]] = 0.3 + 0.2 * np.sin(time_axis)
    opposite[:, CODE_INDEX["jawOpen"]] = 0.3 - 0.1 * np.sin(time_axis)
    other[:, CODE_INDEX["jawOpen"]] = 0.3 + 0.2 * np.cos(time_axis)
    assert lip_correlation(true, true[:-5]) == pytest.approx(1.0)
    assert lip_correlation(opposite, true) == pytest.approx(-1.0, abs=1e-6)
    assert lip_correlation(other, true) == pytest.approx(0.0, abs=1e-6)
    assert lip_correlation(still(), true) == 0.0
    with pytest.raises(ValueError, match="two frames"):
        lip_correlation(true[:1], true)


@pytest.mark.parametrize("rate", [25.0, 30.0, MEL_RATE])
def test_motion_statistics_of_known_motion(rate):
    frames = int(10 * rate)
    now = np.arange(frames) / rate
    codes = still(frames)
    codes[:, CODE_INDEX["headYaw"]] = np.radians(6.0) * now / 10.0 * 5.0  # 3 degrees a second
    lid = sum(np.exp(-(((now - centre) / 0.08) ** 2)) for centre in (1.0, 4.0, 8.0))
    codes[:, CODE_INDEX["eyeBlinkLeft"]] = codes[:, CODE_INDEX["eyeBlinkRight"]] = 0.1 + 0.8 * lid
    figures = motion_statistics(codes, rate)
    assert figures["head_speed"] == pytest.approx(3.0, rel=0.03)
    assert figures["head_range"] == pytest.approx(27.0, rel=0.02)
    assert figures["blinks"] == 3
    assert figures["blinks_per_minute"] == pytest.approx(18.0, rel=0.01)
    assert figures["gaze_speed"] == 0.0 and figures["brow_activity"] == 0.0
    assert figures["std_mouth"] == 0.0 and figures["std_lids"] > 0.0


def test_a_closed_eye_is_not_a_blink():
    codes = still(500)
    codes[100:300, CODE_INDEX["eyeBlinkLeft"]] = codes[100:300, CODE_INDEX["eyeBlinkRight"]] = 0.9
    assert count_blinks(codes, 50.0) == 0
    with pytest.raises(ValueError, match="shape"):
        count_blinks(codes[:, :52], 50.0)
    with pytest.raises(ValueError, match="no motion"):
        motion_statistics(still(0), 30.0)


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 5))
    a = (a - a.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(a, rowvar=False))).T
    shift = np.array([1.0, 0.0, 2.0, 0.0, 0.0])
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, a + shift) == pytest.approx(5.0, abs=1e-6)
    # Covariances I and 9·I: 5 · (3 − 1)².
    assert frechet_distance(a, 3.0 * a) == pytest.approx(20.0, abs=1e-6)
    assert frechet_distance(a, 3.0 * a) == pytest.approx(frechet_distance(3.0 * a, a))
    with pytest.raises(ValueError, match="need"):
        frechet_distance(a, a[:, :4])


def test_expression_and_pose_distances_see_their_own_codes():
    codes = np.random.default_rng(0).normal(0.3, 0.1, (200, 61))
    turned = codes.copy()
    turned[:, CODE_INDEX["headYaw"]] += 0.5
    assert pose_distance(turned, codes) == pytest.approx(0.25, abs=1e-6)
    assert expression_distance(turned, codes) == pytest.approx(0.0, abs=1e-9)
    looking = codes.copy()
    looking[:, GAZE] += 0.1
    assert expression_distance(looking, codes) == pytest.approx(0.04, abs=1e-6)
