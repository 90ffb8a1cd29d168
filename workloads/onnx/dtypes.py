"""ONNX element types and our number formats."""

from __future__ import annotations

from workloads.errors import WorkloadError
from workloads.formats import format_code

__all__ = ["FORMAT_OF_ONNX", "code_of_onnx"]

# onnx.TensorProto.DataType, ONNX specification (onnx.proto3, IR version 12): number to our name.
FORMAT_OF_ONNX: dict[int, str] = {
    1: "fp32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "fp16",
    11: "fp64",
    12: "uint32",
    13: "uint64",
    16: "bf16",
    17: "fp8_e4m3",
    18: "fp8_e4m3",
    19: "fp8_e5m2",
    20: "fp8_e5m2",
    21: "uint4",
    22: "int4",
    23: "fp4_e2m1",
    24: "uint8",  # float8e8m0, the exponents that scale blocks: counted as bytes
    25: "uint2",
    26: "int2",
}
_CODES = {number: format_code(name) for number, name in FORMAT_OF_ONNX.items()}


def code_of_onnx(number: int, where: str) -> int:
    """Give the format code of an ONNX element type.

    Args:
        number: `onnx.TensorProto.DataType`.
        where: Name of the tensor or node, for the message.

    Raises:
        WorkloadError: The element type is not supported.
    """
    try:
        return _CODES[number]
    except KeyError:
        known = ", ".join(f"{number} ({name})" for number, name in FORMAT_OF_ONNX.items())
        raise WorkloadError(f"{where}: ONNX element type {number} is not supported; supported: {known}") from None
