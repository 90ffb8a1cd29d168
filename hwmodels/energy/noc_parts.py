"""Parts of a network on chip: one link, one router, the pitch of the PEs, the distance of two."""

from __future__ import annotations

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.combining import exact, in_unit, product
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.links import link_energy
from hwmodels.energy.noc_edges import whole
from hwmodels.energy.shapes import plain
from hwmodels.energy.technology import scaling
from hwmodels.energy.wires import RANDOM_DATA, wire_energy
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["counted", "neighbour_energy", "pe_pitch", "peer_distance", "priced", "router_energy"]

GEOMETRY = "geometry of the network"


@checked
def neighbour_energy(bits: Num, pitch_mm: Num, *, node_nm: Num = 45.0, wire: Estimate | None = None) -> Estimate:
    """Give the energy of one systolic link: a word to the next PE, without the register there.

    Args:
        bits: Of the word, one value or shape (n_points,).
        pitch_mm: From one PE to the next.
        node_nm: Of a wire that is not given.
        wire: Energy of a bit and a millimetre; None: `wire_energy` at the node, random bits (`RANDOM_DATA`).

    Returns:
        J.

    Raises:
        SpecError: A number that is not above zero, or an unknown node.

    Source: as in `wire_energy`.

    Example:
        >>> round(float(neighbour_energy(16, 0.1, node_nm=45).value) * 1e15, 1)
        99.8
    """
    where = "neighbour_energy"
    length = counted(positive(pitch_mm, "pitch_mm", where), "mm", "one pitch")
    per_mm = wire_energy(node_nm, activity=RANDOM_DATA) if wire is None else in_unit(wire, "J/bit/mm", "wire")
    return priced(per_mm, positive(bits, "bits", where), length, "mm of wire")


@checked
def router_energy(node_nm: Num = 12.0, *, law: str | None = None) -> Estimate:
    """Give the energy of a bit that passes one router of a mesh, the link apart.

    One figure is published per hop (FlooNoC, 12 nm); it does not tell router and link apart and is taken as the router
    alone. Hence the band: down to nothing, if that figure is all link; up to all that a 4 x 4 mesh of 45 nm spends per
    delivered bit (531.4 mW at 892 Gbit/s, links and clock included), as if one router took it.

    Args:
        node_nm: 3 to 180, one value or shape (n_points,).
        law: Of `LAWS["logic energy"]`; None: its first.

    Returns:
        J/bit.

    Raises:
        SpecError: A node or a law that is unknown.

    Source: FlooNoC 2025 (table `links`); Park et al., DAC 2012 (table `networks_published`).

    Example:
        >>> router_energy(12).value * 1e15
        18.75
    """
    anchor = link_energy("floonoc-hop")
    figures = {row["item"]: row for row in cited_rows("networks_published") if row["network"] == "mit-mesh-4x4"}
    most = float(figures["power"]["value"]) * 1e-3 / (float(figures["delivered"]["value"]) * 1e9)
    step = scaling("logic energy", 12.0, node_nm, law=law)
    down = scaling("logic energy", float(figures["power"]["node_nm"]), node_nm, law=law)
    exact = bool(np.all(np.equal(node_nm, 12.0)))
    value = anchor.value * step.value
    return Estimate(
        value=value,
        unit="J/bit",
        low=value * 0.0,
        high=np.maximum(value, most * down.value),
        origin="anchor" if exact else "scaled",
        formula="18.75 fJ/bit a hop at 12 nm, taken as the router without its link"
        + ("" if exact else f"; {step.formula.split('; band')[0]}"),
        source=f"{anchor.source}; {figures['power']['source']}" + ("" if exact else f"; {step.source}"),
    )


@checked
def peer_distance(rows: Num, columns: Num, pitch_mm: Num = 1.0) -> Estimate:
    """Give the mean right-angled distance between two different PEs.

    Args:
        rows: PEs along y, one value or shape (n_points,).
        columns: PEs along x.
        pitch_mm: From one PE to the next.

    Returns:
        mm.

    Raises:
        SpecError: Sizes that are no whole numbers, or a single PE.

    Source: two of 1 .. n lie (n^2 - 1) / (3 n) apart on average; pairs of equal PEs left out.

    Example:
        >>> peer_distance(4, 4).value  # 2.5 with equal pairs, of which 1 in 16
        2.6666666666666665
    """
    where = "peer_distance"
    down, across = whole(rows, "rows", where), whole(columns, "columns", where)
    pes = down * across
    if np.any(pes < 2):
        raise SpecError(f"{where}: one PE has no peer; give an array of two or more")
    mean = ((down**2 - 1) / (3 * down) + (across**2 - 1) / (3 * across)) * pes / (pes - 1)
    value = mean * positive(pitch_mm, "pitch_mm", where)
    single = all(np.ndim(each) == 0 for each in (rows, columns, pitch_mm))
    return counted(float(value[0]) if single else value, "mm", "mean distance of two different PEs")


@checked
def pe_pitch(pe_area_mm2: Num | Estimate) -> Estimate:
    """Give the pitch of PEs that are square and stand side by side.

    Args:
        pe_area_mm2: Of one PE with its share of everything in the array; its band goes on.

    Returns:
        mm.

    Raises:
        SpecError: An area that is not above zero.

    Example:
        >>> pe_pitch(0.01).value
        0.1
    """
    if isinstance(pe_area_mm2, Estimate):
        area = in_unit(pe_area_mm2, "mm2", "pe_area_mm2")
    else:
        area = counted(pe_area_mm2, "mm2", "given")
    ends = (positive(each, "pe_area_mm2", "pe_pitch") for each in (area.value, area.low, area.high))
    value, low, high = (plain(np.sqrt(end)) for end in ends)
    return Estimate(
        value=value, unit="mm", low=low, high=high, origin="derived", formula="root of the area of a PE",
        source=area.source,
    )  # fmt: skip


def counted(value: Num, unit: str, formula: str) -> Estimate:
    """Give a number that follows from the geometry alone."""
    return exact(value, unit, formula, GEOMETRY)


def priced(energy: Estimate, bits: Num, count: Estimate, what: str) -> Estimate:
    """Multiply an energy per bit by bits and by what they pass."""
    return product(energy, bits, count.value, unit="J", formula=f"bits x {what} ({count.formula})")
