"""Forced alignment with phone models of one speaker, trained on that speaker's recordings alone.

A phone is a chain of three states, a pause one state, each with a Gaussian over acoustic features.
Models are estimated from a first alignment, the recordings aligned anew with them, and so on
(Viterbi training; Rabiner 1989, section III). Letters: ``T`` frames, ``D`` features, ``S`` states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.text.phones import SILENCE
from omnitalk_cli.types import Float

STATES = 3
# How many frames the prior is worth: towards the phone's mean, and the covariance of all states.
_MEAN_FRAMES, _COVARIANCE_FRAMES = 10.0, 150.0

State = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What an utterance says: phone ``symbols`` [P] and ``optional`` [P], which of them (pauses)
    may be left out; never the first, the last or two in a row."""

    symbols: list[str]
    optional: list[bool]

    def __post_init__(self) -> None:
        if self.optional[0] or self.optional[-1]:
            raise ValueError("the first and the last segment cannot be optional")
        if any(a and b for a, b in zip(self.optional[:-1], self.optional[1:], strict=True)):
            raise ValueError("two optional segments in a row")

    def states(self) -> tuple[list[State], NDArray[np.int64]]:
        """The states ``[S]`` in order, and the segment that each belongs to."""
        parts = [1 if symbol == SILENCE else STATES for symbol in self.symbols]
        names = [(s, k) for s, n in zip(self.symbols, parts, strict=True) for k in range(n)]
        return names, np.repeat(np.arange(len(parts)), parts)


@dataclass(frozen=True, kw_only=True)
class Route:
    """``edges`` [P+1]: the frame each segment begins at, and the end (left out: no length);
    ``doubt``: how much likelier, per frame, other phones were than the ones in the text."""

    edges: NDArray[np.int64]
    doubt: float


class PhoneModels:
    """Gaussians of states: made by :meth:`train`, used by :meth:`align`."""

    def __init__(
        self, names: Sequence[State], means: Float, roots: Float, stay: NDArray[np.float64]
    ) -> None:
        """``means`` [S,D]; ``roots`` [S,D,D], ``x @ root`` has unit covariance; ``stay`` [S], the
        probability to remain in a state."""
        self._place = {name: place for place, name in enumerate(names)}
        self._roots = roots
        self._shift = np.einsum("sd,sde->se", means, roots)
        self._constant = np.log(np.abs(np.linalg.det(roots.astype(np.float64))))
        self._log_stay, self._log_leave = np.log(stay), np.log(1 - stay)

    @classmethod
    def train(cls, utterances: Sequence[tuple[Float, Chain, NDArray[np.int64]]]) -> PhoneModels:
        """From features [T,D], chains and edges [P+1] of utterances. The states of a phone share
        its time evenly (as :meth:`align` finds phones, not states)."""
        gathered: dict[State, list[Float]] = {}
        visits: dict[State, int] = {}
        for frames, chain, edges in utterances:
            for symbol, first, last in zip(chain.symbols, edges[:-1], edges[1:], strict=True):
                if last <= first:
                    continue
                parts = 1 if symbol == SILENCE else STATES
                cuts = np.round(np.linspace(first, last, parts + 1)).astype(int)
                for k in range(parts):
                    name = (symbol, k)
                    gathered.setdefault(name, []).append(frames[cuts[k] : cuts[k + 1]])
                    visits[name] = visits.get(name, 0) + 1
        names = sorted(gathered)
        stacks = {name: np.concatenate(gathered[name]).astype(np.float64) for name in names}
        size = next(iter(stacks.values())).shape[1]
        everything = np.concatenate(list(stacks.values()))
        counts = np.array([len(stacks[name]) for name in names], np.float64)
        means = np.zeros((len(names), size))
        for symbol in {symbol for symbol, _ in names}:
            mine = [k for k, name in enumerate(names) if name[0] == symbol]
            pooled = np.concatenate([stacks[names[k]] for k in mine])
            centre = (pooled.sum(axis=0) + _MEAN_FRAMES * everything.mean(axis=0)) / (
                len(pooled) + _MEAN_FRAMES
            )
            for k in mine:
                total = stacks[names[k]].sum(axis=0) + _MEAN_FRAMES * centre
                means[k] = total / (counts[k] + _MEAN_FRAMES)
        scatter = np.stack(
            [
                (stacks[name] - mean).T @ (stacks[name] - mean)
                for name, mean in zip(names, means, strict=True)
            ]
        )
        common = scatter.sum(axis=0) / counts.sum()
        covariance = (scatter + _COVARIANCE_FRAMES * common) / (
            counts[:, None, None] + _COVARIANCE_FRAMES
        )
        covariance += 1e-4 * np.eye(size)
        roots = np.linalg.inv(np.linalg.cholesky(covariance)).transpose(0, 2, 1)
        dwell = np.maximum(counts / np.array([visits[name] for name in names]), 1.2)
        return cls(names, means.astype(np.float32), roots.astype(np.float32), 1 - 1 / dwell)

    def score(self, frames: Float) -> Float:
        """Log-likelihoods ``[T,S]`` of ``frames`` [T,D], all states."""
        states, size, _ = self._roots.shape
        flat = self._roots.transpose(1, 0, 2).reshape(size, states * size)
        white = (frames @ flat).reshape(len(frames), states, size) - self._shift
        return np.asarray(self._constant - 0.5 * np.einsum("tse,tse->ts", white, white), np.float32)

    def align(self, frames: Float, chain: Chain) -> Route | None:
        """The likeliest times of ``chain`` in ``frames`` [T,D]; None where they are too few, or a
        phone has no model."""
        names, owner = chain.states()
        if any(name not in self._place for name in names):
            return None
        places = np.array([self._place[name] for name in names])
        everything = self.score(frames)
        chosen = everything[:, places]
        stay, leave = self._log_stay[places], self._log_leave[places]
        optional = np.array(chain.optional)[owner]
        # From state s-1 always; from s-2 where s-1 is a pause that may be left out.
        never = np.full(2, -np.inf)
        step = np.concatenate([never[:1], leave[:-1]])
        jump = np.concatenate([never, np.where(optional[1:-1], leave[:-2], -np.inf)])
        total = np.full(len(names) + 2, -np.inf)  # two places that are never reached in front
        total[2] = chosen[0, 0]
        back = np.zeros((len(frames), len(names)), np.int8)
        for t in range(1, len(frames)):
            best, from_one, from_two = total[2:] + stay, total[1:-1] + step, total[:-2] + jump
            back[t] = from_one > best
            np.maximum(best, from_one, out=best)
            back[t][from_two > best] = 2
            np.maximum(best, from_two, out=best)
            total[2:] = best + chosen[t]
        if not np.isfinite(total[-1]):
            return None
        route = np.empty(len(frames), np.int64)
        route[-1] = len(names) - 1
        for t in range(len(frames) - 1, 0, -1):
            route[t - 1] = route[t] - back[t, route[t]]
        edges = np.searchsorted(owner[route], np.arange(len(chain.symbols) + 1), side="left")
        doubt = everything.max(axis=1) - chosen[np.arange(len(frames)), route]
        return Route(edges=edges, doubt=float(doubt.mean()))
