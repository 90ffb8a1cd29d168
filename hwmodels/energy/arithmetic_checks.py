"""How far the arithmetic law is from figures that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np

from hwmodels.energy.arithmetic_formats import number
from hwmodels.energy.arithmetic_law import Anchor, Measure, Operation, anchors, at_anchor_node
from hwmodels.energy.checking import checked
from workloads.errors import SpecError, nearest

__all__ = ["LeftOut", "check_measure", "leave_one_out", "width_error"]


def check_measure(measure: str) -> None:
    """Refuse what nobody published of operations.

    Raises:
        SpecError: Neither "energy" nor "area".
    """
    if measure not in get_args(Measure):
        raise SpecError(f"no measure {measure!r} of arithmetic; {nearest(str(measure), get_args(Measure))}")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A published figure, and what the law says when it has not seen it.

    Attributes:
        anchor: The figure.
        predicted: By the law fitted to the others [J or mm2].
        error: predicted over published, minus one.
        octaves: To the nearest figure left of the same operation and node, in doublings of the width.
    """

    anchor: Anchor
    predicted: float
    error: float
    octaves: float


@checked
@cache
def leave_one_out(measure: Measure = "energy") -> tuple[LeftOut, ...]:
    """Leave out every published figure in turn and predict it from the others.

    Args:
        measure: "energy" or "area".

    Raises:
        SpecError: Another measure.

    Example:
        >>> worst = max(leave_one_out("energy"), key=lambda each: abs(each.error))
        >>> abs(worst.error) < 0.5
        True
    """
    check_measure(measure)
    found = []
    for anchor in anchors(measure):
        form = number(anchor.format)
        predicted = float(at_anchor_node(measure, anchor.operation, form, form, anchor.node_nm, without=anchor))
        same = [
            other
            for other in anchors(measure)
            if (other.operation, other.node_nm) == (anchor.operation, anchor.node_nm)
        ]
        others = [other.significand_bits for other in same if other != anchor]
        octaves = float(np.abs(np.log2(np.array(others) / anchor.significand_bits)).min())
        found.append(LeftOut(anchor, predicted, predicted / anchor.value - 1, octaves))
    return tuple(found)


@cache
def width_error(measure: Measure, operation: Operation) -> tuple[float, float]:
    """Give the error of the law at a width that nobody published, and the distance over which it was tried.

    The operation's worst leave-one-out error, but no less than the 90th percentile of all operations': two figures that
    happen to agree do not make a law exact.

    Args:
        measure: "energy" or "area".
        operation: Which.

    Returns:
        The error in logs, and the largest distance from a figure left out to the next one [octaves of the width].

    Example:
        >>> error, octaves = width_error("energy", "int mult")
        >>> round(error, 2), octaves
        (0.28, 2.0)
    """
    left_out = leave_one_out(measure)
    errors = np.abs([np.log(each.predicted / each.anchor.value) for each in left_out])
    own = max(error for error, each in zip(errors, left_out, strict=True) if each.anchor.operation == operation)
    return float(max(own, np.quantile(errors, 0.9))), max(each.octaves for each in left_out)
