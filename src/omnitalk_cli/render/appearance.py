"""What lips look like, learned from one person: textures predicted from lip shape and pose.

Two mouths of the same outline can show teeth, tongue or neither. Within one person this follows
from the lips to a fair degree, so a small ridge regression predicts the texture's principal
components, and bank pictures are also compared with that prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.types import Float

COMPONENTS = 40
FEWEST = 48  # frames; fewer teach nothing
RIDGES = (1.0, 10.0, 100.0, 1000.0)
FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """``weights`` [F,K] on centred features (``mean`` [F], of the bank between ``low`` and
    ``high``); ``actual`` [M,K] of the bank.

    The components are in grey levels (root mean square over the texture); ``textures`` [K,h,w,3]
    is what one unit of each looks like, and ``trust`` [K] 0…1 how much of the step from a bank
    picture to the prediction is true.
    """

    mean: Float
    low: Float
    high: Float
    weights: Float
    actual: Float
    textures: Float
    trust: Float

    def predict(self, features: Float) -> Float:
        """Components [...,K] expected of ``features`` [...,F].

        Both stay within what the bank has shown: beyond, a straight line leads to colours that no
        face has.
        """
        inside = np.clip(features, self.low, self.high) - self.mean
        least, most = self.actual.min(axis=0), self.actual.max(axis=0)
        return np.clip(inside @ self.weights, least, most).astype(np.float32)

    def correction(self, features: Float, source: int) -> Float:
        """What to add [h,w,3] to bank picture ``source`` so that it looks as ``features`` [F] are
        expected to."""
        return np.tensordot(self.step(features, source), self.textures, axes=1).astype(np.float32)

    def step(self, features: Float, source: int | NDArray[np.int64]) -> Float:
        """How much of each texture ``correction`` adds, [...,K] for one row or many."""
        return np.asarray(self.trust * (self.predict(features) - self.actual[source]))

    def distance(self, features: Float) -> Float:
        """[N,M] grey levels between the texture predicted of ``features`` [N,F] and the bank's."""
        predicted = self.predict(features)
        squares = (predicted**2).sum(1)[:, None] + (self.actual**2).sum(1)[None]
        return np.sqrt(np.maximum(squares - 2 * predicted @ self.actual.T, 0))


def learn_appearance(textures: NDArray[np.uint8], features: Float) -> Appearance | None:
    """Fit bank textures [M,...] of one geometry on ``features`` [M,F]; None for a tiny bank.

    The ridge is chosen by predicting contiguous quarters of the bank from the rest.
    """
    count = len(textures)
    if count < FEWEST:
        return None
    flat = textures.reshape(count, -1).astype(np.float32)
    flat -= flat.mean(axis=0)
    # Eigenvectors of the small Gram matrix: the same components as an SVD, much cheaper.
    values, vectors = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    kept = slice(-1, -1 - COMPONENTS, -1)
    spread = np.sqrt(np.maximum(values[kept], 1e-6))
    actual = vectors[:, kept] * spread
    shown = (vectors[:, kept] / spread).T @ flat
    mean = features.mean(axis=0)
    centred = features - mean
    fold = np.arange(count) * FOLDS // count
    errors = []
    for ridge in RIDGES:
        error = 0.0
        for held in range(FOLDS):
            train, test = fold != held, fold == held
            weights = _ridge(centred[train], actual[train], ridge)
            error += float(((centred[test] @ weights - actual[test]) ** 2).sum())
        errors.append(error)
    ridge = RIDGES[int(np.argmin(errors))]
    weights = _ridge(centred, actual, ridge)
    return Appearance(
        mean=mean,
        low=features.min(axis=0),
        high=features.max(axis=0),
        weights=weights.astype(np.float32),
        actual=actual.astype(np.float32),
        textures=shown.reshape(COMPONENTS, *textures.shape[1:]).astype(np.float32),
        trust=_trust(centred, actual, fold, ridge),
    )


def _trust(inputs: Float, outputs: Float, fold: NDArray[np.int64], ridge: float) -> Float:
    """Share [K] of the predicted step between two frames that is really taken.

    Steps from the training frame whose inputs are nearest, to held-out frames.
    """
    above = np.zeros(outputs.shape[1])
    below = np.full(outputs.shape[1], 1e-6)
    for held in range(FOLDS):
        train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        weights = _ridge(inputs[train], outputs[train], ridge)
        squares = (inputs[train] ** 2).sum(1)[None] - 2 * inputs[test] @ inputs[train].T
        near = train[squares.argmin(axis=1)]
        predicted = inputs[test] @ weights - outputs[near]
        above += (predicted * (outputs[test] - outputs[near])).sum(axis=0)
        below += (predicted**2).sum(axis=0)
    return np.clip(above / below, 0, 1).astype(np.float32)


def _ridge(inputs: Float, outputs: Float, ridge: float) -> Float:
    normal = inputs.T @ inputs + ridge * np.eye(inputs.shape[1], dtype=np.float32)
    return np.linalg.solve(normal, inputs.T @ outputs)
