"""Factors between technology nodes, by named laws; how far the laws of a quantity are apart is the error band."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.shapes import plain, span
from hwmodels.energy.technology.curves import Curve, area_curves, energy_curves, supply_curve, table_curve
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["LAWS", "NODES_NM", "check_node", "law_name", "node_range", "scaling"]

NODES_NM = (180.0, 3.0)
"""The largest and the smallest node that any law knows."""

LAWS: Mapping[str, tuple[str, ...]] = {
    "logic energy": ("stillmaker-hp", "stillmaker-lp", "foundry", "feature-size", "horowitz-jouppi"),
    "logic area": ("stillmaker", "foundry", "feature-size"),
    "logic delay": ("stillmaker-hp", "stillmaker-lp", "foundry", "feature-size"),
    "logic leakage": ("gate-width", "cacti"),
    "sram energy": ("bitcell-wire", "cacti", "horowitz-jouppi", "keckler"),
    "sram area": ("bitcell", "cacti", "feature-size"),
    "wire energy": ("supply", "cacti", "keckler"),
    "dram energy": ("jedec-supply", "cacti"),
}
"""Names of the laws of each quantity; the first is what `scaling` uses when none is named."""


@checked
def scaling(quantity: str, from_nm: Num, to_nm: Num, *, law: str | None = None) -> Estimate:
    """Give the factor by which a quantity changes from one technology node to another, each at its nominal supply.

    The band reaches as far as those other laws of the quantity lie that share most of the step with the chosen one;
    where they end, they go on leaving it at the rate of their shared range.

    Args:
        quantity: A key of `LAWS`: "logic energy", "logic area", "logic delay", "logic leakage", "sram energy",
            "sram area", "wire energy", "dram energy".
        from_nm: One node or shape (n_points,), 3 to 180 [nm]; between known nodes by straight lines in logs.
        to_nm: Likewise [nm].
        law: A name of `LAWS[quantity]`; None: its first.

    Returns:
        A factor without unit, origin "scaled".

    Raises:
        SpecError: No such quantity or law, or a node that the law does not cover.

    Source:
        Stillmaker & Baas, Integration 58, 2017 (logic); the other laws name theirs.

    Example:
        >>> scaling("logic area", 45, 7).value
        0.059
        >>> scaling("sram area", 16, 7).value  # SRAM does not shrink like logic: 0.31
        0.365
    """
    if isinstance(from_nm, int | float) and isinstance(to_nm, int | float):
        return _remembered(quantity, float(from_nm), float(to_nm), law)
    return _scaling(quantity, from_nm, to_nm, law)


def _scaling(quantity: str, from_nm: Num, to_nm: Num, law: str | None) -> Estimate:
    name = law_name(quantity, law)
    curve = _curves(quantity)[name]
    _check(quantity, name, from_nm, to_nm)
    log_factor = curve.log_at(to_nm) - curve.log_at(from_nm)
    below, above = _apart(quantity, name, from_nm, to_nm)
    value, low, high = (plain(np.exp(log_factor + shift)) for shift in (0.0, below, above))
    return Estimate(
        value=value,
        unit="",
        low=low,
        high=high,
        origin="scaled",
        formula=f"{quantity}, {span(from_nm, falling=True)} to {span(to_nm, falling=True)} nm by {name} ({curve.note})"
        f"; band: as far as {', '.join(law for law in LAWS[quantity] if law != name)} lie",
        source=curve.source,
    )


_remembered = lru_cache(maxsize=4096)(_scaling)
"""For single nodes: a batch costs little per point, a single one some tenths of a millisecond."""


@checked
def node_range(quantity: str, law: str | None = None) -> tuple[float, float]:
    """Give the largest and smallest node that a law covers [nm].

    Args:
        quantity: A key of `LAWS`.
        law: A name of `LAWS[quantity]`; None: its first.

    Raises:
        SpecError: No such quantity or law.

    Example:
        >>> node_range("dram energy")
        (180.0, 12.0)
    """
    if quantity not in LAWS or (law is not None and law not in LAWS[quantity]):
        raise SpecError(f"no scaling law {law!r} of {quantity!r}; {nearest(quantity, LAWS)}")
    nodes = _curves(quantity)[law or LAWS[quantity][0]].nodes_nm
    return nodes[0], nodes[-1]


def law_name(quantity: str, law: str | None) -> str:
    """Give the name of a law: the quantity's first where none is named.

    Raises:
        SpecError: No such quantity or law.

    Example:
        >>> law_name("logic area", None)
        'stillmaker'
    """
    if quantity not in LAWS:
        raise SpecError(f"no scaling laws for {quantity!r}; {nearest(quantity, LAWS)}")
    if law is not None and law not in LAWS[quantity]:
        raise SpecError(f"no law {law!r} for {quantity}; {nearest(law, LAWS[quantity])}")
    return LAWS[quantity][0] if law is None else law


def check_node(node_nm: Num) -> None:
    """Refuse what is no technology node of 180 to 3 nm.

    Raises:
        SpecError: It is not.

    Example:
        >>> check_node(250)
        Traceback (most recent call last):
        workloads.errors.SpecError: node 250 nm: technology nodes reach from 180 to 3 nm
    """
    nodes = np.asarray(node_nm, dtype=float)
    wrong = nodes[~((nodes <= NODES_NM[0]) & (nodes >= NODES_NM[1]))]  # NaN is wrong too
    if wrong.size:
        raise SpecError(f"node {wrong[0]:g} nm: technology nodes reach from 180 to 3 nm")


def _check(quantity: str, name: str, from_nm: Num, to_nm: Num) -> None:
    for node_nm in (from_nm, to_nm):
        check_node(node_nm)
        curves = _curves(quantity)
        if not curves[name].covers(node_nm):
            fitting = [f"{other} ({curve.nodes_nm[0]:g} to {curve.nodes_nm[-1]:g} nm)"
                       for other, curve in curves.items() if curve.covers(node_nm)]  # fmt: skip
            other = f"use {', '.join(fitting)}" if fitting else "no law of this quantity reaches it"
            largest, smallest = node_range(quantity, name)
            raise SpecError(
                f"{quantity}: the law {name!r} covers {largest:g} to {smallest:g} nm, not "
                f"{span(node_nm, falling=True)} nm; {other}"
            )


@cache
def _curves(quantity: str) -> Mapping[str, Curve]:
    """Give the curves of a quantity by law, in the order of `LAWS`."""
    curves: dict[str, Curve] = {}
    if quantity in ("logic energy", "logic delay"):
        curves |= energy_curves(quantity.split()[1])
    curves |= area_curves().get(quantity, {})
    if quantity == "wire energy":
        volts = supply_curve()
        squared = tuple(volt**2 for volt in volts.relative)
        source = "Dally et al., VLSI 2018 (about 200 fF/mm at 16 nm); supplies (tables/supply.csv)"
        note = "capacitance per length kept, x supply squared"
        curves["supply"] = Curve(volts.nodes_nm, squared, source, note, volts.nodes_nm[-1])
    return {law: curves[law] if law in curves else table_curve(quantity, law) for law in LAWS[quantity]}


def _apart(quantity: str, name: str, from_nm: Num, to_nm: Num) -> tuple[Num, Num]:
    """Give how far other laws lie below and above one, in logs: at most and at least zero.

    Those count that share most of the step with it. Where even they end, they go on leaving this one, to either side,
    at the rate of all that they share.
    """
    chosen = _curves(quantity)[name]
    lows, highs, rests = [], [], []
    for other in _curves(quantity).values():
        largest, smallest = min(chosen.nodes_nm[0], other.nodes_nm[0]), max(chosen.own_to_nm, other.own_to_nm)
        if other is chosen or largest <= smallest:
            continue
        start, end = (np.clip(node_nm, smallest, largest) for node_nm in (from_nm, to_nm))
        rest = np.abs(np.log2(np.divide(from_nm, to_nm))) - np.abs(np.log2(start / end))
        rate = abs(float(_gap(chosen, other, largest, smallest))) / np.log2(largest / smallest)
        gap = _gap(chosen, other, start, end)
        lows.append(np.minimum(0.0, gap) - rate * rest)
        highs.append(np.maximum(0.0, gap) + rate * rest)
        rests.append(rest)
    counts = np.array(rests) <= np.min(rests, axis=0) + 1e-9
    return np.where(counts, lows, 0.0).min(axis=0), np.where(counts, highs, 0.0).max(axis=0)


def _gap(chosen: Curve, other: Curve, from_nm: Num, to_nm: Num) -> NDArray[np.float64]:
    """Give the factor of one law over that of another, as a logarithm."""
    return (other.log_at(to_nm) - other.log_at(from_nm)) - (chosen.log_at(to_nm) - chosen.log_at(from_nm))
