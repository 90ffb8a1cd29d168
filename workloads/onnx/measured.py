"""What the weights of a model really store: read when asked for, one tensor and a few megabytes at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code, integer_code
from workloads.onnx.constants import BITS_KEY
from workloads.onnx.dtypes import FORMAT_OF_ONNX
from workloads.onnx.scanning import Matrix, Scan, scan
from workloads.onnx.sparsity import Form, stored_form
from workloads.onnx.stored import stored_array, stored_bytes, unpacked
from workloads.onnx.weight_uses import Use, stored_tensors, weight_uses, zero_points
from workloads.operator import Tensor, pattern_code
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["StoredWeight", "measure_weights", "with_measured_weights"]

SMALLEST = 16
"""Tensors of fewer values are not looked at: what they could save is less than the table that says so."""

PALETTE = 256
"""Levels of a palette at most: values stored as indices into a table, as weight clustering does."""

_USES = 16
"""Uses of a palette's level on average at least; with fewer, repeats are chance."""

_SAVING = 0.9
_PACKED = {"uint4": (4, False), "int4": (4, True), "uint2": (2, False), "int2": (2, True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeight:
    """What one stored tensor holds.

    Attributes:
        name: Of the initializer.
        shape: Logical shape: of a MatMulNBits weight (n, k).
        format: Number format of the container.
        container_bits: Width of one value in the container [bit].
        bits: Width that its values need [bit]: of an even grid of integers, of indices into a table of the distinct
            values, or of a narrower float that holds each of them exactly; the declared width where one is declared.
        exact_format: Name of the format that has this width; of table indices, of the table's entries.
        table_bits: The table of distinct values, per value of the tensor [bit].
        levels: Number of distinct values; None: more than are counted.
        density: Fraction of values that are not zero (not the zero point).
        form: How it is best stored: pattern, stored fraction, index bits.
        non_finite: Number of values that are NaN or infinite.
        stored_bytes: Size in the file [B].
    """

    name: str
    shape: tuple[int, ...]
    format: str
    container_bits: int
    bits: int
    exact_format: str
    table_bits: float
    levels: int | None
    density: float
    form: Form
    non_finite: int
    stored_bytes: int

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def packed_bytes(self) -> int:
        """Give the size of the values at their true width, without the zeros that need not be stored [B]."""
        return math.ceil(self.size * (self.form.bits(self.bits) + self.table_bits) / 8)


def measure_weights(
    model: onnx.ModelProto, folder: Path | None = None, *, missing: bool = False
) -> dict[str, StoredWeight]:
    """Read every stored tensor of a model once.

    Args:
        model: With or without its external data, which is memory-mapped.
        folder: Where its external data lies; `files.check_external_data` must have approved it.
        missing: Leave out the tensors whose data is not there, rather than raise.

    Returns:
        Initializer name to what it holds; numbers and booleans of at least `SMALLEST` values.

    Raises:
        WorkloadError: Data is missing or cut, or a declared width is too small for the values.
    """
    tensors = dict(stored_tensors(model))
    found = {}
    for name, use in weight_uses(model).items():
        tensor = tensors[name]
        if math.prod(tensor.dims) < SMALLEST or FORMAT_OF_ONNX.get(tensor.data_type, "string") in ("string", "bool"):
            continue
        if missing and tensor.data_location == 1 and not _is_there(tensor, folder):
            continue
        found[name] = _measured(_matrix(name, tensor, use, tensors, folder), tensor)
    return found


def _is_there(tensor: onnx.TensorProto, folder: Path | None) -> bool:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    return folder is not None and (folder / location).is_file()


def _matrix(name: str, tensor: onnx.TensorProto, use: Use, tensors: Mapping[str, Any], folder: Path | None) -> Matrix:
    values = stored_array(tensor, folder)
    format_name, shape = FORMAT_OF_ONNX[tensor.data_type], tuple(tensor.dims)
    if use.packed is not None:
        return _block_quantized(name, values, use.packed, tensors, folder)
    bits = FORMATS[format_code(format_name)].bits
    zero = zero_points(use, tensors, shape, folder)
    rows = shape[0] if shape else 1
    read: Any
    if format_name in _PACKED:
        width, signed = _PACKED[format_name]
        columns = math.prod(shape[1:])

        def read(start: int, stop: int) -> NDArray[Any]:
            first, last = start * columns * width // 8, -(-stop * columns * width // 8)  # rows come in multiples of 32
            return unpacked(values[first:last], width, signed)[: (stop - start) * columns].reshape(stop - start, -1)
    else:
        grid = values.reshape(rows, -1)

        def read(start: int, stop: int) -> NDArray[Any]:
            return grid[start:stop]

    return Matrix(
        name=name, shape=shape, format=format_name, bits=bits, read=read, zero=zero, reduction=use.reduction
    )  # fmt: skip


def _block_quantized(
    name: str, packed: NDArray[Any], node: Any, tensors: Mapping[str, Any], folder: Path | None
) -> Matrix:
    """Describe the weight of MatMulNBits as its (n, k) matrix of unsigned integers.

    Source: ONNX Runtime contributed operators, com.microsoft.MatMulNBits (zero points default to 2^(bits - 1)).
    """
    given = {attribute.name: attribute.i for attribute in node.attribute}
    k, n, block, bits = given["K"], given["N"], given["block_size"], given.get("bits", 4)
    rows = packed.view(np.uint8).reshape(n, -1)
    zero: Any = 2 ** (bits - 1)
    if len(node.input) > 3 and node.input[3] in tensors and tensors[node.input[3]].data_type == 2:
        stored = stored_array(tensors[node.input[3]], folder).reshape(n, -1)
        points = (unpacked(stored, bits) if bits < 8 else stored)[:, : -(-k // block)]
        uniform = points.size and np.all(points == points.flat[0])
        zero = int(points.flat[0]) if uniform else np.repeat(points, block, axis=1)[:, :k]

    def read(start: int, stop: int) -> NDArray[Any]:
        part = rows[start:stop]
        return (unpacked(part, bits) if bits < 8 else part)[:, :k]

    return Matrix(name=name, shape=(n, k), format=f"uint{bits}", bits=bits, read=read, zero=zero, reduction=1)


def _measured(matrix: Matrix, tensor: onnx.TensorProto) -> StoredWeight:
    found = scan(matrix)
    declared = next((int(entry.value) for entry in tensor.metadata_props if entry.key == BITS_KEY), None)
    bits, exact, table = _width(matrix, found)
    if declared is not None:
        if bits > declared:
            levels = "many" if found.levels is None else len(found.levels)
            raise WorkloadError(
                f"initializer {matrix.name!r} declares {declared} bits (metadata {BITS_KEY}), but its {levels} "
                f"distinct values need {bits}; correct the metadata, or quantize the model again"
            )
        bits, exact, table = declared, _integer_name(declared), 0.0
    density = found.nonzero / found.size
    return StoredWeight(
        name=matrix.name,
        shape=matrix.shape,
        format=matrix.format,
        container_bits=matrix.bits,
        bits=bits,
        exact_format=exact,
        table_bits=table,
        levels=None if found.levels is None else len(found.levels),
        density=density,
        form=stored_form(matrix, density, bits),
        non_finite=found.non_finite,
        stored_bytes=stored_bytes(tensor),
    )


def _width(matrix: Matrix, found: Scan) -> tuple[int, str, float]:
    """Give the narrowest width that holds the values: bits, format, and the bits of a table per value."""
    plain, name = matrix.bits, matrix.format
    if found.narrower:
        name = found.narrower[0]
        plain = FORMATS[format_code(name)].bits
    elif FORMATS[format_code(name)].kind in ("int", "uint") and found.levels is not None:
        plain = min(plain, _grid_bits(found.levels))
        name = _integer_name(plain) if plain < matrix.bits else name
    if found.levels is None or not 0 < len(found.levels) <= min(PALETTE, found.size // _USES):
        return plain, name, 0.0
    index = max(1, math.ceil(math.log2(len(found.levels))))
    table = len(found.levels) * (plain if found.narrower else matrix.bits) / found.size
    return (index, name, table) if index + table <= _SAVING * plain else (plain, name, 0.0)


def _grid_bits(levels: NDArray[Any]) -> int:
    """Count the bits of an even grid through all levels: its step and start belong to scale and zero point."""
    values = levels.astype(np.int64) - int(levels[0])
    step = int(np.gcd.reduce(values)) or 1
    return max(1, int(values[-1] // step).bit_length())


def _integer_name(bits: int) -> str:
    """Name the narrowest integer format of at least a width."""
    return f"int{next(width for width in (2, 3, 4, 5, 6, 7, 8, 16, 32, 64) if width >= bits)}"


def with_measured_weights(workload: Workload, weights: Mapping[str, StoredWeight]) -> Workload:
    """Give a workload whose weights are what was measured; tensors of which only a part is read stay as described."""

    def changed(tensor: Tensor, dims: Mapping[str, Any]) -> Tensor:
        weight = weights.get(tensor.name) if tensor.role == "weight" else None
        if weight is None or math.prod(int(extent) for extent in tensor.shape(dims)) != weight.size:
            return tensor
        code = format_code(weight.exact_format)
        narrower = weight.bits < weight.container_bits or weight.table_bits
        return replace(
            tensor,
            bits=float(weight.bits) if narrower else tensor.bits,
            format=(integer_code(FORMATS[code].bits) if FORMATS[code].kind == "int" else code)
            if narrower
            else tensor.format,
            density=weight.form.density,
            pattern=pattern_code(weight.form.pattern),
            overhead_bits=tensor.overhead_bits + weight.form.index_bits + weight.table_bits,
        )

    operators = tuple(
        replace(op, inputs=tuple(changed(tensor, op.dims) for tensor in op.inputs)) for op in workload.operators
    )
    return replace(workload, operators=operators)
