"""Number formats as arithmetic sees them: widths of significand and exponent, of any size, also in batches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from hwmodels.energy.checking import checked
from hwmodels.energy.shapes import span
from workloads.errors import SpecError, nearest
from workloads.formats import FORMATS, Format
from workloads.operator import Num

__all__ = ["Number", "NumberFormat", "default_accumulator", "exact_accumulator", "floating", "integer", "number"]

WIDEST_BITS = 128
"""Of a significand or an integer: wider ones are far from every published figure."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number format of any width.

    Attributes:
        name: For people.
        kind: "int" or "float".
        significand_bits: Integers: the width with the sign; floats: the significand with its hidden bit, without the
            sign. One value or shape (n_points,) [bit].
        exponent_bits: 0 for integers; one value or shape (n_points,) [bit].
    """

    name: str
    kind: Literal["int", "float"]
    significand_bits: Num
    exponent_bits: Num

    @property
    def stored_bits(self) -> Num:
        """Bits of one value in memory: the sign bit stands in for the hidden bit [bit]."""
        return self.significand_bits + self.exponent_bits

    @property
    def points(self) -> int:
        """How many design points it is of."""
        return max(np.size(self.significand_bits), np.size(self.exponent_bits))


NumberFormat = str | Number
"""A name ("int3", "fp16", "e3m2", "fp8_e4m3", "uint8"), or a record made by `integer` or `floating`."""

_INTEGER = re.compile(r"u?int(\d+)")
_FLOAT = re.compile(r"(?:fp(\d+)_)?e(\d+)m(\d+)(?:fn|fnuz)?")
_SIGNIFICAND = {"tf32": 11}
"""Where the stored width says nothing: 10 bits and the hidden one. Source: NVIDIA A100 whitepaper, 2020."""
_COMMON: dict[str, Format] = {entry.name: entry for entry in FORMATS}


def number(what: NumberFormat) -> Number:
    """Turn a name into a format; a record is checked and comes back.

    Args:
        what: A name of `workloads.FORMATS`, an integer of any width ("int5", "uint12"), a float of any widths ("e3m2",
            "fp6_e3m2": a sign, 3 bits of exponent, 2 of mantissa), or a record.

    Raises:
        SpecError: No such format, or one without arithmetic, or an impossible width.

    Example:
        >>> number("bf16").significand_bits, number("bf16").exponent_bits
        (8, 8)
        >>> number("e3m2").stored_bits
        6
    """
    if isinstance(what, Number):
        _check(what)
        return what
    if not isinstance(what, str):
        raise SpecError(f"a number format is a name such as 'int8' or 'e4m3', or a record, not {what!r}")
    return _named(what)


@cache
def _named(what: str) -> Number:
    if whole := _INTEGER.fullmatch(what):
        found = Number(what, "int", int(whole[1]), 0)
    elif parts := _FLOAT.fullmatch(what):
        found = Number(what, "float", int(parts[3]) + 1, int(parts[2]))
        if parts[1] and int(parts[1]) != found.stored_bits:
            raise SpecError(f"{what}: a sign, {parts[2]} and {parts[3]} bits are {found.stored_bits}, not {parts[1]}")
    elif what in _COMMON and _COMMON[what].kind == "float":
        entry = _COMMON[what]
        found = Number(what, "float", _SIGNIFICAND.get(what, entry.bits - entry.exponent_bits), entry.exponent_bits)
    elif what in _COMMON:
        raise SpecError(f"{what} has no arithmetic; use an integer or a float, such as uint8 or fp16")
    else:
        known = [entry.name for entry in FORMATS if entry.kind != "other"]
        splits = [name for name in known if name.startswith(f"{what}_")]  # fp8 alone does not say how it is split
        hint = f"nearest: {', '.join(splits)}" if splits else nearest(what, known)
        raise SpecError(f"no number format {what!r}; {hint}; or any width: int5, uint12, e3m2")
    _check(found)
    return found


@checked
def integer(bits: Num) -> Number:
    """Give an integer format of any width; in a batch, of one width per point.

    Args:
        bits: Width with the sign, 1 to 128: one value or shape (n_points,) [bit].

    Raises:
        SpecError: A width out of range.

    Example:
        >>> integer(np.array([2, 3, 4])).name
        'int2..4'
    """
    found = Number(f"int{span(bits)}", "int", bits, 0)
    _check(found)
    return found


@checked
def floating(exponent_bits: Num, mantissa_bits: Num) -> Number:
    """Give a floating format with a sign, an exponent and a mantissa of any width.

    Args:
        exponent_bits: 1 to 32: one value or shape (n_points,) [bit].
        mantissa_bits: Stored, without the hidden bit, 0 to 127: one value or shape (n_points,) [bit].

    Raises:
        SpecError: A width out of range.

    Example:
        >>> floating(4, 3).name
        'e4m3'
    """
    found = Number(f"e{span(exponent_bits)}m{span(mantissa_bits)}", "float", mantissa_bits + 1, exponent_bits)
    _check(found)
    return found


def default_accumulator(a: Number, b: Number) -> Number:
    """Give the format in which products are usually summed.

    int32 for integers of up to 16 bits, int64 above; fp32 for floats of up to 24 bits of significand, fp64 above: what
    the TPU, tensor cores and int8 kernels do.

    Example:
        >>> default_accumulator(number("int8"), number("int4")).name
        'int32'
    """
    widest = max(float(np.max(entry.significand_bits)) for entry in (a, b))
    if a.kind == b.kind == "int":
        return number("int32" if widest <= 16 else "int64")
    floats = [float(np.max(entry.significand_bits)) for entry in (a, b) if entry.kind == "float"]
    return number("fp32" if max(floats) <= 24 else "fp64")


@checked
def exact_accumulator(a: NumberFormat, b: NumberFormat, length: float) -> Number:
    """Give the narrowest integer that holds a dot product of any integers of two formats.

    Args:
        a: An integer format.
        b: Likewise.
        length: Products that are summed, at least one.

    Raises:
        SpecError: Not two integers, or a length below one.

    Example:
        >>> exact_accumulator("int8", "int8", 1024).name
        'int26'
    """
    first, second = number(a), number(b)
    if first.kind != "int" or second.kind != "int":
        raise SpecError(f"{first.name} x {second.name}: only integers have an exact accumulator; name one: fp32")
    if not 1 <= length < float("inf"):
        raise SpecError(f"a dot product has at least one product, not {length:g}")
    return integer(first.significand_bits + second.significand_bits + int(np.ceil(np.log2(length))))


def _check(found: Number) -> None:
    lowest, highest = (1, 32) if found.kind == "float" else (0, 0)
    for name, bits, least, most in (
        ("significand" if found.kind == "float" else "integer", found.significand_bits, 1, WIDEST_BITS),
        ("exponent", found.exponent_bits, lowest, highest),
    ):
        widths = np.asarray(bits, dtype=float)
        wrong = widths[~((widths >= least) & (widths <= most))]
        if wrong.size:
            raise SpecError(f"{found.name}: the {name} has {wrong.flat[0]:g} bits; it has {least} to {most}")
