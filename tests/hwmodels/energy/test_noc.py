"""Networks of PE arrays: closed forms equal sums over every choice of destinations, and a multicast is worth it."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.energy.noc import broadcast_energy, hops, multicast_energy, reduction_energy
from hwmodels.energy.noc_edges import AMONG, NETWORKS
from hwmodels.energy.noc_parts import neighbour_energy, pe_pitch, peer_distance, router_energy
from hwmodels.energy.wires import RANDOM_DATA, wire_energy
from tests.close import close
from workloads.errors import SpecError

GOLDEN = Path(__file__).parents[2] / "golden" / "reference" / "energy" / "normalised_hierarchy.csv"
COMBINING = ("tree", "systolic", "mesh", "h-tree")
PE = tuple[int, int]


# -- written out: the wires on the way to one PE, by name, with their lengths in pitches


def way(network: str, rows: int, columns: int, pe: PE) -> dict[object, float]:
    row, column = pe
    if network in ("tree", "mesh"):
        down = {("down", r): 1.0 for r in range(row + 1)}
        return down | {("across", row, c): 1.0 for c in range(1, column + 1)}
    if network == "systolic":
        return {("across", row, c): 1.0 for c in range(column + 1)}
    if network == "bus":
        return {"y": float(rows), ("x", row): float(columns)}
    if network == "point-to-point":
        return {pe: row + 1.0 + column}
    return h_way(rows, columns, pe)


def h_way(rows: int, columns: int, pe: PE) -> dict[object, float]:
    """Halve the region that holds the PE, columns and rows in turn, and walk from middle to middle."""
    top, left, high, wide = 0, 0, rows, columns
    here = (rows / 2, columns / 2)
    found: dict[object, float] = {"root": columns / 2 + 0.5}
    split_columns = True
    while high > 1 or wide > 1:
        if (split_columns and wide > 1) or high == 1:
            wide //= 2
            left += wide if pe[1] >= left + wide else 0
        else:
            high //= 2
            top += high if pe[0] >= top + high else 0
        split_columns = not split_columns
        there = (top + high / 2, left + wide / 2)
        found[(top, left, high, wide)] = abs(there[0] - here[0]) + abs(there[1] - here[1])
        here = there
    return found


def union(network: str, rows: int, columns: int, pes: Iterable[PE]) -> tuple[int, float]:
    wires: dict[object, float] = {}
    for pe in pes:
        wires |= way(network, rows, columns, pe)
    return len(wires), sum(wires.values())


def choices(rows: int, columns: int, count: int, among: str) -> list[tuple[PE, ...]]:
    lines = {
        "any": [[(r, c) for r in range(rows) for c in range(columns)]],
        "row": [[(r, c) for c in range(columns)] for r in range(rows)],
        "column": [[(r, c) for r in range(rows)] for c in range(columns)],
    }[among]
    return [chosen for line in lines for chosen in itertools.combinations(line, count)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("among", AMONG)
def test_closed_forms_equal_the_mean_over_every_choice(network: str, among: str) -> None:
    sizes = [(1, 1), (1, 4), (4, 1), (2, 2), (2, 4), (4, 2)] + ([] if network == "h-tree" else [(3, 3), (2, 5), (3, 4)])
    for rows, columns in sizes:
        for count in range(1, {"any": rows * columns, "row": columns, "column": rows}[among] + 1):
            summed = [union(network, rows, columns, chosen) for chosen in choices(rows, columns, count, among)]
            links, length = np.mean(summed, axis=0)
            found = hops(network, rows, columns, count, pitch_mm=0.1, among=among)
            assert found.links.value == close(links, rel=1e-9), (rows, columns, count)
            assert found.length_mm.value == close(length * 0.1, rel=1e-9), (rows, columns, count)
            assert found.routers.value == (close(links, rel=1e-9) if network == "mesh" else 0)


def test_the_mean_distance_of_two_pes_is_that_of_all_pairs() -> None:
    for rows, columns in ((1, 2), (3, 3), (2, 5), (4, 1)):
        pes = list(itertools.product(range(rows), range(columns)))
        pairs = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in itertools.permutations(pes, 2)]
        assert peer_distance(rows, columns, 0.2).value == close(0.2 * np.mean(pairs))


def size(network: str) -> st.SearchStrategy[int]:
    return st.sampled_from((1, 2, 4, 8, 16, 32)) if network == "h-tree" else st.integers(1, 40)


@given(st.data())
def test_a_multicast_costs_at_least_a_unicast_and_at_most_one_for_each(data: st.DataObject) -> None:
    network = data.draw(st.sampled_from(sorted(NETWORKS)))
    among = data.draw(st.sampled_from(AMONG))
    rows, columns = data.draw(size(network)), data.draw(size(network))
    most = {"any": rows * columns, "row": columns, "column": rows}[among]
    count = data.draw(st.integers(1, most))
    node_nm = data.draw(st.sampled_from((90.0, 45.0, 7.0)))

    def cost(destinations: int) -> float:
        energy = multicast_energy(16, rows, columns, 0.1, destinations, network=network, among=among, node_nm=node_nm)
        return float(energy.value)

    one, many = cost(1), cost(count)
    assert one * (1 - 1e-9) <= many <= one * count * (1 + 1e-9)
    assert many <= cost(min(count + 1, most)) * (1 + 1e-9)  # another destination never makes it cheaper
    if network == "point-to-point":
        assert many == close(one * count, rel=1e-9)


def test_a_broadcast_drives_every_wire_of_the_tree_once() -> None:
    for rows, columns in ((3, 5), (8, 8), (1, 7)):
        wire = wire_energy(45)
        energy = broadcast_energy(8, rows, columns, 0.1, wire=wire)
        assert energy.value == close(8 * rows * columns * 0.1 * wire.value)
        systolic = broadcast_energy(8, rows, columns, 0.1, network="systolic", wire=wire)
        assert systolic.value == close(energy.value)  # as many links, others
    area = 16 * 16
    h_tree = hops("h-tree", 16, 16, area).length_mm.value
    assert 1.0 * area < h_tree < 2.0 * area  # an h-tree of n leaves is O(n) long: Leiserson 1980


def test_partial_sums_meet_only_where_the_network_adds_them() -> None:
    for network in NETWORKS:
        one = reduction_energy(32, 8, 8, 0.1, 1, network=network).value
        eight = reduction_energy(32, 8, 8, 0.1, 8, network=network).value
        if network in COMBINING:
            assert eight == multicast_energy(32, 8, 8, 0.1, 8, network=network).value
            assert eight < 8 * one
        else:
            assert eight == close(8 * one)


def test_a_mesh_is_the_tree_and_its_routers() -> None:
    tree, mesh = (multicast_energy(64, 4, 6, 0.5, 5, network=network, node_nm=12) for network in ("tree", "mesh"))
    assert mesh.parts["wires"].value == tree.value
    routers = hops("mesh", 4, 6, 5).routers.value
    assert mesh.parts["routers"].value == close(64 * routers * 0.01875e-12)  # FlooNoC: 0.15 pJ a byte and hop
    assert mesh.value == close(tree.value + mesh.parts["routers"].value)


def test_a_published_mesh_lies_in_the_band_of_the_model() -> None:
    """Park et al., DAC 2012: a 4 x 4 mesh of 45 nm, 531.4 mW at 892 Gbit/s; a link of 1 mm is ours.

    Per delivered bit: what a broadcast drives by itself, and what a unicast between two PEs drives.
    """
    published = 0.5314 / 892e9
    wire, router = wire_energy(45, activity=RANDOM_DATA), router_energy(45)
    broadcast = multicast_energy(1, 4, 4, 1.0, 16, network="mesh", node_nm=45)
    hop = float(peer_distance(4, 4).value)
    unicast_low, unicast_high = ((wire.low + router.low) * hop, (wire.high + router.high) * (hop + 1))
    assert broadcast.low / 16 < published < broadcast.high / 16
    assert unicast_low < published < unicast_high


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 2)), min_size=1, max_size=5))
def test_a_batch_equals_its_rows(points: list[tuple[int, int, float]]) -> None:
    rows, columns, pitch = (np.array(column) for column in zip(*points, strict=True))
    counts = np.maximum(1, rows * columns // 2)
    for network in ("tree", "mesh", "bus", "systolic", "point-to-point"):
        batch = multicast_energy(16, rows, columns, pitch, counts, network=network)
        single = [
            multicast_energy(16, r, c, p, int(d), network=network) for (r, c, p), d in zip(points, counts, strict=True)
        ]
        for name in ("value", "low", "high"):
            np.testing.assert_allclose(getattr(batch, name), [getattr(one, name) for one in single], rtol=1e-9)


def test_h_trees_in_a_batch_equal_their_rows() -> None:
    rows, columns = np.array([1, 2, 8, 16, 4]), np.array([1, 8, 2, 16, 1])
    counts = np.array([1, 3, 16, 100, 2])
    batch = hops("h-tree", rows, columns, counts).length_mm.value
    single = [hops("h-tree", *point).length_mm.value for point in zip(rows, columns, counts, strict=True)]
    assert batch == close(np.array(single), rel=1e-9)


def test_a_neighbour_is_one_pitch_away() -> None:
    area = 0.01
    pitch = float(pe_pitch(area).value)
    assert pitch == close(math.sqrt(area))
    per_mm = wire_energy(65)
    assert neighbour_energy(16, pitch, wire=per_mm).value == close(16 * pitch * per_mm.value)
    assert neighbour_energy(16, pitch, node_nm=65).value == close(4 * pitch * per_mm.value)  # random bits


def test_eyeriss_neighbour_transfer_beside_the_published_ratio() -> None:
    """Eyeriss, Table IV: a transfer to a neighbouring PE costs 2 MACs of 16 bits. The wire alone explains a part of it.

    The rest is what the PE spends (FIFOs, multiplexers), which a wire model must not be tuned to swallow. Pitch: the
    core of 3.5 mm x 3.5 mm over 12 x 14 PEs, so an upper limit.
    """
    from hwmodels.energy.arithmetic import mac_energy

    rows = csv.DictReader(GOLDEN.read_text(encoding="utf-8").splitlines())
    published = next(float(row["energy_relative_to_mac"]) for row in rows if row["level"] == "neighbour_pe_noc")
    mac = mac_energy("int16", node_nm=65).value
    for activity in (RANDOM_DATA, 1.0):
        wire = wire_energy(65, activity=activity)
        ratio = float(neighbour_energy(16, math.sqrt(3.5 * 3.5 / (12 * 14)), wire=wire).value / mac)
        print(f"activity {activity}: {ratio:.2f} MACs, published {published:g}: {ratio / published - 1:+.0%}")
        assert 0 < ratio < published  # a wire costs something, and not more than wire and PE together


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hops("mech", 4, 4), "nearest: mesh"),
        (lambda: hops("tree", 0, 4), "rows = 0; a whole number"),
        (lambda: hops("tree", 4, 2.5), "columns = 2.5; a whole number"),
        (lambda: hops("tree", 4, -4), "columns = -4"),
        (lambda: hops("tree", math.nan, 4), "rows = nan"),
        (lambda: hops("tree", 4, 4, 17), "17 destinations, but the array has 16 PEs"),
        (lambda: hops("tree", 4, 8, 9, among="row"), "9 destinations, but a row has 8 PEs"),
        (lambda: hops("tree", np.array([4, 4]), 4, np.array([16, 20])), "20 destinations"),
        (lambda: hops("tree", 4, 4, among="rows"), "nearest: row"),
        (lambda: hops("tree", 4, 4, pitch_mm=0), "above zero"),
        (lambda: hops("tree", 4096, 4096), "PEs; arrays of up to"),
        (lambda: hops("h-tree", 3, 4), "powers of two"),
        (lambda: multicast_energy(-8, 4, 4, 0.1), "above zero"),
        (lambda: multicast_energy(8, 4, 4, 0.1, wire=router_energy(12)), "wire is in J/bit; J/bit/mm is needed"),
        (lambda: multicast_energy(8, 4, 4, 0.1, node_nm=1), "180 to 3"),
        (lambda: reduction_energy(8, 4, 4, 0.1, 17, network="bus"), "17 destinations"),
        (lambda: reduction_energy(8, 4, 4, 0.1, 2, network="buss"), "nearest: bus"),
        (lambda: peer_distance(1, 1), "no peer"),
        (lambda: pe_pitch(0), "above zero"),
        (lambda: pe_pitch(-1), "above zero"),
        (lambda: pe_pitch(wire_energy(45)), "mm2 is needed"),
    ],
)
def test_bad_input_is_a_clear_error(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(SpecError, match=message):
        call()
