"""The values of a stored tensor, without copying what a file already holds: external data is mapped, not read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.onnx.files import external_location

if TYPE_CHECKING:
    import onnx

__all__ = ["stored_array", "stored_bytes", "unpacked"]

_PACKED_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}
"""Bits per value of the element types that ONNX packs into bytes: uint4, int4, float4e2m1, uint2, int2."""


def stored_array(tensor: onnx.TensorProto, folder: Path | None) -> NDArray[Any]:
    """Give the values of a tensor; those of packed types stay packed, one byte an entry (see `unpacked`).

    bfloat16 and the 8-bit floats come as `ml_dtypes` arrays. External data is memory-mapped, read-only.

    Args:
        tensor: An initializer.
        folder: Where its external data lies; `files.check_external_data` must have approved the location.

    Raises:
        WorkloadError: The data is not there, or does not have the size that the shape says.
    """
    from onnx import helper, numpy_helper

    packed = tensor.data_type in _PACKED_BITS
    count = math.prod(tensor.dims)
    if packed:
        dtype, shape = np.dtype(np.uint8), (-(-count * _PACKED_BITS[tensor.data_type] // 8),)
    else:
        dtype, shape = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)), tuple(tensor.dims)
    if external_location(tensor) is not None:
        return _mapped(tensor, folder, dtype, shape)
    if not tensor.raw_data:
        if packed:
            return np.asarray(tensor.int32_data, dtype=np.uint8).reshape(-1)
        return np.asarray(numpy_helper.to_array(tensor))
    try:
        return np.frombuffer(tensor.raw_data, dtype=dtype.newbyteorder("<")).reshape(shape)
    except ValueError:
        raise WorkloadError(
            f"initializer {tensor.name!r} has {len(tensor.raw_data):,} bytes, its shape {tuple(tensor.dims)} needs "
            f"{math.prod(shape) * dtype.itemsize:,}; copy or export the model again"
        ) from None


def _mapped(
    tensor: onnx.TensorProto, folder: Path | None, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = external_location(tensor) or ""
    if folder is None or not (folder / location).is_file():
        raise WorkloadError(
            f"initializer {tensor.name!r}: its data file {location!r} is not there; put it beside the model"
        )
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    try:
        raw = np.memmap(
            folder / location, np.uint8, "r", int(entries.get("offset", 0)), (math.prod(shape) * dtype.itemsize,)
        )
        return np.asarray(raw).view(dtype).reshape(shape)
    except (OSError, ValueError) as error:
        raise WorkloadError(f"initializer {tensor.name!r}: its data in {location!r} cannot be read: {error}") from None


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Give the bytes that the values of a tensor occupy in the file [B].

    Example:
        >>> import onnx
        >>> stored_bytes(onnx.numpy_helper.from_array(np.zeros((3, 4), np.float16)))
        24
    """
    from workloads.formats import FORMATS
    from workloads.onnx.dtypes import code_of_onnx

    bits = FORMATS[code_of_onnx(tensor.data_type, f"initializer {tensor.name!r}")].bits
    return -(-int(math.prod(tensor.dims)) * bits // 8)


def unpacked(packed: NDArray[Any], bits: int, signed: bool = False) -> NDArray[Any]:
    """Give the values in bytes that hold several each, the low bits first.

    Args:
        packed: uint8, any shape; the last axis grows by 8 / bits.
        bits: 2 or 4 [bit].
        signed: Whether the values are two's complement.

    Example:
        >>> unpacked(np.array([0x21, 0xF3], np.uint8), 4).tolist()
        [1, 2, 3, 15]

    Source: ONNX specification, "4 bit and 2 bit integers": elements are packed from the least significant bits.
    """
    per_byte = 8 // bits
    out = np.empty((*packed.shape, per_byte), np.uint8)
    for position in range(per_byte):
        np.right_shift(packed, position * bits, out=out[..., position])
    out &= (1 << bits) - 1
    values = out.reshape(*packed.shape[:-1], packed.shape[-1] * per_byte) if packed.ndim else out.reshape(-1)
    if not signed:
        return values
    shift = np.uint8(8 - bits)
    return np.asarray((values << shift).view(np.int8) >> np.int8(shift))
