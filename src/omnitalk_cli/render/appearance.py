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

COMPONENTS = 12
FEWEST = 24  # frames; fewer teach nothing
RIDGES = (1.0, 10.0, 100.0, 1000.0)
FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """``weights`` [F,K] on centred features (``mean`` [F]); ``actual`` [M,K] of the bank.

    The components are in grey levels (root mean square over the texture).
    """

    mean: Float
    weights: Float
    actual: Float

    def distance(self, features: Float) -> Float:
        """[N,M] grey levels between the texture predicted of ``features`` [N,F] and the bank's."""
        predicted = (features - self.mean) @ self.weights
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
    actual = vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0))
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
    weights = _ridge(centred, actual, RIDGES[int(np.argmin(errors))])
    return Appearance(
        mean=mean, weights=weights.astype(np.float32), actual=actual.astype(np.float32)
    )


def _ridge(inputs: Float, outputs: Float, ridge: float) -> Float:
    normal = inputs.T @ inputs + ridge * np.eye(inputs.shape[1], dtype=np.float32)
    return np.linalg.solve(normal, inputs.T @ outputs)
