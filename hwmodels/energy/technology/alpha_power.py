"""Logic over the share of the nominal supply: quadratic energy, and delay by fitted alpha-power laws.

The cubic delay polynomials cannot be used as printed: those of 45 and 32 nm HP rise from 0.95 to 1.13 V and from 0.84
to 1.05 V (a higher supply would be slower), those of 20 and 16 nm from 0.96 V. So the alpha-power law,
delay ~ V / (V - Vt)^alpha, is fitted to each node's polynomial where that falls (at most 6 % off); 45 and 32 nm are
left out and interpolated from their neighbours. The law falls and is convex wherever alpha >= 1.

Source: Stillmaker & Baas, Integration 58, 2017; Sakurai & Newton, Alpha-power law MOSFET model, JSSC 25(2), 1990.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.technology.curves import polynomial, supply_curve

__all__ = ["SHARES", "fit_error", "log_delay", "log_energy", "share_at"]

SHARES = (0.65, 1.2)
"""Lowest and highest supply as a share of the nominal one: near-threshold operation and breakdown are not modelled."""

_NO_DELAY_FIT = (45.0, 32.0)
_FIT_FROM_V = 0.5


def log_energy(nodes: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the logarithm of the switching energy relative to the nominal supply.

    Args:
        nodes: Shape (n_points,) or (); below 7 nm as at 7 nm [nm].
        shares: Supply over the nominal supply, the same shape.

    Example:
        >>> float(log_energy(np.array(45.0), np.array(1.0)))
        0.0
    """
    return _between(nodes, shares, _energy_nodes(), _log_energy_at)


def log_delay(nodes: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the logarithm of the delay relative to the nominal supply.

    Arguments: as `log_energy`.

    Example:
        >>> float(log_delay(np.array(45.0), np.array(1.0)))
        0.0
    """
    return _between(nodes, shares, _delay_nodes(), _log_delay_at)


def share_at(nodes: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the share of the nominal supply at which the log delay is the wanted one: the inverse of `log_delay`.

    Newton's method: the log delay is convex and falls, so from the second step on all steps stay left of the root.

    Args:
        nodes: Shape (n_points,) or () [nm].
        wanted: Log delay, reached within `SHARES`; the same shape.

    Example:
        >>> float(share_at(np.array(7.0), np.array(0.0)).round(9))
        1.0
    """
    weights = [(weight, _fits()[node]) for weight, node in _weights(nodes, _delay_nodes())]
    share = np.ones(nodes.shape)
    for _ in range(30):
        value, slope = np.log(share) - wanted, 1 / share
        for weight, fit in weights:
            above = share - fit.threshold_share
            value = value - weight * fit.alpha * np.log(above / (1 - fit.threshold_share))
            slope = slope - weight * fit.alpha / above
        step = value / slope
        share = np.maximum(share - step, SHARES[0])
        if np.all(np.abs(step) < 1e-13):
            break
    return np.asarray(np.clip(share, *SHARES))


def fit_error() -> float:
    """Give the largest logarithmic error of an alpha-power law to its polynomial.

    Example:
        >>> fit_error() < 0.06
        True
    """
    return max(fit.error for fit in _fits().values())


@dataclass(frozen=True, slots=True)
class _Fit:
    """The alpha-power law of one node, over the share of the nominal supply."""

    threshold_share: float
    alpha: float
    error: float


@cache
def _fits() -> Mapping[float, _Fit]:
    return {node: _fit(node) for node in polynomial("delay", "HP") if node not in _NO_DELAY_FIT}


def _fit(node: float) -> _Fit:
    """Fit one node's polynomial where it falls: alpha by least squares for each of many thresholds."""
    nominal = float(np.exp(supply_curve().log_at(node)))
    shares = np.linspace(max(_FIT_FROM_V / nominal, 0.55), SHARES[1], 201)
    delay = np.polyval(polynomial("delay", "HP")[node], shares * nominal)
    falls = np.concatenate(([True], np.cumsum(np.diff(delay) >= 0) == 0))
    shares, target = shares[falls], np.log(delay[falls] / shares[falls])
    best = _Fit(0.0, 1.0, np.inf)
    for threshold in np.linspace(0.0, 0.9 * shares[0], 181):
        columns = np.stack([np.ones_like(shares), -np.log(shares - threshold)], axis=1)
        solution = np.linalg.lstsq(columns, target, rcond=None)[0]
        error = float(np.abs(columns @ solution - target).max())
        if error < best.error:
            best = _Fit(float(threshold), float(solution[1]), error)
    return best


@cache
def _energy_polynomials() -> Mapping[float, tuple[float, ...]]:
    """Give energy polynomials over the share of the nominal supply, one at the nominal supply."""
    scaled = {}
    for node, (square, linear, constant) in polynomial("energy", "HP").items():
        nominal = float(np.exp(supply_curve().log_at(node)))
        total = (square * nominal + linear) * nominal + constant
        scaled[node] = (square * nominal**2 / total, linear * nominal / total, constant / total)
    return scaled


def _log_energy_at(node: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    square, linear, constant = _energy_polynomials()[node]
    return np.asarray(np.log((square * share + linear) * share + constant))


def _log_delay_at(node: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    fit = _fits()[node]
    overdrive = (share - fit.threshold_share) / (1 - fit.threshold_share)
    return np.asarray(np.log(share) - fit.alpha * np.log(overdrive))


@cache
def _delay_nodes() -> tuple[float, ...]:
    return tuple(sorted(_fits(), reverse=True))


@cache
def _energy_nodes() -> tuple[float, ...]:
    return tuple(sorted(_energy_polynomials(), reverse=True))


def _between(
    nodes: NDArray[np.float64],
    shares: NDArray[np.float64],
    known: tuple[float, ...],
    function: Callable[[float, NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Evaluate a function of known nodes in between: linear over the logarithm of the node, at the same share."""
    result = np.zeros(np.broadcast_shapes(nodes.shape, shares.shape))
    for weight, node in _weights(nodes, known):
        result = result + weight * function(node, shares)
    return np.asarray(result)


def _weights(nodes: NDArray[np.float64], known: tuple[float, ...]) -> list[tuple[NDArray[np.float64], float]]:
    """Give the weight of each known node that takes part, linear over the logarithm of the node."""
    position = np.interp(np.log(nodes), np.log(known)[::-1], np.arange(len(known))[::-1])
    span = range(int(position.min()), int(np.ceil(position.max())) + 1)
    return [(np.maximum(0.0, 1.0 - np.abs(position - index)), known[index]) for index in span]
