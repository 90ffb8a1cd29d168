"""The bill of a spatial accelerator: its components, their sums, and what no component stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwmodels.energy.area import Component
from hwmodels.energy.combining import total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.network import ArrayNetwork
from hwmodels.energy.ports import Buffer
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["NOT_COUNTED", "Bill"]

NOT_COUNTED = (
    "clock network",
    "space between placed cells and around memories",
    "control and sequencing",
    "host interface and pads",
    "wires between blocks, and between the memories of a level",
)
"""What no component stands for. Eyeriss' clock network alone takes 33 to 45 % of its power (Chen et al., JSSC 2017);
its core and the TPU's die are 7 and 4 times what is counted here (`published_checks`)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bill:
    """What an accelerator takes; every number is one value or shape (n_points,).

    Bands are of what is counted: a chip is larger and draws more by what `not_counted` names.

    Attributes:
        accelerator: Its name.
        node_nm: Technology node [nm].
        device: Device class of its transistors.
        clock_hz: Clock [Hz].
        supply_v: Supply that the clock needs [V].
        components: Everything that is counted.
        buffers: How the buffers are built, by level.
        network: Energy of the wires of the array.
        not_counted: What no component stands for.
        clock_scale: Clock relative to the nominal one.
        capacity: Factors on the capacity by level.
        bandwidth: Factors on the bandwidth by level.
        dram: DRAM technology of the outermost level; None: not named.
    """

    accelerator: str
    node_nm: Num
    device: str
    clock_hz: Num
    supply_v: Num
    components: tuple[Component, ...]
    buffers: Mapping[str, Buffer]
    network: ArrayNetwork
    not_counted: tuple[str, ...]
    clock_scale: Num
    capacity: Mapping[str, Num]
    bandwidth: Mapping[str, Num]
    dram: str | None

    @property
    def area_mm2(self) -> Estimate:
        """Area of all components [mm2]."""
        return total({part.name: part.area_mm2 for part in self.components}, "mm2", f"area of {self.accelerator}")

    @property
    def static_w(self) -> Estimate:
        """Leakage of all components [W]."""
        return total({part.name: part.static_w for part in self.components}, "W", f"leakage of {self.accelerator}")

    @property
    def mac_j(self) -> Estimate:
        """Energy of a MAC: the unit, its pipeline registers and the hops to its neighbours [J]."""
        parts = {part.name: part.energy_j["mac"] for part in self.components if "mac" in part.energy_j}
        if self.network.hops is not None:
            parts["hops"] = self.network.hops
        return total(parts, "J", "a MAC and what passes it")

    def access_j(self, level: str, event: str) -> Estimate:
        """Give the energy of a word of a level, the bus to the array included [J].

        Args:
            level: Name of a priced level.
            event: "read" or "write".

        Raises:
            SpecError: No such level or event.
        """
        energies = self.component(level).energy_j
        if not isinstance(event, str) or event not in energies:
            raise SpecError(f"{self.accelerator}: {level} has no event {event!r}; {nearest(event, energies)}")
        parts = {level: energies[event]}
        if level in self.network.delivery:
            parts["bus"] = self.network.delivery[level]
        return total(parts, "J", f"{event} of a word of {level}")

    def component(self, name: str) -> Component:
        """Give a component by name.

        Raises:
            SpecError: There is none of that name.
        """
        known = {part.name: part for part in self.components}
        if not isinstance(name, str) or name not in known:
            raise SpecError(f"{self.accelerator}: the bill has no component {name!r}; {nearest(name, known)}")
        return known[name]

    def area_share(self, *names: str) -> Num:
        """Give the part of the area that components take together."""
        return sum((self.component(name).area_mm2.value for name in names), 0.0) / self.area_mm2.value

    def rows(self) -> tuple[dict[str, Any], ...]:
        """Give a row per component, as for a table: area and its band, its share, leakage, energies of events.

        Example:
            >>> import hwmodels
            >>> from hwmodels.energy.pricing import price
            >>> first, *_ = price(hwmodels.load("gemmini")).rows()
            >>> first["component"], first["count"], round(first["mac_j"] * 1e12, 2)
            ('MACs', 256, 0.3)
        """
        return tuple(
            {
                "component": part.name,
                "count": part.count,
                "area_mm2": part.area_mm2.value,
                "area_low_mm2": part.area_mm2.low,
                "area_high_mm2": part.area_mm2.high,
                "area_share": self.area_share(part.name),
                "static_w": part.static_w.value,
                **{f"{event}_j": energy.value for event, energy in part.energy_j.items()},
            }
            for part in self.components
        )

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name: totals, then every component."""
        inside = {name: one for part in self.components for name, one in part.estimates().items()}
        return {"area": self.area_mm2, "leakage": self.static_w, "mac": self.mac_j, **inside}
