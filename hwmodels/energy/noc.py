"""Networks on chip: hops, lengths and energy of bringing words to the PEs of an array, and results back.

Networks (`NETWORKS`): "point-to-point" a wire of its own to every PE; "bus" a y bus and an x bus per row, driven over
their whole length (Eyeriss); "tree" a trunk and branches, driven as far as needed; "systolic" links from neighbour to
neighbour along each row, each with a port; "mesh" the tree's paths with a router at every PE; "h-tree".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.energy.checking import checked, positive
from hwmodels.energy.combining import in_unit, product, total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.noc_edges import AMONG, NETWORKS, PES_AT_MOST, driven, edges_of, whole
from hwmodels.energy.noc_parts import counted, priced, router_energy
from hwmodels.energy.wires import RANDOM_DATA, wire_energy
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = [
    "Delivery",
    "broadcast_energy",
    "hops",
    "multicast_energy",
    "reduction_energy",
]

_COMBINING = ("tree", "systolic", "mesh", "h-tree")
"""Networks in which partial sums can be added on their way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """What is driven, on average, when a word goes from the port to some PEs.

    Attributes:
        links: Wires.
        length_mm: Of all of them together.
        routers: Passed.
    """

    links: Estimate
    length_mm: Estimate
    routers: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {"links": self.links, "length": self.length_mm, "routers": self.routers}


@checked
def hops(
    network: str, rows: Num, columns: Num, destinations: Num = 1, *, pitch_mm: Num = 1.0, among: str = "any"
) -> Delivery:
    """Count what is driven when one word goes to some PEs: the mean over all choices of them.

    Args:
        network: "point-to-point", "bus", "tree", "systolic", "mesh" or "h-tree".
        rows: PEs along y, one value or shape (n_points,).
        columns: PEs along x.
        destinations: How many different PEs get the word.
        pitch_mm: From one PE to the next, both ways.
        among: "any": any PEs; "row": all in one row; "column": all in one column.

    Returns:
        Wires, their length and routers.

    Raises:
        SpecError: An unknown name, sizes that are no whole numbers, or more destinations than PEs.

    Source: as in `noc_edges`: x-y routing, and the share of choices that have a PE behind a wire.

    Example:
        >>> unicast = hops("mesh", 4, 4)  # (4 + 1) / 2 rows down, (4 - 1) / 2 columns across
        >>> float(unicast.links.value)
        4.0
        >>> float(hops("mesh", 4, 4, 16).links.value)  # every link of the tree once
        16.0
    """
    where = "hops"
    if among not in AMONG:
        raise SpecError(f"{where}: among {among!r}; {nearest(among, AMONG)}")
    if network not in NETWORKS:
        raise SpecError(f"{where}: no network {network!r}; {nearest(network, NETWORKS)}")
    pitch = np.atleast_1d(np.asarray(positive(pitch_mm, "pitch_mm", where), dtype=np.float64))
    counts = (whole(rows, "rows", where), whole(columns, "columns", where), whole(destinations, "destinations", where))
    down, across, wanted, pitch = np.broadcast_arrays(*counts, pitch)
    _check(down, across, wanted, among)
    edges = edges_of(network, down, across)
    used = edges.count * driven(edges, down, across, wanted, among)
    single = all(np.ndim(value) == 0 for value in (rows, columns, destinations, pitch_mm))
    sums = (used, used * (edges.along_x + edges.along_y) * pitch, used * edges.routers)
    names = ("wires that are driven", "their length", "routers that are passed")
    links, length, routers = (
        counted(float(found[0]) if single else found, unit, f"{name}: {network}, to PEs of {among}")
        for found, unit, name in zip((each.sum(axis=0) for each in sums), ("", "mm", ""), names, strict=True)
    )
    return Delivery(links=links, length_mm=length, routers=routers)


@checked
def multicast_energy(
    bits: Num,
    rows: Num,
    columns: Num,
    pitch_mm: Num,
    destinations: Num = 1,
    *,
    network: str = "tree",
    among: str = "any",
    node_nm: Num = 45.0,
    wire: Estimate | None = None,
    router: Estimate | None = None,
) -> Estimate:
    """Give the energy of bringing the same word to some PEs; one destination is a unicast.

    A multicast costs at least a unicast and at most as many unicasts as it has destinations. Registers on the way
    (systolic links) are not in it: they belong to the PEs.

    Args:
        bits: Of the word, one value or shape (n_points,).
        rows: PEs along y.
        columns: PEs along x.
        pitch_mm: From one PE to the next; `pe_pitch` gives it from their area.
        destinations: How many different PEs get it.
        network: One of the six; "mesh" alone has routers.
        among: Where they lie: "any", "row", "column".
        node_nm: Of wires and routers that are not given.
        wire: Energy of a bit and a millimetre; None: `wire_energy` at the node, random bits (`RANDOM_DATA`).
        router: Energy of a bit and a router; None: `router_energy(node_nm)`.

    Returns:
        J, with the parts wires and, in a mesh, routers.

    Raises:
        SpecError: As in `hops`; or a number of bits or a pitch that is not above zero.

    Source: as in `hops` and `wire_energy`; routers: `router_energy`.

    Example:
        >>> energy = multicast_energy(16, 12, 14, 0.1, 14, among="row", node_nm=65)
        >>> round(float(energy.value) * 1e12, 2)
        2.57
    """
    where = "multicast_energy"
    word = positive(bits, "bits", where)
    delivery = hops(network, rows, columns, destinations, pitch_mm=positive(pitch_mm, "pitch_mm", where), among=among)
    per_mm = wire_energy(node_nm, activity=RANDOM_DATA) if wire is None else in_unit(wire, "J/bit/mm", "wire")
    parts = {"wires": priced(per_mm, word, delivery.length_mm, "mm of wire")}
    if network == "mesh":
        per_router = router_energy(node_nm) if router is None else in_unit(router, "J/bit", "router")
        parts["routers"] = priced(per_router, word, delivery.routers, "routers")
    return total(parts, "J", f"bits over a {network}, to PEs of {among}")


@checked
def broadcast_energy(
    bits: Num,
    rows: Num,
    columns: Num,
    pitch_mm: Num,
    *,
    network: str = "tree",
    node_nm: Num = 45.0,
    wire: Estimate | None = None,
    router: Estimate | None = None,
) -> Estimate:
    """Give the energy of bringing a word to every PE: a multicast to all.

    Args:
        bits: As in `multicast_energy`, like all others.
        rows: PEs along y.
        columns: PEs along x.
        pitch_mm: From one PE to the next.
        network: One of the six.
        node_nm: Of wires and routers that are not given.
        wire: Energy of a bit and a millimetre.
        router: Energy of a bit and a router.

    Returns:
        J.

    Raises:
        SpecError: As in `multicast_energy`.

    Source: as in `hops` and `wire_energy`.

    Example:
        >>> from hwmodels.energy.noc import multicast_energy
        >>> bool(broadcast_energy(8, 4, 4, 0.1).value == multicast_energy(8, 4, 4, 0.1, 16).value)
        True
    """
    with np.errstate(over="ignore"):  # sides beyond all bounds are refused there
        every = np.multiply(rows, columns)
    return multicast_energy(
        bits, rows, columns, pitch_mm, every, network=network, node_nm=node_nm, wire=wire, router=router
    )


@checked
def reduction_energy(
    bits: Num,
    rows: Num,
    columns: Num,
    pitch_mm: Num,
    sources: Num,
    *,
    network: str = "tree",
    among: str = "any",
    node_nm: Num = 45.0,
    wire: Estimate | None = None,
    router: Estimate | None = None,
) -> Estimate:
    """Give the energy of moving partial sums from some PEs to the port as one sum; the adders are not in it.

    Where sums meet on their way (tree, systolic, mesh, h-tree) every wire carries one: a multicast backwards. On a bus
    and on wires of their own every partial sum goes all the way.

    Args:
        bits: Of a partial sum, as wide on the whole way.
        rows: As in `multicast_energy`, like all others.
        columns: PEs along x.
        pitch_mm: From one PE to the next.
        sources: How many different PEs have one.
        network: One of the six.
        among: Where they lie.
        node_nm: Of wires and routers that are not given.
        wire: Energy of a bit and a millimetre.
        router: Energy of a bit and a router.

    Returns:
        J.

    Raises:
        SpecError: As in `multicast_energy`.

    Source: as in `hops` and `wire_energy`.

    Example:
        >>> along = reduction_energy(32, 16, 16, 0.05, 16, network="systolic", among="row", node_nm=45)
        >>> round(float(along.value) * 1e12, 3)
        1.597
    """
    if network not in NETWORKS:
        raise SpecError(f"reduction_energy: no network {network!r}; {nearest(network, NETWORKS)}")
    if network in _COMBINING:
        return multicast_energy(
            bits, rows, columns, pitch_mm, sources, network=network, among=among, node_nm=node_nm, wire=wire,
            router=router,
        )  # fmt: skip
    hops(network, rows, columns, sources, among=among)  # refuses more sources than PEs
    one = multicast_energy(bits, rows, columns, pitch_mm, network=network, among=among, node_nm=node_nm, wire=wire)
    return product(one, sources, formula="every partial sum on its own")


def _check(rows: Num, columns: Num, destinations: Num, among: str) -> None:
    pes = np.multiply(rows, columns)
    if np.max(pes) > PES_AT_MOST:
        raise SpecError(f"hops: {np.max(pes):g} PEs; arrays of up to {PES_AT_MOST} are counted")
    there = {"any": pes, "row": columns, "column": rows}[among]
    wrong = np.greater(destinations, there)
    if np.any(wrong):
        asked, least = (np.broadcast_to(each, np.shape(wrong))[wrong][0] for each in (destinations, there))
        place = "the array" if among == "any" else f"a {among}"
        raise SpecError(f"hops: {asked:g} destinations, but {place} has {least:g} PEs; they must be different PEs")
