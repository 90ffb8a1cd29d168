"""What the values of a stored tensor need: range, levels, zeros, in one pass over blocks of a few megabytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS_LIMIT", "Matrix", "Scan", "scan"]

Array = NDArray[Any]

BLOCK_BYTES = 4 << 20
"""Values are looked at in blocks of this size: they stay in the cache, and memory stays bounded [B]."""

LEVELS_LIMIT = 4096
"""Distinct values of floats are counted up to here; trained floats have more, and their number says nothing."""

_SAMPLE = 16384

# Floats that may hold all values of a wider one: their bits, and how to try it. Narrow ones first.
_NARROWER: dict[str, tuple[str, ...]] = {
    "fp64": ("fp8_e4m3", "fp8_e5m2", "bf16", "fp16", "fp32"),
    "fp32": ("fp8_e4m3", "fp8_e5m2", "bf16", "fp16"),
    "fp16": ("fp8_e4m3", "fp8_e5m2"),
    "bf16": ("fp8_e4m3", "fp8_e5m2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A stored tensor that is read row by row.

    Attributes:
        name: Of the initializer.
        shape: Logical shape; axis 0 counts the rows, the rest is one row.
        format: Name of the number format of the container's values.
        bits: Width of one value in the container [bit].
        read: Gives the rows start to stop, shape (stop - start, values per row).
        zero: What stands for zero: a zero point, or one per row, shape (rows, 1), or per column, shape (1, columns).
        reduction: Axis that a product sums over; None where nothing is summed.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    bits: int
    read: Callable[[int, int], Array]
    zero: int | Array = 0
    reduction: int | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """Values per row."""
        return math.prod(self.shape[1:])

    def blocks(self, multiple: int = 32) -> Iterator[tuple[int, Array]]:
        """Give the first row and the rows of each block; all but the last have a multiple of `multiple` rows."""
        row_bytes = max(1, self.columns * max(self.bits, 8) // 8)
        step = max(multiple, BLOCK_BYTES // row_bytes // multiple * multiple)
        for start in range(0, self.rows, step):
            yield start, self.read(start, min(start + step, self.rows))

    def nonzero(self, start: int, block: Array) -> NDArray[np.bool_]:
        """Say which values of a block are not zero."""
        if isinstance(self.zero, np.ndarray):
            row_wise = self.zero.shape[0] > 1
            return np.asarray(block != (self.zero[start : start + len(block)] if row_wise else self.zero))
        return np.asarray(block != np.asarray(self.zero, block.dtype))


@dataclass(slots=True)
class Scan:
    """What one pass found; it grows block by block, that is its purpose.

    Attributes:
        size: Number of values.
        nonzero: How many are not zero.
        non_finite: How many are NaN or infinite.
        levels: The distinct values, sorted; None: more than `LEVELS_LIMIT`.
        narrower: Floats of fewer bits that hold every value exactly, narrow ones first.
    """

    size: int = 0
    nonzero: int = 0
    non_finite: int = 0
    levels: Array | None = field(default_factory=lambda: np.zeros(0))
    narrower: tuple[str, ...] = ()


def scan(matrix: Matrix) -> Scan:
    """Look at every value once.

    Example:
        >>> values = np.array([[0, 3, -3, 3]], np.int8)
        >>> found = scan(Matrix(name="w", shape=(1, 4), format="int8", bits=8, read=lambda a, b: values[a:b]))
        >>> found.nonzero, found.levels.tolist()
        (3, [-3, 0, 3])
    """
    result = Scan(narrower=_NARROWER.get(matrix.format, ()))
    floats = matrix.format in _NARROWER or matrix.format.startswith("fp")
    table = np.zeros(65536, np.bool_)
    for start, block in matrix.blocks():
        result.size += block.size
        if floats:
            _floats(block, result, matrix)
        else:
            result.nonzero += int(np.count_nonzero(matrix.nonzero(start, block)))
            _integer_levels(block, result, table)
    if result.size == 0:
        result.levels = np.zeros(0)
    return result


def _floats(block: Array, result: Scan, matrix: Matrix) -> None:
    bits = block.view(f"u{block.dtype.itemsize}")
    result.nonzero += int(np.count_nonzero(bits << np.uint8(1)))  # shifts the sign out: -0.0 is zero too
    if not _all_finite(block):
        with np.errstate(invalid="ignore"):
            result.non_finite += int(np.count_nonzero(~np.isfinite(block.astype(np.float64))))
    if result.levels is not None:
        result.levels = _float_levels(bits, result.levels)
    result.narrower = tuple(name for name in result.narrower if _holds(name, block))


def _all_finite(block: Array) -> bool:
    if block.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(np.add.reduce(block, axis=None, dtype=np.float64)))  # 10 times faster than isfinite
    return bool(np.isfinite(block.astype(np.float32)).all())


def _float_levels(bits: Array, known: Array) -> Array | None:
    """Give the distinct bit patterns so far; a look at a sample first, because most tensors have too many."""
    flat = bits.reshape(-1)
    if flat.size > _SAMPLE and len(_distinct(flat[:_SAMPLE])) > LEVELS_LIMIT:
        return None
    merged = _distinct(np.concatenate([known.astype(bits.dtype), _distinct(flat)]))
    return None if len(merged) > LEVELS_LIMIT else merged


def _distinct(values: Array) -> Array:
    """Sort and drop repeats: `np.unique` hashes, which is 7 times slower on 32-bit values here."""
    ordered = np.sort(values)
    keep = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return np.asarray(ordered[keep])


def _holds(name: str, block: Array) -> bool:
    """Say whether a narrower float holds all values of a block exactly."""
    import ml_dtypes

    types: dict[str, Any] = {
        "fp8_e4m3": ml_dtypes.float8_e4m3fn,
        "fp8_e5m2": ml_dtypes.float8_e5m2,
        "bf16": ml_dtypes.bfloat16,
        "fp16": np.float16,
        "fp32": np.float32,
    }
    flat = block.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for part in (flat[:_SAMPLE], flat[_SAMPLE:]):  # most fail within the first values
            back = part.astype(types[name]).astype(part.dtype)
            if not np.all((back == part) | ((back != back) & (part != part))):
                return False
    return True


def _integer_levels(block: Array, result: Scan, table: NDArray[np.bool_]) -> None:
    """Add the levels of a block of integers; 8-bit ones are looked up two at a time."""
    if result.levels is None or not block.size:
        return
    if block.dtype.itemsize > 1:
        merged = _distinct(np.concatenate([result.levels.astype(block.dtype), _distinct(block.reshape(-1))]))
        result.levels = None if len(merged) > LEVELS_LIMIT else merged
        return
    low, high = block.min(), block.max()
    known = result.levels
    if known.size and known[0] <= low and high <= known[-1] and known.size == int(known[-1]) - int(known[0]) + 1:
        return  # every level between the least and the largest was seen already
    flat = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
    table[:] = False
    table[flat[: flat.size // 2 * 2].view(np.uint16)] = True
    pairs = table.reshape(256, 256)
    seen = np.logical_or(pairs.any(axis=0), pairs.any(axis=1))
    seen[flat[-1]] = True
    levels = np.flatnonzero(seen).astype(np.uint8).view(block.dtype)
    result.levels = _distinct(np.concatenate([known.astype(block.dtype), levels]))
