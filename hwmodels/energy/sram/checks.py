"""What no memory can be is refused, with the mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.checking import number, positive
from hwmodels.energy.sram.stored import DEVICES, NODES, OBJECTIVES
from hwmodels.energy.technology import LAWS
from workloads.errors import SpecError, nearest

__all__ = ["MOST_BANKS", "as_ports", "check_names", "check_numbers", "one_shape"]

Floats = NDArray[np.float64]

NUMBERS = ("size_bytes", "width_bytes", "node_nm", "banks", "temperature_k")
MOST_BANKS = 64
MOST_PORTS = 8
LARGEST_BYTES = 2.0**34


def as_ports(ports: Any) -> tuple[int, int, int]:
    """Take what a user gave for port counts.

    Raises:
        SpecError: They are no three whole numbers.
    """
    try:
        read_write, read, write = (int(count) for count in ports)
    except (TypeError, ValueError):
        raise SpecError(
            f"sram: ports is {ports!r}; give three whole numbers: read-write, read-only and write-only ports of a bank"
        ) from None
    return read_write, read, write


def one_shape(given: Sequence[Any]) -> Sequence[NDArray[Any]]:
    """Bring numbers and arrays to one length.

    Args:
        given: size_bytes, width_bytes, node_nm, banks and temperature_k.

    Raises:
        SpecError: Arrays of different lengths.
    """
    arrays = [np.atleast_1d(number(value, "Num", name, "sram")) for name, value in zip(NUMBERS, given, strict=True)]
    lengths = {name: array.shape for name, array in zip(NUMBERS, arrays, strict=True) if array.size != 1}
    try:
        return np.broadcast_arrays(*arrays)
    except ValueError:
        said = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in lengths.items())
        raise SpecError(f"sram: arrays of different lengths: {said}; give one number or one length") from None


def check_names(device: str, ports: tuple[int, int, int], objective: str) -> None:
    """Refuse a device type, port set or objective that does not exist.

    Raises:
        SpecError: With the nearest that does.
    """
    if not isinstance(device, str) or device not in DEVICES:
        raise SpecError(f"sram: no device type {device!r}; {nearest(device, DEVICES)}")
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise SpecError(f"sram: no objective {objective!r}; {nearest(objective, OBJECTIVES)}")
    counts = tuple(ports)
    if len(counts) != 3 or not all(isinstance(count, int | np.integer) and count >= 0 for count in counts):
        raise SpecError(
            f"sram: ports is {ports!r}; give three whole numbers: read-write, read-only and write-only ports of a bank"
        )
    read_write, read, write = counts
    if not (read_write + read and read_write + write) or sum(counts) > MOST_PORTS:
        raise SpecError(
            f"sram: ports is {ports!r}; a bank needs a port that reads and one that writes, at most {MOST_PORTS} in all"
        )


def check_numbers(
    given: Sequence[NDArray[Any]], law: str | None
) -> tuple[Floats, Floats, Floats, NDArray[np.int64], Floats]:
    """Refuse numbers that no memory has.

    Args:
        given: size_bytes, width_bytes, node_nm, banks and temperature_k, all of one shape.
        law: Scaling law of the node, or None.

    Returns:
        All as arrays of numbers.

    Raises:
        SpecError: What is wrong, where, and the mend.
    """
    size, width, node, counts, kelvin = (
        np.asarray(positive(value, name, "sram"), dtype=np.float64) for value, name in zip(given, NUMBERS, strict=True)
    )
    _refuse(
        (counts != np.floor(counts)) | (counts > MOST_BANKS) | (2.0 ** np.floor(np.log2(counts)) != counts),
        counts, "banks", f"give a power of two, 1 to {MOST_BANKS}",
    )  # fmt: skip
    _refuse(
        width * counts > size * (1 + 1e-12),
        size,
        "size_bytes",
        "every bank holds at least one word of width_bytes: give more",
    )
    _refuse(size > LARGEST_BYTES, size, "size_bytes", "at most 16 GiB; off-chip memory is hwmodels.energy.dram_energy")
    _check_node(node, law)
    return size, width, node, counts.astype(np.int64), kelvin


def _check_node(node: Floats, law: str | None) -> None:
    if law is not None and (not isinstance(law, str) or law not in LAWS["sram energy"]):
        raise SpecError(f"sram: no scaling law {law!r} of SRAM energy; {nearest(law, LAWS['sram energy'])}")
    if law is None:
        _refuse(
            (node < NODES[0]) | (node > NODES[-1]), node, "node_nm",
            f"CACTI has {NODES[0]:g} to {NODES[-1]:g} nm; name the law that shall carry it further: "
            f"law={LAWS['sram energy'][0]!r} (one of {', '.join(LAWS['sram energy'])})",
        )  # fmt: skip
    else:
        _refuse((node < 3) | (node > 180), node, "node_nm", "the scaling laws reach from 180 to 3 nm")


def _refuse(wrong: NDArray[np.bool_], values: Floats, name: str, mend: str) -> None:
    if np.any(wrong):
        at = int(np.argmax(wrong))
        where = f" (point {at})" if values.size > 1 else ""
        raise SpecError(f"sram: {name} is {values.flat[at]:g}{where}; {mend}")
