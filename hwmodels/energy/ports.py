"""How a buffer of a stated capacity and bandwidth is built of SRAM: rows, ports and banks, and what that costs.

The rules, from a level's own numbers:

* A level with one bandwidth for reads and writes has one port for both in every bank; one with two has a port for
  each; one without has a port for each, a word wide (registers of a PE).
* A row is as wide as the slower direction moves in a cycle, rounded up to a power of two of words;
  `Organisation.row_bytes` says otherwise. Bandwidth that is turned up adds banks, not width.
* As many banks as the larger bandwidth needs, a bank taking an access every ceil(cycle time / clock period) cycles. A
  buffer that its banks cannot make fast enough is refused. `Organisation.banks` are the least, each a memory of its
  own beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.checking import number, positive
from hwmodels.energy.clocks import Clocking
from hwmodels.energy.sram import Macro, sram
from hwmodels.spatial import BufferLevel, Organisation
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["MOST_BANKS", "Buffer", "build_buffer", "ports_of"]

MOST_BANKS = 64
"""The most that the memory model knows; a bandwidth that needs more is refused."""

SHALLOWEST = 32
"""A bank of fewer words is a register file, which is not split any further. Source: CACTI 7 refuses such an SRAM."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Buffer:
    """One instance of a buffer level, built.

    Attributes:
        macro: One of its memories, with the banks that more bandwidth made of it.
        memories: Macros that stand side by side: the banks that the organisation states; else 1.
        row_bytes: Width of a row [B].
        banks: One number or shape (n_points,).
        ports: Of a bank: read-write, read, write.
        words_per_row: Words of the level in a row.
    """

    macro: Macro
    memories: int
    row_bytes: float
    banks: Num
    ports: tuple[int, int, int]
    words_per_row: float


def build_buffer(
    level: BufferLevel,
    clock_hz: Num,
    clocked: Clocking,
    *,
    capacity_bytes: Num,
    bytes_per_cycle: tuple[float, float],
    bandwidth_scale: Num = 1.0,
    node_nm: Num,
    device: str,
    temperature_k: Num = 350.0,
    organisation: Organisation | None = None,
    law: str | None = None,
) -> Buffer:
    """Build one instance of a buffer level that has its stated capacity and bandwidth at a clock.

    Args:
        level: For its word, its ports and its name.
        clock_hz: Clock, one or shape (n_points,) [Hz].
        clocked: What the clock does to delays.
        capacity_bytes: Capacity, one or shape (n_points,) [B].
        bytes_per_cycle: Reads and writes in a cycle [B]: `ports_of`. They set the width of a row.
        bandwidth_scale: Factor on both, one or shape (n_points,): more banks of the same rows.
        node_nm: Technology node, one or shape (n_points,) [nm].
        device: Device class: "itrs-hp", "itrs-lstp", "itrs-lop".
        temperature_k: Junction temperature [K].
        organisation: What is known of how it is built.
        law: Scaling law of memories outside CACTI's nodes.

    Raises:
        SpecError: Capacity below a row, or a bandwidth that no number of banks gives at the clock.
    """
    known = organisation or Organisation()
    for name, value in (("banks", known.banks), ("row_bytes", known.row_bytes)):
        if value is not None:
            positive(number(value, "float", name, f"level {level.name}"), name, f"level {level.name}")
    row = known.row_bytes or _row_bytes(*bytes_per_cycle, level.word_bits / 8)
    memories = least = known.banks or 1
    if np.min(capacity_bytes) < row * least:
        raise SpecError(
            f"level {level.name}: a capacity of {np.min(capacity_bytes):g} B is below a row of each bank, "
            f"{row * least:g} B; give more capacity, or less bandwidth"
        )
    ports = known.ports or ((1, 0, 0) if level.shared_port else (0, 1, 1))
    build = partial(sram, node_nm=node_nm, device=device, ports=ports, temperature_k=temperature_k, law=law)

    def of_banks(banks: Num) -> Macro:
        """Build so many banks in one macro, or in as many memories as are stated: wires join those of one memory."""
        size = np.maximum(capacity_bytes, row * banks)
        return build(size / memories, row, banks=banks / memories)

    needed = bandwidth_scale * max(bytes_per_cycle) / row
    period = _Period(clock_hz * clocked.delay.value, clock_hz, np.asarray(capacity_bytes) / row)
    banks = _enough_banks(level, of_banks, least, needed, period)
    return Buffer(
        macro=of_banks(banks),
        memories=memories,
        row_bytes=row,
        banks=banks,
        ports=ports,
        words_per_row=8 * row / level.word_bits,
    )


def ports_of(level: BufferLevel, word_bytes: float) -> tuple[float, float]:
    """Give what a level reads and writes in a cycle [B]: a word each way where it states no bandwidth.

    Example:
        >>> ports_of(BufferLevel(name="Spad", keeps=("W",), capacity_words=24, word_bits=16), 2.0)
        (2.0, 2.0)
    """
    read, write = level.read_words_per_cycle, level.write_words_per_cycle
    return (1.0 if read is None else read) * word_bytes, (1.0 if write is None else write) * word_bytes


def _row_bytes(read: float, write: float, word_bytes: float) -> float:
    words = min(read, write) / word_bytes
    return float(word_bytes * 2 ** max(0, math.ceil(math.log2(words) - 1e-9)))


class _Period(NamedTuple):
    """What decides how many banks are possible and enough, each one number or shape (n_points,).

    Attributes:
        slowed_hz: Clock x delay relative to that at the nominal supply [Hz].
        clock_hz: The clock [Hz].
        rows: Of the whole buffer.
    """

    slowed_hz: Num
    clock_hz: Num
    rows: Num


def _enough_banks(
    level: BufferLevel, of_banks: Callable[[Num], Macro], least: int, needed: Num, period: _Period
) -> Num:
    """Find the fewest banks that take the rows of a cycle: the least or a double; each takes one every few cycles."""
    found: NDArray[np.float64] = np.zeros(np.broadcast_shapes(np.shape(needed), *map(np.shape, period)))
    banks = least
    while banks <= max(least, MOST_BANKS):
        macro = of_banks(banks)
        every = np.maximum(np.ceil(macro.cycle_s * period.slowed_hz - 1e-9), 1.0)
        deep = (banks == least) | (np.asarray(period.rows) / banks >= SHALLOWEST)
        found = np.where((found == 0) & deep & (banks / every >= np.asarray(needed) * (1 - 1e-9)), banks, found)
        if np.all(found):
            return int(found) if found.ndim == 0 else found
        if not np.any(deep & (found == 0)):
            break
        banks *= 2
    raise SpecError(
        f"level {level.name}: {np.max(needed):g} rows a cycle at {np.max(period.clock_hz) / 1e6:g} MHz are more than "
        f"banks of {SHALLOWEST} rows or more, {MOST_BANKS} at most, give: one takes {np.max(macro.cycle_s) * 1e9:.3g} "
        "ns a row; give a slower clock, less bandwidth, wider rows (organisations), or more capacity"
    )
