"""Small records of a roofline device: where its numbers come from, its memory levels, what an operator asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hwmodels.accumulate import add_up
from workloads.operator import Num

__all__ = ["Citation", "Demand", "MemoryLevel", "add_demands"]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a group of numbers comes from.

    Attributes:
        source: Author, title or table.
        origin: read | derived | recalled.
        note: What to know when using it.
        disagreements: What other sources say instead.
    """

    source: str
    origin: str
    note: str = ""
    disagreements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """One level of the memory hierarchy.

    Attributes:
        name: "L1", "L2", "DRAM".
        capacity_bytes: All of its copies together [B].
        bytes_per_s: Peak bandwidth of all copies [B/s]; 0: not stated.
        j_per_bit: Energy on top of the levels inside it: a bit from DRAM pays every level [J/bit].
    """

    name: str
    capacity_bytes: float
    bytes_per_s: float = 0.0
    j_per_bit: float = 0.0


class Demand(NamedTuple):
    """What an operator (or a step) asks of a device at nominal clock and voltage, all its executions together."""

    compute_s: Num
    dram_bytes: Num
    flops: Num
    compute_j: Num


def add_demands(demands: Sequence[Demand]) -> Demand:
    """Add the demands of operators that run as one kernel.

    Example:
        >>> add_demands([Demand(1.0, 2.0, 3.0, 4.0), Demand(1.0, 0.0, 1.0, 0.0)])
        Demand(compute_s=2.0, dram_bytes=2.0, flops=4.0, compute_j=4.0)
    """
    if len(demands) == 1:
        return demands[0]
    return Demand(*[add_up(parts) for parts in zip(*demands, strict=True)])
