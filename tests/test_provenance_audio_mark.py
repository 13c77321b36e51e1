"""The audio mark: what is put in is read back, wherever the sound is cut and however loud it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from marked_media import speech_like
from omnitalk_cli.provenance.audio_mark import (
    AudioMarker,
    detect,
    embed,
    excerpts,
    payload_bits,
)

RATE = 24_000
KEY = b"a key of the tests"
ID = 0xC0FFEE42


@pytest.fixture(scope="module")
def long() -> np.ndarray:
    return embed(speech_like(8.0), ID, 32, KEY)


@pytest.fixture(scope="module")
def short() -> np.ndarray:
    return embed(speech_like(4.0, seed=1), ID, 16, KEY)


def test_round_trip(long: np.ndarray, short: np.ndarray) -> None:
    found = detect(long, RATE, KEY)
    assert (found.id, found.bits, found.present) == (ID, 32, True)
    assert found.confidence > 0.8
    found = detect(short, RATE, KEY)
    assert (found.id, found.bits, found.present) == (ID & 0xFFFF, 16, True)


def test_sound_keeps_its_length_and_level(long: np.ndarray) -> None:
    plain = speech_like(8.0)
    assert long.shape == plain.shape and long.dtype == np.float32
    assert 10 * np.log10((plain**2).sum() / ((plain - long) ** 2).sum()) > 12
    assert abs(20 * np.log10(long.std() / plain.std())) < 0.5


@pytest.mark.parametrize("size", [1, 999, 24_000, 10**6])
def test_pieces_do_not_matter(size: int) -> None:
    plain = speech_like(3.3, seed=2)[: 100 if size == 1 else None]
    whole = embed(plain, ID, 16, KEY)
    marker = AudioMarker(ID, 16, KEY)
    pieces = [marker.push(plain[at : at + size]) for at in range(0, len(plain), size)]
    pieces.append(marker.finish())
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert len(whole) == len(plain)


def test_memory_of_the_marker_is_fixed() -> None:
    marker = AudioMarker(ID, 32, KEY)
    piece = speech_like(2.0)
    held = 0
    given = 0
    for number in range(20):
        given += len(marker.push(piece))
        held = max(held, (number + 1) * len(piece) - given)
    assert held < 4 * RATE
    assert given + len(marker.finish()) == 20 * len(piece)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5, 1.536])
def test_very_short_sound_passes_through(seconds: float) -> None:
    plain = speech_like(2.0)[: int(seconds * RATE)]
    marked = embed(plain, ID, 16, KEY)
    assert marked.shape == plain.shape and np.isfinite(marked).all()
    detect(marked, RATE, KEY)


def test_silence_stays_silent_and_says_nothing() -> None:
    silence = np.zeros(8 * RATE, np.float32)
    assert not embed(silence, ID, 32, KEY).any()
    assert not detect(silence, RATE, KEY).present


@pytest.mark.parametrize("gain", [0.02, 0.5, 2.0])
def test_gain(long: np.ndarray, gain: float) -> None:
    assert detect(gain * long, RATE, KEY).id == ID


def test_noise_trim_and_rate(long: np.ndarray, short: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.03 * long.std(), len(long)).astype(np.float32)
    assert detect(long + noise, RATE, KEY).id == ID
    assert detect(long[int(1.24 * RATE) :], RATE, KEY).id == ID
    assert detect(short[int(0.37 * RATE) :], RATE, KEY).id == ID & 0xFFFF
    assert detect(resample_poly(long, 2, 1), 2 * RATE, KEY).id == ID
    assert detect(resample_poly(long, 1, 3), RATE // 3, KEY).id == ID


@pytest.mark.parametrize("speed", [0.99, 1.01])
def test_speed(long: np.ndarray, speed: float) -> None:
    at = np.arange(0, len(long) - 1, speed)
    faster = np.interp(at, np.arange(len(long)), long).astype(np.float32)
    assert detect(faster, RATE, KEY).id == ID


def test_another_key_reads_nothing(long: np.ndarray) -> None:
    found = detect(long, RATE, b"another key")
    assert found.id is None and not found.present


def test_everybody_can_read_the_mark_of_the_built_in_key() -> None:
    marked = embed(speech_like(4.0, seed=1), ID, 16)
    assert detect(marked, RATE).id == ID & 0xFFFF
    assert detect(marked, RATE, KEY).id is None


def test_unmarked_sound_gives_none() -> None:
    for seed in range(10, 14):
        found = detect(speech_like(6.0, seed), RATE, KEY)
        assert (found.id, found.bits, found.present) == (None, 0, False)


def test_marking_again_replaces_the_id(long: np.ndarray) -> None:
    assert detect(embed(long, 7, 32, KEY), RATE, KEY).id == 7


def test_long_sound_is_read_in_parts() -> None:
    assert excerpts(15.0) == [(0.0, 15.0)]
    parts = excerpts(36_000.0)
    assert len(parts) <= 12 and parts[-1][0] + parts[-1][1] == pytest.approx(36_000)
    plain = np.concatenate([speech_like(10.0, seed=20), speech_like(10.0, seed=21)])
    half = np.concatenate([plain[: 10 * RATE], embed(plain[10 * RATE :], ID, 32, KEY)])
    assert detect(half, RATE, KEY).id == ID


def test_broken_samples_do_no_harm(long: np.ndarray) -> None:
    broken = long.copy()
    broken[1000:1010] = np.nan
    broken[5000] = np.inf
    assert detect(broken, RATE, KEY).id == ID
    with pytest.raises(ValueError):
        detect(long, 0, KEY)
    with pytest.raises(ValueError):
        AudioMarker(ID, 24, KEY)


def test_payload_follows_the_length() -> None:
    assert [payload_bits(seconds) for seconds in (0.5, 4.0, 7.9, 8.0, 600.0)] == [16] * 3 + [32] * 2
