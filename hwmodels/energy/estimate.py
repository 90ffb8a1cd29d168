"""`Estimate`: a number with its error band, and where it comes from; `explain` prints that."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from hwmodels.units import format_si
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["Estimate", "Explained", "Origin", "explain"]

Origin = Literal["anchor", "table", "interpolated", "derived", "scaled", "assumption"]
"""A published figure as it is; a row of a tool's table; between rows of it; from anchors by a stated law; carried to
another node by a named scaling law; nobody published it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """A number that says how sure it is and why.

    Attributes:
        value: One value, or shape (n_points,), in `unit`.
        unit: A base unit: "J", "J/bit", "mm2", "W", "s".
        low: Lower end of the error band, in `unit`: about nine true values of ten lie inside the band.
        high: Upper end.
        origin: What kind of number it is.
        formula: How it came about, for people.
        source: Author, title, year, table.
        parts: What it was made of, by name.
    """

    value: Num
    unit: str
    low: Num
    high: Num
    origin: Origin
    formula: str
    source: str
    parts: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """How many design points it is of."""
        return np.size(self.value)


@runtime_checkable
class Explained(Protocol):
    """A record whose numbers can be traced."""

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""


def explain(what: Estimate | Explained) -> str:
    """Say for every number of a result: value, error band, origin, formula and source; of its parts too, indented.

    Args:
        what: An `Estimate`, or a record that has `estimates()`: what the functions of `hwmodels.energy` return.

    Raises:
        SpecError: It is neither.

    Example:
        >>> product = Estimate(value=2e-13, unit="J", low=1.5e-13, high=2.5e-13, origin="anchor", formula="int8 x int8",
        ...                    source="Horowitz, ISSCC 2014")
        >>> print(explain(product))
        200 fJ (150 fJ to 250 fJ), anchor
          int8 x int8
          source: Horowitz, ISSCC 2014
    """
    if not isinstance(what, Estimate | Explained):
        raise SpecError(f"explain: no numbers in {reprlib.repr(what)}; give what a function of hwmodels.energy returns")
    if isinstance(what, Estimate):
        return "\n".join(_lines(what, ""))
    return "\n".join(line for name, estimate in what.estimates().items() for line in _lines(estimate, name))


def _lines(estimate: Estimate, name: str) -> list[str]:
    value, low, high = (_written(number, estimate.unit) for number in (estimate.value, estimate.low, estimate.high))
    head = f"{name + ': ' if name else ''}{value} ({low} to {high}), {estimate.origin}"
    inner = [line for part, inside in estimate.parts.items() for line in _lines(inside, part)]
    return [head, f"  {estimate.formula}", f"  source: {estimate.source}", *(f"  {line}" for line in inner)]


def _written(number: Num, unit: str) -> str:
    """Write one number, or the span of a batch; a factor has no prefix."""

    def write(value: float) -> str:
        return format_si(value, unit) if unit else f"{value:.4g}"

    values = np.atleast_1d(number)
    if values.size == 1:
        return write(float(values[0]))
    return f"{write(float(values.min()))} .. {write(float(values.max()))}"
