"""A GPU without calibration: what other GPUs' calibrations say of it, and what a handful of measurements adds.

The calibrations of other devices, applied to the data sheet of this one, are a committee. Its mean is the prediction;
what its members disagree about, what their coefficients may be off by, and a smooth rest are the covariance. A handful
of measured kernels turns all of them at once, and says how sure the outcome is.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, sections 2.2 and 2.7 (explicit basis
functions); query by committee, Seung, Opper and Sompolinsky, 1992; greedy choice by the variance that it removes,
Cohn, Ghahramani, Jordan, Active learning with statistical models, 1996, section 3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwmodels.kernels.families import Family
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array
from hwmodels.kernels.surface import Surface, matern

__all__ = ["BELIEFS", "Belief", "Member", "Outlook", "Transfer", "choose_kernels", "outlook", "transferred"]

Member = tuple[Any, Surface | None]
"""Coefficients and correction of another device."""

STEP = 0.1  # of a logarithm: to differentiate a formula by its coefficients
ROBUST = 1.5  # residuals beyond so many deviations count as sizes, not squares
ROUNDS = 8
EXTREME = 0.12
"""Share of kernels at each end of a size that are not chosen to be measured: there formulas err most, and what is
learned holds for few others. Of 0, 5, 12, 16 and 20 % that of the least error on rows outside of the final ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """How far off a new device is believed to be, in logarithms.

    Attributes:
        coefficients: Deviation of each coefficient.
        committee: Share of the members' disagreement.
        rest: Deviation of what no formula says.
        length: Over how many doublings of a size the rest stays alike.
        noise: Of one measurement.
    """

    coefficients: float = 0.25
    committee: float = 0.5
    rest: float = 0.08
    length: float = 3.0
    noise: float = 0.1


BELIEFS = tuple(
    Belief(coefficients=coefficients, committee=committee, rest=rest)
    for coefficients in (0.15, 0.25, 0.4)
    for committee in (0.5, 1.0)
    for rest in (0.05, 0.08)
)
"""Beliefs that a prediction is the mean of: no device says which is right, and their mean errs less than each."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What is thought of kernels on a device before any is measured.

    Attributes:
        mean: Logarithms of times [us], shape (rows,).
        disagreement: Of the committee, shape (rows, members).
        slopes: By the logarithms of the coefficients, shape (rows, coefficients).
        features: Shape (rows, axes).
    """

    mean: Array
    disagreement: Array
    slopes: Array
    features: Array

    def part(self, chosen: Any) -> Outlook:
        """Keep some rows."""
        return Outlook(self.mean[chosen], self.disagreement[chosen], self.slopes[chosen], self.features[chosen])


def outlook(family: Family, members: list[Member], record: Any, machine: Machine | None, kernel: str) -> Outlook:
    """Ask the calibrations of other devices about kernels on this one.

    Args:
        family: The formula.
        members: Coefficients and corrections of other devices.
        record: Kernels.
        machine: The new device.
        kernel: Operation.
    """
    features = record.features()
    votes = []
    for values, surface in members:
        log_time = np.log(family.time_us(record, machine, values, kernel))
        votes.append(log_time + (np.log(surface.factor(features)) if surface else 0.0))
    mean = np.mean(votes, axis=0)
    spread = (np.array(votes) - mean).T / np.sqrt(max(len(votes) - 1, 1))
    middle = _middle([values for values, _ in members])
    base = np.log(family.time_us(record, machine, middle, kernel))
    slopes = []
    for name, value in asdict(middle).items():
        turned = type(middle)(**{**asdict(middle), name: value * np.exp(STEP)})
        slopes.append((np.log(family.time_us(record, machine, turned, kernel)) - base) / STEP)
    return Outlook(np.asarray(mean), np.asarray(spread), np.array(slopes).T, features)


def _middle(values: list[Any]) -> Any:
    """Give the geometric mean of coefficients."""
    table = np.log([list(asdict(item).values()) for item in values])
    return type(values[0])(**dict(zip(asdict(values[0]), np.exp(table.mean(axis=0)).tolist(), strict=True)))


def _covariance(one: Outlook, two: Outlook, belief: Belief) -> Array:
    shared = belief.committee**2 * one.disagreement @ two.disagreement.T
    turned = belief.coefficients**2 * one.slopes @ two.slopes.T
    rest: Array = np.full(shared.shape, belief.rest**2)
    for axis in range(one.features.shape[1]):
        apart = (one.features[:, axis, None] - two.features[None, :, axis]) / belief.length
        rest *= matern(np.asarray(apart, dtype=np.float64))
    return np.asarray(shared + turned + rest)


def choose_kernels(thought: Outlook, belief: Belief, number: int) -> list[int]:
    """Choose the kernels whose measurement says most about all others, among those of common size.

    Args:
        thought: Of kernels that could be measured.
        belief: How far off it may be.
        number: How many to choose.

    Returns:
        Their places.
    """
    covariance = _covariance(thought, thought, belief)
    ends = np.quantile(thought.features, (EXTREME, 1 - EXTREME), axis=0)
    extreme = ((thought.features < ends[0]) | (thought.features > ends[1])).any(axis=1)
    if (~extreme).sum() < number:
        extreme[:] = False
    chosen: list[int] = []
    for _ in range(min(number, len(covariance))):
        noisy = np.diag(covariance) + belief.noise**2
        gain = (covariance**2).sum(axis=0) / noisy
        gain[extreme], gain[chosen] = -1, -2
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance = covariance - np.outer(covariance[best], covariance[best]) / noisy[best]
    return chosen


def transferred(
    thought: Outlook, handful: Outlook, measured: Array, beliefs: tuple[Belief, ...] = BELIEFS
) -> tuple[Array, Array]:
    """Predict kernels on a new device from a handful that was measured there.

    Args:
        thought: Of the kernels to predict.
        handful: Of those measured; none: what is thought is the prediction.
        measured: Their times, shape (handful,) [us].
        beliefs: How far off the outlook may be; their predictions are averaged.

    Returns:
        Times [us], and the half width of an 80 % band in logarithms, each of shape (rows,).
    """
    off = np.log(measured) - handful.mean
    found = [_posterior(thought, handful, off, belief) for belief in beliefs]
    moved, half = (np.mean(values, axis=0) for values in zip(*found, strict=True))
    return np.exp(thought.mean + moved), half


def _posterior(thought: Outlook, handful: Outlook, off: Array, belief: Belief) -> tuple[Array, Array]:
    known, cross = _covariance(handful, handful, belief), _covariance(thought, handful, belief)
    weight: Array = np.ones(len(off))
    for _ in range(ROUNDS):
        noisy = known + np.diag(belief.noise**2 / weight)
        answer = np.linalg.solve(noisy, off)
        weight = np.minimum(1.0, ROBUST * belief.noise / np.maximum(np.abs(off - known @ answer), 1e-12))
    own = (
        belief.committee**2 * (thought.disagreement**2).sum(axis=1)
        + belief.coefficients**2 * (thought.slopes**2).sum(axis=1)
        + belief.rest**2
    )
    left = own - np.einsum("ij,ij->i", cross, np.linalg.solve(noisy, cross.T).T)
    return cross @ answer, np.asarray(1.2816 * np.sqrt(np.maximum(left, 0) + belief.noise**2))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Transfer:
    """A handful of kernels measured on a device that has no calibration, and the calibrations of other devices.

    Attributes:
        family: The formula.
        kernel: Operation.
        members: Coefficients and corrections of other devices.
        handful: The kernels that were measured.
        measured: Their times, shape (handful,) [us].
    """

    family: Family
    kernel: str
    members: tuple[Member, ...]
    handful: Any
    measured: Array

    def predict(self, record: Any, device: Machine | None) -> tuple[Array, Array, Array]:
        """Predict times, and the ends of their 80 % band, each of shape (rows,) [us]."""
        members = list(self.members)
        thought = outlook(self.family, members, record, device, self.kernel)
        known = outlook(self.family, members, self.handful, device, self.kernel)
        time, half = transferred(thought, known, self.measured)
        return time, time * np.exp(-half), time * np.exp(half)
