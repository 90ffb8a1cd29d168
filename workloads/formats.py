"""Number formats: a small table, integer codes into it, and the format in which an operand pair is multiplied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError, nearest

__all__ = ["FORMATS", "Code", "Format", "arithmetic_format", "format_code", "integer_code"]

Code = int | NDArray[np.integer[Any]]
"""One format, or a batch of them: indices into `FORMATS`, shape (n_points,)."""


@dataclass(frozen=True, slots=True)
class Format:
    """One number format.

    Attributes:
        name: The field's usual name.
        bits: Width of one value [bit].
        kind: "float", "int" (signed), "uint", or "other" (bool, string).
        exponent_bits: Width of the exponent; 0 for integers [bit].
        maximum: Largest finite value.
    """

    name: str
    bits: int
    kind: str
    exponent_bits: int
    maximum: float


# Ranges: IEEE 754-2019 (fp64, fp32, fp16); OCP 8-bit Floating Point Specification 1.0, 2023 (fp8);
# OCP Microscaling Formats 1.0, 2023 (fp4); Kalamkar et al., A Study of BFLOAT16, 2019 (bf16);
# NVIDIA A100 whitepaper, 2020 (tf32: 10-bit mantissa, stored in 32 bits).
FORMATS: tuple[Format, ...] = (
    Format("fp64", 64, "float", 11, float(np.finfo(np.float64).max)),
    Format("fp32", 32, "float", 8, float(np.finfo(np.float32).max)),
    Format("tf32", 32, "float", 8, float((2 - 2.0**-10) * 2.0**127)),
    Format("fp16", 16, "float", 5, 65504.0),
    Format("bf16", 16, "float", 8, float((2 - 2.0**-7) * 2.0**127)),
    Format("fp8_e4m3", 8, "float", 4, 448.0),
    Format("fp8_e5m2", 8, "float", 5, 57344.0),
    Format("fp4_e2m1", 4, "float", 2, 6.0),
    *(Format(f"int{bits}", bits, "int", 0, float(2 ** (bits - 1) - 1)) for bits in (2, 3, 4, 5, 6, 7, 8, 16, 32, 64)),
    *(Format(f"uint{bits}", bits, "uint", 0, float(2**bits - 1)) for bits in (2, 4, 8, 16, 32, 64)),
    Format("bool", 8, "other", 0, 1.0),
    Format("string", 64, "other", 0, 0.0),
)

_CODE_OF = {entry.name: code for code, entry in enumerate(FORMATS)}
_BITS = np.array([entry.bits for entry in FORMATS])
_KIND = np.array([{"float": 0, "int": 1, "uint": 1, "other": 2}[entry.kind] for entry in FORMATS])
_INT_CODE = np.array([_CODE_OF.get(f"int{bits}", -1) for bits in range(65)])


def format_code(name: str) -> int:
    """Look up the code of a format by name.

    Example:
        >>> FORMATS[format_code("fp16")].bits
        16

    Raises:
        WorkloadError: The name is not in the table.
    """
    try:
        return _CODE_OF[name]
    except KeyError:
        raise WorkloadError(f"unknown number format {name!r}; {nearest(name, _CODE_OF)}") from None


def integer_code(bits: Any) -> Code:
    """Give the signed integer format of a width.

    Args:
        bits: 2..8, 16, 32 or 64; one value or an array of shape (n_points,) [bit].

    Example:
        >>> FORMATS[integer_code(3)].name
        'int3'

    Raises:
        WorkloadError: No such integer format.
    """
    index = np.asarray(bits)
    if np.any(index != np.round(index)) or np.any(index < 0) or np.any(index > 64):
        raise WorkloadError(f"integer widths are whole numbers of bits from 2 to 64, not {bits!r}")
    codes = _INT_CODE[index.astype(int)]
    if np.any(codes < 0):
        wrong = sorted({int(value) for value in index[codes < 0].ravel()} if index.ndim else {int(index)})
        raise WorkloadError(f"no integer format of {wrong} bits; there are 2 to 8, 16, 32 and 64")
    return int(codes) if index.ndim == 0 else codes


def _pair_table() -> NDArray[np.integer[Any]]:
    """Tabulate the arithmetic format of every operand pair: the rule is in `arithmetic_format`."""
    size = len(FORMATS)
    table = np.empty((size, size), dtype=np.int64)
    for a in range(size):
        for b in range(size):
            if _KIND[a] != _KIND[b]:  # weight-only quantization: the float side decides
                table[a, b] = a if _KIND[a] < _KIND[b] else b
            elif _KIND[a] == 1:  # two integers: signed, as wide as the wider
                table[a, b] = _INT_CODE[max(_BITS[a], _BITS[b])]
            elif _BITS[a] != _BITS[b]:
                table[a, b] = a if _BITS[a] > _BITS[b] else b
            else:  # equal widths: the order of the operands must not matter, so the table's order decides
                table[a, b] = min(a, b)
    return table


_PAIR = _pair_table()


def arithmetic_format(a: Code, b: Code) -> Code:
    """Give the format in which values of two stored formats are multiplied.

    Weight-only quantization computes in the activation's format; two integers compute in the wider one; two floats
    in the wider one (of equal width, in the first of `FORMATS`). It never follows from weight bits alone.

    Args:
        a: Code of the first operand, one or shape (n_points,).
        b: Code of the second operand, one or shape (n_points,).

    Example:
        >>> FORMATS[arithmetic_format(format_code("fp16"), format_code("int4"))].name
        'fp16'
        >>> FORMATS[arithmetic_format(format_code("int8"), format_code("uint8"))].name
        'int8'
    """
    code = _PAIR[a, b]
    return int(code) if np.ndim(code) == 0 else code
