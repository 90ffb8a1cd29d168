"""The bundled table of sub-array organisations: what CACTI computes for every organisation that is near the best.

`tables/sram.npz` holds, for every device type, node and port set and a grid of word widths and capacities, the
organisations that are near-optimal there or at a neighbouring point, with what CACTI computes for each of them; and the
rows that CACTI prints. `reports/sram_table.py` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BANKED",
    "DEVICES",
    "NODES",
    "OBJECTIVES",
    "PORTS",
    "QUANTITIES",
    "Block",
    "Objective",
    "Point",
    "block",
    "stored",
]

DEVICES = ("itrs-hp", "itrs-lstp", "itrs-lop")
"""CACTI's device types: high performance, low standby power, low operating power."""

NODES = (22.0, 32.0, 45.0, 65.0, 90.0)
"""Nodes whose devices CACTI holds [nm]; between them it interpolates."""

PORTS = ((1, 0, 0), (0, 1, 1), (2, 0, 0))
"""Port sets of the table: read-write, read-only and write-only ports of a bank. The last two for itrs-hp alone."""

QUANTITIES = ("read_j", "write_j", "leakage_w", "access_s", "cycle_s", "height_mm", "width_mm")

SCALES = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1e-3, 1e-3])
"""From the table's units (J, W, s, um) to ours."""


class Objective(NamedTuple):
    """What an organisation is chosen for: the least read_j^energy x access_s^delay x area_mm2^area.

    Attributes:
        bit: Marks the organisations that are near-optimal for it in the table.
        energy: Exponent of the read energy.
        delay: Of the access time.
        area: Of the area.
    """

    bit: int
    energy: int
    delay: int
    area: int


OBJECTIVES: Mapping[str, Objective] = {
    "ed2": Objective(1, 1, 2, 0),
    "ed": Objective(2, 1, 1, 0),
    "energy": Objective(4, 1, 0, 0),
    "area": Objective(8, 0, 0, 1),
    "delay": Objective(32, 0, 1, 0),
}
BANKED = 64
"""Marks the organisations that are near-optimal once the wires between 2 to 16 banks count."""

"""CACTI's optimiser settings; "ed2" (energy x delay^2) is the setting of the reference tables."""


Point = Mapping[int, tuple[int, NDArray[np.float64]]]
"""At one width and depth: an organisation's place in the table to its marks and its values (`QUANTITIES`)."""


@dataclass(frozen=True, eq=False)
class Block:
    """Everything the table holds of one device type, node and port set.

    Attributes:
        points: Words by width: (width_bytes, depth) to its organisations.
        depths: Depths of the table by width, ascending.
        widths: Widths of the table, ascending [B].
    """

    points: Mapping[tuple[int, int], Point]
    depths: Mapping[int, tuple[int, ...]]
    widths: tuple[int, ...]

    @cached_property
    def curves(self) -> Mapping[int, Mapping[int, Mapping[int, NDArray[np.float64]]]]:
        """Values by width, organisation and depth, depths ascending."""
        found: dict[int, dict[int, dict[int, NDArray[np.float64]]]] = {width: {} for width in self.widths}
        for (width, depth), point in sorted(self.points.items()):
            for which, (_, values) in point.items():
                found[width].setdefault(which, {})[depth] = values
        return found

    def without(self, pairs: frozenset[tuple[int, int]]) -> Block:
        """Leave points out: (width_bytes, depth) of each. For tests that predict what they left out."""
        points = {point: found for point, found in self.points.items() if point not in pairs}
        return _block(points)


@cache
def stored() -> Mapping[str, NDArray[Any]]:
    """Read the bundled table: see `reports/sram_table.py` for its arrays."""
    with (resources.files("hwmodels") / "tables" / "sram.npz").open("rb") as file, np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


@cache
def block(device: str, node_nm: float, ports: tuple[int, int, int]) -> Block:
    """Give what the table holds of a device type, node and port set that it has.

    Example:
        >>> block("itrs-hp", 45.0, (1, 0, 0)).widths
        (1, 2, 4, 8, 16, 32, 64, 128)
    """
    table = stored()
    index = list(table["blocks"]).index(f"{device} {node_nm:.0f} {ports[0]} {ports[1]} {ports[2]}")
    mine = np.flatnonzero(table["points"][:, 0] == index)
    first, last = np.searchsorted(table["entry_point"], [mine[0], mine[-1] + 1])
    values = table["entry_values"][first:last].astype(np.float64) * SCALES
    points: dict[tuple[int, int], dict[int, tuple[int, NDArray[np.float64]]]] = {}
    places = [(int(width), int(depth)) for _, width, depth in table["points"][mine]]
    for at, organisation, near, row in zip(
        (table["entry_point"][first:last] - mine[0]).tolist(),
        table["entry_org"][first:last].tolist(),
        table["entry_near"][first:last].tolist(),
        values,
        strict=True,
    ):
        points.setdefault(places[at], {})[organisation] = (near, row)
    return _block(points)


def _block(points: Mapping[tuple[int, int], Point]) -> Block:
    widths = sorted({width for width, _ in points})
    depths = {width: tuple(sorted(depth for other, depth in points if other == width)) for width in widths}
    return Block(points, depths, tuple(widths))
