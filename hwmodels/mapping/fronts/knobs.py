"""Devices of one make, as arrays of the numbers in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.pricing import usable_words
from hwmodels.mapping.timing import Bandwidth, Floats
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError

__all__ = ["Devices", "same_make"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Devices:
    """Devices that differ in numbers only.

    Attributes:
        capacity: Words of each level; inf: unbounded; (n_devices, levels).
        usable: Words that tiles may fill; (n_devices, levels).
        shares: Of the partitions, in the order of the layout; (n_devices, n_shares).
        read: Words per cycle; inf: never the bottleneck; (n_devices, levels).
        write: Likewise.
        read_j: Energy of a word [J]; (n_devices, levels).
        write_j: Likewise.
        mac_j: Energy of a multiply-accumulate [J]; (n_devices,).
        static_w: Power that flows whatever runs [W]; (n_devices,).
        clock_hz: Clock [Hz]; (n_devices,).
    """

    capacity: Floats
    usable: Floats
    shares: Floats
    read: Floats
    write: Floats
    read_j: Floats
    write_j: Floats
    mac_j: Floats
    static_w: Floats
    clock_hz: Floats

    def __len__(self) -> int:
        return len(self.clock_hz)

    @classmethod
    def of(cls, accelerators: Sequence[Accelerator], rules: Conventions) -> Devices:
        """Take the numbers of accelerators of one make.

        Raises:
            MappingError: They differ in more than numbers.
        """
        for other in accelerators[1:]:
            same_make(accelerators[0], other)

        def table(name: str, nothing: float = 0.0) -> Floats:
            values = [[getattr(level, name) for level in one.levels] for one in accelerators]
            return np.array([[nothing if value is None else value for value in row] for row in values], dtype=float)

        def of_each(name: str) -> Floats:
            return np.array([getattr(one, name) for one in accelerators], dtype=float)

        shares = [
            [usable_words(level, rules, role) for level in one.levels for role in level.partitions]
            for one in accelerators
        ]
        return cls(
            capacity=table("capacity_words", np.inf),
            usable=np.array([[usable_words(level, rules) for level in one.levels] for one in accelerators]),
            shares=np.array(shares, dtype=float).reshape(len(accelerators), -1),
            read=table("read_words_per_cycle", np.inf),
            write=table("write_words_per_cycle", np.inf),
            read_j=table("read_j"),
            write_j=table("write_j"),
            mac_j=of_each("mac_j"),
            static_w=of_each("static_w"),
            clock_hz=of_each("clock_hz"),
        )

    def take(self, rows: NDArray[np.int64] | slice) -> Devices:
        """Give some of them."""
        return replace(self, **{entry.name: getattr(self, entry.name)[rows] for entry in fields(self)})

    def bandwidths(self, accelerator: Accelerator, rules: Conventions) -> tuple[Bandwidth, ...]:
        """Give their ports: numbers of shape (n_devices, 1), None where no device has a limit.

        Args:
            accelerator: One of them.
            rules: Whether ports are shared.
        """

        def port(values: Floats) -> Floats | None:
            return None if np.isinf(values).all() else values[:, None]

        return tuple(
            Bandwidth(
                level.name, port(self.read[:, at]), port(self.write[:, at]), rules.shared_ports and level.shared_port
            )
            for at, level in enumerate(accelerator.levels)
        )

    def accelerator(self, like: Accelerator, row: int) -> Accelerator:
        """Give one device as an accelerator.

        Args:
            like: One of its make.
            row: Which device.
        """

        def limit(value: float) -> float | None:
            return None if np.isinf(value) else float(value)

        levels, share = [], 0
        for at, level in enumerate(like.levels):
            double = level.capacity_words is not None
            partitions = {}
            for role in level.partitions:
                factor = level.partitions[role] and self.capacity[row, at] / (level.capacity_words or np.inf)
                partitions[role] = round(level.partitions[role] * factor) if double else level.partitions[role]
                share += 1
            levels.append(
                replace(
                    level,
                    capacity_words=int(self.capacity[row, at]) if double else None,
                    partitions=partitions,
                    read_words_per_cycle=limit(self.read[row, at]),
                    write_words_per_cycle=limit(self.write[row, at]),
                    read_j=float(self.read_j[row, at]),
                    write_j=float(self.write_j[row, at]),
                )
            )
        return replace(
            like,
            levels=tuple(levels),
            mac_j=float(self.mac_j[row]),
            static_w=float(self.static_w[row]),
            clock_hz=float(self.clock_hz[row]),
        )


NUMBERS = ("capacity_words", "read_words_per_cycle", "write_words_per_cycle", "read_j", "write_j", "partitions")
"""Of a level, what may differ within a make."""


def same_make(one: Accelerator, other: Accelerator) -> None:
    """Refuse two accelerators that differ in more than capacities, bandwidths, energies, static power and clock.

    Raises:
        MappingError: Naming what differs.
    """
    for what in ("macs_per_cycle", "operand_bits", "acc_bits"):
        if getattr(one, what) != getattr(other, what):
            raise MappingError(f"{other.name} has another {what} than {one.name}; solve a front of its own")
    if [level.name for level in one.levels] != [level.name for level in other.levels]:
        raise MappingError(f"{other.name} has other levels than {one.name}; solve a front of its own")
    for mine, theirs in zip(one.levels, other.levels, strict=True):
        for entry in fields(mine):
            same = getattr(mine, entry.name) == getattr(theirs, entry.name)
            if entry.name == "partitions":
                same = set(mine.partitions) == set(theirs.partitions)
            elif entry.name in NUMBERS:
                same = (getattr(mine, entry.name) is None) == (getattr(theirs, entry.name) is None)
            if not same:
                raise MappingError(
                    f"level {mine.name} of {other.name} has another {entry.name} than that of {one.name}; solve a "
                    "front of its own"
                )
