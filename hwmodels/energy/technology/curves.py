"""What a scaling law knows: relative values at some nodes, and straight lines in logs between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows
from workloads.operator import Num

__all__ = ["Curve", "area_curves", "energy_curves", "polynomial", "supply_curve", "table_curve"]

STILLMAKER = "Stillmaker & Baas, Scaling equations, Integration 58, 2017"
FOUNDRY = "TSMC's statements per process (tables/foundry.csv)"
LENGTH_NODES = (180.0, 130.0, 90.0, 65.0, 45.0, 32.0, 22.0)
"""Nodes whose name still was a length on the wafer: below 22 nm it is a trade name."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity relative to an arbitrary node.

    Attributes:
        nodes_nm: Falling.
        relative: Value at each node, above zero.
        source: Author, title, year, table.
        note: What the law assumes, in a few words.
        own_to_nm: The node from which downward it borrows another law's ratios; its last node where it does not.
    """

    nodes_nm: tuple[float, ...]
    relative: tuple[float, ...]
    source: str
    note: str
    own_to_nm: float

    def log_at(self, node_nm: Num) -> NDArray[np.float64]:
        """Give the logarithm of the value at a node: linear over the logarithm of the node between known ones."""
        return np.asarray(np.interp(np.log(node_nm), *_logs(self.nodes_nm, self.relative)))

    def covers(self, node_nm: Num) -> bool:
        """Say whether the law knows this node (all of a batch)."""
        return bool(np.all((np.asarray(node_nm) <= self.nodes_nm[0]) & (np.asarray(node_nm) >= self.nodes_nm[-1])))


@cache
def _logs(nodes_nm: tuple[float, ...], relative: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.log(nodes_nm[::-1]), np.log(relative[::-1])


def _curve(points: Mapping[float, float], source: str, note: str, own_to_nm: float = 0.0) -> Curve:
    nodes = tuple(sorted(points, reverse=True))
    return Curve(nodes, tuple(points[node] for node in nodes), source, note, max(own_to_nm, nodes[-1]))


@cache
def table_curve(quantity: str, law: str) -> Curve:
    """Read a curve from tables/node_curves.csv.

    Example:
        >>> table_curve("wire energy", "keckler").relative
        (1.0, 0.625)
    """
    rows = [row for row in cited_rows("node_curves") if (row["quantity"], row["law"]) == (quantity, law)]
    points = {float(row["node_nm"]): float(row["relative"]) for row in rows}
    source, _, note = rows[0]["source"].partition(": ")
    return _curve(points, source, note)


@cache
def supply_curve() -> Curve:
    """Give the nominal supply by node [V].

    Example:
        >>> float(np.exp(supply_curve().log_at(45)).round(3))
        1.0
    """
    rows = cited_rows("supply")
    return _curve({float(row["node_nm"]): float(row["vdd_v"]) for row in rows}, rows[0]["source"], "nominal supply")


def _supply_at(node_nm: float) -> float:
    return float(np.exp(supply_curve().log_at(node_nm)))


@cache
def polynomial(kind: str, flavour: str) -> Mapping[float, tuple[float, ...]]:
    """Give the published polynomials over the supply in volts, highest power first, by node.

    Args:
        kind: "energy" (quadratic) or "delay" (cubic).
        flavour: "HP" or "LP", each after the bulk nodes above 45 nm.

    Example:
        >>> polynomial("energy", "HP")[45.0]
        (1.018, -0.3107, 0.1539)
    """
    names = {"energy": ("energy_c2", "energy_c1", "energy_c0"),
             "delay": ("delay_c3", "delay_c2", "delay_c1", "delay_c0")}[kind]  # fmt: skip
    rows = [row for row in cited_rows("logic_scaling") if row["flavour"] in (flavour, "bulk")]
    return {float(row["node_nm"]): tuple(float(row[name]) for name in names) for row in rows}


def _foundry(column: str, *, inverse: bool = False) -> dict[float, float]:
    cells = {float(row["node_nm"]): row[column] for row in cited_rows("foundry") if row[column]}
    return {node: (1 / float(cell) if inverse else float(cell)) for node, cell in cells.items()}


def _extended(points: dict[float, float], foundry: Mapping[float, float]) -> dict[float, float]:
    """Continue a law that ends at 7 nm by the foundry's ratios."""
    return points | {node: points[7.0] * value / foundry[7.0] for node, value in foundry.items() if node < 7}


def _stillmaker(kind: str, flavour: str) -> dict[float, float]:
    """Evaluate the polynomials at the nominal supply.

    The low-power rows start at 45 nm: the bulk rows are of another family, and delay would rise from 65 to 45 nm.
    """
    nodes = {node: at for node, at in polynomial(kind, flavour).items() if flavour == "HP" or node <= 45}
    return {node: float(np.polyval(at, _supply_at(node))) for node, at in nodes.items()}


@cache
def energy_curves(kind: str) -> Mapping[str, Curve]:
    """Give the laws of logic energy (kind "energy") or delay ("delay") by name.

    Example:
        >>> sorted(energy_curves("delay"))
        ['feature-size', 'foundry', 'stillmaker-hp', 'stillmaker-lp']
    """
    foundry = _foundry("energy_vs_n7") if kind == "energy" else _foundry("speed_vs_n7", inverse=True)
    size = {node: node * (_supply_at(node) ** 2 if kind == "energy" else 1.0) for node in LENGTH_NODES}
    below = "; below 7 nm by the foundry's ratios"
    return {
        "stillmaker-hp": _curve(_extended(_stillmaker(kind, "HP"), foundry), f"{STILLMAKER}; {FOUNDRY}",
                                f"bulk and HP polynomials at the nominal supply{below}", own_to_nm=7.0),
        "stillmaker-lp": _curve(_stillmaker(kind, "LP"), STILLMAKER, "LP polynomials at the nominal supply"),
        "foundry": _curve(foundry, FOUNDRY, "at the same speed" if kind == "energy" else "at the same power"),
        "feature-size": _curve(size, "Dennard et al., Design of ion-implanted MOSFET's, JSSC 9, 1974",
                               "length x supply squared" if kind == "energy" else "length"),
    }  # fmt: skip


@cache
def area_curves() -> Mapping[str, Mapping[str, Curve]]:
    """Give the laws of area, and those that follow from area and supply: quantity, then law.

    Example:
        >>> sorted(area_curves()["sram area"])
        ['bitcell', 'cacti', 'feature-size']
    """
    published = {float(row["node_nm"]): float(row["area_vs_45nm"]) for row in cited_rows("logic_area_scaling")}
    density = _foundry("logic_density_mtr_per_mm2", inverse=True)
    logic = _extended(published, density)
    cells = {float(row["node_nm"]): float(row["cell_um2"]) for row in cited_rows("bitcell")}
    square = _curve({node: node**2 for node in LENGTH_NODES}, "Dennard et al., JSSC 9, 1974", "length squared")
    logic_source = f"{STILLMAKER}, area table; {FOUNDRY}"
    return {
        "logic area": {
            "stillmaker": _curve(logic, logic_source, "below 7 nm by the foundry's densities", own_to_nm=7.0),
            "foundry": _curve(density, FOUNDRY, "transistors per area"),
            "feature-size": square,
        },
        "sram area": {
            "bitcell": _curve(cells, "published 6T cells (tables/bitcell.csv)", "area of the densest 6T cell"),
            "cacti": table_curve("sram area", "cacti"),
            "feature-size": square,
        },
        "logic leakage": {
            "gate-width": _curve({node: area**0.5 * _supply_at(node) for node, area in logic.items()},
                                 f"{logic_source}; off-current per gate width kept, as ITRS asks of each class",
                                 "root of the logic area x supply", own_to_nm=7.0),
            "cacti": table_curve("logic leakage", "cacti"),
        },
        "sram energy": {
            "bitcell-wire": _curve({node: cell**0.5 * _supply_at(node) ** 2 for node, cell in cells.items()},
                                   "published 6T cells (tables/bitcell.csv); supplies (tables/supply.csv)",
                                   "bit and word lines as long as the root of the cell's area, x supply squared"),
            "cacti": table_curve("sram energy", "cacti"),
            "horowitz-jouppi": table_curve("sram energy", "horowitz-jouppi"),
            "keckler": table_curve("sram energy", "keckler"),
        },
    }  # fmt: skip
