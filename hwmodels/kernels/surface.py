"""A smooth correction of a formula: a Gaussian process over logarithms of sizes, held by points on a regular grid.

What a library's choice of kernel does from shape to shape no formula of a few coefficients has; held-out shapes are
met better by a formula times a smooth surface that returns to one away from what was measured. The covariance is a
product over the axes, so that a prediction is one small contraction per axis.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 4.2 (Matern 3/2) and 8.3.2
(subset of regressors).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.records import Array

__all__ = ["Surface", "fit_surface", "matern"]

F = TypeVar("F", np.float32, np.float64)

LIMIT = 1.1  # of the correction's logarithm: no row is turned by more than a factor of three
NOISE = 0.05  # of a measurement about the surface, in logarithms; residuals above it count as sizes, not squares
ROUNDS = 5  # of reweighting
SPACING = 0.75  # of the grid's points, in lengths
MOST = 24  # points by axis
SPREAD = (0.05, 0.5)  # bounds of the surface's standard deviation, in logarithms
ROWS = 2048  # predicted at once


@dataclass(frozen=True, slots=True)
class Surface:
    """A correction over a box of features; outside of the box that of its edge.

    Attributes:
        low: Least feature by axis.
        high: Largest feature by axis.
        counts: Points by axis.
        lengths: Over how much of a feature residuals stay alike, by axis.
        weights: Of all points, the last axis fastest.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]
    lengths: tuple[float, ...]
    weights: tuple[float, ...]

    def factor(self, features: Array) -> Array:
        """Give what a prediction is to be multiplied by, shape (rows,).

        Args:
            features: Shape (rows, axes).
        """
        weights = np.asarray(self.weights, dtype=np.float32).reshape(self.counts[0], -1)
        out = np.empty(len(features))
        for start in range(0, len(out), ROWS):
            part = features[start : start + ROWS]
            left = np.einsum("ri,ij->rj", self._axis(part, 0), weights)  # no BLAS: a batch is its rows, to the bit
            for axis in range(1, len(self.counts)):
                table = left.reshape(len(part), self.counts[axis], -1)
                left = np.einsum("ri,rij->rj", self._axis(part, axis), table)
            out[start : start + ROWS] = left[:, 0]
        return np.asarray(np.exp(np.clip(out, -LIMIT, LIMIT)))

    def design(self, features: Array) -> Array:
        """Give the covariance of each row with each point, shape (rows, product of counts)."""
        out = np.ones((len(features), 1))
        for axis in range(len(self.counts)):
            one = self._axis(features, axis).astype(np.float64)
            out = np.einsum("ri,rj->rij", out, one).reshape(len(features), -1)
        return np.asarray(out)

    def covariance(self) -> Array:
        """Give the covariance of the points with one another, of unit variance."""
        out: Array = np.asarray(np.ones((1, 1)))
        for axis, length in enumerate(self.lengths):
            points = self._points(axis)
            out = np.asarray(np.kron(out, matern((points[:, None] - points) / length)), dtype=np.float64)
        return out

    def _points(self, axis: int) -> Array:
        return np.linspace(self.low[axis], self.high[axis], self.counts[axis])

    def _axis(self, features: Array, axis: int) -> NDArray[np.float32]:
        place = np.clip(features[:, axis], self.low[axis], self.high[axis])[:, None] - self._points(axis)
        return matern((place / self.lengths[axis]).astype(np.float32))


def matern(distance: NDArray[F]) -> NDArray[F]:
    """Give the Matern 3/2 covariance of places that lie so many lengths apart.

    Example:
        >>> float(matern(np.zeros(1))[0])
        1.0
    """
    far = np.abs(distance) * distance.dtype.type(3**0.5)
    return np.asarray((1 + far) * np.exp(-far), dtype=distance.dtype)


def fit_surface(features: Array, log_ratio: Array, lengths: tuple[float, ...], noise: float = NOISE) -> Surface:
    """Fit a correction to the logarithms of measured over predicted, robustly.

    Its variance is taken from the ratios themselves: half of them lie within 0.67 deviations.

    Args:
        features: Shape (rows, axes).
        log_ratio: Shape (rows,).
        lengths: Over how much of a feature residuals stay alike, by axis.
        noise: Standard deviation of a measurement about the surface.

    Source: Holland and Welsch, Robust regression using iteratively reweighted least-squares, 1977.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    counts = tuple(
        min(int(np.ceil((far - near) / (length * SPACING))) + 1, MOST)
        for near, far, length in zip(low, high, lengths, strict=True)
    )
    empty = Surface(tuple(map(float, low)), tuple(map(float, high)), counts, lengths, ())
    deviation = float(np.clip(np.median(np.abs(log_ratio)) / 0.67, *SPREAD))
    design = empty.design(features)
    prior = empty.covariance() / deviation**2 + 1e-6 * np.eye(design.shape[1])
    weight: Array = np.ones(len(features))
    answer: Array = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        weighted = design * (weight / noise**2)[:, None]
        answer = np.asarray(np.linalg.solve(weighted.T @ design + prior, weighted.T @ log_ratio), dtype=np.float64)
        weight = np.asarray(noise / np.maximum(np.abs(log_ratio - design @ answer), noise))
    return Surface(empty.low, empty.high, counts, lengths, tuple(round(float(value), 3) for value in answer))
