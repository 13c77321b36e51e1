"""What the mesh does not know of a person's movement, learned from the reference itself.

Hair, ears, neck, shoulders and clothes do not lie on the mesh, and tracked silhouettes slide. But
between two pictures of one person where these are follows from the difference of pose and
expression to a fair degree. So pictures of the bank are warped onto each other by the mesh, what is
left is measured as optical flow, and a ridge regression learns it for every place of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.render.features import PLACE, QUICK
from omnitalk_cli.render.flow import DOWN
from omnitalk_cli.types import Float

SIDE = 64  # cells of the learned field
FLOW_SIDE = 256  # pixels of the pictures that are compared
MOST_PAIRS = 120
FEWEST_PAIRS = 24
ROUNDS = 2
SMOOTH, LEAN = 1.2, 12.0  # cells, pairs
CAUTION = 1.1  # features beyond the smallest set must save this much
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
FOLDS = 4
NEIGHBOURS = 2.5  # cells over which the choice of a ridge is made
# A performance goes beyond what the reference shows, and a line learned inside is less true there.
SHRINK, REACH = 0.6, 2.0  # share, deviations of the features
SHARE = 0.35  # of the head's way, where nothing was learned
RIM = 0.15  # sides
# Beyond this, in pixels at a side of 512, a flow is an error and not a movement.
LARGEST_FLOW = 24.0
LARGEST_DIFFERENCE = 40  # grey levels that may be left where a flow is believed


class Pair(Protocol):
    """Gives the filmed target, the source warped onto it (both ``[256, 256, 3]``) and where the
    person is (``[256, 256]`` 0…1)."""

    def __call__(
        self, target: int, source: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Float]: ...


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A linear map ``weights`` ``[F, s·s·2]`` of feature differences in units of ``scale`` ``[F]``
    to pixels of the picture, and what every base picture is off by itself (``offsets``
    ``[K, s, s, 2]``): no head pose says how somebody sits.
    """

    scale: Float
    weights: Float
    offsets: Float

    def flow(self, target: Float, source: Float, key: int) -> Float:
        """Displacement ``[s, s, 2]`` to add to the mesh's flow from a target frame with features
        ``target`` ``[F]`` to base picture ``key``, whose features are ``source``."""
        learned = (self.step(target, source) @ self.weights).reshape(SIDE, SIDE, 2)
        return np.asarray(learned + self.offsets[key], np.float32)

    def step(self, target: Float, source: Float) -> Float:
        """What ``weights`` are multiplied with, ``[..., F]``."""
        return np.asarray(SHRINK * np.clip((target - source) / self.scale, -REACH, REACH))


def learn_residual(
    pairs: Sequence[tuple[int, int]],
    draw: Pair,
    features: Float,
    size: int,
    keys: NDArray[np.int64],
    *,
    workers: int = 1,
) -> Residual | None:
    """Fits the residual on ``pairs`` (target frame, source frame) of the bank; the sources are
    among the base pictures ``keys``.

    ``features`` ``[N, F]`` of all frames; ``size`` is the side of the pictures that the flow is
    meant for. None for fewer than 24 pairs. ``workers`` threads compare pictures.
    """
    if len(pairs) < FEWEST_PAIRS:
        return None
    pairs = sorted(pairs)

    def measure(pair: tuple[int, int]) -> tuple[Float, Float]:
        return _left_over(*draw(*pair), size / FLOW_SIDE)

    with ThreadPoolExecutor(workers) as pool:
        measured = list(pool.map(measure, pairs))
    scale = (features.std(axis=0) + 1e-3).astype(np.float32)
    steps = np.stack([(features[target] - features[source]) / scale for target, source in pairs])
    flows = np.stack([flow for flow, _ in measured]).reshape(len(pairs), -1, 2)
    trust = np.stack([share for _, share in measured]).reshape(len(pairs), -1)
    sources = np.array([source for _, source in pairs])
    offsets = np.zeros((len(keys), *flows.shape[1:]), np.float32)
    place = np.searchsorted(keys, sources)
    sets = sorted({min(QUICK, features.shape[1]), features.shape[1]})
    choice = _choose(steps, flows, trust, sets)
    for _ in range(ROUNDS):
        weights = _fit(steps, flows - offsets[place], trust, sets, choice)
        # What shrinking leaves is shared out as well: all base pictures then agree on one place.
        left = flows - (SHRINK * steps @ weights).reshape(flows.shape)
        for key in np.unique(place):
            offsets[key] = _shared(left[place == key], trust[place == key])
    return Residual(scale=scale, weights=weights, offsets=offsets.reshape(len(keys), SIDE, SIDE, 2))


def _shared(left: Float, trust: Float) -> Float:
    """What the flows ``left`` [P, L, 2] of one source share: a mean that leans to nothing where
    few are trusted, smooth, and carried a little over the person's outline."""
    total = (left * trust[..., None]).sum(axis=0).reshape(SIDE, SIDE, 2)
    count = trust.sum(axis=0).reshape(SIDE, SIDE)
    total, count = cv2.GaussianBlur(total, (0, 0), SMOOTH), cv2.GaussianBlur(count, (0, 0), SMOOTH)
    return np.asarray(total / (count + LEAN)[..., None], np.float32).reshape(-1, 2)


def usual_residual(
    centre: NDArray[np.floating[Any]], scale: float, size: int, *, keys: int
) -> Residual:
    """Stands in for a learned residual: shoulders that follow the head by ``SHARE`` of its way.

    ``centre`` [2] of the head and pixels per eye distance ``scale`` in pictures of side ``size``.
    The share grows as that of the head's own motion falls, so the neck stretches evenly; up and
    down it ends at the lower border, below which there is no picture.
    """
    rows = (np.arange(SIDE) + 0.5) / SIDE
    low, high = DOWN
    way = np.clip(((rows * size - centre[1]) / scale - low) / (high - low), 0, 1)
    grown = SHARE * way * way * (3 - 2 * way)
    share = np.stack([grown, grown * np.clip((1 - rows) / RIM, 0, 1)], axis=-1)
    weights = np.zeros((QUICK + 6, SIDE, SIDE, 2), np.float32)
    for axis in range(2):  # a head that is right of its place in the source: look further left
        weights[PLACE + axis, ..., axis] = -share[:, None, axis] * scale / 100
    unit = 25.0  # per cent of the eye distance
    return Residual(
        scale=np.full(QUICK + 6, unit, np.float32),
        weights=weights.reshape(QUICK + 6, -1) * np.float32(unit / SHRINK),
        offsets=np.zeros((keys, SIDE, SIDE, 2), np.float32),
    )


def _left_over(
    filmed: NDArray[np.uint8], warped: NDArray[np.uint8], person: Float, zoom: float
) -> tuple[Float, Float]:
    """Mean flow ``[s, s, 2]`` (pixels of the picture) from ``filmed`` to ``warped`` and how far it
    is to be trusted ``[s, s]``."""
    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (filmed, warped))
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = finder.calc(first, second, np.zeros((*first.shape, 2), np.float32))
    axis = np.arange(FLOW_SIDE, dtype=np.float32)
    places = flow + np.stack(np.meshgrid(axis, axis), axis=-1)
    moved = cv2.remap(second, places, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    limit = LARGEST_FLOW * FLOW_SIDE / 512
    sure = (cv2.absdiff(first, moved) < LARGEST_DIFFERENCE) & (np.abs(flow).max(axis=-1) < limit)
    weight = person * sure + np.float32(1e-6)
    share = cv2.resize(weight, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    total = cv2.resize(flow * weight[..., None], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (total * (zoom / share[..., None])).astype(np.float32), np.asarray(share, np.float32)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """What a weighted regression of flows on F features needs to know of some pairs: ``normal``
    ``[L, F, F]`` and ``right`` ``[L, F, 2]``."""

    normal: Float
    right: Float

    @classmethod
    def of(cls, steps: Float, flows: Float, trust: Float) -> _Sums:
        products = (steps[:, :, None] * steps[:, None, :]).reshape(len(steps), -1)
        normal = (trust.T @ products).reshape(-1, steps.shape[1], steps.shape[1])
        right = np.einsum("pf,plc->lfc", steps, flows * trust[..., None], optimize=True)
        return cls(normal=normal, right=right)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(normal=self.normal - other.normal, right=self.right - other.right)

    def solve(self, ridge: float, used: int) -> Float:
        """Weights ``[L, F, 2]``; only the first ``used`` features get any."""
        weights = np.zeros_like(self.right)
        normal = self.normal[:, :used, :used] + np.float32(ridge) * np.eye(used, dtype=np.float32)
        weights[:, :used] = np.linalg.solve(normal, self.right[:, :used])
        return weights


def _choose(steps: Float, flows: Float, trust: Float, sets: Sequence[int]) -> NDArray[np.int64]:
    """Which of ``RIDGES`` × ``sets`` predicts best what it has not seen, for every place ``[L]``.

    Flows ``[P, L, 2]`` are regressed on steps ``[P, F]`` with weights ``trust`` ``[P, L]``; pairs
    are in order of time, and so are the folds. ``sets`` are numbers of features, growing. Errors
    are compared over a neighbourhood.
    """
    fold = np.arange(len(steps)) * FOLDS // len(steps)
    # Every second place each way stands for its neighbours.
    side = SIDE // 2
    some = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[::2, ::2].ravel()
    flows, trust = flows[:, some], trust[:, some]
    every = _Sums.of(steps, flows, trust)
    errors = np.zeros((len(RIDGES) * len(sets), side, side), np.float32)
    for held in range(FOLDS):
        test = fold == held
        train = every - _Sums.of(steps[test], flows[test], trust[test])
        for number, (ridge, used) in enumerate(product(RIDGES, sets)):
            weights = train.solve(ridge, used).transpose(1, 0, 2).reshape(steps.shape[1], -1)
            missed = (steps[test] @ weights).reshape(flows[test].shape) - flows[test]
            lost = ((missed**2).sum(axis=-1) * trust[test]).sum(axis=0)
            caution = 1.0 if used == sets[0] else CAUTION
            errors[number] += caution * lost.reshape(side, side)
    smooth = np.stack([cv2.GaussianBlur(error, (0, 0), NEIGHBOURS / 2) for error in errors])
    return np.asarray(smooth.argmin(axis=0).repeat(2, axis=0).repeat(2, axis=1).ravel(), np.int64)


def _fit(
    steps: Float, flows: Float, trust: Float, sets: Sequence[int], choice: NDArray[np.int64]
) -> Float:
    """Weighted ridge regression ``[F, L·2]`` with what ``_choose`` has chosen for every place."""
    sums = _Sums.of(steps, flows, trust)
    solved = np.zeros_like(sums.right)
    for number, (ridge, used) in enumerate(product(RIDGES, sets)):
        here = choice == number
        if here.any():
            some = _Sums(normal=sums.normal[here], right=sums.right[here])
            solved[here] = some.solve(ridge, used)
    return np.asarray(solved.transpose(1, 0, 2).reshape(steps.shape[1], -1), np.float32)
