"""The code under the marks: ids survive noise and losses, and nothing else passes for an id."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.provenance.coding import (
    agreement,
    code_length,
    decode,
    encode,
    shuffle,
    spread,
)


@pytest.mark.parametrize("bits", [16, 32])
def test_every_id_comes_back(bits: int) -> None:
    ids = [0, 1, (1 << bits) - 1, 0xA5C3, 1 << (bits - 1)]
    for value in ids:
        symbols = encode(value, bits)
        assert symbols.shape == (code_length(bits),)
        assert set(np.unique(symbols)) <= {-1, 1}
        assert decode(symbols.astype(np.float32), bits) == value


def test_an_id_survives_noise_that_flips_one_symbol_in_eight() -> None:
    rng = np.random.default_rng(1)
    flipped = []
    for number in range(20):
        value = int(rng.integers(1 << 32))
        sent = encode(value, 32)
        soft = (sent + 0.85 * rng.standard_normal(sent.size)).astype(np.float32)
        flipped.append(np.mean(np.sign(soft) != sent))
        assert decode(soft, 32) == value, number
    assert np.mean(flipped) > 0.11


def test_an_id_survives_the_loss_of_a_third_of_its_symbols() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        value = int(rng.integers(1 << 16))
        soft = encode(value, 16).astype(np.float32)
        soft[rng.permutation(soft.size)[: soft.size // 3]] = 0
        assert decode(soft, 16) == value


def test_noise_is_no_id() -> None:
    rng = np.random.default_rng(3)
    for bits in (16, 32):
        size = code_length(bits)
        found = [decode(rng.standard_normal(size).astype(np.float32), bits) for _ in range(150)]
        assert found == [None] * 150
    assert decode(np.zeros(code_length(32), np.float32), 32) is None


def test_a_word_with_one_wrong_bit_in_the_checksum_is_rejected() -> None:
    # The code is linear: the sum of three words is a word, but not one with a valid checksum
    # (the checksum starts from ones, so it is affine; an even number of words breaks it).
    sum_of_two = (encode(5, 16) * encode(9, 16)).astype(np.float32)
    assert decode(sum_of_two, 16) is None
    sum_of_three = (encode(5, 16) * encode(9, 16) * encode(64, 16)).astype(np.float32)
    assert decode(sum_of_three, 16) == 5 ^ 9 ^ 64


def test_agreement_tells_a_clean_reading_from_a_lucky_one() -> None:
    rng = np.random.default_rng(4)
    sent = encode(77, 32).astype(np.float32)
    noise = rng.standard_normal(sent.size).astype(np.float32)
    assert agreement(3 * sent, 77, 32) == pytest.approx(1)
    assert agreement(sent + noise, 77, 32) > 0.6
    assert abs(agreement(noise, 77, 32)) < 0.3
    assert agreement(np.zeros_like(sent), 77, 32) == 0


def test_wrong_sizes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="16 or 32"):
        code_length(24)
    with pytest.raises(ValueError, match="does not fit"):
        encode(1 << 16, 16)
    with pytest.raises(ValueError, match="soft values"):
        decode(np.zeros(10, np.float32), 16)
    with pytest.raises(ValueError, match="finite"):
        decode(np.full(code_length(16), np.nan, np.float32), 16)


def test_spreading_depends_on_the_key_alone() -> None:
    signs = spread(b"video", 5000)
    assert signs[:8].tolist() == spread(b"video", 8).tolist()
    assert set(np.unique(signs)) == {-1, 1}
    assert abs(signs.mean()) < 0.05
    other = spread(b"audio", 5000)
    assert abs(np.mean(signs * other, dtype=np.float64)) < 0.05
    # Marks in old files must stay readable: the stream itself is part of the format.
    assert spread(b"omnitalk", 12).tolist() == PINNED_SIGNS
    order = shuffle(b"video", 162)
    assert sorted(order.tolist()) == list(range(162))
    assert order.tolist() != shuffle(b"audio", 162).tolist()


PINNED_SIGNS = [-1, 1, -1, 1, -1, 1, -1, 1, 1, -1, 1, 1]
