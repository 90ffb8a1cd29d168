"""Widths of stored weights, for one design point or a batch, and what follows from them: formats, counts, masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.compress.technique import LayerNum
from workloads.errors import TechniqueError
from workloads.formats import Code, integer_code
from workloads.knobs import PerLayer
from workloads.operator import Num, Tensor, is_batch

__all__ = ["KEEP_BITS", "Width", "Widths", "check_bits"]

KEEP_BITS = 16
"""Widths from here on leave a layer as it is stored."""

_NARROWEST, _WIDEST = 2, 8
_PART_VALUES = 1 << 14
_CODES = np.array([integer_code(bits) if _NARROWEST <= bits <= _WIDEST else 0 for bits in range(KEEP_BITS)])
_VALID = np.array([_NARROWEST <= bits <= _WIDEST or bits == KEEP_BITS for bits in range(KEEP_BITS + 1)])


def check_bits(bits: Num, block: str) -> None:
    """Refuse widths that are neither 2 to 8 nor `KEEP_BITS` and more.

    Raises:
        TechniqueError: The message names the block and the width.
    """
    values = np.asarray(bits)
    valid = ((values >= _NARROWEST) & (values <= _WIDEST) & (values == np.rint(values))) | (values >= KEEP_BITS)
    if not valid.all():
        wrong = values[~valid].ravel()[0]
        raise TechniqueError(
            f"weight_bits of {block}: {wrong:g} is not a whole number from {_NARROWEST} to {_WIDEST} "
            f"(or {KEEP_BITS} and more, to leave it alone)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Width:
    """How one matrix is stored.

    Attributes:
        bits: True width [bit].
        code: Number format.
        count: 1 where the matrix is quantized, 0 where it is left alone; the number 1 if none leaves it alone.
    """

    bits: Num
    code: Code
    count: Num = 1

    def chosen(self, quantized: Any, kept: Any) -> Any:
        """Pick, per design point, the quantized or the untouched value."""
        return np.where(self.count, quantized, kept) if is_batch(self.count) else quantized

    def times(self, value: Num) -> Num:
        """Give a value where the matrix is quantized, 0 elsewhere."""
        return value * self.count if is_batch(self.count) else value


class Widths:
    """The widths of one call of the cost view, all layers at once: it remembers what it derived."""

    def __init__(self, value: LayerNum) -> None:
        self._scalars: dict[Any, Width | None] = {}
        self._derived: dict[tuple[float, int], list[Width | None]] = {}
        self._index: NDArray[np.uint8] | None = None
        self._columns: dict[int, int] = {}
        self._value = value  # its columns must stay alive: they are recognised by identity
        if isinstance(value, PerLayer) and value.values.ndim == 2:
            self._columns = {id(value.at(block)): number for number, block in enumerate(value.blocks)}
            self._index = _indices(value.values, value.blocks)
        elif is_batch(value):
            self._columns = {id(value): 0}
            self._index = _indices(np.asarray(value)[:, np.newaxis], ("every layer",))

    def at(self, bits: Num, block: str, weight: Tensor) -> Width | None:
        """Give the width of a matrix, or None where every design point leaves it alone.

        Args:
            bits: What the knob says for the block: the same array object for the same column.
            block: For messages.
            weight: The float matrix, of the scalar base.
        """
        if not is_batch(bits):
            if bits not in self._scalars:
                check_bits(bits, block)
                keep = bits >= KEEP_BITS
                self._scalars[bits] = None if keep else Width(bits, integer_code(bits))
            return self._scalars[bits]
        assert self._index is not None  # only a batch gives arrays
        kind = (float(weight.bits), int(weight.format))
        if kind not in self._derived:
            self._derived[kind] = _derive(self._index, *kind)
        return self._derived[kind][self._columns[id(bits)]]


def _indices(values: NDArray[Any], blocks: tuple[str, ...]) -> NDArray[np.uint8]:
    """Give the widths as table indices, shape (n_layers, n_points); values has shape (n_points, n_layers)."""
    rows = values.T  # a row per layer makes its views contiguous
    index = np.empty(rows.shape, dtype=np.uint8)
    for part in _parts(rows.shape):
        cut = np.minimum(rows[part], KEEP_BITS)
        np.maximum(cut, 0, out=cut)
        with np.errstate(invalid="ignore"):  # NaN is found below
            index[part] = cut
        if not (np.array_equal(index[part], rows[part].clip(max=KEEP_BITS)) and _VALID[index[part]].all()):
            for block, column in zip(blocks[part], rows[part], strict=True):
                check_bits(column, block)
    return index


def _derive(index: NDArray[np.uint8], bits: float, code: int) -> list[Width | None]:
    """Work out every layer; index has shape (n_layers, n_points), widths cut off at `KEEP_BITS`."""
    widths = np.arange(KEEP_BITS + 1, dtype=float)
    widths[KEEP_BITS] = bits
    codes = np.append(_CODES, code).astype(np.int16)
    derived: list[Width | None] = []
    for part in _parts(index.shape):
        stored, formats = widths[index[part]], codes[index[part]]
        count = (index[part] < KEEP_BITS).astype(float)
        quantized = count.sum(axis=1)
        for j, number in enumerate(quantized):
            everywhere = number == index.shape[1]
            derived.append(Width(stored[j], formats[j], 1 if everywhere else count[j]) if number else None)
    return derived


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut the layers into parts that stay in the cache.

    One array operation for many layers costs as much as one for a single layer of a small batch; for a large batch,
    fresh memory costs more than the operations: all layers at once took three times as long at 8,000 points.
    """
    layers = max(1, _PART_VALUES // max(1, shape[1]))
    return (slice(start, start + layers) for start in range(0, shape[0], layers))
