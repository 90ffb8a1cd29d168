"""Components of a chip that are no memory: MAC units, registers, vector units, DRAM interfaces; what each leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.combining import exact, in_unit, product, total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.technology import scaling
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["Component", "Phy", "dram_phy", "dram_phys", "logic_leakage"]

SHARED_PHY_SPREAD = 2.0
"""Band of a PHY that is taken for another interface's, and of one carried to another node: analog parts do not shrink
by a law. No published spread at hand: an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component:
    """One line of a bill.

    Attributes:
        name: "PEs", "Scratchpad", "DRAM interface".
        count: Instances.
        area_mm2: Of all instances together [mm2].
        static_w: Leakage of all instances together [W].
        energy_j: Energy of one event by name [J]: "read" and "write" of a word, "mac", "operation".
    """

    name: str
    count: int
    area_mm2: Estimate
    static_w: Estimate
    energy_j: Mapping[str, Estimate] = field(default_factory=dict)

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        energies = {f"{self.name} {event}": estimate for event, estimate in self.energy_j.items()}
        return {f"{self.name} area": self.area_mm2, f"{self.name} leakage": self.static_w, **energies}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phy:
    """One unit of a DRAM interface: a link of 32 bit, a stack.

    Attributes:
        technology: "LPDDR4", "HBM2E".
        bytes_per_s: Peak bandwidth of a unit [B/s].
        area_of: The interface whose published area is taken.
        source: Of the bandwidth.
        origin: read | derived | recalled.
    """

    technology: str
    bytes_per_s: float
    area_of: str
    source: str
    origin: str


@cache
def dram_phys() -> Mapping[str, Phy]:
    """Give the DRAM interfaces whose bandwidth has a price.

    Example:
        >>> dram_phys()["HBM2E"].bytes_per_s
        460800000000.0
    """
    return {
        row["technology"]: Phy(
            technology=row["technology"],
            bytes_per_s=float(row["unit_bytes_per_s"]),
            area_of=row["area_of"],
            source=row["source"],
            origin=row["origin"],
        )
        for row in cited_rows("memory_interfaces")
    }


@checked
def dram_phy(technology: str, bytes_per_s: Num, *, node_nm: Num) -> Component:
    """Price the bandwidth of a DRAM: as many PHYs and controllers as it takes.

    Controllers shrink with logic; a PHY keeps its size, since its drivers and pads do.

    Args:
        technology: A key of `dram_phys()`.
        bytes_per_s: Bandwidth, one or shape (n_points,) [B/s].
        node_nm: Node of the chip, one or shape (n_points,) [nm].

    Raises:
        SpecError: An interface without published areas, or a bandwidth of zero or less.

    Example:
        >>> round(dram_phy("HBM2E", 460.8e9, node_nm=7).area_mm2.value, 2)
        16.51
    """
    known = dram_phys()
    if technology not in known:
        raise SpecError(f"no price for a DRAM interface {technology!r}; {nearest(technology, known)}")
    positive(bytes_per_s, "bytes_per_s", f"{technology} interface")
    interface = known[technology]
    units = np.ceil(np.asarray(bytes_per_s) / interface.bytes_per_s - 1e-9)
    count: Num = float(units) if units.ndim == 0 else units
    phy = _area(f"{interface.area_of} PHY")
    away = technology != interface.area_of or bool(np.any(np.asarray(node_nm) != 7))
    spread = SHARED_PHY_SPREAD if away else 1.0
    phys = Estimate(
        value=count * phy.value,
        unit="mm2",
        low=count * phy.value / spread,
        high=count * phy.value * spread,
        origin="assumption" if away else "anchor",
        formula=f"{interface.area_of} PHYs of {phy.value:g} mm2, {interface.bytes_per_s:g} B/s each",
        source=f"{phy.source}; bandwidth: {interface.source}",
    )
    transistors = float(_row(f"{interface.area_of} controller")["value"])
    density = _row("logic density")
    controllers = product(
        exact(transistors / float(density["value"]), "mm2", "transistors over density", density["source"]),
        scaling("logic area", 7, node_nm),
        count,
        formula=f"{interface.area_of} controllers",
    )
    area = total({"PHY": phys, "controller": controllers}, "mm2", f"{technology} interface")
    return Component(
        name=f"{technology} interface",
        count=int(np.max(units)),
        area_mm2=area,
        static_w=logic_leakage(controllers, node_nm=node_nm),
    )


@checked
def logic_leakage(area_mm2: Estimate, *, node_nm: Num, low_power: Estimate | None = None) -> Estimate:
    """Estimate what logic of an area leaks.

    Args:
        area_mm2: Its area [mm2].
        node_nm: One or shape (n_points,) [nm].
        low_power: Leakage of the device class relative to high-performance transistors; None: 1.

    Returns:
        The density of synthesised units at 40 nm, that of a multiplier; band: down to that of a register. Leakage and
        area are scaled to the node apart.

    Raises:
        SpecError: No area in an estimate, or a node out of range.

    Source:
        Shao et al., Aladdin, ISCA 2014 (tables/area_components.csv).

    Example:
        >>> one = exact(1.0, "mm2", "given", "the caller")
        >>> 0.001 < logic_leakage(one, node_nm=40).value < 0.02
        True
    """
    rows = [_row(f"{unit} leakage") for unit in ("adder", "multiplier", "register")]
    low, middle, high = sorted(float(row["value"]) for row in rows)
    density = Estimate(
        value=middle,
        unit="W/mm2",
        low=low,
        high=high,
        origin="anchor",
        formula="leakage per area of an adder at 40 nm; band: register to multiplier",
        source=rows[0]["source"],
    )
    factors: list[Num | Estimate] = [_density_ratio(node_nm), in_unit(area_mm2, "mm2", "area_mm2")]
    if low_power is not None:
        factors.append(low_power)
    return product(density, *factors, unit="W", formula="leakage of logic")


def _density_ratio(node_nm: Num) -> Estimate:
    """Give leakage per area relative to 40 nm: leakage of a gate over its area."""
    leakage, area = scaling("logic leakage", 40, node_nm), scaling("logic area", 40, node_nm)
    return Estimate(
        value=leakage.value / area.value,
        unit="",
        low=leakage.low / area.high,
        high=leakage.high / area.low,
        origin="scaled",
        formula="leakage of a gate over its area",
        source=f"{leakage.source}; {area.source}",
    )


def _area(item: str) -> Estimate:
    row = _row(item)
    return exact(float(row["value"]), row["unit"], item, row["source"])


def _row(item: str) -> Mapping[str, str]:
    return next(row for row in cited_rows("area_components") if row["item"] == item)
