"""The wires of an array: how far words travel from a buffer to the PEs, and operands from PE to PE.

Every level of the mesh is a grid of square instances, rows along its last axis. A word that a level inside keeps goes
over the "bus" of `hwmodels.energy.noc`: a bus down and one across, driven over their whole length; one bus per role, a
word wide. What passes from neighbour to neighbour takes a hop of one pitch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.energy.area import Component
from hwmodels.energy.clocks import Clocking
from hwmodels.energy.combining import product, total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.noc import broadcast_energy, hops, multicast_energy
from hwmodels.energy.noc_parts import neighbour_energy, pe_pitch
from hwmodels.energy.processing import passing_bits
from hwmodels.energy.wires import DEVICES, RANDOM_DATA, wire_area, wire_energy, wire_leakage
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
    accelerator: Accelerator,
    instance_mm2: Sequence[Num],
    *,
    node_nm: Num,
    clocked: Clocking,
    device: str = "itrs-hp",
) -> ArrayNetwork:
    """Price the wires of an array.

    Args:
        accelerator: For its levels and meshes.
        instance_mm2: Area of one instance of each level with everything inside it, outermost first, and of one MAC
            [mm2].
        node_nm: One or shape (n_points,) [nm].
        clocked: What the clock does to energy and leakage.
        device: Device class of the repeaters; those of "itrs-lop" count as "itrs-hp".
    """
    repeaters = device if device in DEVICES else DEVICES[0]
    pitches = [pe_pitch(area).value for area in instance_mm2]
    passing = sum(passing_bits(accelerator).values())
    bit_mm: Num = passing * pitches[-1] * accelerator.mac_instances
    wire = wire_energy(node_nm, device=repeaters, activity=RANDOM_DATA)
    between = neighbour_energy(passing, pitches[-1], wire=wire) if passing else None
    delivery = {}
    for place, level in enumerate(accelerator.levels):
        crossed = {role: _grids(accelerator, place, role, pitches) for role in level.keeps}
        grids = [grid for several in crossed.values() for grid in several]
        if grids:
            ways = [_bus_energy(level.word_bits, grid, wire) for grid in grids]
            word = total({f"bus {number}": way for number, way in enumerate(ways)}, "J", "buses of its roles")
            delivery[level.name] = product(
                word,
                clocked.energy,
                1 / len(crossed),
                formula=f"mean over {', '.join(crossed)}: a word of {level.name}",
            )
            copies = accelerator.instances(place) * level.word_bits
            bit_mm = bit_mm + copies * sum((_length_mm(grid) for grid in grids), 0.0)
    return ArrayNetwork(
        delivery=delivery,
        hops=None if between is None else product(between, clocked.energy, formula=f"{passing} bit to the neighbour"),
        component=_component(bit_mm, node_nm, clocked, repeaters),
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """The instances below one level."""

    rows: int
    columns: int
    pitch_mm: Num


def _grids(accelerator: Accelerator, place: int, role: str, pitches: Sequence[Num]) -> list[_Grid]:
    """Give the grids between a level and the next one inside that keeps a role; none: the role passes the array."""
    inner = [at for at, level in enumerate(accelerator.levels) if at > place and role in level.keeps]
    if not inner:
        return []
    grids = []
    for at in range(place, inner[0]):
        mesh = accelerator.levels[at].mesh
        if mesh:
            rows = mesh[-1].size
            grids.append(_Grid(rows, accelerator.levels[at].fan_out // rows, pitches[at + 1]))
    return grids


def _length_mm(grid: _Grid) -> Num:
    """Give the length of all buses of a grid."""
    every = grid.rows * grid.columns
    return hops("bus", grid.rows, grid.columns, every, pitch_mm=grid.pitch_mm).length_mm.value


def _bus_energy(bits: int, grid: _Grid, wire: Estimate) -> Estimate:
    """Give the energy of a word to one PE of a grid; band: from a tree driven as far as needed to every bus driven."""
    shape = (bits, grid.rows, grid.columns, grid.pitch_mm)
    one = multicast_energy(*shape, network="bus", wire=wire)
    least = multicast_energy(*shape, network="tree", wire=wire)
    most = broadcast_energy(*shape, network="bus", wire=wire)
    return Estimate(
        value=one.value,
        unit="J",
        low=np.minimum(least.low, one.low),
        high=np.maximum(most.high, one.high),
        origin="derived",
        formula=f"{one.formula}; band: a tree to one PE, up to the buses of all rows",
        source=one.source,
        parts=one.parts,
    )


def _component(bit_mm: Num, node_nm: Num, clocked: Clocking, repeaters: str) -> Component | None:
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
        static_w=product(
            wire_leakage(node_nm, device=repeaters), clocked.leakage, bit_mm, unit="W", formula="repeaters of the array"
        ),
    )
