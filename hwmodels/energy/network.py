"""The wires of an array: how far words travel from a buffer to the PEs, and operands from PE to PE.

Every level of the mesh is a grid of square instances. A word that a level inside keeps is carried on a bus as long as
the grid is wide and high; what passes from neighbour to neighbour takes a hop as long as a PE is wide. Buses are a
spine down the last axis and a branch along the others at each of its places, one bus per role, a word wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.energy.area import Component
from hwmodels.energy.clocks import Clocking
from hwmodels.energy.combining import product
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.processing import passing_bits
from hwmodels.energy.wires import RANDOM_DATA, wire_area, wire_energy, wire_leakage
from hwmodels.spatial import Accelerator
from workloads.operator import Num

__all__ = ["ArrayNetwork", "array_network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayNetwork:
    """The wires of an array.

    Attributes:
        delivery: By level: energy of a word between the level and what keeps it inside, mean over the roles that the
            level holds [J].
        hops: Energy of the operands and sums of one MAC between neighbours [J]; None: nothing passes.
        component: Their area and leakage; None: there are none.
    """

    delivery: Mapping[str, Estimate]
    hops: Estimate | None
    component: Component | None

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its energies by name."""
        return {**self.delivery, **({} if self.hops is None else {"hops": self.hops})}


def array_network(
    accelerator: Accelerator, instance_mm2: Sequence[Num], *, node_nm: Num, clocked: Clocking
) -> ArrayNetwork:
    """Price the wires of an array.

    Args:
        accelerator: For its levels and meshes.
        instance_mm2: Area of one instance of each level with everything inside it, outermost first, and of one MAC
            [mm2].
        node_nm: One or shape (n_points,) [nm].
        clocked: What the clock does to energy and leakage.
    """
    per_mm = wire_energy(node_nm, activity=RANDOM_DATA)
    sides = [np.sqrt(area) for area in instance_mm2]
    passing = sum(passing_bits(accelerator).values())
    hops = _carried(per_mm, passing, sides[-1], clocked, f"{passing} bit to the neighbour") if passing else None
    bit_mm: Num = passing * sides[-1] * accelerator.mac_instances
    delivery = {}
    for place, level in enumerate(accelerator.levels):
        spans = [_span(accelerator, place, role) for role in level.keeps]
        ways: list[Num] = [sum((size * sides[at + 1] for at, size in span), 0.0) for span in spans]
        longest: Num = sum(ways, 0.0) / max(len(ways), 1)
        if np.any(np.asarray(longest) > 0):
            delivery[level.name] = _carried(per_mm, level.word_bits, longest, clocked, f"a word of {level.name}")
            copies = accelerator.instances(place) * level.word_bits
            bit_mm = bit_mm + copies * sum((_tree_mm(span, sides) for span in spans), 0.0)
    return ArrayNetwork(delivery=delivery, hops=hops, component=_component(bit_mm, node_nm, clocked))


Span = Sequence[tuple[int, int]]
"""The mesh axes that a role crosses: place of the level above, and size."""


def _span(accelerator: Accelerator, place: int, role: str) -> Span:
    """Give the axes between a level and the next one inside that keeps a role; none: it passes the array."""
    inner = [at for at, level in enumerate(accelerator.levels) if at > place and role in level.keeps]
    if not inner:
        return ()
    return [(at, axis.size) for at in range(place, inner[0]) for axis in accelerator.levels[at].mesh]


def _tree_mm(span: Span, sides: Sequence[Num]) -> Num:
    """Give the length of all branches of a bus: the spine is the last axis."""
    length: Num = 0.0
    branches = 1
    for at, size in reversed(span):
        length = length + branches * size * sides[at + 1]
        branches *= size
    return length


def _carried(per_mm: Estimate, bits: float, mm: Num, clocked: Clocking, what: str) -> Estimate:
    way = Estimate(
        value=mm,
        unit="mm",
        low=0.5 * mm,
        high=2 * mm,
        origin="assumption",
        formula="width and height of the array; band: it stops halfway, a multicast drives two branches",
        source="square instances in a grid",
    )
    return product(per_mm, clocked.energy, way, bits, unit="J", formula=f"{what}, over the wires of the array")


def _component(bit_mm: Num, node_nm: Num, clocked: Clocking) -> Component | None:
    if not np.any(np.asarray(bit_mm) > 0):
        return None
    tracks = wire_area(1.0, bit_mm, node_nm)
    return Component(
        name="array wires",
        count=1,
        area_mm2=Estimate(
            value=0.0 * tracks.value,
            unit="mm2",
            low=0.0 * tracks.value,
            high=tracks.high,
            origin="assumption",
            formula="in metal above the PEs; band: nothing else stands below the tracks",
            source=tracks.source,
        ),
        static_w=product(wire_leakage(node_nm), clocked.leakage, bit_mm, unit="W", formula="repeaters of the array"),
    )
