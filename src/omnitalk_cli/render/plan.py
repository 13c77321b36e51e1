"""Which pictures of the bank serve which frame: Viterbi over a sliding window.

The whole performance need not be known: decisions are made for a block of frames with a look
ahead, so memory and delay are fixed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.appearance import Appearance
from omnitalk_cli.render.features import Features, base_distance, eye_distance, mouth_distance
from omnitalk_cli.types import Float

BLOCK, LOOK_AHEAD = 64, 32  # frames
FADE = 4  # frames before and after a change of base picture
BASE_SWITCH, MOUTH_SWITCH, EYE_SWITCH = 10.0, 1.0, 0.7
SECOND_SWITCH, FORBIDDEN = 0.1, 1e4
Choice = tuple[int, int, int, int, int]  # base, two mouths, two pairs of eyes
FOLLOWING = 2  # the next bank frames may follow freely: they are natural motion


@dataclass(frozen=True, kw_only=True)
class Step:
    """Sources of one frame: base key, the key it fades with and that one's weight; the best and
    the second best picture for the mouth, and for the eyes."""

    base: int
    other: int
    other_weight: float
    mouth: tuple[int, int]
    eyes: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Compares targets with the bank: ``keys`` are the base pictures, ``bank`` all frames."""

    keys: Features
    bank: Features
    look: Appearance | None
    base_moves: Float
    mouth_moves: Float
    eye_moves: Float

    def steps(self, features: Callable[[int, int], Features], count: int) -> Iterator[Step]:
        """Plan ``count`` frames; ``features(start, stop)`` measures a range of them."""
        return _with_fades(self._choices(features, count))

    def _choices(self, features: Callable[[int, int], Features], count: int) -> Iterator[Choice]:
        before: tuple[int, ...] | tuple[None, ...] = (None,) * 5
        for start in range(0, count, BLOCK):
            target = features(start, min(count, start + BLOCK + LOOK_AHEAD))
            base = viterbi(base_distance(target, self.keys), self.base_moves, before[0])
            mouths = _two(
                mouth_distance(target, self.bank, self.look), self.mouth_moves, before[1:3]
            )
            eyes = _two(eye_distance(target, self.bank), self.eye_moves, before[3:5])
            block = list(zip(base.tolist(), *mouths, *eyes, strict=True))[:BLOCK]
            yield from block
            before = block[-1]


def _two(
    cost: Float, moves: Float, before: tuple[int, ...] | tuple[None, ...]
) -> tuple[list[int], list[int]]:
    """The cheapest path, and the cheapest that keeps away from it and its neighbours in time."""
    first = viterbi(cost, moves, before[0])
    bank = np.arange(cost.shape[1])
    near = np.abs(bank[None] - first[:, None]) <= (1 if len(bank) > 3 else -1)
    second = viterbi(np.where(near, cost + FORBIDDEN, cost), SECOND_SWITCH * moves, before[1])
    return first.tolist(), second.tolist()


def build_planner(keys: Features, bank: Features, look: Appearance | None) -> Planner:
    """Costs of going from one bank picture to another."""
    base = BASE_SWITCH + base_distance(keys, keys)
    np.fill_diagonal(base, 0)
    mouth = MOUTH_SWITCH + 0.25 * mouth_distance(bank, bank, None)
    eyes = EYE_SWITCH + 0.25 * eye_distance(bank, bank)
    for step in range(FOLLOWING + 1):
        rows = np.arange(len(mouth) - step)
        mouth[rows, rows + step] = 0
        eyes[rows, rows + step] = 0
    return Planner(
        keys=keys, bank=bank, look=look, base_moves=base, mouth_moves=mouth, eye_moves=eyes
    )


def viterbi(cost: Float, moves: Float, before: int | None) -> NDArray[np.int64]:
    """Cheapest path through ``cost`` [N,M] with ``moves`` [M,M] (from, to) → states [N].

    ``before`` is the state that precedes the first frame, if there is one.
    """
    total = cost[0] if before is None else cost[0] + moves[before]
    came_from = np.zeros(cost.shape, np.int32)
    for frame in range(1, len(cost)):
        reach = total[:, None] + moves
        came_from[frame] = reach.argmin(axis=0)
        total = np.take_along_axis(reach, came_from[frame][None], axis=0)[0] + cost[frame]
    path = np.zeros(len(cost), np.int64)
    path[-1] = total.argmin()
    for frame in range(len(cost) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _with_fades(choices: Iterator[Choice]) -> Iterator[Step]:
    """Turn changes of the base picture into cross-fades over ±FADE frames."""
    window: deque[Choice] = deque()
    past: deque[int] = deque(maxlen=FADE)

    def step() -> Step:
        base, mouth, mouth_too, eyes, eyes_too = window.popleft()
        other, weight = base, 0.0
        for away, coming in enumerate(list(window)[:FADE], start=1):
            if coming[0] != base:
                other, weight = coming[0], 0.5 - (away - 0.5) / (2 * FADE)
                break
        for away, gone in enumerate(reversed(past), start=1):
            share = 0.5 - (away - 0.5) / (2 * FADE)
            if gone != base:
                if share > weight:
                    other, weight = gone, share
                break
        past.append(base)
        return Step(base=base, other=other, other_weight=weight,
                    mouth=(mouth, mouth_too), eyes=(eyes, eyes_too))  # fmt: skip

    for choice in choices:
        window.append(choice)
        if len(window) > FADE:
            yield step()
    while window:
        yield step()
