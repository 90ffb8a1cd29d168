"""Values that are known before run time: stored tensors, constants in nodes, shapes; data only where they are small."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code, integer_code
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.dtypes import code_of_onnx
from workloads.onnx.files import external_location, read_external
from workloads.onnx.folding import LIMIT
from workloads.onnx.limits import MAX_AXES, MAX_VALUES, check_shape
from workloads.onnx.values import FP32

if TYPE_CHECKING:
    import onnx

__all__ = ["BITS_KEY", "SOURCES", "known_value", "stored_sparse", "stored_value"]

BITS_KEY = "dse.bits"
"""Initializer metadata: the true width of values that sit in a wider container [bit]."""

_FLOATS = 64
"""Floats that may be scales or limits of shape arithmetic; larger float arrays are weights or tables."""

_FILLED = 1024
"""Integers of one value that may be part of a shape."""

_INTEGERS = {6, 7, 9, 2, 3}
_STRING = 8


def stored_value(tensor: onnx.TensorProto, name: str, folder: Path | None, level: int = 0) -> Value:
    """Describe a stored tensor; read its data only where it is small and may carry a shape.

    Args:
        tensor: An initializer, or the tensor of a Constant.
        name: Edge name.
        folder: Where its external data may lie; None: nowhere.
        level: How many bodies deep it is stored.

    Raises:
        WorkloadError: Its shape, element type, data or metadata make no sense.
    """
    shape, number = tuple(tensor.dims[:]), tensor.data_type
    size = prod(shape) if len(shape) <= MAX_AXES else MAX_VALUES + 1  # a million dims multiply for seconds
    if size > MAX_VALUES or (shape and min(shape) < 0):
        check_shape(shape, f"initializer {tensor.name!r}")
    value = Value(name, shape, code_of_onnx(number, tensor.name), None, True, "weight", level=level)
    small = size <= (LIMIT if number in _INTEGERS else _FLOATS) and number != _STRING
    if external_location(tensor) is None:
        raw = tensor.raw_data
        _check_data(tensor, raw, value, size)
        value.data = _data(tensor, raw, shape) if small else None
    elif small and folder is not None:
        read = read_external(tensor, folder)
        value.data = None if read is None else _data(tensor, read, shape)
    for entry in tensor.metadata_props if len(tensor.metadata_props) else ():  # seldom, and to iterate is slow
        if entry.key == BITS_KEY:
            value.bits, value.stored = _true_width(entry.value, tensor.name)
    return value


def _check_data(tensor: onnx.TensorProto, raw: bytes, value: Value, size: int) -> None:
    """Refuse a shape of more (or, in raw data, other) values than the file holds."""
    bits = FORMATS[value.code].bits
    if raw:
        fits = len(raw) == -(-size * bits // 8)
    else:
        fits = size <= max(1, 8 // bits) * len(getattr(tensor, _LISTS.get(tensor.data_type, "int32_data")))
    if not fits:
        raise WorkloadError(
            f"initializer {tensor.name!r}: its data do not fit its shape {value.shape} and element type "
            f"{tensor.data_type}; the file was cut or changed: export the model again"
        )


def _data(tensor: onnx.TensorProto, raw: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """Give the values of a small tensor."""
    try:
        number = tensor.data_type  # the common types are read here: ten times faster than onnx's own
        if raw and number in _DTYPES:
            return np.frombuffer(raw, _DTYPES[number]).reshape(shape)
        if not raw and number in _DTYPES and number != _FP16:
            return np.array(getattr(tensor, _LISTS.get(number, "int32_data")), _DTYPES[number]).reshape(shape)
        return _packed(tensor, raw)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise WorkloadError(
            f"initializer {tensor.name!r}: its data do not fit its shape {shape} and element type "
            f"{tensor.data_type} ({error}); export the model again"
        ) from None


# onnx.TensorProto.DataType to the type of raw data, which is little-endian (ONNX specification, onnx.proto3).
_DTYPES = {
    number: np.dtype(name) for number, name in (
        (1, "<f4"), (2, "u1"), (3, "i1"), (4, "<u2"), (5, "<i2"), (6, "<i4"), (7, "<i8"), (9, "?"), (10, "<f2"),
        (11, "<f8"), (12, "<u4"), (13, "<u8"),
    )
}  # fmt: skip


_FP16 = 10  # listed as the bits of each value

_LISTS = {1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}
"""Field of `onnx.TensorProto` that lists the values of an element type; the other types are in int32_data."""


def _packed(tensor: onnx.TensorProto, raw: bytes) -> NDArray[Any]:
    """Read values that are listed in the message, or that NumPy has no type for."""
    import onnx
    from onnx import numpy_helper

    if raw and tensor.data_location:
        tensor = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=raw)
    return numpy_helper.to_array(tensor)


def _true_width(text: str, name: str) -> tuple[float, int]:
    try:
        return float(int(text)), int(integer_code(int(text)))
    except ValueError:
        raise WorkloadError(
            f"initializer {name!r}: metadata {BITS_KEY!r} is {text!r}; it must be a whole number of bits"
        ) from None


def stored_sparse(sparse: onnx.SparseTensorProto, name: str, level: int = 0) -> Value:
    """Describe a sparse initializer by its dense shape: runtimes unpack it when they load a model."""
    shape = tuple(sparse.dims)
    check_shape(shape, f"sparse initializer {name!r}")
    code = code_of_onnx(sparse.values.data_type, f"sparse initializer {name!r}")
    return Value(name, shape, code, constant=True, role="weight", level=level)


def known_value(name: str, array: Any, computed: bool = False) -> Value:
    """Describe a folded array."""
    code = _code_of_dtype(array.dtype)
    return Value(name, array.shape, code, data=array, constant=True, role="weight", computed=computed)


@lru_cache(maxsize=64)
def _code_of_dtype(dtype: np.dtype[Any]) -> int:
    from onnx.helper import np_dtype_to_tensor_dtype

    return code_of_onnx(int(np_dtype_to_tensor_dtype(dtype)), f"a folded constant of type {dtype}")


def _constant(node: Node, builder: Builder) -> None:
    name, attributes = node.outputs[0], node.attributes
    if "value" in attributes:
        builder.values[name] = stored_value(attributes["value"], name, builder.folder, builder.level)
        return
    if "sparse_value" in attributes:
        builder.values[name] = stored_sparse(attributes["sparse_value"], name, builder.level)
        return
    for key, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                       ("value_floats", np.float32)):  # fmt: skip
        if key in attributes:
            builder.values[name] = known_value(name, np.asarray(attributes[key], dtype=dtype))
            return
    strings = attributes.get("value_strings")
    shape = () if strings is None else (len(strings),)
    builder.put(node, shape, format_code("string"), constant=True, role="weight")


def _constant_of_shape(node: Node, builder: Builder) -> None:
    given, fill = builder.value(node, 0), node.attributes.get("value")
    shape = builder.known(node, 0, "shape").ravel().tolist()
    code = FP32 if fill is None else code_of_onnx(fill.data_type, node.name)
    value = builder.put(node, shape, code, constant=True, role="weight", computed=given.computed)
    if value.size <= (_FLOATS if FORMATS[code].kind == "float" else _FILLED):
        array = np.zeros(1, np.float32) if fill is None else stored_value(fill, node.name, builder.folder).data
        if array is not None and array.size:
            value.data = np.full(shape, array.ravel()[0], array.dtype)


def _shape(node: Node, builder: Builder) -> None:
    value = builder.value(node, 0)
    start, end = node.int("start"), node.int("end", value.rank)
    shape = value.shape[slice(start, end)] if "start" in node.attributes or "end" in node.attributes else value.shape
    computed = not value.constant or value.computed
    builder.values[node.outputs[0]] = known_value(node.outputs[0], np.asarray(shape, dtype=np.int64), computed)


def _size(node: Node, builder: Builder) -> None:
    value = builder.value(node, 0)
    computed = not value.constant or value.computed
    builder.values[node.outputs[0]] = known_value(node.outputs[0], np.asarray(value.size, dtype=np.int64), computed)


SOURCES: dict[str, Callable[[Node, Builder], None]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _size,
}
"""Op types that make constants of what is known about a graph, not of the data in it."""
