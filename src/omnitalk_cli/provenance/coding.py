"""From an id to code symbols that survive damage, and back; shared by the marks of all media.

The id is followed by a CRC-16 (CCITT), which tells a reading from a guess, then by six zeros, and
goes through the rate-1/3 convolutional code of constraint length 7 with the generators 133, 171,
165 (octal, Proakis, table 8.2-2: free distance 15). Reading takes soft values, so that a symbol
that was lost (0) costs little.

What must look random to everybody without the key comes from SHA-256 in counter mode: the same
on every machine and with every version of the libraries.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

PAYLOAD_BITS = (16, 32)

_CRC_BITS = 16
_CRC_POLYNOMIAL = 0x1021
_CRC_START = 0xFFFF  # not 0: the word of zeros must not be valid
_MEMORY = 6
_STATES = 1 << _MEMORY
_GENERATORS = (0o133, 0o171, 0o165)
_RATE = len(_GENERATORS)


def code_length(bits: int) -> int:
    """How many code symbols carry an id of ``bits`` (16 or 32) bits: 114 or 162."""
    if bits not in PAYLOAD_BITS:
        raise ValueError(f"an id has 16 or 32 bits, not {bits}")
    return _RATE * (bits + _CRC_BITS + _MEMORY)


def encode(value: int, bits: int) -> NDArray[np.int8]:
    """The code symbols (+1 for a 0, -1 for a 1) ``[code_length(bits)]`` of the id ``value``."""
    length = code_length(bits)
    if not 0 <= value < 1 << bits:
        raise ValueError(f"the id {value} does not fit in {bits} bits")
    message = value << _CRC_BITS | _crc(value, bits)
    size = bits + _CRC_BITS
    stream = [message >> (size - 1 - at) & 1 for at in range(size)] + [0] * _MEMORY
    symbols = np.empty((len(stream), _RATE), np.int8)
    state = 0
    for at, bit in enumerate(stream):
        symbols[at] = _OUTPUTS[bit, state]
        state = (bit << _MEMORY | state) >> 1
    return symbols.reshape(length)


def decode(soft: Float, bits: int) -> int | None:
    """The id in ``soft [code_length(bits)]``, or None when its CRC is wrong.

    The sign of a soft value is that of the symbol, its size how sure it is; 0 is an erasure. The
    most likely word (Viterbi) is found, and only then is the CRC looked at: one random input in
    65 536 passes it, so callers that try many inputs also ask for a strong ``agreement``.
    """
    steps = code_length(bits) // _RATE
    values = np.asarray(soft, np.float32)
    if values.shape != (steps * _RATE,):
        raise ValueError(f"{steps * _RATE} soft values expected, not {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the soft values must be finite")
    # gain[t, bit, state]: how well the symbols of that branch agree with what was received.
    gain = np.einsum("tr,bsr->tbs", values.reshape(steps, _RATE), _OUTPUTS.astype(np.float32))
    score = np.full(_STATES, -np.inf, np.float32)
    score[0] = 0
    came_from = np.empty((steps, _STATES), np.uint8)
    new_bit = np.arange(_STATES) >> (_MEMORY - 1)
    earlier = (np.arange(_STATES) << 1 & (_STATES - 1))[:, None] | np.arange(2)  # [states, 2]
    for step in range(steps):
        both = score[earlier] + gain[step, new_bit[:, None], earlier]
        better = both.argmax(axis=1)
        came_from[step] = earlier[np.arange(_STATES), better]
        score = both.max(axis=1)
    state = 0  # the tail of zeros ends there
    message = 0
    for step in reversed(range(steps)):
        if step < steps - _MEMORY:
            message |= (state >> (_MEMORY - 1)) << (steps - _MEMORY - 1 - step)
        state = int(came_from[step, state])
    value, checksum = message >> _CRC_BITS, message & (1 << _CRC_BITS) - 1
    return value if _crc(value, bits) == checksum else None


def agreement(soft: Float, value: int, bits: int) -> float:
    """How well ``soft`` fits the id ``value``: the cosine between it and the symbols, -1 to 1."""
    values = np.asarray(soft, np.float64)
    norm = float(np.sqrt((values**2).sum() * values.size))
    return float((values * encode(value, bits)).sum() / norm) if norm > 0 else 0.0


def spread(key: bytes, count: int) -> NDArray[np.int8]:
    """``count`` signs (+1/-1) that look random without ``key``; a longer one begins the same."""
    return (1 - 2 * np.unpackbits(_stream(key, -(-count // 8)))[:count].astype(np.int8)).astype(
        np.int8
    )


def shuffle(key: bytes, count: int) -> NDArray[np.intp]:
    """An order of ``count`` things that looks random without ``key``: ``symbols[shuffle(...)]``."""
    words = _stream(key, 8 * count).view(">u8")
    return np.argsort(words, kind="stable")


def _stream(key: bytes, size: int) -> NDArray[np.uint8]:
    """``size`` bytes: SHA-256 of the hashed key and a counter."""
    seed = hashlib.sha256(key).digest()
    blocks = (
        hashlib.sha256(seed + number.to_bytes(8, "big")).digest()
        for number in range(-(-size // 32))
    )
    return np.frombuffer(b"".join(blocks), np.uint8)[:size]


def _crc(value: int, bits: int) -> int:
    register = _CRC_START
    for at in reversed(range(bits)):
        top = register >> (_CRC_BITS - 1) ^ value >> at & 1
        register = (register << 1 & (1 << _CRC_BITS) - 1) ^ (_CRC_POLYNOMIAL if top else 0)
    return register


def _outputs() -> NDArray[np.int8]:
    """Symbols of every branch, ``[bit, state, 3]``; the newest bit of a state is its highest."""
    table = np.empty((2, _STATES, _RATE), np.int8)
    for bit in range(2):
        for state in range(_STATES):
            register = bit << _MEMORY | state
            for number, generator in enumerate(_GENERATORS):
                table[bit, state, number] = 1 - 2 * ((register & generator).bit_count() & 1)
    return table


_OUTPUTS = _outputs()
