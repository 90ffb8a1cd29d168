"""Energy and clock over the supply voltage at one node: how the clock knob is priced.

Source: Stillmaker & Baas, Integration 58, 2017; Sakurai & Newton, JSSC 25(2), 1990 (see `alpha_power`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.shapes import plain
from hwmodels.energy.technology.alpha_power import SHARES, fit_error, log_delay, log_energy, share_at
from hwmodels.energy.technology.curves import STILLMAKER, supply_curve
from hwmodels.energy.technology.factors import check_node
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = [
    "clock_at_voltage",
    "clock_range",
    "nominal_supply",
    "relative_delay",
    "relative_energy",
    "supply_range",
    "voltage_at_clock",
]

_SOURCE = f"{STILLMAKER}; Sakurai & Newton, Alpha-power law MOSFET model, JSSC 25(2), 1990"


@checked
def nominal_supply(node_nm: Num) -> Num:
    """Give the nominal supply of high-performance logic [V].

    Args:
        node_nm: One node or shape (n_points,), 3 to 180 [nm].

    Raises:
        SpecError: A node out of range.

    Source:
        tables/supply.csv: Stillmaker & Baas, Integration 58, 2017.

    Example:
        >>> round(nominal_supply(7), 3)
        0.8
    """
    check_node(node_nm)
    return plain(np.exp(supply_curve().log_at(node_nm)))


@checked
def supply_range(node_nm: Num) -> tuple[Num, Num]:
    """Give the lowest and highest supply that the laws cover [V].

    Args:
        node_nm: One node or shape (n_points,), 3 to 180 [nm].

    Raises:
        SpecError: A node out of range.

    Source: as `nominal_supply`; the shares of it are those that `relative_energy` is drawn for.

    Example:
        >>> [round(volt, 2) for volt in supply_range(45)]
        [0.65, 1.2]
    """
    nominal = nominal_supply(node_nm)
    return SHARES[0] * nominal, SHARES[1] * nominal


@checked
def clock_range(node_nm: Num) -> tuple[Num, Num]:
    """Give the clocks at the lowest and highest supply, relative to the nominal one.

    Args:
        node_nm: One node or shape (n_points,), 3 to 180 [nm].

    Returns:
        Both as factors, one value or shape (n_points,) each.

    Raises:
        SpecError: A node out of range.

    Source: as `relative_delay`.

    Example:
        >>> low, high = clock_range(7)
        >>> low < 0.7 and 1.1 < high < 1.2
        True
    """
    nodes = np.asarray(node_nm, dtype=float)
    check_node(nodes)
    low, high = (plain(np.exp(-log_delay(nodes, np.full(nodes.shape, share)))) for share in SHARES)
    return low, high


@checked
def relative_energy(node_nm: Num, vdd_v: Num) -> Estimate:
    """Give the switching energy of logic at a supply, relative to the nominal supply of the node.

    Args:
        node_nm: One node or shape (n_points,), 3 to 180; below 7 nm as at 7 nm at the same share of the supply [nm].
        vdd_v: One supply or shape (n_points,), within `supply_range` [V].

    Returns:
        A factor without unit. Band: the CV^2 law on the other side.

    Raises:
        SpecError: A node or a supply out of range.

    Example:
        >>> round(relative_energy(45, 0.9).value, 3)
        0.811
    """
    nodes, shares = _arguments(node_nm, vdd_v)
    value = np.exp(log_energy(nodes, shares))
    square = shares**2
    apart = np.abs(np.log(value / square))
    return Estimate(
        value=plain(value), unit="", low=plain(value * np.exp(-apart)), high=plain(value * np.exp(apart)),
        origin="scaled", source=STILLMAKER,
        formula="energy polynomial at the supply over that at the nominal supply; band: distance to supply squared",
    )  # fmt: skip


@checked
def relative_delay(node_nm: Num, vdd_v: Num) -> Estimate:
    """Give the delay of logic at a supply, relative to the nominal supply of the node: falls with the supply.

    Args:
        node_nm: One node or shape (n_points,), 3 to 180; below 7 nm as at 7 nm at the same share of the supply [nm].
        vdd_v: One supply or shape (n_points,), within `supply_range` [V].

    Returns:
        A factor without unit. Band: the largest error of the alpha-power fits.

    Raises:
        SpecError: A node or a supply out of range.

    Example:
        >>> relative_delay(7, 0.8).value
        1.0
        >>> relative_delay(7, 0.7).value > 1.1
        True
    """
    nodes, shares = _arguments(node_nm, vdd_v)
    return _delay_estimate(np.exp(log_delay(nodes, shares)), "delay")


@checked
def clock_at_voltage(node_nm: Num, vdd_v: Num) -> Estimate:
    """Give the clock that a supply allows, relative to the clock at the nominal supply.

    Arguments and errors: as `relative_delay`.

    Example:
        >>> clock_at_voltage(7, 0.8).value
        1.0
    """
    nodes, shares = _arguments(node_nm, vdd_v)
    return _delay_estimate(np.exp(-log_delay(nodes, shares)), "clock")


@checked
def voltage_at_clock(node_nm: Num, clock_ratio: Num) -> Num:
    """Give the supply that a clock needs: the inverse of `clock_at_voltage`.

    A clock slower than `clock_range` allows runs at the lowest supply: that is the floor of the model.

    Args:
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        clock_ratio: Clock relative to that at the nominal supply, above zero: one or shape (n_points,).

    Returns:
        The supply [V].

    Raises:
        SpecError: A node out of range, or a clock that no supply in range reaches.

    Example:
        >>> round(voltage_at_clock(7, 1.0), 6)
        0.8
        >>> voltage_at_clock(7, 2.0)
        Traceback (most recent call last):
        workloads.errors.SpecError: clock 2 x nominal at 7 nm: the highest supply (0.96 V) reaches 1.15 x
    """
    nodes, ratios = np.broadcast_arrays(np.asarray(node_nm, dtype=float), np.asarray(clock_ratio, dtype=float))
    check_node(nodes)
    slowest, fastest = clock_range(nodes)
    bad = ~((ratios > 0) & (ratios <= np.asarray(fastest) * (1 + 1e-12)))
    if np.any(bad):
        node, ratio, top = (float(np.broadcast_to(x, bad.shape)[bad].flat[0]) for x in (nodes, ratios, fastest))
        if not ratio > 0:
            raise SpecError(f"clock ratio {ratio:g}: it is above zero")
        volt = float(supply_range(node)[1])
        raise SpecError(
            f"clock {ratio:g} x nominal at {node:g} nm: the highest supply ({volt:.3g} V) reaches {top:.3g} x"
        )
    wanted = -np.log(np.clip(ratios, slowest, fastest))
    return plain(share_at(nodes, wanted) * np.exp(supply_curve().log_at(nodes)))


def _delay_estimate(value: NDArray[np.float64], what: str) -> Estimate:
    error = fit_error()
    return Estimate(
        value=plain(value), unit="", low=plain(value * np.exp(-error)), high=plain(value * np.exp(error)),
        origin="scaled", source=_SOURCE,
        formula=f"{what} by the alpha-power law V / (V - Vt)^alpha, fitted to the delay polynomials; band: worst fit",
    )  # fmt: skip


def _arguments(node_nm: Num, vdd_v: Num) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check a node and a supply; give the supply as a share of the nominal one."""
    nodes, volts = np.broadcast_arrays(np.asarray(node_nm, dtype=float), np.asarray(vdd_v, dtype=float))
    check_node(nodes)
    shares = volts / np.exp(supply_curve().log_at(nodes))
    bad = ~((shares >= SHARES[0] * (1 - 1e-12)) & (shares <= SHARES[1] * (1 + 1e-12)))
    if np.any(bad):
        node, volt = float(nodes[bad].flat[0]), float(volts[bad].flat[0])
        low, high = supply_range(node)
        raise SpecError(f"supply {volt:g} V at {node:g} nm: the laws cover {low:.3g} to {high:.3g} V")
    return nodes, shares
