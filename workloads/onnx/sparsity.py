"""Which sparsity pattern the zeros of a stored tensor form, and whether it pays to store it that way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.scanning import Matrix

__all__ = ["Form", "stored_form"]

Mask = NDArray[np.bool_]

SAVING = 0.9
"""A sparse form must need at most this share of the dense bits, indices included. Where none does, zeros are just
values: a few that training left, the padding row of an embedding, the zero level of a quantizer."""

_TILES = (4, 8, 16, 32)
# Name to (nonzero values in four, density, index bits a value): two index bits a kept value, as in NVIDIA's 2:4.
# Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021, arXiv 2104.08378, section 3.
_N_OF_M = {"1:4": (1, 0.25, 0.5), "2:4": (2, 0.5, 1.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a tensor is best stored.

    Attributes:
        pattern: A name of `PATTERNS`.
        density: Fraction of the values that the form stores.
        index_bits: Index bits per value of the dense tensor [bit].
        label: The pattern with its block size: "block 16x16".
    """

    pattern: str = "dense"
    density: float = 1.0
    index_bits: float = 0.0
    label: str = "dense"

    def bits(self, width: float) -> float:
        """Give the bits per dense value at a width of one value [bit]."""
        return self.density * width + self.index_bits


def stored_form(matrix: Matrix, nonzero: float, width: float) -> Form:
    """Choose the form that needs the fewest bits; of two within a tenth, the more regular one.

    Args:
        matrix: The stored tensor.
        nonzero: Its fraction of nonzero values.
        width: Bits of one stored value [bit].

    Example:
        >>> values = np.array([[1, 0, 0, 2] * 4, [0, 3, 4, 0] * 4] * 4, np.float32)
        >>> matrix = Matrix(
        ...     name="w", shape=values.shape, format="fp32", bits=32, read=lambda a, b: values[a:b], reduction=1
        ... )
        >>> stored_form(matrix, nonzero=0.5, width=32).pattern
        '2:4'
    """
    unstructured = Form(pattern="unstructured", density=nonzero, index_bits=1.0, label="unstructured")  # a bitmap
    if nonzero == 0:
        return Form(pattern="block", density=0.0, label="block, all zero")
    if nonzero * width > SAVING * width:
        return Form()
    forms = [*_regular_forms(matrix), unstructured]
    best = min(form.bits(width) for form in forms)
    if best > SAVING * width:
        return Form()
    return next(form for form in forms if form.bits(width) <= max(1.1 * best, best + 1e-9))


def _regular_forms(matrix: Matrix) -> list[Form]:
    """Give the block forms, and the n:m forms that every group along the reduction axis fits."""
    most = 0
    row_any, column_any = np.zeros(matrix.rows, np.bool_), np.zeros(matrix.columns, np.bool_)
    tiles = dict.fromkeys(_TILES, 0)
    for start, block in matrix.blocks():
        mask = matrix.nonzero(start, block)
        if matrix.reduction is not None:
            most = max(most, _most_in_four(mask, matrix.shape, matrix.reduction))
        row_any[start : start + len(mask)] = mask.any(axis=1)
        column_any |= mask.any(axis=0)
        _count_tiles(mask, tiles)
    forms = _block_forms(matrix, row_any, column_any, tiles) if len(matrix.shape) > 1 else []
    if matrix.reduction is not None:
        forms += [
            Form(pattern=name, density=density, index_bits=index_bits, label=name)
            for name, (n, density, index_bits) in _N_OF_M.items()
            if most <= n
        ]
    return forms


def _block_forms(matrix: Matrix, row_any: Mask, column_any: Mask, tiles: dict[int, int]) -> list[Form]:
    """Give the best block form: whole rows or columns, or square tiles; the largest of equals."""
    size = matrix.rows * matrix.columns
    found = [
        (float(row_any.mean()), 1 / matrix.columns, f"block 1x{matrix.columns}"),
        (float(column_any.mean()), 1 / matrix.rows, f"block {matrix.rows}x1"),
    ]
    fitting = [tile for tile in reversed(_TILES) if min(matrix.rows, matrix.columns) >= tile]
    found += [(min(1.0, tiles[tile] * tile**2 / size), 1 / tile**2, f"block {tile}x{tile}") for tile in fitting]
    least = min(density for density, _, _ in found)
    density, index_bits, label = next(item for item in found if item[0] <= least * 1.01)
    return [Form(pattern="block", density=density, index_bits=index_bits, label=label)]


def _most_in_four(mask: Mask, shape: Sequence[int], axis: int) -> int:
    """Give the most nonzero values in any aligned group of four along an axis."""
    if axis == 0:
        grid = mask[None]
    else:
        before, length = int(np.prod(shape[1:axis])), shape[axis]
        grid = mask.reshape(len(mask) * before, length, -1)
    whole = grid.shape[1] // 4 * 4
    parts = [grid[:, :whole].reshape(grid.shape[0], -1, 4, grid.shape[2]), grid[:, None, whole:]]
    counts = [part.view(np.uint8).sum(axis=2, dtype=np.uint8) for part in parts if part.size]
    return max((int(count.max()) for count in counts), default=0)


def _count_tiles(mask: Mask, tiles: dict[int, int]) -> None:
    """Count the square tiles that hold a nonzero value; each size from the one before."""
    grid: NDArray[Any] = mask
    side = 1
    for tile in _TILES:
        factor = tile // side
        rows, columns = -(-grid.shape[0] // factor), -(-grid.shape[1] // factor)
        padded = np.pad(grid, ((0, rows * factor - grid.shape[0]), (0, columns * factor - grid.shape[1])))
        grid = np.asarray(padded.reshape(rows, factor, columns, factor).any(axis=(1, 3)))
        side = tile
        tiles[tile] += int(np.count_nonzero(grid))
