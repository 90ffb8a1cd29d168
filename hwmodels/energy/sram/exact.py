"""The rows that CACTI printed: a point that is one of them comes back unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.stored import DEVICES, stored

__all__ = ["PRINTED", "printed_rows", "row_numbers", "rows_of"]

PRINTED = (
    "read_j", "write_j", "leakage_w", "area_mm2", "access_s", "cycle_s", "height_mm", "width_mm", "array_efficiency",
)  # fmt: skip
"""What a row holds; leakage of one bank, area of all."""

_EXPONENTS = (-12, -12, -3, 0, -9, -9, 0, 0, -2)
"""From CACTI's pJ, mW, ns and per cent to J, W, s and a share."""


@cache
def printed_rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the values of all rows, shape (rows, len(PRINTED)), and their organisations, shape (rows, 6)."""
    table = stored()
    scaled = table["row_values"] * 10.0 ** np.array(_EXPONENTS)
    texts = [[float(f"{value:.9g}") for value in row] for row in scaled.tolist()]
    return np.array(texts), table["rows"][:, 8:].astype(np.int64)


@cache
def row_numbers() -> Mapping[tuple[str, float, tuple[int, int, int], float, float, float], int]:
    """Give the number of a row by device, node, ports, banks, size and width."""
    return {
        (DEVICES[device], float(node), (read_write, read, write), banks, float(size), float(width)): number
        for number, (device, node, read_write, read, write, banks, size, width) in enumerate(
            stored()["rows"][:, :8].tolist()
        )
    }


@cache
def _by_kind() -> Mapping[tuple[str, float, tuple[int, int, int], float], tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Size and width as one number, ascending, and the row, for the rows that share device, node, ports and banks."""
    found: dict[tuple[str, float, tuple[int, int, int], float], list[tuple[float, int]]] = {}
    for (device, node, ports, banks, size, width), number in row_numbers().items():
        found.setdefault((device, node, ports, banks), []).append((size * _WIDTHS + width, number))
    return {
        kind: (np.array([key for key, _ in sorted(rows)]), np.array([number for _, number in sorted(rows)]))
        for kind, rows in found.items()
    }


_WIDTHS = 1024.0
"""Above every width, so that size x this + width is one number for both."""


def rows_of(
    device: str, node_nm: float, ports: tuple[int, int, int], banks: int, width: NDArray[np.float64],
    size: NDArray[np.float64],
) -> NDArray[np.intp]:  # fmt: skip
    """Give the row number of every point; -1: no row. Shape (n_points,)."""
    known = _by_kind().get((device, node_nm, ports, banks))
    if known is None:
        return np.full(len(size), -1)
    found = np.full(len(size), -1)
    mantissa = np.frexp(size)[0]
    maybe = np.flatnonzero(np.logical_or.reduce([mantissa == each for each in _mantissas()]))
    if len(maybe):
        keys, numbers = known
        wanted = size[maybe] * _WIDTHS + width[maybe]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found[maybe] = np.where(keys[at] == wanted, numbers[at], -1)
    return found


@cache
def _mantissas() -> list[float]:
    """Give the mantissas of all sizes of the table: few, since most are powers of two or halves between."""
    return sorted({math.frexp(size)[0] for *_, size, _ in row_numbers()})
