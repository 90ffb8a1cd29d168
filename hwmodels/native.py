"""In which format a device runs a format that it has no path for: the next wider one that holds its values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workloads.formats import FORMATS, format_code

__all__ = ["WIDER", "native_codes", "tabulate"]

# Every value of the first format is a value of the later ones (int16 and wider in fp32, fp64: to rounding).
_FLOATS_ABOVE_8_BIT = ("fp16", "bf16", "tf32", "fp32", "fp64")
_INTEGERS = ("int8", *_FLOATS_ABOVE_8_BIT)
WIDER: dict[str, tuple[str, ...]] = {
    "fp64": ("fp64",),
    "fp32": ("fp32", "fp64"),
    "tf32": ("tf32", "fp32", "fp64"),
    "fp16": ("fp16", "tf32", "fp32", "fp64"),
    "bf16": ("bf16", "tf32", "fp32", "fp64"),
    "fp8_e4m3": ("fp8_e4m3", *_FLOATS_ABOVE_8_BIT),
    "fp8_e5m2": ("fp8_e5m2", *_FLOATS_ABOVE_8_BIT),
    "fp4_e2m1": ("fp4_e2m1", "fp8_e4m3", "fp8_e5m2", *_FLOATS_ABOVE_8_BIT),
    **{f"int{bits}": (f"int{bits}", "int4", *_INTEGERS) for bits in (2, 3, 4)},
    **{f"int{bits}": _INTEGERS for bits in (5, 6, 7, 8)},
    "int16": ("int16", "int32", "fp32", "fp64"),
    "int32": ("int32", "fp64"),
    "int64": ("int64", "fp64"),
    "uint2": ("int4", *_INTEGERS),
    "uint4": ("int4", *_INTEGERS),
    "uint8": _INTEGERS,  # tensor cores and VNNI take signed and unsigned operands at the same rate
    "uint16": ("int32", "fp32", "fp64"),
    "uint32": ("int64", "fp64"),
    "uint64": ("int64", "fp64"),
    "bool": _INTEGERS,
    "string": (),
}
"""Per format, where its matrix products may run, in order of preference."""


def native_codes(paths: Mapping[str, float]) -> NDArray[np.int64]:
    """Give the code of the format that each format code runs in.

    Args:
        paths: Formats that the device has a path for, by name.

    Returns:
        Shape (number of formats,); -1: the device cannot run it.

    Example:
        >>> codes = native_codes({"fp16": 312e12, "fp32": 19.5e12})
        >>> FORMATS[codes[format_code("fp8_e4m3")]].name
        'fp16'
    """
    found = [next((name for name in WIDER[entry.name] if name in paths), None) for entry in FORMATS]
    return np.array([-1 if name is None else format_code(name) for name in found])


def tabulate(values: Mapping[str, float], native: NDArray[np.int64], missing: float) -> NDArray[np.float64]:
    """Spread values by format name over all format codes, each format taking that of its native one.

    Args:
        values: By format name.
        native: From `native_codes`.
        missing: For formats that cannot run.

    Example:
        >>> peaks = {"fp16": 312e12, "fp32": 19.5e12}
        >>> float(tabulate(peaks, native_codes(peaks), missing=0.0)[format_code("int8")])
        312000000000000.0
    """
    names = [FORMATS[code].name if code >= 0 else "" for code in native]
    return np.array([values.get(name, missing) for name in names])
