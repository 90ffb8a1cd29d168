"""A smooth correction of a formula: Gaussians on a regular grid of logarithms, one factor per axis.

What a library's choice of kernel does from shape to shape no formula of a few coefficients has; held-out shapes are
met better by a formula times a smooth surface that the fit shrinks towards one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.records import Array

__all__ = ["Surface", "fit_surface"]

LIMIT = 0.7  # of the correction's logarithm: no row is turned by more than a factor of two
NOISE = 0.03  # residuals below it count as squares, above it as sizes
ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Surface:
    """A correction over a box of features; outside of the box that of its edge.

    Attributes:
        low: Least feature by axis.
        high: Largest feature by axis.
        counts: Gaussians by axis.
        weights: Of all of them, the last axis fastest.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...]

    def factor(self, features: Array) -> Array:
        """Give what a prediction is to be multiplied by, shape (rows,).

        Args:
            features: Shape (rows, axes).
        """
        rows = len(features)
        left = np.broadcast_to(np.asarray(self.weights), (1, len(self.weights)))
        for axis, count in enumerate(self.counts):
            one = self._axis(features, axis)
            table = left.reshape(len(left), count, -1)
            left = one @ table[0] if axis == 0 else np.einsum("ri,rij->rj", one, table)
        return np.asarray(np.exp(np.clip(left.reshape(rows), -LIMIT, LIMIT)))

    def design(self, features: Array) -> Array:
        """Give the value of each Gaussian at each row, shape (rows, product of counts)."""
        out = np.ones((len(features), 1))
        for axis in range(len(self.counts)):
            out = (out[:, :, None] * self._axis(features, axis)[:, None, :]).reshape(len(features), -1)
        return out

    def _axis(self, features: Array, axis: int) -> Array:
        low, high, count = self.low[axis], self.high[axis], self.counts[axis]
        step = (high - low) / max(count - 1, 1) or 1.0
        place = (np.clip(features[:, axis], low, high) - low) / step
        return np.asarray(np.exp(-0.5 * (place[:, None] - np.arange(count)) ** 2))


def fit_surface(features: Array, log_ratio: Array, counts: tuple[int, ...], shrink: float = 1.0) -> Surface:
    """Fit a correction to the logarithms of measured over predicted, robustly.

    Args:
        features: Shape (rows, axes).
        log_ratio: Shape (rows,).
        counts: Gaussians by axis.
        shrink: Weight of the squares of the weights (ridge), in rows.

    Source: Holland and Welsch, Robust regression using iteratively reweighted least-squares, 1977.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    empty = Surface(tuple(map(float, low)), tuple(map(float, high)), counts, ())
    design = empty.design(features)
    weight: Array = np.ones(len(features))
    answer: Array = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        weighted = design * weight[:, None]
        square = weighted.T @ design + shrink * np.eye(design.shape[1])
        answer = np.asarray(np.linalg.solve(square, weighted.T @ log_ratio), dtype=np.float64)
        weight = np.asarray(NOISE / np.maximum(np.abs(log_ratio - design @ answer), NOISE))
    return Surface(empty.low, empty.high, counts, tuple(round(float(value), 4) for value in answer))
