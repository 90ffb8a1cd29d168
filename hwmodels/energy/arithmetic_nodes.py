"""One operation at any node: between 45 and 7 nm operation by operation, outside by a named scaling law.

Laws go from nominal supply to nominal supply, and the figures at 45 nm are published at 0.9 V, where 1.0 V is nominal.
So 45 nm is their 0.9 V point, nodes from 65 nm on are at their nominal supply, and the step between the two supplies is
spread over 45 to 65 nm in logs: a line from the polynomial at (45 nm, 0.9 V) to that at the next node's nominal supply.
The figures at 7 nm have no stated supply, and count as those of the nominal one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.arithmetic_checks import width_error
from hwmodels.energy.arithmetic_formats import Number
from hwmodels.energy.arithmetic_law import (
    ANCHOR_NODES_NM,
    Measure,
    Operation,
    anchors,
    anchors_of,
    at_anchor_node,
    is_anchor,
)
from hwmodels.energy.estimate import Estimate, Origin
from hwmodels.energy.shapes import plain, span
from hwmodels.energy.technology import scaling
from hwmodels.energy.technology.curves import energy_curves
from hwmodels.energy.technology.factors import check_node, law_name
from hwmodels.energy.technology.supply import relative_energy
from workloads.operator import Num

__all__ = ["UNITS", "operation_estimate", "where"]

UNITS: dict[Measure, str] = {"energy": "J", "area": "mm2"}
_SHAPE_LAW = "stillmaker-hp"
_NOMINAL_FROM_NM = 65.0
"""The next node above 45 nm with a polynomial of its own: from it on the supply is the nominal one."""


def operation_estimate(
    measure: Measure, operation: Operation, a: Number, b: Number, *, node_nm: Num, law: str | None
) -> Estimate:
    """Estimate the energy or area of one operation.

    The error band joins, as independent errors: the width (half a unit of the last printed digit of a published figure,
    else the leave-one-out error of the law, growing with the distance beyond what was tried); and the node between 45
    and 7 nm (how far a path shaped like the general law lies from the straight one in logs). Outside of them the band
    of the scaling law multiplies it. It is the band of these published sets' circuits: other sets differ more
    (`circuit_spread`).

    Args:
        measure: "energy" or "area".
        operation: Which.
        a: First operand.
        b: Second operand.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]` or `["logic area"]` outside the published nodes; None: the default one.

    Raises:
        SpecError: A node out of range, or a law that does not reach it.

    Example:
        >>> from hwmodels.energy.arithmetic_formats import number
        >>> int8 = number("int8")
        >>> operation_estimate("energy", "int add", int8, int8, node_nm=7, law=None).value
        7e-15
    """
    numbers = (node_nm, a.significand_bits, a.exponent_bits, b.significand_bits, b.exponent_bits)
    if all(isinstance(each, int | float) for each in numbers):
        return _remembered(measure, operation, a, b, float(node_nm), law)
    return _estimate(measure, operation, a, b, node_nm, law)


def _estimate(measure: Measure, operation: Operation, a: Number, b: Number, node_nm: Num, law: str | None) -> Estimate:
    check_node(node_nm)
    law_name(f"logic {measure}", law)  # a misspelt one is refused where none is needed too
    query = _Query(measure, operation, a, b, np.asarray(node_nm, dtype=float))
    old, new = (at_anchor_node(measure, operation, a, b, node) for node in (query.oldest, query.newest))
    error = np.hypot(_width_band(query), _node_band(query, old, new))
    outside = _outside(query, law)
    value: Num = _between(query, old, new)
    low, high = value * np.exp(-error), value * np.exp(error)
    if outside is not None:
        value, low, high = value * outside.value, low * outside.low, high * outside.high
    return Estimate(
        value=plain(value),
        unit=UNITS[measure],
        low=plain(low),
        high=plain(high),
        origin=_origin(query),
        formula=f"{operation} of {a.name if a.name == b.name else f'{a.name} x {b.name}'}, {where(measure, node_nm)}",
        source=_source(query),
        parts={} if outside is None else {"scaling": outside},
    )


_remembered = lru_cache(maxsize=4096)(_estimate)
"""For single points: a batch costs little per point, a single one some milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """What is asked for: an operation at some nodes."""

    measure: Measure
    operation: Operation
    a: Number
    b: Number
    nodes: NDArray[np.float64]

    @property
    def oldest(self) -> float:
        """The largest node with published figures [nm]."""
        return ANCHOR_NODES_NM[self.measure][0]

    @property
    def newest(self) -> float:
        """The smallest one [nm]."""
        return ANCHOR_NODES_NM[self.measure][-1]

    @property
    def share(self) -> NDArray[np.float64]:
        """1 at the oldest published node and before, 0 at the newest and after, linear in the log of the node."""
        if self.oldest == self.newest:
            return np.ones(self.nodes.shape)
        return np.asarray(np.clip(np.log(self.nodes / self.newest) / np.log(self.oldest / self.newest), 0.0, 1.0))

    def published(self, node: float) -> NDArray[np.bool_]:
        """Say of each point whether its operands have a published figure at a node."""
        found = [is_anchor(each, self.a, self.b) for each in anchors_of(self.measure, self.operation, node)]
        return np.asarray(np.any(found, axis=0))


def _between(query: _Query, old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Join the published nodes by a straight line in logs; at their ends the figures stay as they are."""
    share = query.share
    middle = np.exp(share * np.log(old) + (1 - share) * np.log(new))
    return np.asarray(np.where(share == 1, old, np.where(share == 0, new, middle)))


def _width_band(query: _Query) -> NDArray[np.float64]:
    """Give the error that comes from the operands' widths, in logs."""
    error, tried = width_error(query.measure, query.operation)
    width = np.sqrt(np.multiply(query.a.significand_bits, query.b.significand_bits, dtype=float))
    bands = []
    for node in (query.oldest, query.newest):
        here = anchors_of(query.measure, query.operation, node)
        distance = np.min([np.abs(np.log2(width / each.significand_bits)) for each in here], axis=0)
        band = error * np.maximum(1.0, distance / tried)
        for each in here:
            band = np.where(is_anchor(each, query.a, query.b), np.log1p(each.rounding), band)
        bands.append(band)
    return np.asarray(query.share * bands[0] + (1 - query.share) * bands[1])


def _node_band(query: _Query, old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the error between two published nodes, in logs: how far apart two ways to join them are."""
    if query.oldest == query.newest:
        return np.zeros(query.nodes.shape)
    inside = np.clip(query.nodes, query.newest, query.oldest)
    shape = energy_curves("energy")[_SHAPE_LAW]
    start = shape.log_at(query.newest)
    part, whole = shape.log_at(inside) - start, shape.log_at(query.oldest) - start
    return np.asarray(np.abs(np.log(old / new) * (query.share - part / whole)))


def _outside(query: _Query, law: str | None) -> Estimate | None:
    """Give the factor from the nearer published node; None where every node lies between them."""
    nearest = np.clip(query.nodes, query.newest, query.oldest)
    beyond = query.nodes != nearest
    if not np.any(beyond):
        return None
    start = float(nearest[beyond].flat[0])
    from_nm, to_nm = np.where(beyond, nearest, start), np.where(beyond, query.nodes, start)
    return _from_published_supply(query, scaling(f"logic {query.measure}", plain(from_nm), plain(to_nm), law=law))


def _from_published_supply(query: _Query, factor: Estimate) -> Estimate:
    """Let a factor above the oldest published node start at the supply of its figures, not at the nominal one."""
    supply = anchors_of(query.measure, query.operation, query.oldest)[0].supply_v
    if query.measure != "energy" or supply is None or not np.any(query.nodes > query.oldest):
        return factor
    reached = np.log(query.nodes / query.oldest) / np.log(_NOMINAL_FROM_NM / query.oldest)
    share = np.clip(reached, 0.0, 1.0)
    start = relative_energy(query.oldest, supply)
    value, low, high = (one**-share for one in (start.value, start.high, start.low))
    return replace(
        factor,
        value=plain(factor.value * value),
        low=plain(factor.low * low),
        high=plain(factor.high * high),
        formula=f"{factor.formula}; starts at {supply:g} V at {query.oldest:g} nm, the supply of the published "
        f"figures, and has the nominal supply from {_NOMINAL_FROM_NM:g} nm on",
    )


def _origin(query: _Query) -> Origin:
    """Say what kind of number the whole batch is: what its least certain point is."""
    nodes, old, new = query.nodes, query.oldest, query.newest
    if np.any((nodes > old) | (nodes < new)):
        return "scaled"
    at_old, at_new = (nodes == old) & query.published(old), (nodes == new) & query.published(new)
    if np.all(at_old | at_new):
        return "anchor"
    between = (nodes != old) & (nodes != new) & query.published(old) & query.published(new)
    return "interpolated" if np.all(at_old | at_new | between) else "derived"


def _source(query: _Query) -> str:
    """Name the sets that took part."""
    old, new = [query.oldest] * bool(np.any(query.share > 0)), [query.newest] * bool(np.any(query.share < 1))
    nodes = [*old, *new]
    return "; ".join(dict.fromkeys(anchors_of(query.measure, query.operation, node)[0].source for node in nodes))


def where(measure: Measure, node_nm: Num) -> str:
    """Say in words how nodes are reached, and at which supply the figures there are published.

    Args:
        measure: "energy" or "area".
        node_nm: One node or shape (n_points,) [nm].

    Example:
        >>> where("energy", 28.0)
        '28 nm, between its figures at 45 nm (0.9 V) and 7 nm'
    """
    nodes, (old, new) = np.asarray(node_nm, dtype=float), (ANCHOR_NODES_NM[measure][0], ANCHOR_NODES_NM[measure][-1])
    reached = span(nodes, falling=True)
    at = {node: f"{node:g} nm{_at_supply(measure, node)}" for node in (old, new)}
    if np.all((nodes == old) | (nodes == new)):
        return at.get(float(nodes.flat[0]), "") if np.all(nodes == nodes.flat[0]) else f"{at[old]} and {at[new]}"
    if np.all((nodes < old) & (nodes > new)):
        return f"{reached} nm, between its figures at {at[old]} and {at[new]}"
    return f"{reached} nm, from its figures at {' and '.join(at.values())}"


@cache
def _at_supply(measure: Measure, node: float) -> str:
    volts = {each.supply_v for each in anchors(measure) if each.node_nm == node and measure == "energy"}
    return "".join(f" ({volt:g} V)" for volt in volts if volt is not None)
