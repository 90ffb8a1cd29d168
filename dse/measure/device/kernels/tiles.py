"""Tiles of a product on a GPU, and how its sum is split when there are too few of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernel import Device

__all__ = ["Tiles", "ceil_div", "power_of_two", "splits", "stages_of", "tiles_of"]


@dataclass(frozen=True, slots=True)
class Tiles:
    """A block's part of a product, and how many warps and pipeline stages work on it."""

    m: int
    n: int
    k: int
    warps: int
    stages: int


def ceil_div(a: int, b: int) -> int:
    """Divide and round up."""
    return -(-a // b)


def power_of_two(value: int) -> int:
    """Give the least power of two that is no smaller.

    Example:
        >>> power_of_two(1), power_of_two(48)
        (1, 64)
    """
    return 1 << max(value - 1, 0).bit_length()


def tiles_of(m: int, n: int, element_bytes: int, device: Device) -> Tiles:
    """Choose the tile of a dense product: narrow for few rows, as deep as the shared memory lets it be.

    Args:
        m: Rows.
        n: Columns.
        element_bytes: Of an operand in shared memory [B].
        device: Whose shared memory bounds the stages.
    """
    across = 64 if n <= 64 else 128
    if element_bytes == 4:  # fp32 keeps its operands in registers where there is no tensor core for them
        tile = Tiles(min(max(power_of_two(m), 16), 64), 64, 32, 4, 3)
    elif m <= 32:
        tile = Tiles(max(power_of_two(m), 16), across, 128 // element_bytes * 2, 4, 4)
    elif m <= 64:
        tile = Tiles(64, across, 128 // element_bytes, 4, 4)
    else:
        tile = Tiles(128, across, 128 // element_bytes, 8 if across == 128 else 4, 4)
    stage = (tile.m + tile.n) * tile.k * element_bytes
    return Tiles(tile.m, tile.n, tile.k, tile.warps, max(2, min(tile.stages, device.shared_bytes // stage)))


def splits(blocks: int, steps: int, device: Device, at_most: int = 16) -> int:
    """Say over how many blocks the sum of each tile is split: until the multiprocessors are busy, two steps at least.

    Args:
        blocks: Tiles of the result.
        steps: Tiles along the sum.
        device: Whose multiprocessors are to be filled.
        at_most: Bound.

    Example:
        >>> splits(32, 64, Device(sms=132, capability=90)), splits(400, 64, Device(sms=132, capability=90))
        (4, 1)
    """
    split = 1
    while split * 2 * blocks <= device.sms and split * 4 <= steps and split < at_most:
        split *= 2
    return split


def stages_of(device: Device) -> int:
    """Give the pipeline stages of kernels that unpack weights: three take up to 180 KiB, which small GPUs lack."""
    return 3 if device.shared_bytes >= 160 * 1024 else 2
